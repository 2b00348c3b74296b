/** The node worker's life, and what the bridge is told of it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { NodeToNet } from "../src/channels";
import type { Failure, Sent } from "../src/frames";
import { NodeKeeper, type NodeWorker } from "../src/nodes";
import { PING } from "../src/ping";
import {
  CRASHES,
  CRASHES_MS,
  HANDED_MS,
  HAND_IN_MS,
  PULSE_LIMIT_MS,
  PULSE_MS,
  REBOOT_BASE_MS,
  REBOOT_CAP_MS,
} from "../src/timing";
import { WELCOME } from "./support/bridge";
import { ManualClock } from "./support/clock";

const HOME = {
  origin: "http://192.0.2.7:8765",
  runtime: "http://192.0.2.7:8765/ftweb/runtime/own/",
};

class PlayedWorker implements NodeWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: { message: string }) => void) | null = null;
  readonly heard: Record<string, unknown>[] = [];
  terminated = false;
  hangs = false;
  constructor(readonly url: string) {}
  postMessage(text: string): void {
    if (text === PING) {
      if (!this.hangs) this.say({ kind: "pong" });
      return;
    }
    this.heard.push(JSON.parse(text) as Record<string, unknown>);
  }
  terminate(): void {
    this.terminated = true;
  }
  say(message: NodeToNet): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

interface Kept {
  readonly clock: ManualClock;
  readonly keeper: NodeKeeper;
  readonly workers: PlayedWorker[];
  readonly sent: (Sent | string)[];
  readonly failures: Failure[];
  readonly boots: number[];
  readonly gaveUps: () => number;
  readonly nodeId: () => string | undefined;
  readonly last: () => PlayedWorker;
}

const CREDENTIALS = { clientKey: "0".repeat(32), token: "t" };

function kept(): Kept {
  const clock = new ManualClock();
  const workers: PlayedWorker[] = [];
  const sent: (Sent | string)[] = [];
  const failures: Failure[] = [];
  const boots: number[] = [];
  let gaveUps = 0;
  let nodeId: string | undefined;
  const keeper = new NodeKeeper(
    (url) => {
      const worker = new PlayedWorker(url);
      workers.push(worker);
      return worker;
    },
    HOME,
    clock,
    {
      send: (frame) => sent.push(frame),
      sendText: (text) => sent.push(text),
      changed: (news) => {
        nodeId = news.nodeId;
      },
      booted: (milliseconds) => boots.push(milliseconds),
      failed: (failure) => failures.push(failure),
      gaveUp: () => {
        gaveUps += 1;
      },
      toGuests: () => undefined,
      endGuest: () => undefined,
    },
    CREDENTIALS,
  );
  const last = (): PlayedWorker => {
    const worker = workers.at(-1);
    assert.ok(worker);
    return worker;
  };
  return {
    clock,
    keeper,
    workers,
    sent,
    failures,
    boots,
    last,
    nodeId: () => nodeId,
    gaveUps: () => gaveUps,
  };
}

/** With a node that is up, and its announcement read. */
function up(): Kept {
  const all = kept();
  all.keeper.connect(WELCOME);
  all.keeper.allow();
  all.last().say({ kind: "up", nodeId: "n1" });
  all.sent.length = 0;
  return all;
}

const BEGIN = { kind: "begin", clientId: "c9", session: 7, serial: 3 } as const;
const STUCK = { client_id: "c9", session: 7, serial: 3 };

test("it boots after the welcome and the paint, whichever comes last", () => {
  const one = kept();
  one.keeper.connect(WELCOME);
  assert.equal(one.workers.length, 0);
  one.keeper.allow();
  assert.equal(one.workers.length, 1);
  const other = kept();
  other.keeper.allow();
  assert.equal(other.workers.length, 0);
  other.keeper.connect(WELCOME);
  assert.equal(other.workers.length, 1);
});

test("it is told where everything is, absolutely", () => {
  const { last, keeper } = kept();
  keeper.connect(WELCOME);
  keeper.allow();
  assert.equal(last().url, "http://192.0.2.7:8765/ftweb/runtime/1/node-worker.js");
  assert.deepEqual(last().heard, [
    {
      kind: "start",
      runtime: "http://192.0.2.7:8765/ftweb/runtime/1/",
      bundleUrl: `http://192.0.2.7:8765/ftweb/bundle/${WELCOME.bundle}.zip`,
      bundle: WELCOME.bundle,
      visible: true,
      welcome: WELCOME,
      http: { url: "ws://192.0.2.7:8765/ftweb/http", ...CREDENTIALS },
    },
  ]);
  keeper.disconnect();
  keeper.connect(WELCOME, "http://192.0.2.8:9000");
  const elsewhere = { kind: "bridge", httpUrl: "ws://192.0.2.8:9000/ftweb/http" };
  assert.deepEqual(last().heard.at(-1), elsewhere);
});

