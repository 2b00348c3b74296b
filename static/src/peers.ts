/**
 * Data channels to other tabs, so that the group can go on without any bridge.
 *
 * 1. Every tab wants one to each of the first successors (CHANNELS_WANTED): one of them hosts next.
 *    A member wants one to each other member. Where two want one another, the lower node id calls.
 *    Calls are made one after the other, and only while a relay can pass signals on.
 * 2. At most CHANNELS_ACCEPTED are taken; a second one of the same client is refused while the first
 *    is alive. Where calls have crossed (one of the two did not know yet that both are members), the
 *    channel with the lower name stays, at both ends. What is no longer wanted ends once everything
 *    wanted is open.
 * 3. Who is at the other end is what the relay vouched for when it passed on the signals; which node
 *    runs there is its own word, but not that of a node for which another one was vouched.
 * 4. Consensus: a frame is taken only from the node that it names as its sender, for our own node,
 *    and in our own epoch. That is read as its addressee reads it.
 * 5. A node whose channel has died is *lost*, and so is one that is still silent PROBE_MS after a
 *    probe. That is a hint, like a bridge's. Whoever hosts is probed again and again for DOUBT_MS: a
 *    laptop's bridge and its tab end together, but not in the same instant.
 */

import * as v from "valibot";

import type { Channel, FromRtc, ToRtc } from "./channels";
import type { Clock } from "./clock";
import type { Sent, Signal, Source } from "./frames";
import { randomKey } from "./keys";
import { parse, Peer, type Beat, type Hosts, type Letter } from "./peer";
import { pipeOf } from "./pipe";
import {
  BEAT_MS,
  BEAT_TICK_MS,
  CHANNELS_ACCEPTED,
  CHANNELS_OF_MEMBERS,
  CHANNELS_WANTED,
  CONNECT_MS,
  DOUBT_MS,
  LATE_MS,
  PROBE_MS,
  REDIAL_BASE_MS,
  REDIAL_CAP_MS,
  STANDBY_BEAT_MS,
} from "./timing";

/** What is known of our own tab. */
export interface Self {
  readonly clientId: string | undefined;
  readonly nodeId: string | undefined;
  /** The epoch that frames must have; 0 for none. */
  readonly epoch: number;
  readonly hosts: Hosts;
  /** Tabs among the successors, in order. */
  readonly successors: readonly string[];
  /** A relay passes signals on. */
  readonly connected: boolean;
}

export interface PeersEvents {
  /** To the page. */
  order(order: ToRtc): void;
  /** To the relay. */
  signal(frame: Extract<Sent, { type: "signal" }>): void;
  /** A consensus frame for our node. */
  forNode(text: string): void;
  lost(nodeId: string): void;
  /** A channel has opened or ended, or another tab hosts now. */
  changed(): void;
  /** A message that has to do with joining. */
  joining(peer: Peer, letter: Letter, text: string): void;
}

interface Link {
  readonly id: string;
  /** Whom we called; undefined where we were called. */
  readonly called: string | undefined;
  readonly since: number;
  source: Source | undefined;
  node: string | null;
  peer: Peer | undefined;
}

interface Redial {
  failures: number;
  at: number;
}

