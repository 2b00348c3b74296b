/**
 * The net worker's whole, without its globals: link, session, stream, node and status, joined.
 *
 * Its timers and its socket are in a worker because those of a hidden page are throttled to one
 * tick a minute. It answers the page only through `tell`.
 */

import { Apart } from "./apart";
import { Bridgeless } from "./bridgeless";
import type { NetToPage, PageToNet } from "./channels";
import type { Clock } from "./clock";
import { Link, type Payload } from "./connection";
import {
  isRecalled,
  PROTOCOL_VERSION,
  readBridges,
  type Hello,
  type Message,
  type Status,
  type Welcome,
} from "./frames";
import { Heard } from "./heard";
import { Joining, OWN_TAB, withoutSecrets } from "./joining";
import { NodeKeeper, type NodeEvents, type NodeWorker } from "./nodes";
import { isOfAnotherEpoch, Peers } from "./peers";
import { follow, NOWHERE, type Position } from "./replica";
import { Session } from "./session";
import { StatusKeeper } from "./status";
import { Bridges, isTab, type Socket, type Target } from "./targets";
import { LEAP_MS, NODE_BACKLOG_BYTES, PEERS_AFTER_MS, WATCH_MS } from "./timing";

/** What the worker gives. */
export interface World {
  readonly clock: Clock;
  openSocket(url: string): Socket;
  spawnNode(url: string): NodeWorker;
  tell(message: NetToPage): void;
}

const BARRED = {
  code: "node_failed",
  message:
    "Tabs of this device crashed while they held a replica, perhaps for lack of memory. This one " +
    "takes part without; after an hour it is tried again.",
};

type Start = Extract<PageToNet, { kind: "start" }>;

export class Runtime {
  private readonly bridges: Bridges;
  private readonly link: Link;
  private readonly session = new Session();
  private readonly nodes: NodeKeeper;
  private readonly status: StatusKeeper;
  private readonly peers: Peers;
  private readonly joining: Joining;
  private readonly apart: Apart;
  private readonly bridgeless: Bridgeless;
  private stream: Position = NOWHERE;
  private resyncing = false;
  /** The history that the bridge has last told of. */
  private epoch = 0;
  private readonly heard = new Heard();
  private watchedAt: number;

  constructor(
    private readonly world: World,
    private readonly start: Start,
  ) {
    const { clock } = world;
    this.status = new StatusKeeper(clock, (status) => world.tell({ kind: "status", status }));
    const home = new URL(start.socketUrl.replace(/^ws/, "http")).origin;
    const remembered = readBridges(start.bridges);
    this.bridges = new Bridges(home, (url) => world.openSocket(url), clock, remembered);
    this.link = new Link(this.bridges, clock, {
      hello: (target) => this.hello(target),
      welcomed: (welcome, target) => this.welcomed(welcome, target),
      received: (frame) => this.received(frame),
      forNode: (text) => {
        if (this.apart.holds && isOfAnotherEpoch(text, this.nodes.epoch)) return;
        this.nodes.deliver(text);
      },
      lost: () => this.lost(),
      refused: (error, final) => {
        const { code, message } = error;
        if (code === "node_id_in_use") this.nodes.replace();
        if (code === "epoch_over" && !this.apart.holds) this.nodes.renew();
        if (error.fatal) {
          this.status.learn({ error: { code, message }, ended: final });
          this.session.refused({ code, message });
        } else if (code !== "epoch_over") {
          console.warn(`ftweb: ${message}`);
        }
        if (final) {
          this.session.close({ code, message });
          this.nodes.leave();
          world.tell({ kind: "refused", code, message });
        }
        this.flush();
      },
    });
    const own = { origin: home, runtime: start.runtime };
    const { clientKey, token } = start;
    const events: NodeEvents = {
      send: (frame) => this.link.send(frame),
      sendText: (text) => this.fromNode(text),
      changed: (news) => {
        this.peers.learn({
          nodeId: news.nodeId,
          hosts: news.node?.hosting === true ? [news.node.epoch, news.node.term] : null,
          ...(news.node === undefined ? {} : { epoch: news.node.epoch }),
        });
        this.bridgeless.hosting(news.node);
        if (news.nodeId === undefined) this.joining.nodeEnded();
        const { nodeError } = this.status.known;
        this.status.learn({
          ...news,
          nodeError: news.nodeId === undefined ? nodeError : undefined,
        });
        this.link.expect(this.session.size > 0 || this.nodes.member);
      },
      toGuests: (links, text) => this.joining.tell(links, text),
      endGuest: (link, code) => this.joining.close(link, code),
      booted: (bootMilliseconds) => this.status.learn({ bootMilliseconds }),
      failed: (nodeError) => this.status.learn({ nodeError }),
      gaveUp: () => world.tell({ kind: "barred" }),
    };
    const spawn = (url: string): NodeWorker => world.spawnNode(url);
    this.nodes = new NodeKeeper(spawn, own, clock, events, { clientKey, token });
    this.apart = new Apart(clock, this.nodes);
    this.peers = new Peers(clock, start.rtc, {
      order: (order) => world.tell(order),
      signal: (frame) => this.link.send(frame),
      forNode: (text) => this.nodes.deliver(text),
      lost: (nodeId) => this.suspect(nodeId),
      changed: () => {
        this.status.learn({ channels: this.peers.open.length });
        this.joining.changed();
        this.bridgeless.reconsider();
      },
      joining: (peer, letter, text) => this.joining.hear(peer, letter, text),
    });
    this.joining = new Joining(this.peers, clock, {
      toNode: (message) => this.nodes.pass(message),
    });
    this.bridgeless = new Bridgeless({
      clock,
      bridges: this.bridges,
      link: this.link,
      joining: this.joining,
      apart: this.apart,
      node: this.nodes,
      known: () => this.status.known,
      toNode: (message) => this.nodes.pass(message),
      received: (frame) => this.received(frame),
      resync: () => this.resync(),
    });
    this.nodes.show(start.visible);
    this.watchedAt = clock.wall();
    this.watch();
    this.link.start();
  }

