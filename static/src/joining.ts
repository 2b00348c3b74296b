/**
 * Joining at a tab, and letting others join here: the frames of a bridge's socket over a channel.
 *
 * 1. A tab that hosts lets others join at its node's relay (pyodide_app/relay.py): `o` opens, `u` and
 *    `d` carry the frames, `x` ends it. Its own page joins the same way, with no channel between.
 * 2. Who hosts in the highest (epoch, term) that is known is where to join.
 * 3. Neither token nor keys are shown to a tab: whoever passed on the signals has vouched for us.
 */

import type { Clock } from "./clock";
import type { Hello, Source } from "./frames";
import type { NetToNode } from "./channels";
import type { Hosts, Letter, Peer } from "./peer";
import { isAfter, type Peers } from "./peers";
import { TAB, type Socket, type Target } from "./targets";

const NOTHING = "0".repeat(32);
const OWN = "own";
export const OWN_TAB = `${TAB}${OWN}`;
const GOING_AWAY = 1001;

/** Rule 3: `hello` frames have these fields, whoever reads them. */
export function withoutSecrets(hello: Hello): Hello {
  return { ...hello, client_key: NOTHING, device_key: NOTHING, token: "" };
}

export interface JoiningEvents {
  /** For the node in this tab. */
  toNode(message: NetToNode): void;
}

export class Joining {
  /** Sockets of this page, by the link of the channel; `own` for the node in this tab. */
  private readonly sockets = new Map<string, ChannelSocket>();
  /** Links of tabs that have joined here. */
  private readonly guests = new Set<string>();
  /** Who we are, as we were told. */
  self: Source | undefined;
  hosts: Hosts = null;

  constructor(
    private readonly peers: Peers,
    private readonly clock: Clock,
    private readonly events: JoiningEvents,
  ) {}

  /** The highest (epoch, term) in which a tab hosts, as far as we know. */
  get host(): Hosts {
    const theirs = this.peers.host?.hosts ?? null;
    return this.hosts !== null && isAfter(this.hosts, theirs) ? this.hosts : theirs;
  }

  /** Where to join (rule 2). */
  get target(): Target | undefined {
    const { host } = this.peers;
    if (this.hosts !== null && this.host === this.hosts) {
      return this.self === undefined ? undefined : { name: OWN_TAB, open: () => this.openOwn() };
    }
    return host && { name: `${TAB}${host.source.client_id}`, open: () => this.openAt(host) };
  }

  /** Anybody has joined here. */
  get busy(): boolean {
    return this.guests.size > 0 || this.sockets.has(OWN);
  }

  /** A message that came over a channel. */
  hear(peer: Peer, letter: Letter, text: string): void {
    const { link } = peer;
    switch (letter) {
      case "o":
        if (this.hosts === null) {
          peer.send("x", String(GOING_AWAY));
          break;
        }
        this.guests.add(link);
        this.events.toNode(opening(link, peer.source));
        break;
      case "u":
        if (this.guests.has(link)) this.events.toNode({ kind: "wire_in", link, text });
        break;
      case "d":
        this.sockets.get(link)?.onmessage?.({ data: text } as never);
        break;
      case "x":
        if (this.guests.delete(link)) {
          this.events.toNode({ kind: "wire_closed", link, lost: false });
        } else this.closeSocket(link, Number(text));
        break;
      case "n":
        break;
    }
  }

  /** What the relay here has for those who joined. */
  tell(links: readonly string[], text: string): void {
    for (const link of links) {
      if (link === OWN) this.sockets.get(OWN)?.onmessage?.({ data: text } as never);
      else this.peers.at(link)?.send("d", text);
    }
  }

  /** The relay here has ended it for one of them. */
  close(link: string, code: number): void {
    if (link === OWN) this.closeSocket(OWN, code);
    else if (this.guests.delete(link)) this.peers.at(link)?.send("x", String(code));
  }

  /** Channels have opened or ended. */
  changed(): void {
    for (const link of this.guests) {
      if (this.peers.at(link) !== undefined) continue;
      this.guests.delete(link);
      this.events.toNode({ kind: "wire_closed", link, lost: true });
    }
    for (const link of this.sockets.keys()) {
      if (link !== OWN && this.peers.at(link) === undefined) this.closeSocket(link, 1006);
    }
  }

  /** The node here has ended, and its relay with it. */
  nodeEnded(): void {
    for (const link of this.guests) this.peers.at(link)?.send("x", String(GOING_AWAY));
    this.guests.clear();
    this.closeSocket(OWN, GOING_AWAY);
  }

  private openAt(peer: Peer): Socket {
    const { link } = peer;
    peer.serves = true;
    peer.send("o", "");
    return this.open(link, {
      send: (text) => peer.send("u", text),
      close: () => peer.send("x", "1000"),
      backlog: () => peer.backlog,
    });
  }

  private openOwn(): Socket {
    const { self } = this;
    if (self === undefined) throw new Error("Nobody has told yet who this tab is.");
    this.events.toNode(opening(OWN, self));
    return this.open(OWN, {
      send: (text) => this.events.toNode({ kind: "wire_in", link: OWN, text }),
      close: () => this.events.toNode({ kind: "wire_closed", link: OWN, lost: false }),
      backlog: () => 0,
    });
  }

  private open(link: string, way: Way): Socket {
    this.closeSocket(link, 1000);
    const socket: ChannelSocket = new ChannelSocket(way, () => {
      if (this.sockets.get(link) === socket) this.sockets.delete(link);
    });
    this.sockets.set(link, socket);
    this.clock.after(0, () => socket.onopen?.(undefined as never));
    return socket;
  }

  private closeSocket(link: string, code: number): void {
    const socket = this.sockets.get(link);
    this.sockets.delete(link);
    socket?.onclose?.({ code } as never);
  }
}

function opening(link: string, source: Source): NetToNode {
  return {
    kind: "wire_open",
    link,
    clientId: source.client_id,
    deviceId: source.device_id,
    presenter: source.presenter,
  };
}

interface Way {
  send(text: string): void;
  close(): void;
  backlog(): number;
}

class ChannelSocket implements Socket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;

  constructor(
    private readonly way: Way,
    private readonly ended: () => void,
  ) {}

  get bufferedAmount(): number {
    return this.way.backlog();
  }

  send(text: string): void {
    this.way.send(text);
  }

  close(): void {
    this.ended();
    this.way.close();
  }
}
