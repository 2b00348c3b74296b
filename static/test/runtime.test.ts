/** The net worker's whole over real sockets, and a real thread in the node worker's place. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";

import type { FtwebStatus, NetToPage, PageToNet } from "../src/channels";
import type { Json } from "../src/json";
import type { NodeWorker } from "../src/nodes";
import { Runtime, type World } from "../src/runtime";
import { Bridge, openSocket, STATUS, WELCOME, type Peer } from "./support/bridge";
import { fastClock } from "./support/clock";
import { until } from "./support/until";

/** Stands for Python: comes up under a new id, runs a handler for each forward, hangs if asked. */
const NODE = `
const { parentPort, threadId } = require("node:worker_threads");
const say = (message) => parentPort.postMessage(JSON.stringify(message));
parentPort.on("message", (text) => {
  const message = JSON.parse(text);
  if (message.kind === "ping") say({ kind: "pong" });
  if (message.kind === "start") say({ kind: "up", nodeId: "n" + threadId });
  if (message.kind !== "frame") return;
  const frame = JSON.parse(message.text);
  if (frame.type !== "forward") return;
  say({ kind: "begin", clientId: frame.source.client_id, session: frame.session, serial: frame.serial });
  while (frame.payload === "hang");
  if (frame.payload === "crash") throw new Error("crash");
  say({ kind: "end" });
  say({ kind: "frame", text: JSON.stringify({ type: "raft", epoch: 1, sender: "n", to: "b1", kind: "x", body: {} }) });
});
`;

function spawnThread(): NodeWorker {
  const thread = new Worker(NODE, { eval: true });
  const worker: NodeWorker = {
    onmessage: null,
    onerror: null,
    postMessage: (text) => thread.postMessage(text),
    terminate: () => void thread.terminate(),
  };
  thread.on("message", (data: unknown) => worker.onmessage?.({ data } as never));
  thread.on("error", (error: Error) => worker.onerror?.({ message: error.message } as never));
  return worker;
}

class Page {
  readonly told: NetToPage[] = [];
  status: FtwebStatus | undefined;

  of<K extends NetToPage["kind"]>(kind: K): Extract<NetToPage, { kind: K }>[] {
    return this.told.filter(
      (message): message is Extract<NetToPage, { kind: K }> => message.kind === kind,
    );
  }

  tell(message: NetToPage): void {
    this.told.push(message);
    if (message.kind === "status") this.status = message.status;
  }

  /** The results so far, in short. */
  get results(): string {
    return this.of("result")
      .map(({ id, payload, error }) => `${id}=${error?.code ?? JSON.stringify(payload)}`)
      .join(" ");
  }
}

interface Running {
  readonly bridge: Bridge;
  readonly page: Page;
  readonly runtime: Runtime;
}

/** A running net worker, four times as impatient as in a browser. */
async function running(t: TestContext, world: Partial<World> = {}): Promise<Running> {
  const bridge = await Bridge.start();
  const page = new Page();
  const runtime = new Runtime(
    {
      clock: fastClock(4),
      openSocket,
      spawnNode: spawnThread,
      tell: (message) => page.tell(message),
      ...world,
    },
    {
      kind: "start",
      socketUrl: bridge.url,
      clientKey: "k",
      deviceKey: "d",
      token: "t",
      visible: true,
      runtime: bridge.url.replace("ws", "http").replace("socket", "runtime/own/"),
      bridges: "",
      rtc: false,
    },
  );
  t.after(async () => {
    runtime.hear({ kind: "close" });
    await bridge.stop();
  });
  return { bridge, page, runtime };
}

/** Welcomed, with a host and a client session. */
async function joined(
  t: TestContext,
  world: Partial<World> = {},
  welcome: object = {},
): Promise<Running & { peer: Peer }> {
  const all = await running(t, world);
  const peer = await all.bridge.accept();
  await peer.welcome(welcome);
  peer.say(STATUS);
  await peer.expect("open_session");
  peer.say({ type: "session", session: 7 });
  return { ...all, peer };
}

function request(id: number, payload: Json): Exclude<PageToNet, { kind: "start" }> {
  return { kind: "request", id, payload };
}

test("a request, its reply, and the status on the way", async (t) => {
  const { page, runtime, peer } = await joined(t);
  runtime.hear(request(1, { choice: "B" }));
  assert.deepEqual(await peer.next(), {
    type: "request",
    session: 7,
    serial: 1,
    acknowledged: 0,
    payload: { choice: "B" },
  });
  assert.equal(page.status?.pending, 1);
  peer.say({ type: "reply", serial: 1, payload: { accepted: true } });
  await until(() => page.results === '1={"accepted":true}', "the reply");
  assert.equal(page.status?.pending, 0);
  assert.equal(page.status?.state, "connected");
  assert.equal(page.status?.clientId, "c1");
});