  /** Take what the page says. */
  hear(message: Exclude<PageToNet, Start>): void {
    switch (message.kind) {
      case "painted":
        this.nodes.allow();
        this.world.clock.after(PEERS_AFTER_MS, () => this.peers.start());
        break;
      case "channel":
      case "described":
      case "undone":
        this.peers.hear(message);
        break;
      case "barred":
        this.status.learn({ nodeError: BARRED });
        break;
      case "request": {
        const limit = this.status.known.welcome?.limits.pending_requests ?? 0;
        this.session.request(message.id, message.payload, limit, this.now());
        break;
      }
      case "visible":
        this.nodes.show(message.visible);
        if (message.visible) this.link.probe();
        break;
      case "probe":
        this.link.probe();
        break;
      case "resync":
        this.resync();
        break;
      case "leave":
        this.peers.leave();
        this.nodes.leave();
        this.link.stop();
        break;
      case "return":
        this.nodes.show(message.visible);
        this.link.start();
        break;
      case "close":
        this.status.learn({ ended: true });
        this.session.close();
        this.peers.leave();
        this.nodes.leave();
        this.link.stop();
        break;
    }
    this.flush();
  }

  private now(): number {
    return this.world.clock.now();
  }

  private hello(target: Target): Hello {
    const hello = this.fullHello();
    return isTab(target.name) ? withoutSecrets(hello) : hello;
  }

  private fullHello(): Hello {
    const message_index = this.heard.since;
    return {
      type: "hello",
      version: PROTOCOL_VERSION,
      client_key: this.start.clientKey,
      device_key: this.start.deviceKey,
      token: this.start.token,
      ...(this.stream.epoch > 0 ? { epoch: this.stream.epoch } : {}),
      ...(this.stream.index > 0 ? { state_index: this.stream.index } : {}),
      ...(message_index > 0 ? { message_index } : {}),
    };
  }

  private welcomed(welcome: Welcome, target: Target): void {
    const before = this.status.known.welcome;
    const another = before !== undefined && before.guid !== welcome.guid;
    this.resyncing = false;
    this.bridgeless.arrived(target);
    const tab = isTab(target.name);
    if (tab && before !== undefined) {
      // What only a bridge can tell stays as it was.
      const { join_url, runtime, local } = before;
      welcome = { ...welcome, join_url, runtime, local };
    }
    this.joining.self = welcome;
    this.status.learn({
      welcome,
      connected: true,
      via: target.name,
      bridges: this.bridges.shown,
      heard: false,
      error: undefined,
    });
    this.world.tell({ kind: "welcome", welcome, another });
    if (another) {
      this.session.reset();
      this.epoch = 0;
      this.heard.forget();
      this.resync();
    }
    this.nodes.connect(welcome, target.name);
    this.peers.learn({ connected: true });
    this.nodes.pass({ kind: "linked", bridge: !tab });
    this.flush();
  }

  /** The successors without bridges, to whom no data channel leads. */
  private tabs(status: Status): string[] {
    const bridges = new Set(status.bridges.map(({ node_id }) => node_id));
    const { via, welcome } = this.status.known;
    if (!isTab(via)) bridges.add(welcome?.bridge ?? "");
    return status.successors.filter((node) => !bridges.has(node));
  }

  /**
   * Consensus goes by the bridge, and by a data channel as well while the bridge is silent: which
   * of the two is dead is not known then, and what comes twice does no harm.
   */
  private fromNode(text: string): void {
    const { link } = this;
    if (isRecalled(text)) {
      link.sendText(text); // only for the bridge, and all of it
      return;
    }
    // Guests at our relay are not at the bridge yet.
    const direct = !this.bridgeless.bridgeIsThere || this.joining.busy;
    const sent = direct && this.peers.sendRaft(text);
    const { via } = this.status.known;
    if (via === OWN_TAB || (sent && isTab(via))) return;
    if (link.backlog <= NODE_BACKLOG_BYTES) link.sendText(text);
  }

