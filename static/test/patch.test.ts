/** JSON Patch against an independent implementation, and the rules at the top of patch.ts. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { createPatch } from "rfc6902";

import type { Json } from "../src/json";
import { applyPatch, freeze, PatchError, type Operation } from "../src/patch";

/** Deterministic numbers in [0, 1): a failing round can be run again. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomValue(random: () => number, depth: number): Json {
  const kind = Math.floor(random() * (depth > 0 ? 7 : 5));
  const few = Math.floor(random() * 4);
  switch (kind) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return Math.floor(random() * 5);
    case 3:
    case 4:
      return ["", "a", "~1/", "ü"][few] ?? "";
    case 5:
      return Array.from({ length: few }, () => randomValue(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: few }, () => [
          ["a", "b/c", "d~e", "", "0"][Math.floor(random() * 5)] ?? "",
          randomValue(random, depth - 1),
        ]),
      );
  }
}

test("any patch that another implementation makes leads to the same value", () => {
  const random = numbers(314);
  for (let round = 0; round < 3_000; round++) {
    const before = randomValue(random, 3);
    const after = randomValue(random, 3);
    const untouched = structuredClone(before);
    const patch = createPatch(before, after) as unknown as Operation[];
    assert.deepEqual(applyPatch(freeze(before), patch), after, `round ${round}`);
    assert.deepEqual(before, untouched, `round ${round} changed its input`);
  }
});

const appendixA: readonly (readonly [string, Json, Operation[], Json])[] = [
  // RFC 6902, appendix A, by section.
  ["A.1", { foo: "bar" }, [{ op: "add", path: "/baz", value: "qux" }], { baz: "qux", foo: "bar" }],
  [
    "A.2",
    { foo: ["bar", "baz"] },
    [{ op: "add", path: "/foo/1", value: "qux" }],
    { foo: ["bar", "qux", "baz"] },
  ],
  ["A.3", { baz: "qux", foo: "bar" }, [{ op: "remove", path: "/baz" }], { foo: "bar" }],
  [
    "A.4",
    { foo: ["bar", "qux", "baz"] },
    [{ op: "remove", path: "/foo/1" }],
    { foo: ["bar", "baz"] },
  ],
  [
    "A.5",
    { baz: "qux", foo: "bar" },
    [{ op: "replace", path: "/baz", value: "boo" }],
    { baz: "boo", foo: "bar" },
  ],
  [
    "A.6",
    { foo: { bar: "baz", waldo: "fred" }, qux: { corge: "grault" } },
    [{ op: "move", from: "/foo/waldo", path: "/qux/thud" }],
    { foo: { bar: "baz" }, qux: { corge: "grault", thud: "fred" } },
  ],
  [
    "A.7",
    { foo: ["all", "grass", "cows", "eat"] },
    [{ op: "move", from: "/foo/1", path: "/foo/3" }],
    { foo: ["all", "cows", "eat", "grass"] },
  ],
  [
    "A.8",
    { baz: "qux", foo: ["a", 2, "c"] },
    [
      { op: "test", path: "/baz", value: "qux" },
      { op: "test", path: "/foo/1", value: 2 },
    ],
    { baz: "qux", foo: ["a", 2, "c"] },
  ],
  [
    "A.10",
    { foo: "bar" },
    [{ op: "add", path: "/child", value: { grandchild: {} } }],
    { foo: "bar", child: { grandchild: {} } },
  ],
  ["A.14", { "/": 9, "~1": 10 }, [{ op: "test", path: "/~01", value: 10 }], { "/": 9, "~1": 10 }],
  [
    "A.16",
    { foo: ["bar"] },
    [{ op: "add", path: "/foo/-", value: ["abc", "def"] }],
    { foo: ["bar", ["abc", "def"]] },
  ],
  ["copy", { a: { b: 1 } }, [{ op: "copy", from: "/a", path: "/c" }], { a: { b: 1 }, c: { b: 1 } }],
  ["the whole", { a: 1 }, [{ op: "replace", path: "", value: [1] }], [1]],
];

for (const [name, before, patch, after] of appendixA) {
  test(`RFC 6902: ${name}`, () => assert.deepEqual(applyPatch(before, patch), after));
}

const wrong: readonly (readonly [string, Json, Operation])[] = [
  ["A.9: a test that fails", { baz: "qux" }, { op: "test", path: "/baz", value: "bar" }],
  ["A.12: no parent", { foo: "bar" }, { op: "add", path: "/baz/bat", value: "qux" }],
  ["A.15: text is no number", { "/": 9 }, { op: "test", path: "/~1", value: "9" }],
  ["replace what is not there", {}, { op: "replace", path: "/a", value: 1 }],
  ["remove what is not there", {}, { op: "remove", path: "/a" }],
  ["remove what is inherited", {}, { op: "remove", path: "/toString" }],
  ["replace what is inherited", {}, { op: "replace", path: "/constructor/name", value: 1 }],
  ["move from nowhere", {}, { op: "move", from: "/a", path: "/b" }],
  ["move into itself", { a: { b: 1 } }, { op: "move", from: "/a", path: "/a/b" }],
  ["move into itself, in a list", [{}, {}], { op: "move", from: "/0", path: "/0/x" }],
  ["an index past the end", [1], { op: "add", path: "/2", value: 1 }],
  ["replace at the end", [1], { op: "replace", path: "/1", value: 1 }],
  ["an index with a zero in front", [1, 2], { op: "remove", path: "/01" }],
  ["an index that is none", [1], { op: "remove", path: "/length" }],
  ["a negative index", [1], { op: "remove", path: "/-1" }],
  ["the dash where nothing is added", [1], { op: "remove", path: "/-" }],
  ["into a text", { a: "b" }, { op: "add", path: "/a/0", value: 1 }],
  ["into null", { a: null }, { op: "add", path: "/a/b", value: 1 }],
  ["no value", {}, { op: "add", path: "/a" }],
  ["no path", {}, { op: "add", value: 1 }],
  ["a path without its slash", { a: 1 }, { op: "remove", path: "a" }],
  ["an unknown operation", {}, { op: "increment", path: "/a" }],
  ["a list equal to an object", { a: [] }, { op: "test", path: "/a", value: {} }],
];

for (const [name, document, operation] of wrong) {
  test(`refused: ${name}`, () => {
    const before = structuredClone(document);
    assert.throws(() => applyPatch(document, [operation]), PatchError);
    assert.deepEqual(document, before);
  });
}

function at(value: Json, key: string): Json {
  return Reflect.get(value as object, key) as Json;
}

test("what a patch does not touch is shared, and everything is frozen", () => {
  const before = freeze({ ballots: { a: "A" }, polls: [{ open: true }] });
  const after = applyPatch(before, [{ op: "add", path: "/ballots/b", value: { choice: ["B"] } }]);
  assert.equal(at(after, "polls"), at(before, "polls"));
  assert.notEqual(at(after, "ballots"), at(before, "ballots"));
  assert.deepEqual(at(before, "ballots"), { a: "A" });
  assert.throws(() => Object.assign(at(after, "ballots") as object, { c: "C" }), TypeError);
  const added = at(at(at(after, "ballots"), "b"), "choice") as string[];
  assert.throws(() => added.push("A"), TypeError);
});

test("operations of one patch do not see into one another's places", () => {
  const before = freeze({ a: { list: [1], votes: {} }, b: null });
  const patch: Operation[] = [
    { op: "add", path: "/a/list/-", value: 2 },
    { op: "copy", from: "/a", path: "/b" },
    { op: "add", path: "/a/list/-", value: 3 },
    { op: "add", path: "/b/votes/x", value: { choice: "A" } },
    { op: "copy", from: "/b/votes/x", path: "/b/votes/y" },
    { op: "replace", path: "/b/votes/y/choice", value: "B" },
    { op: "move", from: "/b/votes/x", path: "/a/votes/x" },
    { op: "replace", path: "/a/votes/x/choice", value: "C" },
  ];
  const wanted = {
    a: { list: [1, 2, 3], votes: { x: { choice: "C" } } },
    b: { list: [1, 2], votes: { y: { choice: "B" } } },
  };
  assert.deepEqual(applyPatch(before, patch), wanted);
  assert.deepEqual(before, { a: { list: [1], votes: {} }, b: null });
  assert.deepEqual(applyPatch(before, patch), wanted, "nor does the patch change");
});

test("a patch that fails half-way has changed nothing", () => {
  const before = { votes: { a: 1 } };
  const patch: Operation[] = [
    { op: "add", path: "/votes/b", value: 2 },
    { op: "remove", path: "/votes/c" },
  ];
  assert.throws(() => applyPatch(before, patch), PatchError);
  assert.deepEqual(before, { votes: { a: 1 } });
});

test("a key called __proto__ is a key", () => {
  const document = JSON.parse('{"votes":{}}') as Json;
  const patch = JSON.parse(
    '[{"op":"add","path":"/votes/__proto__","value":{"evil":1}},' +
      '{"op":"add","path":"/votes/constructor","value":2}]',
  ) as Operation[];
  const after = applyPatch(document, patch);
  assert.equal(JSON.stringify(after), '{"votes":{"__proto__":{"evil":1},"constructor":2}}');
  assert.equal(({} as { evil?: number }).evil, undefined);
  const votes = Reflect.get(after as object, "votes") as object;
  assert.equal(Object.getPrototypeOf(votes), Object.prototype);
  const again = applyPatch(after, [{ op: "remove", path: "/votes/__proto__" }]);
  assert.equal(JSON.stringify(again), '{"votes":{"constructor":2}}');
});