test("a vote sent while the bridge restarts is handled once it is back, once", async (t) => {
  const { bridge, page, runtime, peer } = await joined(t);
  runtime.hear(request(1, "before"));
  await peer.expect("request");
  peer.socket.terminate();
  await until(() => page.status?.bridge === null, "the loss");
  runtime.hear(request(2, "during"));
  const again = await bridge.accept();
  await again.welcome();
  again.say({ ...STATUS, host: null });
  await until(() => page.status?.hostId === null, "the status");
  assert.deepEqual(again.unread, [], "nothing goes to a bridge without a host");
  again.say({ ...STATUS, term: 2, host: "n2" });
  const serials = [await again.expect("request"), await again.expect("request")];
  assert.deepEqual(
    serials.map((frame) => [frame["session"], frame["serial"], frame["payload"]]),
    [
      [7, 1, "before"],
      [7, 2, "during"],
    ],
  );
  again.say({ type: "reply", serial: 1, payload: "A" }, { type: "reply", serial: 2, payload: "B" });
  await until(() => page.results === '1="A" 2="B"', "both replies");
});

test("messages are handled once, also when they are sent again after a reconnect", async (t) => {
  const { bridge, page, peer } = await joined(t);
  peer.say(
    { type: "state", epoch: 1, index: 4, value: {} },
    { type: "message", index: 5, position: 0, payload: "a" },
    { type: "message", index: 9, position: 0, payload: "b" },
  );
  await until(() => page.of("message").length === 2, "two messages");
  peer.socket.close();
  const again = await bridge.accept();
  const hello = await again.welcome();
  assert.equal(hello["message_index"], 8, "one back: position 1 of 9 may not have come");
  again.say(
    { type: "message", index: 9, position: 0, payload: "b" },
    { type: "message", index: 9, position: 1, payload: "c" },
    { type: "message", index: 10, position: 0, payload: "d" },
  );
  await until(() => page.of("message").length === 4, "the rest");
  assert.deepEqual(
    page.of("message").map(({ payload }) => payload),
    ["a", "b", "c", "d"],
  );
});

test("who has heard no message yet asks for those since the first state", async (t) => {
  const { bridge, page, peer } = await joined(t);
  peer.say({ type: "state", epoch: 1, index: 4, value: {} });
  await until(() => page.of("stream").length === 1, "the state");
  peer.socket.close();
  const hello = await (await bridge.accept()).welcome();
  assert.equal(hello["message_index"], 4);
});

test("in a new epoch messages are numbered anew", async (t) => {
  const { bridge, page, peer } = await joined(t);
  peer.say({ type: "state", epoch: 1, index: 50, value: {} });
  peer.say({ type: "message", index: 51, position: 0, payload: "old" });
  await until(() => page.of("message").length === 1, "the message");
  peer.socket.close();
  const again = await bridge.accept();
  await again.welcome();
  // As bridges do: the state first, then the messages, then the status.
  again.say(
    { type: "state", epoch: 2, index: 9, value: {} },
    { type: "message", index: 10, position: 0, payload: "new" },
    { ...STATUS, epoch: 2 },
  );
  await until(() => page.of("message").length === 2, "the new epoch's message");
});

test("the change stream passes on, a gap asks for the whole, once", async (t) => {
  const { bridge, page, runtime, peer } = await joined(t);
  const change = { type: "change", epoch: 1, patch: [] };
  peer.say(
    { type: "state", epoch: 1, index: 4, value: {} },
    { ...change, after: 4, index: 5 },
    { ...change, after: 4, index: 5 },
    { ...change, after: 8, index: 9 },
    { ...change, after: 9, index: 10 },
  );
  await peer.expect("resync");
  peer.say({ type: "state", epoch: 1, index: 10, value: { whole: true } });
  await until(() => page.of("stream").length === 3, "the whole state");
  assert.deepEqual(
    page.of("stream").map(({ frame }) => `${frame.type} ${frame.index}`),
    ["state 4", "change 5", "state 10"],
  );
  assert.deepEqual(peer.unread, []);

  runtime.hear({ kind: "resync" });
  await peer.expect("resync");
  peer.say({ type: "state", epoch: 1, index: 10, value: { whole: true } });
  await until(() => page.of("stream").length === 4, "the same state, as the page asked for it");

  peer.socket.close();
  const hello = await (await bridge.accept()).expect("hello");
  assert.deepEqual([hello["epoch"], hello["state_index"]], [1, 10]);
});

