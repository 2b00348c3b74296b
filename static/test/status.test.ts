/** What a person is told, and when. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { FtwebStatus } from "../src/channels";
import type { Status } from "../src/frames";
import { NOTHING_KNOWN, StatusKeeper, toStatus } from "../src/status";
import { NO_QUORUM_MS, OFFLINE_MS, TAKING_OVER_MS } from "../src/timing";
import { WELCOME } from "./support/bridge";
import { ManualClock } from "./support/clock";

const HOSTED: Status = {
  type: "status",
  epoch: 1,
  term: 3,
  host: "n1",
  successors: ["n1", "n2", "b1"],
  quorum: true,
  participants: 4,
  bridges: [],
  provisional: false,
};
const HOSTLESS: Status = { ...HOSTED, host: null };
const SPLIT: Status = { ...HOSTLESS, quorum: false };

interface Watched {
  readonly clock: ManualClock;
  readonly keeper: StatusKeeper;
  readonly told: FtwebStatus[];
  readonly last: () => FtwebStatus;
}

function watched(): Watched {
  const clock = new ManualClock();
  const told: FtwebStatus[] = [];
  const keeper = new StatusKeeper(clock, (status) => told.push(status));
  const last = (): FtwebStatus => {
    const status = told.at(-1);
    assert.ok(status);
    return status;
  };
  return { clock, keeper, told, last };
}

/** Connected, with a host. */
function connected(): Watched {
  const all = watched();
  all.keeper.learn({ welcome: WELCOME, connected: true, via: "http://192.0.2.1:8765" });
  all.keeper.learn({ status: HOSTED, heard: true });
  return all;
}

/** The words shown, each once in a row. */
function words(told: readonly FtwebStatus[]): string[] {
  return told.map(({ state }) => state).filter((word, at, all) => word !== all[at - 1]);
}

test("before the first welcome: offline, and connecting", () => {
  const status = toStatus(NOTHING_KNOWN, "offline");
  assert.equal(status.text, "Connecting…");
  assert.equal(status.clientId, null);
  assert.equal(status.nodeId, null);
  assert.equal(status.ready, false);
});

test("a bridge that goes to another epoch has another id, and is still one", () => {
  const { keeper, last } = connected();
  const bridges = ["b2", "c1"].map((node_id) => ({ node_id, urls: [], clients: 1 }));
  keeper.learn({ status: { ...HOSTED, bridges } });
  assert.deepEqual(last().bridges, ["b2", "c1"]);
});

test("part of the group cannot be heard: said, while all else is well", () => {
  const { keeper, told, last } = connected();
  keeper.learn({ status: { ...HOSTED, epoch: 2, provisional: true } });
  assert.equal(last().state, "provisional");
  assert.equal(last().provisional, true);
  assert.match(last().text, /cannot be heard/);
  keeper.learn({ status: { ...HOSTED, epoch: 2 } });
  assert.deepEqual(words(told), ["offline", "connected", "provisional", "connected"]);
});

test("joining a group that is well goes straight to connected", () => {
  const { told, last } = connected();
  assert.deepEqual(words(told), ["offline", "connected"]);
  const { text: _, ...rest } = last();
  assert.deepEqual(rest, {
    state: "connected",
    clientId: "c1",
    deviceId: "d1",
    nodeId: null,
    role: "observer",
    hosting: false,
    ready: false,
    bootMilliseconds: null,
    epoch: 1,
    term: 3,
    hostId: "n1",
    successors: ["n1", "n2", "b1"],
    bridge: "http://192.0.2.1:8765",
    bridges: ["b1"],
    quorum: true,
    provisional: false,
    pending: 0,
    participants: 4,
    channels: 0,
    error: null,
  });
});

test("a quick hand-over is not shown as a state, though its facts are", () => {
  const { clock, keeper, told, last } = connected();
  keeper.learn({ status: HOSTLESS });
  assert.equal(last().hostId, null);
  clock.pass(TAKING_OVER_MS - 1);
  keeper.learn({ status: { ...HOSTED, term: 4, host: "n2" } });
  clock.pass(10_000);
  assert.deepEqual(words(told), ["offline", "connected"]);
});

test("a slower one is, and ends at once", () => {
  const { clock, keeper, told } = connected();
  keeper.learn({ status: HOSTLESS });
  clock.pass(TAKING_OVER_MS);
  keeper.learn({ status: { ...HOSTED, term: 4, host: "n2" } });
  assert.deepEqual(words(told), ["offline", "connected", "taking-over", "connected"]);
});

