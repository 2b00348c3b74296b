/**
 * Where a page can connect to, and in which order it tries.
 *
 * A *target* is somewhere a `Socket` can be opened: a bridge's origin, or anything else that carries
 * the same frames (a data channel to a tab that relays). `Link` knows nothing else of it: whoever
 * has another way gives it with `Bridges.add`.
 *
 * 1. The page's own origin, its *home*, is always a target: its bridge may come back.
 * 2. The others are those that the last `status` listed. They are kept when the link is lost: that
 *    is when they are needed.
 * 3. After a loss the bridge that was used is tried first, once: mostly only the socket was lost.
 *    Then the others. A bridge that is silent, or asked us to move, is tried last: a silent one's
 *    socket is still there, should it speak again.
 * 4. Who must move chooses by chance, with the chances that leave all bridges with as many
 *    clients: everybody who lost the same bridge chooses by the same list in the same moment.
 * 5. A bridge may have several addresses; each round tries the next one of each.
 * 6. Other ways (`add`) come after all bridges: they are for when there is none.
 */

import type { Clock } from "./clock";
import type { BridgeAddress } from "./frames";

/** What is used of a WebSocket. */
export interface Socket {
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Target {
  /** Unlike any other's; a bridge's is its origin. It is shown as `status().bridge`. */
  readonly name: string;
  open(): Socket;
}

/** What the names of tabs begin with, where others are origins. */
export const TAB = "tab ";

export function isTab(name: string | undefined): boolean {
  return name?.startsWith(TAB) === true;
}

/** Why a target is looked for. */
export type Occasion =
  /** The page has just been opened, or is back. */
  | "start"
  /** The socket was lost. */
  | "lost"
  /** It is there, and nothing comes. */
  | "silent"
  /** The bridge asked us to go elsewhere. */
  | "move"
  /** A whole round has failed. */
  | "again";

/** Gives the targets of one round, in the order in which they are tried. */
export interface Targets {
  /** There is more than one: it is worth looking elsewhere while a socket is only silent. */
  readonly several: boolean;
  /** A bridge has let us in there. A way that is none of ours is told of, too. */
  arrived(target: Target, bridge: string): void;
  round(occasion: Occasion, present: Target | undefined): readonly Target[];
}

const ORIGIN = /^https?:\/\/[^/?#@]+$/;

/**
 * A bridge at one of its addresses.
 *
 * Each attempt since the last that was let in has a path of its own. Firefox makes a WebSocket wait
 * before it connects at all, by half as long again after each that failed, for up to a minute, and
 * keeps count by address and path (`FailDelayManager` in netwerk/protocol/websocket/
 * WebSocketChannel.cpp, for RFC 6455, section 7.2.3). The retries of `Link` are that section's
 * backoff already, and a bridge that is back after a few minutes must have its clients in seconds.
 */
class Origin implements Target {
  constructor(
    readonly name: string,
    private readonly openSocket: (url: string) => Socket,
    private readonly attempt: (origin: string) => number,
  ) {}

  open(): Socket {
    const attempt = this.attempt(this.name);
    const path = attempt === 0 ? "" : `/${attempt}`;
    return this.openSocket(`${this.name.replace(/^http/, "ws")}/ftweb/socket${path}`);
  }
}

export class Bridges implements Targets {
  private listed: readonly BridgeAddress[];
  private readonly ways: (() => readonly Target[])[] = [];
  private rounds = 0;
  /** Sockets opened at each origin since it last let us in. */
  private readonly attempts = new Map<string, number>();
  /** Which bridge answered at which origin: a page may use a name that is in no list. */
  private readonly met = new Map<string, string>();

  /**
   * @param home - the origin of the page.
   * @param open - opens a WebSocket.
   * @param remembered - what an earlier load of this page knew.
   */
  constructor(
    private readonly home: string,
    private readonly open: (url: string) => Socket,
    private readonly clock: Clock,
    remembered: readonly BridgeAddress[] = [],
  ) {
    this.listed = remembered;
  }

  /** Those that can be reached now. */
  get list(): readonly BridgeAddress[] {
    return this.listed;
  }

  /**
   * A bridge has told which there are, itself first. One that tells of none knows no others.
   *
   * @param teller - where it was reached: its id changes when it goes to another epoch.
   */
  learn(bridges: readonly BridgeAddress[], teller?: string): void {
    this.listed = bridges;
    const [own] = bridges;
    if (own !== undefined && teller !== undefined && this.met.has(teller)) {
      this.met.set(teller, own.node_id);
    }
  }

  /** Further targets, asked for in each round. */
  add(way: () => readonly Target[]): void {
    this.ways.push(way);
  }

  /** One origin of each bridge that is known, the home first. */
  get origins(): readonly Target[] {
    return this.round("start", undefined).filter((target) => target instanceof Origin);
  }

  /** Where people may look for a bridge: by the addresses that others reach, not `localhost`. */
  get shown(): readonly string[] {
    const listed = this.listed.flatMap(({ urls }) => urls.find((url) => ORIGIN.test(url)) ?? []);
    return listed.length > 0 ? listed : [this.home];
  }

  get several(): boolean {
    return this.listed.length > 1 || this.ways.some((way) => way().length > 0);
  }

  arrived(target: Target, bridge: string): void {
    if (!(target instanceof Origin)) return;
    this.met.set(target.name, bridge);
    this.attempts.delete(target.name);
  }

  round(occasion: Occasion, present: Target | undefined): readonly Target[] {
    const further = this.ways.flatMap((way) => way());
    const elsewhere = present !== undefined && !(present instanceof Origin);
    const last = present === undefined || elsewhere ? this.home : present.name;
    const others = this.others(last);
    if (last !== this.home) others.push(this.home);
    const elsewhereFirst = occasion === "move" || occasion === "silent";
    const origins = elsewhereFirst ? [...others, last] : [last, ...others];
    // After a whole round that failed nothing speaks for the one that was used.
    if (occasion === "again") origins.push(...origins.splice(0, this.rounds % origins.length));
    this.rounds += 1;
    const bridges = [...new Set(origins)].map(
      (origin) => new Origin(origin, this.open, (name) => this.attempt(name)),
    );
    return elsewhere && (occasion === "lost" || occasion === "silent")
      ? [...further, ...bridges]
      : [...bridges, ...further];
  }

  private attempt(origin: string): number {
    const attempt = this.attempts.get(origin) ?? 0;
    this.attempts.set(origin, attempt + 1);
    return attempt;
  }

  /** Which of its addresses to try in this round. */
  private addresses({ urls }: BridgeAddress): string[] {
    const good = urls.filter((url) => ORIGIN.test(url));
    return good.length === 0 ? [] : [good[this.rounds % good.length] ?? ""];
  }

  /** Origins of the bridges but for the one at `last`, the first by rule 4. */
  private others(last: string): string[] {
    const is = ({ node_id, urls }: BridgeAddress): boolean =>
      node_id === this.met.get(last) || urls.includes(last);
    const left = this.listed.filter((bridge) => !is(bridge));
    const lost = this.listed.find(is)?.clients ?? 1;
    left.sort((one, other) => one.clients - other.clients);
    const first = this.draw(left, lost);
    if (first > 0) left.unshift(...left.splice(first, 1));
    return left.flatMap((bridge) => this.addresses(bridge));
  }

  /** Which of them, by the share that each lacks when all have as many. */
  private draw(bridges: readonly BridgeAddress[], lost: number): number {
    const total = bridges.reduce((sum, { clients }) => sum + clients, lost);
    const shares = bridges.map(({ clients }) => Math.max(0, total / bridges.length - clients));
    let chance = this.clock.random() * shares.reduce((sum, share) => sum + share, 0);
    for (const [index, share] of shares.entries()) {
      chance -= share;
      if (chance < 0) return index;
    }
    return 0;
  }
}
