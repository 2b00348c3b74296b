/** Tabs that call one another, with the page and the network played by the test. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Channel, ToRtc } from "../src/channels";
import type { Source } from "../src/frames";
import type { Letter, Peer } from "../src/peer";
import { isOfAnotherEpoch, Peers, type Self } from "../src/peers";
import {
  BEAT_MS,
  BEATS_MISSED,
  CHANNEL_BACKLOG_BYTES,
  CHANNELS_ACCEPTED,
  CHANNELS_WANTED,
  CONNECT_MS,
  FRAME_CHARS,
  PIECE_CHARS,
  DOUBT_MS,
  PROBE_MS,
  REDIAL_BASE_MS,
} from "../src/timing";
import { ManualClock } from "./support/clock";

/** One end of a channel, as a port; the other end is told a millisecond later. */
class End {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  other: End | undefined;
  closed = false;

  constructor(
    private readonly clock: ManualClock,
    private readonly tab: Tab,
  ) {}

  postMessage(data: unknown): void {
    const { other } = this;
    this.clock.after(1, () => {
      if (other === undefined || other.closed || this.tab.dead || other.tab.dead) return;
      other.onmessage?.({ data });
    });
  }

  close(): void {
    this.closed = true;
  }
}

class Tab {
  readonly peers: Peers;
  readonly lost: string[] = [];
  readonly got: string[] = [];
  readonly heard: [Letter, string][] = [];
  readonly ends = new Map<string, End>();
  /** Its browser has been killed. */
  dead = false;
  /** Its peer connections come to nothing. */
  deaf = false;
  calls = 0;

  constructor(
    private readonly room: Room,
    readonly name: string,
    able = true,
  ) {
    this.peers = new Peers(room.clock, able, {
      order: (order) => this.obey(order),
      signal: (frame) => {
        const source: Source = { client_id: name, device_id: `d-${name}`, presenter: false };
        const to = room.tabs.find((tab) => tab.name === frame.to.replace(/^node-/, ""));
        room.clock.after(1, () => {
          if (this.dead) return;
          if (to?.dead === false) {
            to.peers.signalled({ sdp: "", ...frame, source, node_id: `node-${name}` });
          } else if (frame.kind === "offer") {
            const { link } = frame;
            this.peers.signalled({
              type: "signal",
              to: name,
              link,
              kind: "refuse",
              sdp: "",
              source: null,
              node_id: null,
            });
          }
        });
      },
      forNode: (text) => this.got.push(text),
      lost: (node) => this.lost.push(node),
      changed: () => undefined,
      joining: (_peer: Peer, letter, text) => this.heard.push([letter, text]),
    });
    this.learn({});
  }

  learn(news: Partial<Self>): void {
    this.peers.learn({
      clientId: this.name,
      nodeId: `node-${this.name}`,
      epoch: 1,
      successors: this.room.successors,
      connected: true,
      ...news,
    });
  }

  get open(): string[] {
    return this.peers.open.map(({ source }) => source.client_id).sort();
  }

  /** The page: an "sdp" is the name of the link. */
  private obey(order: ToRtc): void {
    const { link } = order;
    if (order.order === "hangup") {
      const end = this.ends.get(link);
      if (end !== undefined) end.closed = true;
      return;
    }
    if (order.order === "offer") this.calls += 1;
    if (order.order !== "accept") {
      const end = new End(this.room.clock, this);
      this.ends.set(link, end);
      const other = this.room.tabs.find((tab) => tab !== this && tab.ends.has(link));
      const far = other?.ends.get(link);
      if (far !== undefined && !this.deaf && other?.deaf === false) {
        end.other = far;
        far.other = end;
      }
      this.peers.hear({ kind: "channel", link, channel: end as unknown as Channel });
      this.peers.hear({ kind: "described", link, sdp: link });
    }
  }
}

class Room {
  readonly clock = new ManualClock();
  readonly tabs: Tab[] = [];

  constructor(readonly successors: string[]) {}

  /** Start whoever has come, and let time pass. */
  pass(milliseconds: number): void {
    for (const tab of this.tabs) tab.peers.start();
    this.clock.pass(milliseconds);
  }

  add(name: string, able = true): Tab {
    const tab = new Tab(this, name, able);
    this.tabs.push(tab);
    return tab;
  }
}

function raft(sender: string, to: string, epoch = 1): string {
  return JSON.stringify({ type: "raft", epoch, sender, to, kind: "x", body: {} });
}

/** Three members, all with channels to one another. */
function members(): { room: Room; a: Tab; b: Tab; c: Tab } {
  const room = new Room(["node-a", "node-b", "node-c"]);
  const [a, b, c] = [room.add("a"), room.add("b"), room.add("c")];
  room.pass(2_000);
  return { room, a, b, c };
}

