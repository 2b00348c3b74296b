/** The first socket that opens is taken; dead addresses cost a moment. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Dialer } from "../src/dialing";
import type { Target } from "../src/targets";
import { DIAL_MS, DIAL_NEXT_MS, KEEP_MS, SPREAD_MS, SUSPECT_MS } from "../src/timing";
import { ManualClock } from "./support/clock";
import { PlayedSocket } from "./support/socket";

interface Played {
  readonly clock: ManualClock;
  readonly dialer: Dialer;
  readonly sockets: Map<string, PlayedSocket>;
  /** Names of the targets at which sockets were opened. */
  readonly opened: string[];
  readonly told: string[];
  readonly targets: readonly Target[];
}

function played(...names: string[]): Played {
  const clock = new ManualClock();
  const told: string[] = [];
  const opened: string[] = [];
  const sockets = new Map<string, PlayedSocket>();
  const dialer = new Dialer(clock, {
    opened: (_, { name }) => told.push(name),
    failed: () => told.push("failed"),
  });
  const targets = names.map((name) => ({
    name,
    open: () => {
      if (name === "refused by the browser") throw new Error("SecurityError");
      opened.push(name);
      const socket = new PlayedSocket();
      sockets.set(name, socket);
      return socket;
    },
  }));
  return { clock, dialer, sockets, opened, told, targets };
}

test("the first that opens is taken, the others are dropped", () => {
  const { clock, dialer, sockets, told, targets } = played("a", "b", "c");
  dialer.dial(targets);
  assert.deepEqual([...sockets.keys()], ["a"]);
  clock.pass(DIAL_NEXT_MS);
  assert.deepEqual([...sockets.keys()], ["a", "b"], "a dead address is not waited for");
  sockets.get("b")?.onopen?.();
  assert.deepEqual(told, ["b"]);
  assert.ok(sockets.get("a")?.closed);
  assert.equal(sockets.get("b")?.closed, false);
  assert.equal(dialer.dialing, false);
  clock.pass(DIAL_MS);
  assert.equal(sockets.size, 2);
});

test("a late answer still wins while the others are silent", () => {
  const { clock, dialer, sockets, told, targets } = played("a", "b");
  dialer.dial(targets);
  clock.pass(DIAL_NEXT_MS + 1000);
  sockets.get("a")?.onopen?.();
  assert.deepEqual(told, ["a"]);
  assert.ok(sockets.get("b")?.closed);
});

test("the second is tried after a jittered moment, those after it at once", () => {
  const { clock, dialer, sockets, told, targets } = played("a", "b", "c");
  clock.chance = 0.5;
  dialer.dial(targets);
  sockets.get("a")?.onclose?.();
  clock.pass(SPREAD_MS / 2 - 1);
  assert.equal(sockets.size, 1);
  clock.pass(1);
  assert.equal(sockets.size, 2);
  sockets.get("b")?.onclose?.();
  clock.pass(0);
  assert.equal(sockets.size, 3);
  sockets.get("c")?.onclose?.();
  assert.deepEqual(told, ["failed"]);
});

test("silence everywhere fails in the end", () => {
  const { clock, dialer, sockets, told, targets } = played("a", "b");
  dialer.dial(targets);
  clock.pass(DIAL_NEXT_MS + DIAL_MS - 1);
  assert.deepEqual(told, []);
  clock.pass(1);
  assert.deepEqual(told, ["failed"]);
  assert.equal(dialer.dialing, false);
  assert.equal(sockets.size, 2);
});

test("what is still connecting then is kept: no second socket to the same target", () => {
  const { clock, dialer, opened, told, targets } = played("a", "b");
  dialer.dial(targets);
  clock.pass(DIAL_NEXT_MS + DIAL_MS);
  dialer.dial(targets);
  clock.pass(DIAL_NEXT_MS + DIAL_MS);
  assert.deepEqual(told, ["failed", "failed"]);
  assert.deepEqual(opened, ["a", "b"]);
});

test("it is taken when it opens late, also between two rounds", () => {
  const { clock, dialer, sockets, told, targets } = played("a", "b");
  dialer.dial(targets);
  clock.pass(DIAL_NEXT_MS + DIAL_MS + 1000);
  sockets.get("a")?.onopen?.();
  assert.deepEqual(told, ["failed", "a"]);
  assert.ok(sockets.get("b")?.closed);
  assert.equal(clock.wait, undefined);
});

test("a kept one that fails lets the next round open another", () => {
  const { clock, dialer, opened, sockets, told, targets } = played("a");
  dialer.dial(targets);
  clock.pass(DIAL_MS);
  sockets.get("a")?.onclose?.();
  assert.deepEqual(told, ["failed"], "that round is over already");
  dialer.dial(targets);
  assert.deepEqual(opened, ["a", "a"]);
  sockets.get("a")?.onclose?.();
  assert.deepEqual(told, ["failed", "failed"]);
});

test("one that connects for very long is replaced", () => {
  const { clock, dialer, opened, sockets, told, targets } = played("a");
  dialer.dial(targets);
  const first = sockets.get("a");
  clock.pass(KEEP_MS - 1);
  dialer.dial(targets);
  assert.deepEqual(opened, ["a"]);
  clock.pass(1);
  assert.ok(first?.closed);
  assert.deepEqual(told, ["failed", "failed"], "it was all that this round had");
  dialer.dial(targets);
  assert.deepEqual(opened, ["a", "a"]);
});

test("after a sleep only sockets of this moment are trusted", () => {
  const { clock, dialer, opened, sockets, targets } = played("a", "b");
  dialer.dial(targets);
  const first = sockets.get("a");
  clock.pass(SUSPECT_MS);
  dialer.afresh();
  assert.equal(first?.closed, false);
  clock.pass(DIAL_NEXT_MS);
  dialer.afresh();
  assert.ok(first?.closed);
  assert.equal(sockets.get("b")?.closed, false);
  dialer.dial(targets);
  clock.pass(DIAL_NEXT_MS);
  assert.deepEqual(opened, ["a", "b", "a"]);
});

test("a target that the browser refuses is one that failed", () => {
  const { clock, dialer, sockets, told, targets } = played("refused by the browser", "b");
  dialer.dial(targets);
  clock.pass(SPREAD_MS);
  sockets.get("b")?.onopen?.();
  assert.deepEqual(told, ["b"]);
});

test("stopping leaves nothing behind", () => {
  const { clock, dialer, sockets, told, targets } = played("a", "b");
  dialer.dial(targets);
  dialer.stop();
  sockets.get("a")?.onopen?.();
  clock.pass(DIAL_MS);
  assert.deepEqual(told, []);
  assert.equal(sockets.size, 1);
  assert.equal(clock.wait, undefined);
});