test("it is announced when it is up, and again on every new socket", () => {
  const { keeper, sent, last, nodeId } = kept();
  keeper.connect(WELCOME);
  keeper.allow();
  assert.deepEqual(sent, []);
  last().say({ kind: "up", nodeId: "n1" });
  const announced = { type: "node_up", node_id: "n1", visible: true };
  assert.deepEqual(sent, [announced]);
  assert.equal(nodeId(), "n1");
  keeper.disconnect();
  keeper.show(false);
  keeper.connect(WELCOME);
  assert.deepEqual(sent, [announced, { ...announced, visible: false }]);
});

test("a node that comes up without a socket is announced on the next one, once", () => {
  const { keeper, sent, last } = kept();
  keeper.connect(WELCOME);
  keeper.allow();
  keeper.disconnect();
  last().say({ kind: "up", nodeId: "n1" });
  assert.deepEqual(sent, []);
  keeper.connect(WELCOME);
  assert.deepEqual(sent, [{ type: "node_up", node_id: "n1", visible: true }]);
});

test("it is measured how long it took to be up", () => {
  const { clock, keeper, boots, last } = kept();
  keeper.connect(WELCOME);
  keeper.allow();
  clock.pass(1234);
  last().say({ kind: "up", nodeId: "n1" });
  assert.deepEqual(boots, [1234]);
});

test("frames pass both ways, once it is up", () => {
  const { keeper, sent, last } = kept();
  keeper.connect(WELCOME);
  keeper.allow();
  keeper.deliver("early");
  last().say({ kind: "up", nodeId: "n1" });
  keeper.deliver('{"type":"lost","node_id":"n2"}');
  assert.deepEqual(last().heard.slice(1), [
    { kind: "frame", text: '{"type":"lost","node_id":"n2"}' },
  ]);
  last().say({ kind: "frame", text: '{"type":"raft"}' });
  assert.equal(sent.at(-1), '{"type":"raft"}');
});

test("hiding and showing is told to both, once", () => {
  const { keeper, sent, last } = up();
  keeper.show(false);
  keeper.show(false);
  keeper.show(true);
  assert.deepEqual(sent, [
    { type: "node_update", node_id: "n1", visible: false },
    { type: "node_update", node_id: "n1", visible: true },
  ]);
  assert.deepEqual(last().heard.slice(1), [
    { kind: "visible", visible: false },
    { kind: "visible", visible: true },
  ]);
});

test("a handler that hangs ends the worker; the bridge learns of which request", () => {
  const { clock, sent, workers, last, nodeId } = up();
  last().say(BEGIN);
  clock.pass(1000);
  assert.deepEqual(sent, [{ type: "node_down", node_id: "n1", reason: "stuck", request: STUCK }]);
  assert.ok(workers[0]?.terminated);
  assert.equal(nodeId(), undefined);
  clock.pass(REBOOT_BASE_MS);
  assert.equal(workers.length, 2);
  last().say({ kind: "up", nodeId: "n2" });
  assert.deepEqual(sent.at(-1), { type: "node_up", node_id: "n2", visible: true });
});

test("a worker that hangs outside of any handler is found, too", () => {
  const { clock, sent, workers, last } = up();
  last().hangs = true;
  clock.pass(PULSE_MS + PULSE_LIMIT_MS);
  assert.deepEqual(sent, [{ type: "node_down", node_id: "n1", reason: "stuck" }]);
  assert.ok(workers[0]?.terminated);
  clock.pass(REBOOT_BASE_MS);
  assert.equal(workers.length, 2);
});

test("handlers that end in time do nothing of that", () => {
  const { clock, sent, workers, last } = up();
  for (let round = 0; round < 3; round++) {
    last().say(BEGIN);
    clock.pass(900);
    last().say({ kind: "end" });
  }
  clock.pass(60_000);
  assert.deepEqual(sent, []);
  assert.equal(workers.length, 1);
});