/** Our own node puts the fields of the envelope first, in this order. */
const ADDRESSEE = /^\{"type":"raft","epoch":\d+,"sender":"[^"\\]+","to":"([^"\\]+)"/;

const Envelope = v.object({
  type: v.literal("raft"),
  epoch: v.number(),
  sender: v.string(),
  to: v.string(),
});

/**
 * The envelope of somebody else's frame. All of it is read: of a field that stands there twice the
 * last counts, for Python as well as here.
 */
function envelopeOf(text: string): v.InferOutput<typeof Envelope> | undefined {
  const result = v.safeParse(Envelope, parse(text));
  return result.success ? result.output : undefined;
}

const ENTER = /^\{"type":"enter","epoch":(\d+)/;

/** A frame that would lead our node into another history than this. */
export function isOfAnotherEpoch(text: string, epoch: number): boolean {
  const entered = ENTER.exec(text)?.[1];
  if (entered !== undefined) return Number(entered) !== epoch;
  const found = envelopeOf(text);
  return found !== undefined && found.epoch !== epoch;
}

export class Peers {
  private readonly links = new Map<string, Link>();
  private readonly redials = new Map<string, Redial>();
  /** Those of which is not known yet whose they are. */
  private readonly channels = new Map<string, Channel>();
  private started = false;
  private tickAt = 0;
  private doubtUntil = 0;
  private self: Self = {
    clientId: undefined,
    nodeId: undefined,
    epoch: 0,
    hosts: null,
    successors: [],
    connected: false,
  };

  constructor(
    private readonly clock: Clock,
    /** The browser can make peer connections. */
    private readonly able: boolean,
    private readonly events: PeersEvents,
  ) {}

  /** Open channels. */
  get open(): readonly Peer[] {
    return [...this.links.values()].flatMap(({ peer }) => (peer?.open === true ? [peer] : []));
  }

  /** The open channel to whoever hosts in the highest (epoch, term). */
  get host(): Peer | undefined {
    let found: Peer | undefined;
    for (const peer of this.open) {
      if (peer.hosts !== null && (!found || isAfter(peer.hosts, found.hosts))) found = peer;
    }
    return found;
  }

  /** The open channel of that name. */
  at(link: string): Peer | undefined {
    const peer = this.links.get(link)?.peer;
    return peer?.open === true ? peer : undefined;
  }

  /** From now on channels may be opened. */
  start(): void {
    if (this.started || !this.able) return;
    this.started = true;
    this.tickAt = this.clock.now();
    this.tick();
  }

  learn(news: Partial<Self>): void {
    const before = this.self;
    this.self = { ...before, ...news };
    const { nodeId, hosts } = this.self;
    if (nodeId !== before.nodeId || String(hosts) !== String(before.hosts)) this.beatAll();
  }

  // --- making them ---------------------------------------------------------------------------

  signalled(frame: Signal): void {
    const { link: id, source } = frame;
    const link = this.links.get(id);
    switch (frame.kind) {
      case "offer":
        if (link !== undefined || source === null) break;
        this.forgetCallOf(source.client_id);
        if (!this.started || this.isFull() || this.hasClient(source.client_id)) {
          this.events.signal({ type: "signal", to: source.client_id, link: id, kind: "refuse" });
          break;
        }
        this.add({ id, called: undefined, source, node: frame.node_id });
        this.events.order({ kind: "rtc", order: "answer", link: id, sdp: frame.sdp });
        break;
      case "answer":
        if (link?.called === undefined || link.source !== undefined || source === null) {
          break;
        }
        link.source = source;
        link.node = frame.node_id;
        this.events.order({ kind: "rtc", order: "accept", link: id, sdp: frame.sdp });
        this.meet(link);
        break;
      case "refuse":
        if (link?.called !== undefined && link.source === undefined) this.end(link, true);
    }
  }

  /** What the page says of its peer connections. */
  hear(message: FromRtc): void {
    const link = this.links.get(message.link);
    if (link === undefined) return;
    switch (message.kind) {
      case "channel":
        this.channels.set(link.id, message.channel);
        this.meet(link);
        break;
      case "described": {
        const { called, source } = link;
        const to = called ?? source?.client_id;
        if (to === undefined) break;
        const kind = called === undefined ? "answer" : "offer";
        this.events.signal({ type: "signal", to, link: link.id, kind, sdp: message.sdp });
        break;
      }
      case "undone":
        this.end(link, true);
        break;
    }
  }

  /** The page goes away: say goodbye to all. */
  leave(): void {
    for (const link of this.links.values()) this.end(link, false);
    this.redials.clear();
  }

  private add(more: Pick<Link, "id" | "called" | "source" | "node">): void {
    this.links.set(more.id, { ...more, since: this.clock.now(), peer: undefined });
  }

  /** There is a channel, and we know whose it is. */
  private meet(link: Link): void {
    const channel = this.channels.get(link.id);
    if (channel === undefined || link.source === undefined) return;
    this.channels.delete(link.id);
    link.peer = new Peer(link.id, link.source, link.node, pipeOf(channel), () => this.clock.now(), {
      news: (peer, before) => this.news(link, peer, before),
      received: (peer, letter, text) => this.received(peer, letter, text),
      gone: () => this.end(link, false),
    });
  }

  private news(link: Link, peer: Peer, before: { node: string | null; open: boolean }): void {
    if (!before.open && link.called !== undefined) this.redials.delete(link.called);
    if (!before.open && peer.open) this.keepOne(peer.source.client_id);
    const { node } = before;
    if (before.open && node !== null && node !== peer.node && this.to(node) === undefined) {
      this.events.lost(node);
    }
    this.events.changed();
  }

  /** Of crossed calls. */
  private keepOne(clientId: string): void {
    const same = [...this.links.values()].filter(
      ({ peer }) => peer?.open === true && peer.source.client_id === clientId,
    );
    same.sort((one, other) => (one.id < other.id ? -1 : 1));
    for (const link of same.slice(1)) this.end(link, false);
  }

  private end(link: Link, failed: boolean): void {
    if (!this.links.delete(link.id)) return;
    const { called, peer } = link;
    this.channels.delete(link.id);
    peer?.close();
    this.events.order({ kind: "rtc", order: "hangup", link: link.id });
    if (failed && called !== undefined) {
      const failures = (this.redials.get(called)?.failures ?? 0) + 1;
      const wait = Math.min(REDIAL_CAP_MS, REDIAL_BASE_MS * 2 ** (failures - 1));
      const at = this.clock.now() + wait * (0.5 + this.clock.random());
      this.redials.set(called, { failures, at });
    }
    if (peer?.open !== true) return;
    if (peer.node !== null && this.to(peer.node) === undefined) this.events.lost(peer.node);
    this.events.changed();
  }

  /** Rule 1: call the next one that is wanted. Rule 2: end what is not. */
  private call(): void {
    const { connected, nodeId, successors } = this.self;
    if (!connected) return;
    const links = [...this.links.values()];
    if (links.some(({ called, peer }) => called !== undefined && peer?.open !== true)) return;
    const member = nodeId !== undefined && successors.includes(nodeId);
    const wanted = successors
      .slice(0, member ? CHANNELS_OF_MEMBERS : CHANNELS_WANTED)
      .filter((node) => node !== nodeId);
    const now = this.clock.now();
    let complete = true;
    for (const node of wanted) {
      if (this.to(node) !== undefined) continue;
      complete = false;
      if (member && nodeId > node) continue;
      if (now < (this.redials.get(node)?.at ?? 0)) continue;
      const id = randomKey();
      this.add({ id, called: node, source: undefined, node });
      this.events.order({ kind: "rtc", order: "offer", link: id });
      return;
    }
    if (!complete) return;
    for (const link of links) {
      const node = link.peer?.node ?? "";
      if (link.called !== undefined && !successors.includes(node)) this.end(link, false);
    }
  }

  /** Of one client's calls that have led to nothing yet the latest counts. */
  private forgetCallOf(clientId: string): void {
    for (const link of this.links.values()) {
      const { called, source, peer } = link;
      if (called === undefined && source?.client_id === clientId && peer?.open !== true) {
        this.end(link, false);
      }
    }
  }

  private isFull(): boolean {
    let accepted = 0;
    for (const { called } of this.links.values()) if (called === undefined) accepted += 1;
    return accepted >= CHANNELS_ACCEPTED;
  }

  private hasClient(clientId: string): boolean {
    return this.open.some(({ source }) => source.client_id === clientId);
  }

  // --- using them ----------------------------------------------------------------------------

  /** Send a consensus frame to the node that it names; false if there is no channel to it. */
  sendRaft(text: string): boolean {
    const to = ADDRESSEE.exec(text)?.[1];
    const peer = to === undefined ? undefined : this.to(to);
    peer?.send("n", text);
    return peer !== undefined;
  }

  /** There is reason to doubt that the others are still there (rule 5). */
  probe(): void {
    this.doubtUntil = this.clock.now() + DOUBT_MS;
    this.ask(new Set(), () => true);
  }

  /** Tell of those who stay silent, each once; `told` are those before. */
  private ask(told: Set<string>, judged: (peer: Peer) => boolean): void {
    const asked = this.clock.now();
    this.beatAll();
    this.clock.after(PROBE_MS, () => {
      const now = this.clock.now();
      if (now - asked > PROBE_MS + LATE_MS) return;
      for (const peer of this.open) {
        if (peer.heardAt >= asked || peer.node === null || told.has(peer.node)) continue;
        if (!judged(peer)) continue;
        told.add(peer.node);
        this.events.lost(peer.node);
      }
      if (now < this.doubtUntil) this.ask(told, (peer) => peer.hosts !== null);
    });
  }

  /** Where a node is (rule 3). */
  private to(node: string): Peer | undefined {
    const there = this.open.filter((peer) => peer.node === node);
    return there.find(({ link }) => this.links.get(link)?.node === node) ?? there[0];
  }

  private received(peer: Peer, letter: Letter, text: string): void {
    if (letter !== "n") {
      this.events.joining(peer, letter, text);
      return;
    }
    const found = envelopeOf(text);
    const { nodeId, epoch: ours } = this.self;
    if (found === undefined || found.to !== nodeId || found.epoch !== ours || ours === 0) return;
    if (found.sender === peer.node && this.to(found.sender) === peer) this.events.forNode(text);
  }

  private beatTo(peer: Peer): Omit<Beat, "n"> {
    const { nodeId, hosts, successors } = this.self;
    const members = [nodeId, peer.node].every((node) => successors.includes(node ?? ""));
    const every = members ? BEAT_MS : STANDBY_BEAT_MS;
    return { every, node: nodeId ?? null, hosts };
  }

  private beatAll(): void {
    for (const { peer } of this.links.values()) peer?.beat(this.beatTo(peer));
  }

  private tick(): void {
    const now = this.clock.now();
    const late = now - this.tickAt > BEAT_MS;
    this.tickAt = now;
    for (const link of this.links.values()) {
      const { peer } = link;
      if (peer !== undefined && !peer.tick(this.beatTo(peer), late)) this.end(link, true);
      else if (peer?.open !== true && now - link.since > CONNECT_MS) this.end(link, true);
    }
    this.call();
    this.clock.after(BEAT_TICK_MS, () => this.tick());
  }
}

/** Whether one hosts later than the other. */
export function isAfter(one: NonNullable<Hosts>, other: Hosts | undefined): boolean {
  if (other === null || other === undefined) return true;
  return one[0] > other[0] || (one[0] === other[0] && one[1] > other[1]);
}
