/** The link, over real sockets with a fast clock; its delays, with a clock that the test moves. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { Link, type LinkEvents } from "../src/connection";
import type { ErrorFrame, Hello } from "../src/frames";
import type { Occasion, Socket, Targets } from "../src/targets";
import {
  BUSY_MS,
  DIAL_MS,
  DIAL_NEXT_MS,
  LATE_MS,
  LOADING_MS,
  PONG_MS,
  QUIET_MS,
  RETRY_CAP_MS,
  SPREAD_MS,
  STABLE_MS,
  SUSPECT_MS,
} from "../src/timing";
import { Bridge, openSocket, STATUS, WELCOME } from "./support/bridge";
import { fastClock, ManualClock } from "./support/clock";
import { PlayedSocket } from "./support/socket";
import { until } from "./support/until";

const HELLO: Hello = {
  type: "hello",
  version: 1,
  client_key: "k",
  device_key: "d",
  token: "t",
};

const PING_MS = WELCOME.limits.ping_seconds * 1000;

/** One bridge and no other. */
function only(open: () => Socket): Targets {
  const target = { name: "http://192.0.2.1:8765", open };
  return { several: false, round: () => [target], arrived: () => undefined };
}

/** Writes down what the link tells. */
class Log implements LinkEvents {
  readonly lines: string[] = [];
  readonly nodeFrames: string[] = [];
  hello(): Hello {
    return HELLO;
  }
  welcomed(): void {
    this.lines.push("welcomed");
  }
  received(frame: { type: string }): void {
    this.lines.push(frame.type);
  }
  forNode(text: string): void {
    this.nodeFrames.push(text);
  }
  lost(): void {
    this.lines.push("lost");
  }
  refused(error: ErrorFrame, final: boolean): void {
    this.lines.push(`${error.code}${final ? " for good" : ""}`);
  }
}

/** A bridge, and a link to it that is five times as impatient as in a browser. */
async function linked(t: TestContext): Promise<{ bridge: Bridge; link: Link; log: Log }> {
  const bridge = await Bridge.start();
  const log = new Log();
  const link = new Link(
    only(() => openSocket(bridge.url)),
    fastClock(5),
    log,
  );
  t.after(async () => {
    link.stop();
    await bridge.stop();
  });
  link.start();
  return { bridge, link, log };
}

test("hello, welcome, then frames both ways", async (t) => {
  const { bridge, link, log } = await linked(t);
  link.send({ type: "resync" });
  const peer = await bridge.accept();
  assert.deepEqual(await peer.welcome(), HELLO);
  peer.say(STATUS, { type: "lost", node_id: "n9" }, { type: "ping", n: 4 });
  assert.deepEqual(await peer.next(), { type: "pong", n: 4 }, "not the resync from before");
  assert.deepEqual(log.lines, ["welcomed", "status"]);
  assert.deepEqual(log.nodeFrames, ['{"type":"lost","node_id":"n9"}']);
  link.send({ type: "open_session" });
  assert.deepEqual(await peer.next(), { type: "open_session" });
});

test("pings go on, and tell the round trip", async (t) => {
  const { bridge } = await linked(t);
  const peer = await bridge.accept();
  const rtts: unknown[] = [];
  peer.socket.on("message", (data: Buffer) => {
    const frame = JSON.parse(data.toString()) as { type: string; rtt?: number };
    if (frame.type === "ping") rtts.push(frame.rtt);
  });
  await peer.welcome();
  await until(() => rtts.length >= 3, "a third ping");
  assert.equal(rtts[0], undefined);
  assert.ok(rtts.slice(1).every((rtt) => typeof rtt === "number" && rtt > 0));
});

test("a closed socket is replaced, and hello said again", async (t) => {
  const { bridge, log } = await linked(t);
  const first = await bridge.accept();
  await first.welcome();
  first.socket.close(1001);
  const second = await bridge.accept();
  await second.welcome();
  await until(() => log.lines.length === 3, "welcomed again");
  assert.deepEqual(log.lines, ["welcomed", "lost", "welcomed"]);
});

test("a bridge that no longer answers is given up, though its socket reads as open", async (t) => {
  const { bridge, log } = await linked(t);
  const first = await bridge.accept();
  first.mute = true;
  await first.welcome();
  first.say(STATUS);
  const second = await bridge.accept();
  await second.welcome();
  await until(() => log.lines.length === 4, "welcomed again");
  assert.equal(log.lines[2], "lost");
});

test("a socket without a welcome is given up", async (t) => {
  const { bridge, log } = await linked(t);
  const first = await bridge.accept();
  await first.expect("hello");
  const second = await bridge.accept();
  await second.welcome();
  await until(() => log.lines.length === 1, "welcomed");
  await first.closed;
});

