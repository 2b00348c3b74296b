/** Where a page tries, and in which order. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { BridgeAddress } from "../src/frames";
import { Bridges, type Occasion, type Socket, type Target } from "../src/targets";
import { ManualClock } from "./support/clock";

const HOME = "http://localhost:8765";
const A: BridgeAddress = { node_id: "a", urls: ["http://192.0.2.1:8765"], clients: 4 };
const B: BridgeAddress = { node_id: "b", urls: ["http://192.0.2.2:8765"], clients: 2 };
const C: BridgeAddress = {
  node_id: "c",
  urls: ["http://192.0.2.3:8765", "http://198.51.100.3:8765"],
  clients: 6,
};

interface Known {
  readonly clock: ManualClock;
  readonly bridges: Bridges;
  readonly opened: string[];
  readonly names: (occasion: Occasion, present?: Target) => string[];
}

function known(...list: BridgeAddress[]): Known {
  const clock = new ManualClock();
  const opened: string[] = [];
  const open = (url: string): Socket => {
    opened.push(url);
    throw new Error("not opened here");
  };
  const bridges = new Bridges(HOME, open, clock, list);
  const names = (occasion: Occasion, present?: Target): string[] =>
    bridges.round(occasion, present).map(({ name }) => name);
  return { clock, bridges, opened, names };
}

/** At home, where bridge A answers under a name that is in no list. */
function atHome(...list: BridgeAddress[]): Known & { home: Target } {
  const all = known(...list);
  const [home] = all.bridges.round("start", undefined);
  assert.ok(home);
  all.bridges.arrived(home, "a");
  return { ...all, home };
}

test("a page that knows nothing goes home, and only there", () => {
  const { bridges, names, opened } = known();
  assert.deepEqual(names("start"), [HOME]);
  assert.equal(bridges.several, false);
  const [home] = bridges.round("start", undefined);
  assert.throws(() => home?.open());
  assert.deepEqual(opened, ["ws://localhost:8765/ftweb/socket"]);
});

test("people are shown the addresses that others reach", () => {
  const { bridges } = known();
  assert.deepEqual(bridges.shown, [HOME]);
  bridges.learn([A, B]);
  assert.deepEqual(bridges.shown, [A.urls[0], B.urls[0]]);
});

test("each attempt has a path of its own until the bridge lets us in", () => {
  const { bridges, opened } = known();
  const [home] = bridges.round("start", undefined);
  const [again] = bridges.round("again", undefined);
  for (const target of [home, home, again]) assert.throws(() => target?.open());
  assert.ok(home);
  bridges.arrived(home, "a");
  assert.throws(() => again?.open());
  const paths = opened.map((url) => url.slice("ws://localhost:8765".length));
  assert.deepEqual(paths, ["/ftweb/socket", "/ftweb/socket/1", "/ftweb/socket/2", "/ftweb/socket"]);
});

test("what an earlier load knew is tried after home", () => {
  const { bridges, names } = known(B);
  bridges.learn([A, B]);
  assert.equal(bridges.several, true);
  assert.equal(names("start")[0], HOME);
  assert.deepEqual(new Set(names("start")), new Set([HOME, A.urls[0], B.urls[0]]));
});

test("the bridge that was lost first, then the others; not under its second name", () => {
  const { names, home } = atHome(A, B);
  assert.deepEqual(names("lost", home), [HOME, B.urls[0]]);
});

test("a bridge with a new id is still the one where it was reached", () => {
  const { bridges, names, home } = atHome(A, B);
  bridges.learn([{ ...A, node_id: "a2" }, B], HOME);
  assert.deepEqual(names("lost", home), [HOME, B.urls[0]]);
});

test("a bridge that sends us away, or is silent, is tried last", () => {
  const { names, home } = atHome(A, B);
  assert.deepEqual(names("move", home), [B.urls[0], HOME]);
  assert.deepEqual(names("silent", home), [B.urls[0], HOME]);
});

test("elsewhere, home is still known", () => {
  const { bridges, home, names } = atHome(A, B);
  const there = bridges.round("move", home)[0];
  assert.ok(there);
  bridges.arrived(there, "b");
  bridges.learn([B]);
  assert.deepEqual(names("lost", there), [B.urls[0], HOME]);
});

test("who must move chooses so that all have as many in the end", () => {
  // A's 4 are to be shared by B with 2 and C with 6: all 4 must go to B.
  const { clock, names, home } = atHome(A, B, C);
  for (const chance of [0, 0.3, 0.6, 0.999]) {
    clock.chance = chance;
    assert.equal(names("lost", home)[1], B.urls[0]);
  }
  // With 8 to share and 5 and 5 there, half of them each.
  const even = atHome({ ...A, clients: 8 }, { ...B, clients: 5 }, { ...C, clients: 5 });
  const chosen = [0, 0.25, 0.49, 0.51, 0.75, 0.999].map((chance) => {
    even.clock.chance = chance;
    return even.names("lost", even.home)[1]?.includes("192.0.2.2");
  });
  assert.deepEqual(chosen, [true, true, true, false, false, false]);
});

test("a bridge's further addresses have their turn in later rounds", () => {
  const { names, home } = atHome(C);
  const tried = new Set(
    [names("lost", home)[1], names("again", home), names("again", home)].flat(),
  );
  assert.ok(C.urls.every((url) => tried.has(url)));
});

test("after a failed round another one begins it", () => {
  const { names, home } = atHome(A, B);
  const firsts = new Set(Array.from({ length: 4 }, () => names("again", home)[0]));
  assert.deepEqual(firsts, new Set([HOME, B.urls[0]]));
});

test("what is no origin is no target", () => {
  const urls = [
    "javascript:alert(1)",
    "http://192.0.2.9/path",
    "http://user@192.0.2.9",
    "nonsense",
  ];
  const { names } = known({ node_id: "x", urls, clients: 0 });
  assert.deepEqual(names("start"), [HOME]);
});

test("other ways come after all bridges, but before them when one of them was lost", () => {
  const { bridges, names, home } = atHome(A, B);
  const way: Target = {
    name: "tab n7",
    open: () => {
      throw new Error();
    },
  };
  bridges.add(() => [way]);
  assert.deepEqual(names("lost", home), [HOME, B.urls[0], "tab n7"]);
  bridges.arrived(way, "n7");
  assert.equal(names("lost", way)[0], "tab n7");
  assert.equal(names("move", way).at(-1), "tab n7");
});