test("another server at the same address: nothing of the old one is carried over", async (t) => {
  const { bridge, page, runtime, peer } = await joined(t);
  peer.say({ type: "state", epoch: 3, index: 40, value: { old: true } });
  peer.say({ type: "message", index: 39, position: 0, payload: "old" });
  runtime.hear(request(1, "sent"));
  await peer.expect("request");
  await until(() => page.of("message").length === 1, "the message");
  peer.socket.close();
  const other = await bridge.accept();
  await other.welcome({ guid: "g2" });
  await other.expect("resync");
  await until(() => page.results === "1=session_expired", "the failure");
  other.say(STATUS, { type: "state", epoch: 1, index: 2, value: { fresh: true } });
  other.say({ type: "message", index: 2, position: 0, payload: "fresh" });
  await other.expect("open_session");
  await until(() => page.of("message").length === 2, "the other server's message");
  assert.equal(page.of("stream").at(-1)?.frame.index, 2);
  assert.equal(page.of("welcome").at(-1)?.another, true);
});

test("a node boots after the paint, is announced, and answers the bridge", async (t) => {
  const { page, runtime, peer } = await joined(t);
  assert.equal(page.status?.ready, false);
  runtime.hear({ kind: "painted" });
  const up = await peer.expect("node_up");
  assert.equal(page.status?.nodeId, up["node_id"]);
  assert.equal(page.status?.ready, true);
  const source = { client_id: "c9", device_id: "d9" };
  peer.say({ type: "forward", epoch: 1, term: 1, source, session: 8, serial: 1, payload: "run" });
  await peer.expect("raft");
  runtime.hear({ kind: "visible", visible: false });
  assert.deepEqual(await peer.next(), {
    type: "node_update",
    node_id: up["node_id"] ?? "",
    visible: false,
  });
});

test("a handler that hangs takes its worker with it, and a new node comes", async (t) => {
  const { page, runtime, peer } = await joined(t);
  runtime.hear({ kind: "painted" });
  const up = await peer.expect("node_up");
  const source = { client_id: "c9", device_id: "d9" };
  const forward = { type: "forward", epoch: 1, term: 1, source, session: 8, serial: 2 };
  peer.say({ ...forward, payload: "hang" });
  assert.deepEqual(await peer.next(), {
    type: "node_down",
    node_id: up["node_id"] ?? "",
    reason: "stuck",
    request: { client_id: "c9", session: 8, serial: 2 },
  });
  const next = await peer.expect("node_up");
  assert.notEqual(next["node_id"], up["node_id"]);
  peer.say({ ...forward, payload: "crash" });
  const down = await peer.expect("node_down");
  assert.equal(down["reason"], "crashed");
  assert.equal(page.status?.error?.code, "node_failed");
  await peer.expect("node_up");
  assert.equal(page.status?.error, null);
});

test("an end while the bridge was away is told when it is back", async (t) => {
  const { bridge, page, runtime, peer } = await joined(t);
  runtime.hear({ kind: "painted" });
  const up = await peer.expect("node_up");
  await until(() => page.status?.ready === true, "the node");
  const source = { client_id: "c9", device_id: "d9" };
  peer.say({ type: "forward", epoch: 1, term: 1, source, session: 8, serial: 2, payload: "hang" });
  peer.say({ type: "ping", n: 1 });
  await peer.expect("pong");
  await bridge.stop();
  await until(() => page.status?.nodeId === null, "the end of the worker");
  const restarted = await Bridge.start(bridge.port);
  t.after(() => restarted.stop());
  const again = await restarted.accept();
  await again.welcome();
  const down = await again.expect("node_down");
  assert.deepEqual([down["node_id"], down["reason"]], [up["node_id"], "stuck"]);
});

test("an error that is not fatal is no state to be in; a taken node id means a new node", async (t) => {
  const warned = t.mock.method(console, "warn", () => undefined);
  const { page, runtime, peer } = await joined(t);
  runtime.hear({ kind: "painted" });
  const up = await peer.expect("node_up");
  peer.say({ type: "error", code: "node_id_in_use", message: "Taken.", fatal: false });
  const down = await peer.expect("node_down");
  assert.equal(down["node_id"], up["node_id"]);
  const next = await peer.expect("node_up");
  assert.notEqual(next["node_id"], up["node_id"]);
  assert.equal(page.status?.error, null);
  assert.equal(warned.mock.callCount(), 1);
});

test("the laptop gets another address: the presenter is told what phones open now", async (t) => {
  const join_url = "http://192.0.2.7:8765/#join=T";
  const { page, peer } = await joined(t, {}, { presenter: true, join_url });
  const own = { node_id: WELCOME.bridge, clients: 1 };
  const other = { node_id: "b2", urls: ["http://192.0.2.99:8765"], clients: 0 };
  const urls = ["http://198.51.100.9:8765", "http://192.0.2.7:8765"];
  peer.say({ ...STATUS, bridges: [{ ...own, urls }] });
  peer.say({ ...STATUS, bridges: [{ ...own, urls: urls.slice(0, 1) }, other] });
  await until(() => page.of("welcome").length === 2, "the new address");
  const [before, after] = page.of("welcome");
  assert.equal(before?.welcome.join_url, join_url, "one that still holds is kept");
  assert.equal(after?.welcome.join_url, "http://198.51.100.9:8765/#join=T");
  assert.equal(after?.another, false);
});