test("an end without a socket is told on the next one, before anything else", () => {
  const { clock, keeper, sent, last, workers } = up();
  last().say(BEGIN);
  keeper.disconnect();
  clock.pass(1000);
  assert.deepEqual(sent, []);
  clock.pass(60_000);
  assert.equal(workers.length, 1, "and none is started without a socket");
  keeper.connect(WELCOME);
  assert.deepEqual(sent, [{ type: "node_down", node_id: "n1", reason: "stuck", request: STUCK }]);
  assert.equal(workers.length, 2);
});

test("handlers that hang one after the other: longer waits, but never given up", () => {
  const { clock, workers, last } = up();
  const waits: number[] = [];
  for (let round = 0; round < 10; round++) {
    last().say({ kind: "up", nodeId: `n${round}` });
    last().say(BEGIN);
    clock.pass(1000);
    waits.push(clock.wait ?? Infinity);
    clock.pass(REBOOT_CAP_MS);
  }
  assert.equal(workers.length, 11);
  assert.deepEqual(waits.slice(0, 3), [500, 1000, 2000]);
  assert.equal(waits.at(-1), REBOOT_CAP_MS);
  last().say({ kind: "up", nodeId: "lasting" });
  clock.pass(CRASHES_MS);
  last().say(BEGIN);
  clock.pass(1000);
  assert.equal(clock.wait, REBOOT_BASE_MS, "one that lasted makes the next end a first one");
});

test("a worker that crashes again and again is given up", (t) => {
  const said = t.mock.method(console, "warn", () => undefined);
  const { clock, workers, last, sent, failures, gaveUps } = up();
  last().onerror?.({ message: "out of memory" });
  assert.deepEqual(sent, [{ type: "node_down", node_id: "n1", reason: "crashed" }]);
  for (let round = 1; round < CRASHES; round++) {
    clock.pass(REBOOT_CAP_MS / 4);
    last().say({ kind: "failed", stage: "app", message: "app.py:3" });
  }
  assert.equal(workers.length, CRASHES);
  clock.pass(10 * CRASHES_MS);
  assert.equal(workers.length, CRASHES);
  assert.deepEqual(failures.at(-1), { code: "node_failed", message: "app: app.py:3" });
  assert.equal(said.mock.callCount(), CRASHES, "its author finds them in the console");
  assert.match(
    String(said.mock.calls.at(-1)?.arguments[0]),
    /does not run in this tab: app: app.py:3/,
  );
  assert.equal(gaveUps(), 0, "it was the app: the next load of the page may try again");
});

test("a device that cannot hold a replica is told of, once", () => {
  const { clock, last, gaveUps } = up();
  for (let round = 0; round < CRASHES; round++) {
    assert.equal(gaveUps(), 0);
    last().say({ kind: "failed", stage: "pyodide", message: "RangeError: out of memory" });
    clock.pass(REBOOT_CAP_MS / 4);
  }
  assert.equal(gaveUps(), 1);
});

test("what cannot be loaded since the page's own bridge is gone is not held against it", () => {
  const { clock, keeper, workers, last, failures, gaveUps } = kept();
  keeper.connect(WELCOME, "http://192.0.2.8:8765");
  keeper.allow();
  for (let round = 0; round < 2 * CRASHES; round++) {
    last().onerror?.({ message: "?" });
    clock.pass(REBOOT_CAP_MS);
  }
  assert.equal(workers.length, 1 + 2 * CRASHES);
  assert.match(failures.at(-1)?.message ?? "", /takes part without one/);
  assert.equal(gaveUps(), 0);
});

test("a crash now and then is not held against it", () => {
  const { clock, workers, last } = up();
  for (let round = 0; round < 3 * CRASHES; round++) {
    last().onerror?.({ message: "?" });
    clock.pass(CRASHES_MS);
    last().say({ kind: "up", nodeId: `n${round}` });
  }
  assert.equal(workers.length, 3 * CRASHES + 1);
});

test("failing to load without a bridge is not held against it", () => {
  const { keeper, workers, last } = kept();
  keeper.allow();
  for (let round = 0; round < 2 * CRASHES; round++) {
    keeper.connect(WELCOME);
    keeper.disconnect();
    last().say({ kind: "failed", stage: "pyodide", message: "no network" });
  }
  assert.equal(workers.length, 2 * CRASHES);
});

