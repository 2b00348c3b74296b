/**
 * Is it me or the host? One word and one sentence, from what the link, the bridge and the node say.
 *
 * 1. "offline": the bridge cannot be reached: it is this device, or the bridge. The same where only
 *    a tab relays, without a quorum: more often than not it is this device that is cut off.
 * 2. "no-quorum": the bridge is there, but too many replicas are not.
 * 3. "taking-over": the bridge is there, nobody hosts right now.
 * 4. "no-bridge": the tabs go on among themselves, and nobody new can join.
 * 5. "provisional": all is well here, but others of the group cannot be heard.
 * 6. "connected": all is well.
 *
 * Short interruptions are not shown: each of the first three must have lasted for its time
 * (OFFLINE_MS, NO_QUORUM_MS, TAKING_OVER_MS); until then the word before stays.
 */

import type { Condition, FtwebStatus, NodeStatus } from "./channels";
import { nothing, type Cancel, type Clock } from "./clock";
import type { Failure, Status, Welcome } from "./frames";
import { isTab } from "./targets";
import { NO_BRIDGE_MS, NO_QUORUM_MS, OFFLINE_MS, TAKING_OVER_MS } from "./timing";

/** What is known. A time is since when something lasts; undefined: it does not. */
export interface Facts {
  welcome: Welcome | undefined;
  connected: boolean;
  /** Where the link goes to. */
  via: string | undefined;
  /** Origins at which people may bring one back. */
  bridges: readonly string[];
  /** The latest; from before the link broke, until `heard`. */
  status: Status | undefined;
  /** A status has come over this link. */
  heard: boolean;
  /** A host has been seen. */
  hosted: boolean;
  nodeId: string | undefined;
  node: NodeStatus | undefined;
  /** How long the node took to boot. */
  bootMilliseconds: number | undefined;
  pending: number;
  /** Open data channels. */
  channels: number;
  /** Why the link ended, until it is back. */
  error: Failure | undefined;
  /** Why there is no node, until there is one. */
  nodeError: Failure | undefined;
  /** The connection has ended for good, by the page or by a refusal. */
  ended: boolean;
}

export const NOTHING_KNOWN: Facts = {
  welcome: undefined,
  connected: false,
  via: undefined,
  bridges: [],
  status: undefined,
  heard: false,
  hosted: false,
  nodeId: undefined,
  node: undefined,
  bootMilliseconds: undefined,
  pending: 0,
  channels: 0,
  error: undefined,
  nodeError: undefined,
  ended: false,
};

type Trouble = Exclude<Condition, "connected" | "provisional">;

/** The gravest first, with how long each must last before it is shown. */
const PATIENCE: readonly (readonly [Trouble, number])[] = [
  ["offline", OFFLINE_MS],
  ["no-quorum", NO_QUORUM_MS],
  ["taking-over", TAKING_OVER_MS],
  ["no-bridge", NO_BRIDGE_MS],
];

const WELL: ReadonlySet<Condition> = new Set(["connected", "provisional"]);

const SENTENCES: Readonly<Record<Condition, string>> = {
  connected: "Connected.",
  provisional:
    "Connected, but part of the group cannot be heard. What you send counts here, and may still " +
    "be decided otherwise when they are back.",
  "taking-over": "The hosting device has left; another one is taking over. Nothing is lost.",
  "no-bridge":
    "Going on from device to device: no laptop carries the connection. Nothing is lost, but " +
    "nobody new can join. To change that, run ftweb on a laptop on this Wi-Fi, as before",
  offline: "This device cannot reach the server. Trying again; what you send is kept.",
  "no-quorum":
    "Too many devices have left at once. What you send is kept until enough of them are back.",
};

