/** A group that goes on without a bridge, and bridges that have begun another history. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Apart } from "../src/apart";
import type { Payload } from "../src/connection";
import { HOLD_MS, MEET_MS } from "../src/timing";
import { STATUS } from "./support/bridge";
import { ManualClock } from "./support/clock";

interface Made {
  readonly clock: ManualClock;
  readonly apart: Apart;
  readonly node: { epoch: number; member: boolean; livesOn: boolean };
}

function made(node: Partial<Made["node"]> = {}): Made {
  const clock = new ManualClock();
  const whole = { epoch: 5, member: true, livesOn: true, ...node };
  return { clock, apart: new Apart(clock, whole), node: whole };
}

const status = (epoch: number): Payload => ({ ...STATUS, epoch }) as unknown as Payload;
const state = (epoch: number): Payload => ({ type: "state", epoch, index: 3, value: null });
const MESSAGE: Payload = { type: "message", index: 9, position: 0, payload: "theirs" };
const OFFER = { type: "signal", kind: "offer" } as unknown as Payload;

test("a member stays in its history for a while after the group went on without a bridge", () => {
  const { clock, apart, node } = made();
  assert.ok(!apart.holds, "a bridge was there all the time: it knows best, also for a host");
  apart.goesOn();
  assert.ok(apart.holds);
  clock.pass(HOLD_MS - 1);
  assert.ok(apart.holds, "the next host may be about to be elected");
  node.epoch = 6;
  assert.ok(!apart.holds, "that was another history");
  node.epoch = 5;
  clock.pass(1);
  assert.ok(!apart.holds);
});

test("an observer has nothing to hold", () => {
  const { apart } = made({ member: false, livesOn: false });
  apart.goesOn();
  assert.ok(!apart.holds);
});

test("nothing counts that a bridge says of another history, until it comes over", () => {
  const { clock, apart } = made();
  assert.ok(!apart.isForeign(state(7)), "a host that was at a bridge all the time takes its word");
  apart.goesOn();
  assert.ok(!apart.isForeign(MESSAGE), "nothing is known against it yet");
  assert.ok(apart.isForeign(state(7)));
  assert.ok(apart.isForeign(MESSAGE));
  assert.ok(!apart.isForeign(OFFER), "channels have to do with no history");
  assert.ok(apart.isForeign(status(7)));
  clock.pass(MEET_MS - 1);
  assert.equal(apart.givesUp(), undefined);
  assert.ok(!apart.isForeign(status(5)), "it has come over");
  assert.ok(!apart.isForeign(MESSAGE));
  clock.pass(MEET_MS);
  assert.equal(apart.givesUp(), undefined);
});

test("a bridge that has no history yet is none of another", () => {
  const { apart } = made();
  apart.goesOn();
  assert.ok(!apart.isForeign(status(0)));
});

test("a bridge that stays in its own history is followed in the end", () => {
  const { clock, apart } = made();
  apart.goesOn();
  apart.isForeign(status(7));
  clock.pass(MEET_MS);
  assert.deepEqual(apart.givesUp(), status(7));
  assert.ok(!apart.holds);
  assert.equal(apart.givesUp(), undefined, "once");
});

test("whoever hosts nothing takes a bridge's word", () => {
  const { apart, node } = made();
  apart.goesOn();
  apart.isForeign(status(7));
  node.livesOn = false;
  assert.ok(!apart.isForeign(status(7)));
  assert.ok(!apart.isForeign(MESSAGE));
});