test("leaving: the node goes down, goodbye, closed; coming back joins with the same client", async (t) => {
  const { bridge, page, runtime, peer } = await joined(t);
  runtime.hear({ kind: "painted" });
  const up = await peer.expect("node_up");
  runtime.hear(request(1, "kept"));
  await peer.expect("request");
  runtime.hear({ kind: "leave" });
  const down = await peer.expect("node_down");
  assert.deepEqual([down["node_id"], down["reason"]], [up["node_id"], "leaving"]);
  await peer.expect("bye");
  assert.equal(await peer.closed, 1000);
  assert.equal(page.status?.nodeId, null);
  runtime.hear({ kind: "return", visible: true });
  const again = await bridge.accept();
  const hello = await again.welcome();
  assert.equal(hello["client_key"], "k");
  again.say(STATUS);
  // In either order; on a slow machine the request is also repeated meanwhile.
  const types = new Set<string>();
  while (types.size < 2) types.add((await again.next()).type);
  assert.deepEqual([...types].sort(), ["node_up", "request"]);
  again.say({ type: "reply", serial: 1, payload: "ok" });
  await until(() => page.results === '1="ok"', "the reply");
});

/** A bridge that wants no pings but those that a probe sends. */
const QUIET = { limits: { ...WELCOME.limits, ping_seconds: 1_000_000 } };

test("a page that is shown again, or on another network, probes its link", async (t) => {
  const { runtime, peer } = await joined(t, {}, QUIET);
  await until(() => peer.pings === 1, "the first ping");
  runtime.hear({ kind: "visible", visible: false });
  runtime.hear({ kind: "visible", visible: true });
  await until(() => peer.pings === 2, "a ping for being shown");
  runtime.hear({ kind: "probe" });
  await until(() => peer.pings === 3, "a ping for the network");
});

test("a clock that leaps, as after a sleep, probes the link", async (t) => {
  const clock = fastClock(4);
  let slept = 0;
  const wall = (): number => clock.wall() + slept;
  const { peer } = await joined(t, { clock: { ...clock, wall } }, QUIET);
  await until(() => peer.pings === 1, "the first ping");
  slept = 3_600_000;
  await until(() => peer.pings === 2, "a ping");
  slept = 0;
  await until(() => peer.pings === 3, "a ping for a clock that was set back");
});

test("a request that got lost on the way is repeated", async (t) => {
  const { runtime, peer } = await joined(t);
  runtime.hear(request(1, "lost"));
  const first = await peer.expect("request");
  assert.deepEqual(await peer.expect("request"), first);
});

test("consensus frames are dropped while the socket is choked, requests are not", async (t) => {
  let choked = false;
  const { page, runtime, peer } = await joined(t, {
    openSocket(url) {
      const socket = openSocket(url);
      Object.defineProperty(socket, "bufferedAmount", { get: () => (choked ? 1e9 : 0) });
      return socket;
    },
  });
  runtime.hear({ kind: "painted" });
  await peer.expect("node_up");
  choked = true;
  const source = { client_id: "c9", device_id: "d9" };
  const forward = { type: "forward", epoch: 1, term: 1, source, session: 8, payload: "run" };
  peer.say({ ...forward, serial: 1 });
  // The node answers one message after the other: with this result the first has been dropped.
  peer.say({ ...forward, serial: 2, payload: "hang" });
  const down = await peer.expect("node_down");
  assert.equal(down["reason"], "stuck");
  runtime.hear(request(1, "vote"));
  let frame = await peer.next();
  if (frame.type === "node_up") frame = await peer.next();
  assert.equal(frame.type, "request");
  assert.equal(page.status?.pending, 1);
});

test("a token that is refused after a reconnect ends it, and every request that waits", async (t) => {
  const { bridge, page, runtime, peer } = await joined(t);
  runtime.hear(request(1, "waiting"));
  await peer.expect("request");
  peer.socket.close();
  const again = await bridge.accept();
  await again.expect("hello");
  again.say({ type: "error", code: "bad_token", message: "Scan the QR code again." });
  await until(() => page.of("refused").length === 1, "the refusal");
  assert.equal(page.status?.state, "offline");
  assert.equal(page.status?.text, "Scan the QR code again.");
  runtime.hear(request(2, "late"));
  assert.equal(page.results, "1=bad_token 2=closed");
});