test("no quorum is said after its time, until there is a host again", () => {
  const { clock, keeper, told, last } = connected();
  keeper.learn({ status: SPLIT });
  clock.pass(NO_QUORUM_MS - 1);
  assert.equal(last().state, "taking-over");
  clock.pass(1);
  assert.equal(last().state, "no-quorum");
  keeper.learn({ status: HOSTLESS });
  assert.equal(last().state, "taking-over");
  keeper.learn({ status: HOSTED });
  assert.deepEqual(words(told).slice(1), [
    "connected",
    "taking-over",
    "no-quorum",
    "taking-over",
    "connected",
  ]);
});

test("a split from before the link broke is not counted on", () => {
  const { clock, keeper, last } = connected();
  keeper.learn({ status: SPLIT });
  keeper.learn({ connected: false, heard: false });
  clock.pass(60_000);
  keeper.learn({ connected: true });
  keeper.learn({ status: SPLIT, heard: true });
  assert.equal(last().state, "taking-over");
  clock.pass(NO_QUORUM_MS);
  assert.equal(last().state, "no-quorum");
});

test("a quick reconnect is not shown", () => {
  const { clock, keeper, told, last } = connected();
  keeper.learn({ connected: false, heard: false });
  assert.equal(last().bridge, null);
  assert.equal(last().quorum, false);
  clock.pass(OFFLINE_MS - 1);
  keeper.learn({ connected: true });
  keeper.learn({ status: HOSTED, heard: true });
  clock.pass(10_000);
  assert.deepEqual(words(told), ["offline", "connected"]);
});

test("a bridge that is gone is: it is me, or it", () => {
  const { clock, keeper, told } = connected();
  keeper.learn({ connected: false, heard: false });
  clock.pass(OFFLINE_MS);
  keeper.learn({ connected: true });
  assert.equal(words(told).at(-1), "offline", "not before the bridge has told its status");
  keeper.learn({ status: HOSTED, heard: true });
  assert.deepEqual(words(told), ["offline", "connected", "offline", "connected"]);
});

test("back to a bridge without a host: never a moment of connected", () => {
  const { clock, keeper, told } = connected();
  keeper.learn({ connected: false, heard: false });
  clock.pass(OFFLINE_MS);
  keeper.learn({ connected: true });
  keeper.learn({ status: HOSTLESS, heard: true });
  clock.pass(1000);
  assert.deepEqual(words(told), ["offline", "connected", "offline", "taking-over"]);
});

test("a status that is the same is told once", () => {
  const { keeper, told } = connected();
  const before = told.length;
  keeper.learn({ status: { ...HOSTED, successors: [...HOSTED.successors] } });
  keeper.learn({ pending: 0 });
  assert.equal(told.length, before);
});

test("before the first host it is not called a take-over", () => {
  const { clock, keeper, last } = watched();
  keeper.learn({ welcome: WELCOME, connected: true });
  keeper.learn({ status: HOSTLESS, heard: true });
  clock.pass(TAKING_OVER_MS + OFFLINE_MS);
  assert.equal(last().state, "taking-over");
  assert.match(last().text, /Getting ready/);
});

test("an end for good says why, and nothing follows", () => {
  const { clock, keeper, last, told } = connected();
  const error = { code: "bad_token", message: "The join token is wrong." };
  keeper.learn({ error, ended: true, connected: false, heard: false });
  assert.equal(last().state, "offline");
  assert.equal(last().text, error.message);
  const before = told.length;
  clock.pass(60_000);
  assert.equal(told.length, before);
});

test("the sentence tells who hosts, and what to expect", () => {
  const { clock, keeper, last } = connected();
  assert.equal(last().text, "Connected.");
  const node = { kind: "status", role: "leader", epoch: 1, term: 3, leaderId: "n1" } as const;
  keeper.learn({
    nodeId: "n1",
    node: { ...node, successors: [], hosting: true, quorum: true, left: [] },
  });
  assert.match(last().text, /This tab hosts/);
  assert.equal(last().role, "leader");
  assert.equal(last().ready, true);
  keeper.learn({ status: HOSTLESS, node: undefined });
  clock.pass(TAKING_OVER_MS);
  assert.match(last().text, /another one is taking over/);
});
