/** The page's promises and callbacks. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { NetToPage, PageToNet } from "../src/channels";
import { ConnectError, RequestError } from "../src/errors";
import type { Json } from "../src/json";
import { joining, type Connection } from "../src/page";
import { NOTHING_KNOWN, toStatus } from "../src/status";
import { WELCOME } from "./support/bridge";

const STATUS = toStatus(NOTHING_KNOWN, "offline");

interface Joined {
  readonly connection: Connection;
  readonly said: PageToNet[];
  readonly hear: (message: NetToPage) => void;
}

async function joined(): Promise<Joined> {
  const said: PageToNet[] = [];
  const { joined: promise, hear } = joining(
    { postMessage: (message) => said.push(message) },
    STATUS,
  );
  hear({ kind: "status", status: { ...STATUS, participants: 3 } });
  hear({ kind: "welcome", welcome: WELCOME, another: false });
  return { connection: await promise, said, hear };
}

function state(index: number, value: Json): NetToPage {
  return { kind: "stream", frame: { type: "state", epoch: 1, index, value } };
}

function change(after: number, index: number, patch: Record<string, Json>[]): NetToPage {
  return { kind: "stream", frame: { type: "change", epoch: 1, after, index, patch } };
}

test("joining waits for the welcome and keeps the status that came before", async () => {
  const { connection } = await joined();
  assert.equal(connection.clientId, WELCOME.client_id);
  assert.equal(connection.deviceId, WELCOME.device_id);
  assert.equal(connection.name, "test");
  assert.equal(connection.presenter, false);
  assert.equal(connection.status().participants, 3);
  assert.equal(connection.state, undefined);
});

test("a refusal rejects with its code", async () => {
  const { joined: promise, hear } = joining({ postMessage: () => undefined }, STATUS);
  hear({ kind: "refused", code: "bad_token", message: "Scan again." });
  await assert.rejects(
    promise,
    (error) => error instanceof ConnectError && error.code === "bad_token",
  );
});

test("whoever shows the address to join is called when it changes, and only then", async () => {
  const { connection, hear } = await joined();
  const shown: string[] = [];
  connection.onStatus(() => shown.push(connection.joinUrl));
  hear({ kind: "welcome", welcome: WELCOME, another: false });
  const join_url = "http://198.51.100.9:8765/#join=T";
  hear({ kind: "welcome", welcome: { ...WELCOME, join_url }, another: false });
  assert.deepEqual(shown, ["", join_url]);
});

test("replies reach their own promise, in any order", async () => {
  const { connection, said, hear } = await joined();
  const replies = [connection.send({ n: 1 }), connection.send({ n: 2 })];
  assert.deepEqual(said, [
    { kind: "request", id: 1, payload: { n: 1 } },
    { kind: "request", id: 2, payload: { n: 2 } },
  ]);
  hear({ kind: "result", id: 2, payload: "two", error: null });
  hear({ kind: "result", id: 1, payload: "one", error: null });
  assert.deepEqual(await Promise.all(replies), ["one", "two"]);
});

test("an error rejects with its code and sentence", async () => {
  const { connection, hear } = await joined();
  const reply = connection.send(1);
  const error = { code: "poll_closed", message: "This poll is closed." };
  hear({ kind: "result", id: 1, payload: null, error });
  await assert.rejects(reply, (thrown) => {
    assert.ok(thrown instanceof RequestError);
    assert.equal(thrown.code, "poll_closed");
    assert.equal(thrown.message, "This poll is closed.");
    return true;
  });
});

test("a payload that cannot travel is refused at once and never sent", async () => {
  const { connection, said } = await joined();
  await assert.rejects(connection.send("x".repeat(70_000)), { code: "too_large" });
  await assert.rejects(connection.send(1n), { code: "bad_reply" });
  assert.deepEqual(said, []);
});

test("state watchers get what is there, then each change, frozen", async () => {
  const { connection, hear } = await joined();
  const seen: Json[] = [];
  connection.onState((value) => seen.push(value));
  assert.equal(seen.length, 0);
  hear(state(1, { votes: {} }));
  hear(change(1, 2, [{ op: "add", path: "/votes/a", value: 1 }]));
  connection.onState((value) => seen.push(value));
  assert.deepEqual(seen, [{ votes: {} }, { votes: { a: 1 } }, { votes: { a: 1 } }]);
  assert.ok(Object.isFrozen(connection.state));
  hear(change(1, 2, [{ op: "add", path: "/votes/a", value: 1 }]));
  assert.equal(seen.length, 3, "a repeated change");
});

test("a change that does not apply asks for the whole state, which heals it", async () => {
  const { connection, said, hear } = await joined();
  hear(state(1, {}));
  hear(change(1, 2, [{ op: "remove", path: "/missing" }]));
  assert.deepEqual(said, [{ kind: "resync" }]);
  assert.deepEqual(connection.state, {});
  hear(state(2, { healed: true }));
  assert.deepEqual(connection.state, { healed: true });
});

test("another server's state replaces a newer one of the old server", async () => {
  const { connection, hear } = await joined();
  hear(state(50, { old: true }));
  hear({ kind: "welcome", welcome: { ...WELCOME, guid: "g2", client_id: "c2" }, another: true });
  hear(state(1, { fresh: true }));
  assert.deepEqual(connection.state, { fresh: true });
  assert.equal(connection.clientId, "c2");
});

test("messages and status reach all who asked, until they no longer do", async () => {
  const { connection, hear } = await joined();
  const heard: Json[] = [];
  const counts: number[] = [];
  const receive = (message: Json): void => void heard.push(message);
  const stop = connection.onReceive(receive);
  connection.onReceive(receive);
  connection.onStatus((status) => counts.push(status.participants));
  hear({ kind: "message", payload: "a" });
  stop();
  hear({ kind: "message", payload: "b" });
  hear({ kind: "status", status: { ...STATUS, participants: 4 } });
  assert.deepEqual(heard, ["a", "a", "b"]);
  assert.deepEqual(counts, [3, 4]);
});

test("a watcher that throws keeps nobody else from being told", async (t) => {
  const { connection, hear } = await joined();
  const late: (() => void)[] = [];
  t.mock.method(globalThis, "setTimeout", (run: () => void) => late.push(run));
  const heard: Json[] = [];
  connection.onReceive(() => {
    throw new Error("the app's own");
  });
  connection.onReceive((message) => void heard.push(message));
  hear({ kind: "message", payload: "a" });
  assert.deepEqual(heard, ["a"]);
  assert.throws(() => late[0]?.(), /the app's own/, "and it is not swallowed");
});

test("closing tells the worker once; sending afterwards is refused", async () => {
  const { connection, said, hear } = await joined();
  const reply = connection.send(1);
  connection.close();
  connection.close();
  assert.deepEqual(said.slice(1), [{ kind: "close" }]);
  hear({ kind: "result", id: 1, payload: null, error: { code: "closed", message: "Closed." } });
  await assert.rejects(reply, { code: "closed" });
  await assert.rejects(connection.send(2), { code: "closed" });
});