test("a browser without workers inside workers: told once, and the page goes on", () => {
  const failures: Failure[] = [];
  let attempts = 0;
  const keeper = new NodeKeeper(
    () => {
      attempts += 1;
      throw new ReferenceError("Worker is not defined");
    },
    HOME,
    new ManualClock(),
    {
      send: () => undefined,
      sendText: () => undefined,
      changed: () => undefined,
      gaveUp: () => undefined,
      booted: () => undefined,
      failed: (failure) => failures.push(failure),
      toGuests: () => undefined,
      endGuest: () => undefined,
    },
    CREDENTIALS,
  );
  keeper.allow();
  keeper.connect(WELCOME);
  keeper.disconnect();
  keeper.connect(WELCOME);
  assert.equal(attempts, 1);
  assert.equal(failures.length, 1);
});

test("another app or another server needs another worker, the same ones do not", () => {
  const { keeper, workers, last } = up();
  keeper.disconnect();
  keeper.connect(WELCOME);
  assert.equal(workers.length, 1);
  keeper.connect({ ...WELCOME, bundle: "1".repeat(64) });
  assert.equal(workers.length, 2);
  assert.ok(workers[0]?.terminated);
  last().say({ kind: "up", nodeId: "n2" });
  keeper.connect({ ...WELCOME, guid: "g2", bundle: "1".repeat(64) });
  assert.equal(workers.length, 3);
});

test("leaving says so and ends the worker; coming back is a new one", () => {
  const { clock, keeper, sent, workers, last } = up();
  keeper.leave();
  assert.deepEqual(sent, [{ type: "node_down", node_id: "n1", reason: "leaving" }]);
  assert.ok(workers[0]?.terminated);
  clock.pass(60_000);
  assert.equal(workers.length, 1);
  keeper.connect(WELCOME);
  last().say({ kind: "up", nodeId: "n2" });
  assert.equal(workers.length, 2);
  assert.deepEqual(sent.at(-1), { type: "node_up", node_id: "n2", visible: true });
});

test("leaving while the next start waits: nothing starts", () => {
  const { clock, keeper, workers, last } = up();
  last().onerror?.({ message: "?" });
  keeper.leave();
  clock.pass(60_000);
  assert.equal(workers.length, 1);
});

test("a node id that is taken is given up for another", () => {
  const { clock, keeper, sent, workers } = up();
  keeper.replace();
  clock.pass(REBOOT_BASE_MS);
  assert.deepEqual(sent, [{ type: "node_down", node_id: "n1", reason: "crashed" }]);
  assert.equal(workers.length, 2);
});

test("what the worker says is checked", (t) => {
  const warned = t.mock.method(console, "warn", () => undefined);
  const { last, sent, nodeId } = up();
  for (const data of [undefined, 7, "{", "[]", '{"kind":"up"}', '{"kind":"up","nodeId":7}']) {
    last().onmessage?.({ data });
  }
  assert.equal(warned.mock.callCount(), 6);
  assert.deepEqual(sent, []);
  assert.equal(nodeId(), "n1");
});

test("an ended worker is not heard any more", () => {
  const { keeper, workers, sent } = up();
  const handler = workers[0]?.onmessage;
  keeper.leave();
  sent.length = 0;
  assert.ok(handler);
  assert.equal(workers[0]?.onmessage, null);
});

test("its epoch is over: another node at once, and no crash", () => {
  const { keeper, workers, sent, last, failures } = up();
  for (let count = 0; count < CRASHES; count += 1) {
    const before = last();
    keeper.renew();
    keeper.renew();
    assert.deepEqual(before.heard.slice(-1), [{ kind: "over" }], "told once");
    before.say({ kind: "handed_in" });
    assert.ok(before.terminated);
    keeper.renew();
    assert.equal(workers.length, count + 2, "one that still boots has not been anywhere");
    last().say({ kind: "up", nodeId: `renewed${count}` });
  }
  assert.deepEqual(failures, []);
  assert.deepEqual(sent.slice(0, 2), [
    { type: "node_down", node_id: "n1", reason: "leaving" },
    { type: "node_up", node_id: "renewed0", visible: true },
  ]);
});

const PIECE = '{"type":"recalled","epoch":2,"items":[],"last":true}';
const FIRST = PIECE.replace("true", "false");
const RAFT = '{"type":"raft"}';

test("what only it knows is handed in as a whole before it ends", () => {
  const { keeper, sent, last } = up();
  const before = last();
  keeper.renew();
  before.say({ kind: "frame", text: FIRST });
  before.say({ kind: "frame", text: RAFT });
  before.say({ kind: "frame", text: PIECE });
  assert.deepEqual(sent, [RAFT]);
  before.say({ kind: "handed_in" });
  const down: Sent = { type: "node_down", node_id: "n1", reason: "leaving" };
  assert.deepEqual(sent, [RAFT, FIRST, PIECE, down]);
});