  /** A bridge that is there tells of losses itself, and is quicker. */
  private suspect(nodeId: string): void {
    if (this.bridgeless.bridgeIsThere) return;
    this.nodes.deliver(JSON.stringify({ type: "lost", node_id: nodeId }));
  }

  private received(frame: Payload): void {
    const { heard } = this.status.known;
    if (this.bridgeless.isForeign(frame)) return;
    switch (frame.type) {
      case "session":
        this.session.opened(frame.session, this.now());
        break;
      case "reply":
        this.session.replied(frame, this.now());
        break;
      case "outcome":
        this.session.outcome(frame, this.now());
        break;
      case "message":
        this.message(frame);
        break;
      case "status":
        this.enter(frame.epoch);
        if (!isTab(this.status.known.via) || frame.bridges.length > 0) this.learn(frame.bridges);
        // Its node would have to go back: it never hears of the bridge's history (see nodes.ts).
        if (!heard && !this.apart.holds && frame.epoch > 0 && this.nodes.epoch > frame.epoch) {
          this.nodes.renew();
        }
        this.readdress(frame);
        this.status.learn({ status: frame, heard: true });
        this.session.status(frame, this.now());
        this.peers.learn({ epoch: this.nodes.epoch || frame.epoch, successors: this.tabs(frame) });
        this.bridgeless.stayTogether();
        this.bridgeless.fetchGuests(frame);
        break;
      case "signal":
        this.peers.signalled(frame);
        break;
      case "state":
      case "change":
        this.enter(frame.epoch);
        switch (follow(this.stream, frame)) {
          case "apply":
            this.stream = { epoch: frame.epoch, index: frame.index };
            if (frame.type === "state") this.resyncing = false;
            this.heard.begin(frame.index);
            this.world.tell({ kind: "stream", frame });
            break;
          case "gap":
            this.resync();
            break;
          case "seen":
            break;
        }
    }
    this.flush();
  }

  /** Another history has begun: its log indexes say nothing about those seen before. */
  private enter(epoch: number): void {
    // 0 is none: the bridge has just been started, and hears of the group's in a moment.
    if (epoch === this.epoch || epoch === 0) return;
    if (this.epoch > 0) this.heard.forget();
    this.epoch = epoch;
    this.session.enter(epoch);
  }

  private learn(bridges: Status["bridges"]): void {
    const text = JSON.stringify(bridges);
    if (text === JSON.stringify(this.bridges.list)) return;
    this.bridges.learn(bridges, this.status.known.via);
    this.world.tell({ kind: "bridges", bridges: text });
  }

  /**
   * The bridge's laptop may have got another address: what phones open goes with it. A bridge tells
   * of itself first.
   */
  private readdress({ bridges: [own] }: Status): void {
    const { welcome, via } = this.status.known;
    if (!welcome?.join_url || isTab(via) || own === undefined) return;
    const { origin } = new URL(welcome.join_url);
    const [best] = own.urls;
    if (best === undefined || own.urls.includes(origin)) return;
    const moved = { ...welcome, join_url: best + welcome.join_url.slice(origin.length) };
    this.status.learn({ welcome: moved });
    this.world.tell({ kind: "welcome", welcome: moved, another: false });
  }

  private message(frame: Message): void {
    if (this.heard.note(frame)) this.world.tell({ kind: "message", payload: frame.payload });
  }

  private lost(): void {
    this.session.disconnected();
    this.nodes.disconnect();
    this.status.learn({ connected: false, heard: false });
    this.peers.learn({ connected: false });
    this.bridgeless.lost();
    const { via, welcome } = this.status.known;
    if (isTab(via)) return;
    // A bridge and the host on its laptop die together: find out now.
    this.nodes.pass({ kind: "linked", bridge: false });
    if (welcome !== undefined) this.suspect(welcome.bridge);
    this.peers.probe();
  }

  /** Ask for the whole state, once until it comes. */
  private resync(): void {
    this.stream = NOWHERE;
    if (this.resyncing) return;
    this.resyncing = this.link.connected;
    this.link.resync();
  }

  /** Send and tell what the session has come up with. */
  private flush(): void {
    const { frames, results, turned } = this.session.drain();
    for (const frame of frames) this.link.send(frame);
    this.link.expect(this.session.size > 0 || this.nodes.member);
    // Of each frame of the stream: the status is put together only if it can be another one.
    const pending = this.session.size;
    if (pending !== this.status.known.pending) this.status.learn({ pending });
    for (const result of results) this.world.tell({ kind: "result", ...result });
    for (const one of turned) this.world.tell({ kind: "turned", turned: one });
  }

  private watch(): void {
    const { clock } = this.world;
    clock.after(WATCH_MS, () => {
      const wall = clock.wall();
      if (Math.abs(wall - this.watchedAt - WATCH_MS) > LEAP_MS) this.link.probe();
      this.watchedAt = wall;
      this.session.tick(clock.now());
      this.bridgeless.stayTogether();
      this.bridgeless.lookForBridge();
      this.flush();
      this.watch();
    });
  }
}