test("a bridge that restarts is found again", async (t) => {
  const first = await Bridge.start();
  const { port, url } = first;
  const log = new Log();
  const link = new Link(
    only(() => openSocket(url)),
    fastClock(5),
    log,
  );
  t.after(() => link.stop());
  link.start();
  await (await first.accept()).welcome();
  await first.stop();
  await until(() => !link.connected, "the loss");
  const second = await Bridge.start(port);
  t.after(() => second.stop());
  await (await second.accept()).welcome();
  await until(() => link.connected, "the new bridge");
});

test("an error that is not fatal is told, and nothing ends", async (t) => {
  const { bridge, link, log } = await linked(t);
  const peer = await bridge.accept();
  await peer.welcome();
  peer.say({ type: "error", code: "node_id_in_use", message: "Taken.", fatal: false });
  await until(() => log.lines.length === 2, "the error");
  assert.deepEqual(log.lines, ["welcomed", "node_id_in_use"]);
  assert.ok(link.connected);
});

test("a frame that is not understood is ignored", async (t) => {
  const { bridge, log } = await linked(t);
  const warned = t.mock.method(console, "warn", () => undefined);
  const peer = await bridge.accept();
  await peer.welcome();
  peer.socket.send("{");
  peer.socket.send('{"type":"teleport"}');
  peer.socket.send(Buffer.from([1, 2, 3]), { binary: true });
  peer.say(STATUS);
  await until(() => log.lines.includes("status"), "the frame after");
  assert.deepEqual(log.lines, ["welcomed", "status"]);
  assert.equal(warned.mock.callCount(), 2);
});

test("stopping says goodbye and closes; starting joins again", async (t) => {
  const { bridge, link, log } = await linked(t);
  const first = await bridge.accept();
  await first.welcome();
  await until(() => link.connected, "the welcome");
  link.stop();
  assert.deepEqual(await first.expect("bye"), { type: "bye" });
  assert.equal(await first.closed, 1000);
  link.start();
  await (await bridge.accept()).welcome();
  await until(() => link.connected, "the second welcome");
  assert.deepEqual(log.lines, ["welcomed", "lost", "welcomed"]);
});

interface Played {
  readonly clock: ManualClock;
  readonly link: Link;
  readonly log: Log;
  readonly sockets: PlayedSocket[];
  /** The latest socket. */
  readonly last: () => PlayedSocket;
}

function played(): Played {
  const clock = new ManualClock();
  const log = new Log();
  const sockets: PlayedSocket[] = [];
  const link = new Link(
    only(() => {
      const socket = new PlayedSocket();
      sockets.push(socket);
      return socket;
    }),
    clock,
    log,
  );
  link.start();
  const last = (): PlayedSocket => {
    const socket = sockets.at(-1);
    assert.ok(socket);
    return socket;
  };
  return { clock, link, log, sockets, last };
}

/** Fail the latest attempt; gives how long the next one waits. */
function failing({ clock, last }: Played): number {
  last().onclose?.();
  const wait = clock.wait ?? Infinity;
  clock.pass(wait);
  return wait;
}

test("retries: the first at once but spread, then longer, never beyond the cap", () => {
  const low = played();
  const high = played();
  low.clock.chance = 0;
  high.clock.chance = 0.999;
  const waits = Array.from({ length: 8 }, () => [failing(low), failing(high)].map(Math.round));
  assert.deepEqual(waits[0], [50, 250]);
  assert.deepEqual(
    waits.map(([, most]) => most),
    [250, 500, 999, 1998, 3996, 3996, 3996, 3996],
  );
  assert.ok(waits.every(([least]) => least === 50));
});

test("a socket that lasted makes the next retry a first one; one that did not, does not", () => {
  const all = played();
  const { clock, last } = all;
  clock.chance = 0.999;
  failing(all);
  last().welcome();
  last().pong();
  clock.pass(STABLE_MS - 1);
  assert.ok(failing(all) > 250);
  last().welcome();
  last().pong();
  clock.pass(STABLE_MS);
  last().pong();
  assert.ok(failing(all) < 250);
});

test("a bridge with too much to do is given time", () => {
  const all = played();
  all.last().welcome();
  all.last().say({ type: "error", code: "rate_limited", message: "?" });
  const wait = failing(all);
  assert.ok(wait >= BUSY_MS && wait <= RETRY_CAP_MS, String(wait));
});

for (const code of ["bad_token", "version_mismatch"]) {
  test(`${code} ends it for good`, () => {
    const { clock, link, log, sockets, last } = played();
    last().onopen?.();
    last().say({ type: "error", code, message: "No." });
    assert.ok(last().closed);
    assert.equal(clock.wait, undefined, "nothing is planned");
    link.probe();
    assert.equal(sockets.length, 1);
    assert.deepEqual(log.lines, [`${code} for good`]);
  });
}

