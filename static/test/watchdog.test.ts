/** Ends what hangs, and nothing else. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { RequestId } from "../src/frames";
import { PULSE_LIMIT_MS, PULSE_MS } from "../src/timing";
import { Pulse, Watchdog } from "../src/watchdog";
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

function pulse(): { clock: ManualClock; heart: Pulse; log: string[] } {
  const clock = new ManualClock();
  const log: string[] = [];
  const heart = new Pulse(
    clock,
    () => log.push("asked"),
    () => log.push("dead"),
  );
  heart.alive();
  return { clock, heart, log };
}

test("a worker that answers is asked again and again", () => {
  const { clock, heart, log } = pulse();
  for (let round = 0; round < 3; round++) {
    clock.pass(PULSE_MS);
    clock.pass(PULSE_LIMIT_MS - 1);
    heart.alive();
  }
  assert.deepEqual(log, ["asked", "asked", "asked"]);
});

test("one that does not is dead, once", () => {
  const { clock, log } = pulse();
  clock.pass(PULSE_MS + PULSE_LIMIT_MS);
  assert.deepEqual(log, ["asked", "dead"]);
  clock.pass(10 * PULSE_LIMIT_MS);
  assert.equal(log.length, 2);
});

test("who stood still itself asks again", () => {
  const { clock, log } = pulse();
  clock.pass(PULSE_MS);
  clock.stall(10 * PULSE_LIMIT_MS);
  assert.deepEqual(log, ["asked", "asked"]);
  clock.pass(PULSE_LIMIT_MS);
  assert.deepEqual(log, ["asked", "asked", "dead"]);
});

test("an ended one is not asked", () => {
  const { clock, heart, log } = pulse();
  heart.end();
  clock.pass(10 * PULSE_LIMIT_MS);
  assert.deepEqual(log, []);
});
