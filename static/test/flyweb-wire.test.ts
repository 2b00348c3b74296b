/** Frames of HTTP, byte for byte as Python has them (tests/vectors/http-frames.json). */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as wire from "../src/flyweb-wire";
import { join, pack, unpack } from "../src/msgpack";

interface Vectors {
  readonly open: string;
  readonly close: string;
  readonly credit: string;
  readonly from_page: Readonly<Record<string, string>>;
}

declare const FTWEB_ROOT: string;

const file = `${FTWEB_ROOT}/tests/vectors/http-frames.json`;
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vectors;

function bytes(digits: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString("hex");
}

function only(data: string): wire.Frame {
  const frames = Array.from(wire.split(bytes(data).buffer));
  assert.equal(frames.length, 1);
  return frames[0] as wire.Frame;
}

test("a request is read as the bridge told it", () => {
  const frame = only(vectors.open);
  assert.deepEqual([frame.kind, frame.flags, frame.stream], [wire.OPEN, wire.END, 7]);
  assert.deepEqual(wire.readOpen(frame), {
    kind: "http",
    method: "POST",
    target: "/%C3%BC?a=1",
    headers: [
      ["host", "x"],
      ["x-name", "Zoë"],
    ],
    subprotocols: ["a", "b"],
    window: 70_000,
    asks: true,
  });
});

test("close and credit are read", () => {
  assert.deepEqual(wire.readClose(only(vectors.close)), { code: 4001, reason: "as you wish" });
  assert.equal(wire.readCredit(only(vectors.credit)), 70_000);
});

test("what a page sends is what Python's test reads", () => {
  const sent = {
    head: wire.encodeHead(7, 201, [["x-name", "Zoë"]]),
    accept: wire.encodeAccept(7, "chat"),
    accept_nothing: wire.encodeAccept(7, null),
    close: wire.encodeClose(7, 3001, "bye"),
    reset: wire.encodeReset(7, "failed"),
    data: wire.encode(wire.DATA, 7, Uint8Array.of(1, 2), wire.END | wire.TEXT),
    credit: wire.encodeCredit(7, 70_000),
  };
  const found = Object.fromEntries(Object.entries(sent).map(([name, data]) => [name, hex(data)]));
  assert.deepEqual(found, vectors.from_page);
});

test("several frames in one message; one that is cut off is refused", () => {
  const whole = join([bytes(vectors.open), bytes(vectors.credit)]);
  assert.deepEqual(
    Array.from(wire.split(whole.buffer), (frame) => frame.kind),
    [wire.OPEN, wire.CREDIT],
  );
  assert.throws(() => Array.from(wire.split(whole.slice(0, -1).buffer)), /ends within/);
  assert.throws(() => wire.readOpen(only(vectors.close)));
});

test("msgpack of all that is used", () => {
  const value = [
    null,
    true,
    false,
    0,
    127,
    128,
    70_000,
    "",
    "ü".repeat(300),
    new Uint8Array(70_000),
  ];
  assert.deepEqual(unpack(pack([...value, [value]])), [...value, [value]]);
  assert.deepEqual(unpack(bytes("93a161c403010203cd0100")), ["a", Uint8Array.of(1, 2, 3), 256]);
  assert.throws(() => unpack(bytes("c1")), /not used/);
  assert.throws(() => unpack(bytes("c4ff01")), /too early/);
});