test("a constructor that throws is an attempt that failed", () => {
  const clock = new ManualClock();
  let attempts = 0;
  const link = new Link(
    only(() => {
      attempts += 1;
      throw new Error("SecurityError");
    }),
    clock,
    new Log(),
  );
  link.start();
  clock.pass(60_000);
  assert.ok(attempts > 5);
});

test("the silence after a ping ends the socket exactly when its time is over", () => {
  const { clock, log, last } = played();
  last().welcome();
  last().say(STATUS);
  last().pong();
  clock.pass(PING_MS + PONG_MS - 1);
  assert.deepEqual(log.lines, ["welcomed", "status"]);
  const socket = last();
  clock.pass(1);
  assert.deepEqual(log.lines, ["welcomed", "status", "lost"]);
  assert.ok(socket.closed);
});

test("a state that takes long to load is waited for, with pings, but not for ever", () => {
  const { clock, link, log, last } = played();
  const socket = last();
  socket.welcome();
  clock.pass(LOADING_MS - PONG_MS);
  assert.equal(socket.pings, LOADING_MS / PONG_MS, "the bridge must not take us for silent");
  socket.say({ type: "state", epoch: 1, index: 1, value: {} });
  socket.say(STATUS);
  socket.pong();
  assert.deepEqual(log.lines, ["welcomed", "state", "status"]);
  link.resync();
  socket.say(STATUS);
  clock.pass(LOADING_MS - 1);
  assert.ok(!socket.closed, "a status that was sent before the state");
  clock.pass(PONG_MS);
  assert.ok(socket.closed);
});

test("a worker that stood still itself asks once more before it gives up", () => {
  const { clock, log, last } = played();
  last().welcome();
  last().say(STATUS);
  assert.equal(last().pings, 1);
  clock.stall(PONG_MS + LATE_MS + 1);
  assert.equal(last().pings, 2);
  assert.deepEqual(log.lines, ["welcomed", "status"]);
  last().pong();
  clock.pass(PONG_MS - 1);
  assert.deepEqual(log.lines, ["welcomed", "status"]);
});

test("frames without a pong are a sign of life", () => {
  const { clock, log, last } = played();
  last().welcome();
  clock.pass(PONG_MS / 2);
  last().say(STATUS);
  clock.pass(PONG_MS);
  assert.deepEqual(log.lines, ["welcomed", "status"]);
  assert.equal(last().pings, 1);
});

test("a pong counts for its own ping only", () => {
  const { clock, link, last } = played();
  last().welcome();
  clock.pass(400);
  link.probe();
  last().say({ type: "pong", n: 1 });
  clock.pass(30);
  last().pong();
  clock.pass(PING_MS);
  assert.deepEqual(last().sent.at(-1), { type: "ping", n: 3, rtt: 30 });
});

test("starting twice is starting once", () => {
  const { link, sockets } = played();
  link.start();
  assert.equal(sockets.length, 1);
});

test("a second welcome changes nothing", () => {
  const { log, last } = played();
  last().welcome();
  last().say({ ...WELCOME, guid: "other" });
  assert.deepEqual(log.lines, ["welcomed"]);
});

test("a socket that is silent after a probe is replaced soon, also by its own bridge", () => {
  const { clock, link, log, sockets, last } = played();
  last().welcome();
  last().say(STATUS);
  last().pong();
  link.probe();
  clock.pass(SUSPECT_MS);
  assert.equal(sockets.length, 2);
  assert.deepEqual(log.lines, ["welcomed", "status"], "kept until the other is open");
  last().welcome();
  assert.deepEqual(log.lines, ["welcomed", "status", "lost", "welcomed"]);
});

test("a probe pings at once; while waiting it connects at once", () => {
  const { clock, link, sockets, last } = played();
  last().welcome();
  last().pong();
  clock.pass(100);
  link.probe();
  assert.equal(last().pings, 2);
  last().onclose?.();
  assert.equal(sockets.length, 1);
  link.probe();
  assert.equal(sockets.length, 2);
  link.probe();
  assert.equal(sockets.length, 2, "one attempt at a time");
  clock.pass(SUSPECT_MS + 1);
  link.probe();
  assert.equal(sockets.length, 3, "the device may have slept");
  assert.ok(sockets[1]?.closed);
});

test("a socket that opens between two rounds is taken", () => {
  const { clock, log, sockets, last } = played();
  clock.pass(DIAL_MS);
  last().welcome();
  assert.equal(sockets.length, 1);
  assert.deepEqual(log.lines, ["welcomed"]);
  clock.pass(RETRY_CAP_MS);
  assert.equal(sockets.length, 1, "the retry is off");
});

