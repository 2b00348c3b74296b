/** What an app may send. The bounds are those that a bridge would close the connection for. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RequestError } from "../src/errors";
import { toPayload, type Json } from "../src/json";

const LIMITS = { payload_bytes: 100, json_depth: 3, json_key_chars: 5 };

function refused(value: unknown, code: string): void {
  assert.throws(
    () => toPayload(value, LIMITS),
    (error) => error instanceof RequestError && error.code === code,
  );
}

test("JSON values pass as they are", () => {
  const values: Json[] = [null, true, 1.5, "ü𝄞", [], {}, { a: [{ b: null }] }];
  for (const value of values) assert.deepEqual(toPayload(value, LIMITS), value);
});

test("what is not quite JSON becomes it as JSON.stringify has it", () => {
  assert.equal(toPayload(undefined, LIMITS), null);
  assert.equal(toPayload(NaN, LIMITS), null);
  assert.deepEqual(toPayload({ a: undefined, b: new Date(0) }, LIMITS), {
    b: "1970-01-01T00:00:00.000Z",
  });
});

test("the payload is a copy: later changes do not travel", () => {
  const value = { a: [1] };
  const payload = toPayload(value, LIMITS);
  value.a.push(2);
  assert.deepEqual(payload, { a: [1] });
});

test("what is no JSON is refused", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  refused(circle, "bad_reply");
  refused(1n, "bad_reply");
  refused(() => 1, "bad_reply");
  refused(Symbol("x"), "bad_reply");
});

test("size counts bytes of UTF-8, up to the limit and no further", () => {
  assert.equal(toPayload("x".repeat(98), LIMITS), "x".repeat(98));
  refused("x".repeat(99), "too_large");
  assert.equal(toPayload("ü".repeat(49), LIMITS), "ü".repeat(49));
  refused("ü".repeat(50), "too_large");
});

test("nesting, up to the limit and no further", () => {
  assert.deepEqual(toPayload([[[1]]], LIMITS), [[[1]]]);
  refused([[[[]]]], "too_deep");
  refused({ a: { b: { c: {} } } }, "too_deep");
});

test("keys, counted in characters as the bridge does", () => {
  assert.deepEqual(toPayload({ "𝄞𝄞𝄞𝄞𝄞": 1 }, LIMITS), { "𝄞𝄞𝄞𝄞𝄞": 1 });
  refused({ abcdef: 1 }, "too_deep");
});

test("half a character cannot be written in UTF-8", () => {
  refused("\ud800", "bad_reply");
  refused({ "\udc00": 1 }, "bad_reply");
  refused(["a\ud83d"], "bad_reply");
});
