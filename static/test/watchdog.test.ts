/** Ends what hangs, and nothing else. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { RequestId } from "../src/frames";
import { Watchdog } from "../src/watchdog";
import { ManualClock } from "./support/clock";

const REQUEST = { client_id: "c1", session: 7, serial: 3 };
const OTHER = { client_id: "c2", session: 8, serial: 1 };
const SLICE = 1000;

function watchdog(): { clock: ManualClock; dog: Watchdog; stuck: RequestId[] } {
  const clock = new ManualClock();
  const stuck: RequestId[] = [];
  return { clock, stuck, dog: new Watchdog(clock, (request) => stuck.push(request)) };
}

test("a handler that never ends is found, and its request named", () => {
  const { clock, dog, stuck } = watchdog();
  dog.begin(REQUEST, SLICE);
  clock.pass(SLICE - 1);
  assert.deepEqual(stuck, []);
  clock.pass(1);
  assert.deepEqual(stuck, [REQUEST]);
  clock.pass(10 * SLICE);
  assert.equal(stuck.length, 1);
});

test("a handler that ends in time is not", () => {
  const { clock, dog, stuck } = watchdog();
  dog.begin(REQUEST, SLICE);
  clock.pass(SLICE - 1);
  dog.end();
  clock.pass(10 * SLICE);
  assert.deepEqual(stuck, []);
});

test("each handler has a slice of its own", () => {
  const { clock, dog, stuck } = watchdog();
  for (let round = 0; round < 5; round++) {
    dog.begin(REQUEST, SLICE);
    clock.pass(SLICE * 0.9);
    dog.end();
  }
  dog.begin(OTHER, SLICE);
  clock.pass(SLICE);
  assert.deepEqual(stuck, [OTHER]);
});

test("a watchdog that stood still itself gives one more slice", () => {
  const { clock, dog, stuck } = watchdog();
  dog.begin(REQUEST, SLICE);
  clock.stall(60_000);
  assert.deepEqual(stuck, [], "what ended meanwhile may be in the queue");
  dog.end();
  clock.pass(10 * SLICE);
  assert.deepEqual(stuck, []);
});

test("and after that slice it does end what hangs", () => {
  const { clock, dog, stuck } = watchdog();
  dog.begin(REQUEST, SLICE);
  clock.stall(60_000);
  clock.pass(SLICE);
  assert.deepEqual(stuck, [REQUEST]);
});