test("what a given-up socket still says is not heard", () => {
  const { clock, log, sockets, last } = played();
  last().welcome();
  last().say(STATUS);
  clock.pass(2 * PONG_MS + PING_MS);
  sockets[0]?.say(STATUS);
  sockets[0]?.onclose?.();
  assert.deepEqual(log.lines, ["welcomed", "status", "lost"]);
});

/** Two bridges, of which the link first joins "a". */
function between(): Played & {
  readonly at: Map<string, PlayedSocket>;
  readonly rounds: Occasion[];
} {
  const clock = new ManualClock();
  const log = new Log();
  const sockets: PlayedSocket[] = [];
  const at = new Map<string, PlayedSocket>();
  const rounds: Occasion[] = [];
  const [a, b] = ["a", "b"].map((name) => ({
    name,
    open: () => {
      const socket = new PlayedSocket();
      sockets.push(socket);
      at.set(name, socket);
      return socket;
    },
  }));
  assert.ok(a && b);
  const targets: Targets = {
    several: true,
    round: (occasion) => {
      rounds.push(occasion);
      return occasion === "move" || occasion === "silent" ? [b, a] : [a, b];
    },
    arrived: () => undefined,
  };
  const link = new Link(targets, clock, log);
  link.start();
  at.get("a")?.welcome();
  at.get("a")?.say(STATUS);
  at.get("a")?.pong();
  log.lines.length = 0;
  const last = (): PlayedSocket => {
    const socket = sockets.at(-1);
    assert.ok(socket);
    return socket;
  };
  return { clock, link, log, sockets, last, at, rounds };
}

test("a lost bridge is tried once more, at once, then the other one", () => {
  const { clock, log, at, rounds } = between();
  clock.chance = 0.5;
  at.get("a")?.onclose?.({ code: 1006 });
  assert.deepEqual(rounds, ["start", "lost"]);
  at.get("a")?.onclose?.();
  clock.pass(SPREAD_MS / 2);
  at.get("b")?.welcome();
  assert.deepEqual(log.lines, ["lost", "welcomed"]);
  assert.deepEqual(at.get("b")?.sent[0], HELLO);
});

test("what is expected and does not come: a ping, then another bridge, all within a second", () => {
  const { clock, link, log, at } = between();
  const first = at.get("a");
  link.expect(true);
  clock.pass(QUIET_MS);
  assert.equal(first?.pings, 2);
  clock.pass(SUSPECT_MS);
  assert.deepEqual(log.lines, [], "the silent socket is kept until there is another");
  at.get("b")?.welcome();
  assert.deepEqual(log.lines, ["lost", "welcomed"]);
  assert.deepEqual(first.sent.at(-1), { type: "bye" });
  assert.ok(first.closed);
});

test("heartbeats need no pings", () => {
  const { clock, link, at } = between();
  link.expect(true);
  for (let beat = 0; beat < 20; beat += 1) {
    clock.pass(150);
    at.get("a")?.say({ type: "raft" });
  }
  assert.equal(at.get("a")?.pings, 1);
});

test("with nothing expected a quiet bridge is pinged as rarely as ever", () => {
  const { clock, at } = between();
  clock.pass(PING_MS - 1);
  assert.equal(at.get("a")?.pings, 1);
});

test("a bridge that answers after all is kept", () => {
  const { clock, link, log, at } = between();
  const first = at.get("a");
  link.probe();
  clock.pass(SUSPECT_MS + DIAL_NEXT_MS);
  const second = at.get("b");
  assert.ok(second);
  first?.pong();
  assert.ok(second.closed);
  second.welcome();
  clock.pass(PONG_MS);
  assert.deepEqual(log.lines, []);
  assert.ok(link.connected);
});

test("nothing answers: the silent bridge is given up in the end", () => {
  const { clock, link, log, at } = between();
  link.probe();
  clock.pass(PONG_MS);
  assert.deepEqual(log.lines, ["lost"]);
  assert.ok(!link.connected);
  clock.pass(60_000);
  at.get("a")?.welcome();
  assert.ok(link.connected);
});

test("a bridge that sends us away is left for the other one", () => {
  const { at, log, rounds } = between();
  at.get("a")?.onclose?.({ code: 4002 });
  assert.equal(rounds.at(-1), "move");
  at.get("b")?.welcome();
  assert.deepEqual(log.lines, ["lost", "welcomed"]);
});

test("bridges that close at once are not run round in circles", () => {
  const { clock, at, sockets } = between();
  clock.chance = 0.9;
  const before = sockets.length;
  for (let count = 0; count < 100; count += 1) {
    at.get("a")?.onclose?.({ code: 4002 });
    at.get("b")?.onclose?.({ code: 4002 });
    clock.pass(10);
    for (const socket of at.values()) if (!socket.closed) socket.welcome();
  }
  assert.ok(sockets.length - before < 10, String(sockets.length));
});