test("members open one channel to each other member", () => {
  const { a, b, c } = members();
  assert.deepEqual(
    [a.open, b.open, c.open],
    [
      ["b", "c"],
      ["a", "c"],
      ["a", "b"],
    ],
  );
  assert.equal(a.calls + b.calls + c.calls, 3);
});

test("others open channels to the first successors only, and not to one another", () => {
  const room = new Room(["node-a", "node-b", "node-c", "node-d"]);
  for (const name of ["a", "b", "c", "d"]) room.add(name);
  const [x, y] = [room.add("x"), room.add("y")];
  room.pass(5_000);
  assert.equal(CHANNELS_WANTED, 3);
  assert.deepEqual(
    [x.open, y.open],
    [
      ["a", "b", "c"],
      ["a", "b", "c"],
    ],
  );
});

test("without a relay nothing can be signaled, so nobody calls", () => {
  const room = new Room(["node-a"]);
  room.add("a");
  const x = room.add("x");
  x.learn({ connected: false });
  room.pass(5_000);
  assert.equal(x.calls, 0);
  x.learn({ connected: true });
  room.pass(1_000);
  assert.deepEqual(x.open, ["a"]);
});

test("a browser that cannot keeps to the relay and does not answer calls", () => {
  const room = new Room(["node-a"]);
  room.add("a", false);
  const x = room.add("x");
  room.pass(3 * REDIAL_BASE_MS);
  assert.deepEqual(x.open, []);
  assert.ok(x.calls >= 1 && x.calls <= 3, `${x.calls} calls`);
});

test("a call that comes to nothing is repeated, less and less often", () => {
  const room = new Room(["node-a"]);
  const a = room.add("a");
  a.deaf = true;
  const x = room.add("x");
  room.pass(20 * CONNECT_MS);
  assert.ok(x.calls >= 3 && x.calls <= 8, `${x.calls} calls`);
  a.deaf = false;
  room.pass(20 * CONNECT_MS);
  assert.deepEqual(x.open, ["a"]);
});

test("no more channels are taken than a tab can carry", () => {
  const room = new Room(["node-a"]);
  const a = room.add("a");
  for (let number = 0; number < CHANNELS_ACCEPTED + 5; number++) room.add(`x${number}`);
  room.pass(3_000);
  assert.equal(a.open.length, CHANNELS_ACCEPTED);
});

test("consensus goes to the node it names, in our own epoch, from nobody else", () => {
  const { room, a, b, c } = members();
  assert.ok(a.peers.sendRaft(raft("node-a", "node-b")));
  room.pass(10);
  assert.deepEqual(b.got, [raft("node-a", "node-b")]);
  a.peers.sendRaft(raft("node-a", "node-b", 2));
  a.peers.sendRaft(raft("node-c", "node-b"));
  room.pass(10);
  assert.equal(b.got.length, 1);
  assert.equal(c.got.length, 0);
  assert.ok(!a.peers.sendRaft(raft("node-a", "node-unknown")));
  assert.ok(!a.peers.sendRaft("{}"));
});

test("an envelope counts as Python reads it: of a field that comes twice the last", () => {
  const { room, a, b } = members();
  const peer = a.peers.open.find(({ source }) => source.client_id === "b");
  const honest = raft("node-a", "node-b").slice(0, -1);
  for (const forged of [
    '"epoch":9',
    '"sender":"node-c"',
    '"s\\u0065nder":"node-c"',
    '"type":"lost"',
  ]) {
    peer?.send("n", `${honest},${forged}}`);
  }
  room.pass(10);
  assert.deepEqual(b.got, []);
  assert.ok(isOfAnotherEpoch(`${honest},"epoch":9}`, 1));
});

test("nobody speaks for a node of which the relay has said that it is elsewhere", () => {
  const { room, a, b, c } = members();
  c.learn({ nodeId: "node-a" });
  room.pass(10);
  c.peers.sendRaft(raft("node-a", "node-b"));
  room.pass(10);
  assert.deepEqual(b.got, []);
  assert.ok(b.peers.sendRaft(raft("node-b", "node-a")));
  room.pass(10);
  assert.deepEqual([a.got.length, c.got.length], [1, 0]);
  c.learn({ nodeId: "node-c" });
  room.pass(10);
  assert.ok(!b.lost.includes("node-a"), "it is still there");
});

test("calls of one client do not use up the places of all", () => {
  const room = new Room(["node-a"]);
  const a = room.add("a");
  room.pass(10);
  const source: Source = { client_id: "flood", device_id: "d", presenter: false };
  for (let number = 0; number < CHANNELS_ACCEPTED; number++) {
    const link = `flood-${number}`;
    a.peers.signalled({
      type: "signal",
      to: "a",
      link,
      kind: "offer",
      sdp: "",
      source,
      node_id: null,
    });
  }
  const x = room.add("x");
  room.pass(2_000);
  assert.deepEqual(x.open, ["a"]);
});

