/** What a page holds for those who send to its server. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import type { FlyWebFetchEvent } from "../src/flyweb-events";
import { Streams } from "../src/flyweb-streams";
import * as wire from "../src/flyweb-wire";
import { unpack } from "../src/msgpack";

declare const FTWEB_ROOT: string;

const file = `${FTWEB_ROOT}/tests/vectors/http-frames.json`;
const vectors = JSON.parse(readFileSync(file, "utf8")) as { readonly open: string };

/** The vector's request, with a body, as another stream. */
function open(stream: number): ArrayBuffer {
  const bytes = Uint8Array.from(Buffer.from(vectors.open, "hex"));
  bytes[1] = 0;
  bytes[5] = stream;
  return bytes.buffer;
}

function data(stream: number, size: number, flags = 0): ArrayBuffer {
  return wire.encode(wire.DATA, stream, new Uint8Array(size), flags).buffer;
}

test("bodies that wait for their ends are bounded, one by one and all together", async () => {
  const heads = new Map<number, number[]>();
  let asked = 0;
  const streams = new Streams(
    {
      origin: "http://x",
      dispatch: (event) => {
        asked += 1;
        (event as FlyWebFetchEvent).respondWith(new Response("yes"));
      },
      post: (message) => {
        for (const frame of wire.split(message.buffer)) {
          if (frame.kind !== wire.HEAD) continue;
          const [status] = unpack(frame.payload) as [number];
          heads.set(frame.stream, [...(heads.get(frame.stream) ?? []), status]);
        }
      },
    },
    { body: 100, bodies: 250 },
  );
  for (const stream of [1, 2, 3, 4]) streams.received(open(stream));
  for (const stream of [1, 2, 3]) streams.received(data(stream, 90));
  for (let more = 0; more < 3; more++) streams.received(data(3, 90));
  for (let more = 0; more < 3; more++) streams.received(data(4, 101));
  streams.received(data(1, 10, wire.END));
  streams.received(data(2, 0, wire.END));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(
    [...heads].sort(([one], [other]) => one - other),
    [
      [1, [200]],
      [2, [200]],
      [3, [503]],
      [4, [413]],
    ],
  );
  assert.equal(asked, 2);
  for (const stream of [5, 6]) {
    streams.received(open(stream));
    streams.received(data(stream, 100, wire.END));
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual([heads.get(5), heads.get(6)], [[200], [200]], "what was taken counts no more");
});

test("a handler may answer later, once, and nobody minds if the client has not waited", async () => {
  const events = new Map<string, FlyWebFetchEvent>();
  const answered: [number, number][] = [];
  const streams = new Streams({
    origin: "http://x",
    dispatch: (event) => events.set(`${events.size + 1}`, event as FlyWebFetchEvent),
    post: (message) => {
      for (const frame of wire.split(message.buffer)) {
        if (frame.kind !== wire.HEAD) continue;
        answered.push([frame.stream, (unpack(frame.payload) as [number])[0]]);
      }
    },
  });
  for (const stream of [1, 2]) {
    streams.received(open(stream));
    streams.received(data(stream, 0, wire.END));
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(answered, []);
  streams.received(wire.encodeReset(2, "gone").buffer);
  for (const event of events.values()) event.respondWith(new Response("late"));
  assert.throws(() => events.get("1")?.respondWith(new Response("again")), {
    name: "InvalidStateError",
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(answered, [[1, 200]]);
});