/** The status that a page sees; `state` is decided by `StatusKeeper`. */
export function toStatus(facts: Facts, state: Condition): FtwebStatus {
  const { welcome, status, node, connected } = facts;
  return {
    state,
    text: describe(facts, state),
    clientId: welcome?.client_id ?? null,
    deviceId: welcome?.device_id ?? null,
    nodeId: facts.nodeId ?? null,
    role: node?.role ?? "observer",
    hosting: node?.hosting ?? false,
    ready: facts.nodeId !== undefined,
    bootMilliseconds: facts.bootMilliseconds ?? null,
    epoch: status?.epoch ?? 0,
    term: status?.term ?? 0,
    hostId: status?.host ?? null,
    successors: status?.successors ?? [],
    bridge: connected && !isTab(facts.via) ? (facts.via ?? null) : null,
    bridges: bridgesOf(facts),
    quorum: connected && (status?.quorum ?? false),
    provisional: status?.provisional ?? false,
    pending: facts.pending,
    participants: status?.participants ?? 0,
    channels: facts.channels,
    error: facts.error ?? facts.nodeError ?? null,
  };
}

/** Node ids. The list is newer than the welcome: a bridge that goes to another epoch has a new id. */
function bridgesOf({ welcome, status, via }: Facts): readonly string[] {
  const listed = status?.bridges.map((bridge) => bridge.node_id) ?? [];
  return listed.length > 0 || welcome === undefined || isTab(via) ? listed : [welcome.bridge];
}

function describe(facts: Facts, state: Condition): string {
  if (facts.ended) return facts.error?.message ?? "Disconnected.";
  if (state === "offline" && facts.welcome === undefined) return "Connecting…";
  if (state === "taking-over" && !facts.hosted) return "Getting ready: no device hosts yet.";
  if (state === "connected" && facts.node?.hosting === true) return "Connected. This tab hosts.";
  if (state === "no-bridge") return `${SENTENCES[state]} (at ${facts.bridges.join(" or ")}).`;
  return SENTENCES[state];
}

/** Decides the word, and tells whenever anything has changed. */
export class StatusKeeper {
  private facts = NOTHING_KNOWN;
  private state: Condition = "offline";
  private since: Record<Trouble, number | undefined> = {
    offline: -Infinity,
    "no-quorum": undefined,
    "taking-over": undefined,
    "no-bridge": undefined,
  };
  private told = "";
  private cancel: Cancel = nothing;

  constructor(
    private readonly clock: Clock,
    private readonly tell: (status: FtwebStatus) => void,
  ) {}

  get known(): Readonly<Facts> {
    return this.facts;
  }

  learn(news: Partial<Facts>): void {
    const hosted = this.facts.hosted || typeof news.status?.host === "string";
    this.facts = { ...this.facts, ...news, hosted };
    const { connected, heard, status } = this.facts;
    const now = this.clock.now();
    const up = connected && heard;
    const lasts = (is: boolean, since: number | undefined): number | undefined =>
      is ? (since ?? now) : undefined;
    this.since = {
      offline: lasts(!up, this.since.offline),
      "no-quorum": lasts(up && status?.quorum === false, this.since["no-quorum"]),
      "taking-over": lasts(up && status?.host === null, this.since["taking-over"]),
      "no-bridge": lasts(up && isTab(this.facts.via), this.since["no-bridge"]),
    };
    this.decide();
  }

  private decide(): void {
    this.cancel();
    this.cancel = nothing;
    const now = this.clock.now();
    const troubles = PATIENCE.flatMap(([state, time]) => {
      const since = this.since[state];
      return since === undefined ? [] : [{ state, due: since + time }];
    });
    const lasting = troubles.find(({ due }) => due <= now);
    if (this.facts.ended) this.state = "offline";
    else if (lasting?.state === "no-quorum" && isTab(this.facts.via)) this.state = "offline";
    else if (lasting !== undefined) this.state = lasting.state;
    else if (!troubles.some(({ state }) => state === this.state)) {
      // What was shown is over. Trouble that had been hidden behind it needs no second wait.
      const hosted = this.since["taking-over"] === undefined;
      if (!WELL.has(this.state)) this.state = hosted ? "connected" : "taking-over";
    }
    if (WELL.has(this.state)) {
      this.state = this.facts.status?.provisional === true ? "provisional" : "connected";
    }
    const due = troubles.map((trouble) => trouble.due).filter((time) => time > now);
    if (due.length > 0 && !this.facts.ended) {
      this.cancel = this.clock.after(Math.max(1, Math.min(...due) - now), () => this.decide());
    }
    const status = toStatus(this.facts, this.state);
    const text = JSON.stringify(status);
    if (text === this.told) return;
    this.told = text;
    this.tell(status);
  }
}