test("a socket may have been dead when it was handed in, so the next one has it too", () => {
  const { clock, keeper, sent, last } = up();
  keeper.renew();
  last().say({ kind: "frame", text: PIECE });
  last().say({ kind: "handed_in" });
  keeper.disconnect();
  clock.pass(HANDED_MS - 1);
  sent.length = 0;
  keeper.connect(WELCOME);
  assert.ok(sent.includes(PIECE));
  clock.pass(1);
  sent.length = 0;
  keeper.connect(WELCOME);
  assert.ok(!sent.includes(PIECE), "that is enough");
});

test("an answer that a bridge has asked for goes over one socket, or not at all", () => {
  const { keeper, sent, last } = up();
  last().say({ kind: "frame", text: FIRST });
  keeper.disconnect();
  last().say({ kind: "frame", text: PIECE });
  keeper.connect(WELCOME);
  assert.ok(!sent.includes(FIRST) && !sent.includes(PIECE), "it will ask again");
  last().say({ kind: "frame", text: FIRST });
  last().say({ kind: "frame", text: PIECE });
  assert.deepEqual(sent.slice(-2), [FIRST, PIECE]);
});

test("an end that a tab has heard of is told to the next bridge as well", () => {
  const { keeper, sent, last } = up();
  keeper.connect(WELCOME, "tab somebody");
  sent.length = 0;
  last().onerror?.({ message: "it broke" });
  const down: Sent = { type: "node_down", node_id: "n1", reason: "crashed" };
  assert.deepEqual(sent.splice(0), [down]);
  keeper.connect(WELCOME);
  assert.deepEqual(sent[0], down);
});

test("without a bridge it is kept for the next one of that server", () => {
  for (const guid of ["another", WELCOME.guid]) {
    const { keeper, sent, last } = up();
    keeper.disconnect();
    keeper.renew();
    last().say({ kind: "frame", text: PIECE });
    last().say({ kind: "handed_in" });
    keeper.connect(WELCOME, "tab somebody");
    assert.ok(!sent.includes(PIECE), "a tab has no use for it");
    keeper.connect({ ...WELCOME, guid });
    assert.equal(sent.includes(PIECE), guid === WELCOME.guid);
  }
});

test("a node that does not answer is not waited for", () => {
  const { keeper, clock, last } = up();
  const before = last();
  keeper.renew();
  clock.pass(HAND_IN_MS);
  assert.ok(before.terminated);
  assert.notEqual(last(), before);
});

test("how far its log goes is known when it ends, and the epoch that it left when it follows another", () => {
  const { keeper, sent, last } = up();
  const left = { node: "n1", epoch: 1, term: 2, index: 30, voters: ["n1"] };
  const status: NodeToNet = {
    kind: "status",
    role: "follower",
    epoch: 2,
    term: 1,
    leaderId: null,
    successors: [],
    hosting: false,
    quorum: false,
    left: [left],
  };
  last().say(status);
  last().say(status);
  const position = { ...left, epoch: 2, index: 41 };
  last().say({ kind: "position", left: position });
  keeper.leave();
  assert.deepEqual(sent, [
    { type: "node_update", node_id: "n1", visible: true, epoch: 2, left: [left] },
    { type: "node_down", node_id: "n1", reason: "leaving", left: [left, position] },
  ]);
});

test("a leader tells of its history", () => {
  const { sent, last } = up();
  const history = { epoch: 3, lineage: [] };
  const status = { kind: "status", role: "leader", epoch: 3, term: 4, history } as const;
  const rest = { leaderId: "n1", successors: ["n1"], hosting: true, quorum: true, left: [] };
  last().say({ ...status, ...rest });
  const leads = { epoch: 3, term: 4, history };
  assert.deepEqual(sent, [{ type: "node_update", node_id: "n1", visible: true, epoch: 3, leads }]);
});

test("at another bridge the page's own runtime is used, from its own origin", () => {
  const { keeper, last } = kept();
  keeper.connect({ ...WELCOME, runtime: "/ftweb/runtime/other/" }, "http://192.0.2.8:8765");
  keeper.allow();
  assert.equal(last().url, `${HOME.runtime}node-worker.js`);
});
