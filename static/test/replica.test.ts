/** The change stream: by position, never by guess. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Change, State } from "../src/frames";
import { follow, NOWHERE, Replica } from "../src/replica";

function state(epoch: number, index: number, value: State["value"]): State {
  return { type: "state", epoch, index, value };
}

function change(epoch: number, after: number, index: number, key: string): Change {
  const patch = [{ op: "add", path: `/${key}`, value: index }];
  return { type: "change", epoch, after, index, patch };
}

test("a state, then changes from index to index", () => {
  const replica = new Replica();
  assert.equal(replica.value, undefined);
  assert.equal(replica.take(state(1, 5, {})), "changed");
  assert.equal(replica.take(change(1, 5, 7, "a")), "changed");
  assert.equal(replica.take(change(1, 7, 8, "b")), "changed");
  assert.deepEqual(replica.value, { a: 7, b: 8 });
  assert.deepEqual(replica.position, { epoch: 1, index: 8 });
});

test("a change before any state is a gap", () => {
  assert.equal(new Replica().take(change(1, 0, 1, "a")), "gap");
});

test("what was seen is not applied again", () => {
  const replica = new Replica();
  replica.take(state(1, 5, {}));
  replica.take(change(1, 5, 7, "a"));
  const before = replica.value;
  assert.equal(replica.take(change(1, 5, 7, "a")), "seen");
  assert.equal(replica.take(state(1, 7, { other: true })), "seen");
  assert.equal(replica.take(state(1, 6, { older: true })), "seen");
  assert.equal(replica.value, before);
});

test("a missing change is a gap, which a whole state heals", () => {
  const replica = new Replica();
  replica.take(state(1, 5, {}));
  assert.equal(replica.take(change(1, 7, 8, "b")), "gap");
  assert.deepEqual(replica.value, {});
  assert.equal(replica.take(state(1, 8, { a: 7, b: 8 })), "changed");
  assert.deepEqual(replica.value, { a: 7, b: 8 });
});

test("a patch that does not apply is a gap and changes nothing", () => {
  const replica = new Replica();
  replica.take(state(1, 5, { a: 1 }));
  const patch = [
    { op: "add", path: "/b", value: 1 },
    { op: "remove", path: "/missing" },
  ];
  assert.equal(replica.take({ type: "change", epoch: 1, after: 5, index: 6, patch }), "gap");
  assert.deepEqual(replica.value, { a: 1 });
  assert.deepEqual(replica.position, { epoch: 1, index: 5 });
});

test("another epoch replaces, whatever its number and its indexes", () => {
  const replica = new Replica();
  replica.take(state(1, 50, { old: true }));
  assert.equal(replica.take(change(2, 50, 51, "a")), "gap");
  assert.equal(replica.take(state(2, 3, { fresh: true })), "changed");
  assert.equal(replica.take(change(1, 50, 60, "a")), "gap", "its position says nothing here");
  assert.deepEqual(replica.value, { fresh: true });
  // Two histories have met, and the one with the lower number has stayed.
  assert.equal(replica.take(state(1, 2, { stayed: true })), "changed");
  assert.deepEqual(replica.position, { epoch: 1, index: 2 });
});

test("another server's state is taken after a reset", () => {
  const replica = new Replica();
  replica.take(state(3, 50, { old: true }));
  replica.reset();
  assert.equal(replica.take(change(1, 1, 2, "a")), "gap");
  assert.equal(replica.take(state(1, 1, { other: true })), "changed");
  assert.deepEqual(replica.value, { other: true });
});

test("the worker follows without a value", () => {
  assert.equal(follow(NOWHERE, state(1, 1, null)), "apply");
  assert.equal(follow({ epoch: 1, index: 5 }, change(1, 5, 6, "a")), "apply");
  assert.equal(follow({ epoch: 1, index: 5 }, change(1, 4, 6, "a")), "gap");
});
