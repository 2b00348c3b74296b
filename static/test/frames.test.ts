/** The vectors shared with Python, and what is routed without being read. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { FrameError } from "../src/errors";
import { decode, encode, type Sent } from "../src/frames";

declare const FTWEB_ROOT: string;

interface Vector {
  readonly name: string;
  readonly frame: string;
  readonly valid: boolean;
}

const vectors = JSON.parse(
  readFileSync(`${FTWEB_ROOT}/tests/vectors/frames.json`, "utf8"),
) as Vector[];

const RECEIVED = new Set(
  "welcome error ping pong session reply outcome message state change status signal".split(" "),
);
const ROUTED = new Set("raft forward directory lost enter recall".split(" "));

function typeOf(vector: Vector): string {
  try {
    const { type } = JSON.parse(vector.frame) as { type: string };
    return type;
  } catch {
    return "";
  }
}

for (const vector of vectors) {
  const type = typeOf(vector);
  if (vector.valid && RECEIVED.has(type)) {
    test(`accepted: ${vector.name}`, () => {
      const frame = decode(vector.frame);
      assert.equal(frame.type, type);
      // Nothing known is lost; what was left out has its default.
      const sent = JSON.parse(vector.frame) as Record<string, unknown>;
      for (const [field, value] of Object.entries(sent)) {
        if (field !== "later") assert.deepEqual(Reflect.get(frame, field), value, field);
      }
    });
  } else if (vector.valid && ROUTED.has(type)) {
    test(`routed unread: ${vector.name}`, () => {
      assert.deepEqual(decode(vector.frame), { type: "for_node", text: vector.frame });
    });
  } else if (!vector.valid) {
    test(`refused: ${vector.name}`, () => {
      assert.throws(() => decode(vector.frame), FrameError);
    });
  }
}

test("defaults of fields left out", () => {
  assert.deepEqual(decode('{"type":"reply","serial":2}'), {
    type: "reply",
    serial: 2,
    payload: null,
    error: null,
    provisional: false,
  });
  assert.deepEqual(decode('{"type":"error","code":"x","message":"y"}'), {
    type: "error",
    code: "x",
    message: "y",
    fatal: true,
  });
});

test("a node's frame is found wherever its type stands", () => {
  const text = '{"node_id":"n1","type":"lost"}';
  assert.deepEqual(decode(text), { type: "for_node", text });
});

test("a type inside a payload routes nothing", () => {
  const frame = decode('{"type":"message","index":1,"position":0,"payload":{"type":"raft"}}');
  assert.equal(frame.type, "message");
});

const KEY = "0123456789abcdef0123456789abcdef";
const DEVICE = "f".repeat(32);
const NODE = "a".repeat(32);
const LEFT = { node: NODE, epoch: 1048577, term: 3, index: 41, voters: [NODE] };
const hello = {
  type: "hello",
  version: 1,
  client_key: KEY,
  device_key: DEVICE,
  token: "secret",
} as const;

/** What this side sends, under the name of the vector that it must equal. */
const sent: Readonly<Record<string, Sent>> = {
  "hello, first": hello,
  "hello, again": { ...hello, epoch: 1, state_index: 41, message_index: 40 },
  "ping, first": { type: "ping", n: 1 },
  "ping, with a round trip": { type: "ping", n: 2, rtt: 3.25 },
  pong: { type: "pong", n: 2 },
  bye: { type: "bye" },
  open_session: { type: "open_session" },
  request: {
    type: "request",
    session: 7,
    serial: 1,
    acknowledged: 0,
    payload: { type: "vote", poll_id: "1", choice: "B" },
  },
  "request, text of all kinds": {
    type: "request",
    session: 7,
    serial: 3,
    acknowledged: 2,
    payload: { text: 'Grüße "𝄞" \\ \u2028 <b>', "": [null, true, -0.5, 1e21, []] },
  },
  resync: { type: "resync" },
  node_up: { type: "node_up", node_id: NODE, visible: true },
  node_update: { type: "node_update", node_id: NODE, visible: false },
  "node_up of a leader that went on without a bridge": {
    type: "node_up",
    node_id: NODE,
    visible: true,
    epoch: 1048577,
    leads: { epoch: 1048577, term: 4, history: { bridge: NODE, epoch: 1048577 } },
  },
  "node_update, another epoch": {
    type: "node_update",
    node_id: NODE,
    visible: true,
    epoch: 2097153,
    left: [LEFT],
  },
  "node_down, with what it had": {
    type: "node_down",
    node_id: NODE,
    reason: "leaving",
    left: [LEFT],
  },
  "node_down, leaving": { type: "node_down", node_id: NODE, reason: "leaving" },
  "node_down, stuck": {
    type: "node_down",
    node_id: NODE,
    reason: "stuck",
    request: { client_id: KEY, session: 7, serial: 5 },
  },
};

for (const [name, frame] of Object.entries(sent)) {
  test(`sent as Python reads it: ${name}`, () => {
    const vector = vectors.find((candidate) => candidate.name === name);
    assert.ok(vector?.valid, `no valid vector ${name}`);
    assert.deepEqual(JSON.parse(encode(frame)), JSON.parse(vector.frame));
  });
}