test("only who relays for us may send more than a frame", () => {
  const { room, a, b } = members();
  const toB = a.peers.open.find(({ source }) => source.client_id === "b");
  const toA = b.peers.open.find(({ source }) => source.client_id === "a");
  assert.ok(toA !== undefined);
  toA.serves = true;
  toB?.send("d", "x".repeat(2 * FRAME_CHARS));
  room.pass(10);
  assert.equal(b.heard.length, 1);
  toA.serves = false;
  toB?.send("d", "x".repeat(2 * FRAME_CHARS));
  room.pass(10);
  assert.ok(!b.open.includes("a"));
});

test("who does not take what the relay here sends is cut off", () => {
  const { room, a } = members();
  const peer = a.peers.open.find(({ source }) => source.client_id === "b");
  const end = a.ends.get(peer?.link ?? "") as unknown as { bufferedAmount: number };
  end.bufferedAmount = CHANNEL_BACKLOG_BYTES + 1;
  peer?.send("n", "consensus is repeated");
  assert.ok(a.open.includes("b"));
  peer?.send("d", "a message is not");
  room.pass(10);
  assert.ok(!a.open.includes("b"));
});

test("a long text travels in pieces and arrives whole", () => {
  const { room, a, b } = members();
  // Two halves of one character would be cut by a plain slice.
  const long = `x${"😀".repeat(2 * PIECE_CHARS)}`;
  const peer = a.peers.open.find(({ source }) => source.client_id === "b");
  peer?.send("u", long);
  peer?.send("u", "short");
  room.pass(10);
  assert.deepEqual(b.heard, [
    ["u", long],
    ["u", "short"],
  ]);
});

test("a killed tab is lost within a second and a half", () => {
  const { room, a, b, c } = members();
  c.dead = true;
  room.pass(BEATS_MISSED * BEAT_MS + 200);
  assert.deepEqual([a.lost, b.lost], [["node-c"], ["node-c"]]);
  assert.deepEqual(a.open, ["b"]);
});

test("after a probe silence is told at once, an answer is not", () => {
  const { room, a, c } = members();
  c.dead = true;
  a.peers.probe();
  room.pass(PROBE_MS);
  assert.deepEqual(a.lost, ["node-c"]);
});

test("a host that ends a moment after its bridge is noticed as fast", () => {
  const { room, a, b, c } = members();
  b.learn({ hosts: [1, 4] });
  a.peers.probe();
  room.pass(PROBE_MS / 2);
  b.dead = c.dead = true; // both have answered by now
  room.pass(2 * PROBE_MS);
  assert.deepEqual(a.lost, ["node-b"], "told once; of others only their beats tell");
  room.pass(DOUBT_MS - 2 * PROBE_MS);
  assert.deepEqual(a.lost, ["node-b"]);
});

test("doubt ends", () => {
  const { room, a, b } = members();
  b.learn({ hosts: [1, 4] });
  a.peers.probe();
  room.pass(DOUBT_MS + PROBE_MS);
  b.dead = true;
  room.pass(2 * PROBE_MS);
  assert.deepEqual(a.lost, []);
});

test("who says goodbye is gone at once", () => {
  const { room, a, c } = members();
  c.peers.leave();
  room.pass(10);
  assert.deepEqual(a.lost, ["node-c"]);
  assert.deepEqual(a.open, ["b"]);
});

test("a tab that stood still itself does not blame the others", () => {
  const { room, a } = members();
  room.clock.stall(10 * BEAT_MS);
  room.pass(BEAT_MS);
  assert.deepEqual(a.lost, []);
  assert.deepEqual(a.open, ["b", "c"]);
});

test("who hosts is told at once; the latest counts", () => {
  const { room, a, b, c } = members();
  b.learn({ hosts: [1, 4] });
  c.learn({ hosts: [1, 5] });
  room.pass(2);
  assert.equal(a.peers.host?.source.client_id, "c");
  c.learn({ hosts: null });
  room.pass(2);
  assert.equal(a.peers.host?.source.client_id, "b");
});

test("a node that is replaced is lost, its tab is not", () => {
  const { room, a, b } = members();
  b.learn({ nodeId: "node-b2" });
  room.pass(2);
  assert.deepEqual(a.lost, ["node-b"]);
  assert.ok(a.open.includes("b"));
});

void test("of two calls that crossed one channel stays, the same at both ends", () => {
  const room = new Room(["node-a", "node-b"]);
  const a = room.add("a");
  const b = room.add("b");
  b.learn({ successors: ["node-a"] }); // it does not know yet that it is a member: it calls, too
  room.pass(5000);
  assert.equal(a.calls + b.calls, 2, "they have crossed");
  assert.deepEqual([a.open, b.open], [["b"], ["a"]]);
  assert.deepEqual(
    a.peers.open.map((peer) => peer.link),
    b.peers.open.map((peer) => peer.link),
  );
  assert.deepEqual([a.lost, b.lost], [[], []]);
});
