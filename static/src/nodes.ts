/**
 * The node worker's life: when one is started, what ends it, what the bridge is told of it.
 *
 * 1. It starts after the first welcome and the page's first paint: to vote comes first.
 * 2. `node_up` is said once it has booted, and again on every new socket. An end that could not be
 *    told, because there was no socket, is told on the next one.
 * 3. A handler that hangs ends its worker (watchdog.ts); the bridge learns which request it was,
 *    so that no host runs it again. A new worker is a new node.
 * 4. After an end the next start waits, longer each time until one has lasted. A worker that keeps
 *    crashing (CRASHES in CRASHES_MS) is not started again: this tab votes, but never hosts.
 *    Hanging handlers do not count: one bad request per tab would leave nobody to host. Later
 *    loads of the page are spared as well (`gaveUp`, crashes.ts), unless the app is to blame.
 * 5. The bridge may say that the node's epoch is over: another history has taken its place, and a
 *    node id is never used in two. A new worker then starts at once; nothing has gone wrong. What
 *    only the old one may know it hands in first, to the bridge that is there or the next one.
 * 6. Another bundle or another server after a reconnect: the worker is replaced.
 */

import * as v from "valibot";

import { NodeToNet, type HttpAccess, type NetToNode, type NodeStatus } from "./channels";
import { nothing, type Cancel, type Clock } from "./clock";
import {
  isLastRecalled,
  isRecalled,
  type Failure,
  type Leads,
  type Left,
  type NodeDown,
  type RequestId,
  type Sent,
  type Welcome,
} from "./frames";
import { PING } from "./ping";
import { isTab } from "./targets";
import {
  CRASHES,
  CRASHES_MS,
  HANDED_MS,
  HAND_IN_MS,
  REBOOT_BASE_MS,
  REBOOT_CAP_MS,
} from "./timing";
import { Pulse, Watchdog } from "./watchdog";

/** What is used of a Worker. */
export interface NodeWorker {
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  postMessage(text: string): void;
  terminate(): void;
}

export interface NodeEvents {
  /** A frame of ours for the bridge. */
  send(frame: Sent): void;
  /** A frame of the node's for the bridge. */
  sendText(text: string): void;
  changed(news: { nodeId: string | undefined; node: NodeStatus | undefined }): void;
  /** A node is up, so long after its worker was started. */
  booted(milliseconds: number): void;
  failed(failure: Failure): void;
  /** It crashed too often, and is not tried again in this page (rule 4). */
  gaveUp(): void;
  /** For tabs that joined at this one's relay (joining.ts). */
  toGuests(links: readonly string[], text: string): void;
  endGuest(link: string, code: number): void;
}

const APP: ReadonlySet<string> = new Set(["app", "bundle"]);

const AWAY =
  "This page came from a bridge that is gone, and so would its replica: this tab takes part " +
  "without one.";

export class NodeKeeper {
  private worker: NodeWorker | undefined;
  private nodeId: string | undefined;
  private status: NodeStatus | undefined;
  private welcome: Welcome | undefined;
  /** Of the bridge that we are connected to. */
  private origin: string;
  private connected = false;
  private allowed = false;
  /** There is a bridge, so a worker's files can be had. */
  private loads = false;
  private visible = true;
  private untold: NodeDown[] = [];
  /** The node ends, and has yet to say what only it may know. */
  private handsIn = false;
  /** What it remembers, as far as it has come: all of it goes over one socket. */
  private recalled: string[] = [];
  /** What ended nodes have handed in, and when that was first told: a socket may be dead unnoticed. */
  private handed: { readonly texts: readonly string[]; toldAt: number }[] = [];
  /** Ends in a row, and since when the present worker is up. */
  private ends = 0;
  private upSince = Infinity;
  private startedAt = 0;
  private crashes: number[] = [];
  private weak = true;
  private waiting: Cancel = nothing;
  /** The end of its log, before anybody else was told of it. */
  private position: Left | undefined;
  /** What the bridge was told by {@link NodeKeeper.claim}. */
  private claimed = "";
  private readonly watchdog: Watchdog;
  private readonly pulse: Pulse;

  constructor(
    private readonly spawn: (url: string) => NodeWorker,
    /** The page's own origin, and the folder of its own build of the workers. */
    private readonly home: { readonly origin: string; readonly runtime: string },
    private readonly clock: Clock,
    private readonly events: NodeEvents,
    private readonly credentials: Omit<HttpAccess, "url">,
  ) {
    this.origin = home.origin;
    this.watchdog = new Watchdog(clock, (request) => this.ended("stuck", request));
    this.pulse = new Pulse(
      clock,
      () => this.worker?.postMessage(PING),
      () => this.ended("stuck"),
    );
  }

  /** The host's heartbeats come to it. */
  get member(): boolean {
    return this.status !== undefined && this.status.role !== "observer";
  }

  /** The history that it takes part in; 0 while that is unknown. */
  get epoch(): number {
    return this.status?.epoch ?? 0;
  }

  /** It leads, and a quorum follows. */
  get livesOn(): boolean {
    return this.status?.role === "leader" && this.status.quorum;
  }

  /** The page has been painted. */
  allow(): void {
    this.allowed = true;
    this.boot();
  }

  /** A bridge has let us in. */
  connect(welcome: Welcome, origin = this.home.origin): void {
    const before = this.welcome;
    this.welcome = welcome;
    this.connected = true;
    this.loads = !isTab(origin);
    if (this.loads) this.origin = origin;
    if (before !== undefined && this.worker !== undefined) {
      if (before.guid !== welcome.guid || before.bundle !== welcome.bundle) this.end();
    }
    if (before !== undefined && before.guid !== welcome.guid) this.untold = this.handed = [];
    this.tellAll();
    this.announce("node_up");
    if (this.worker !== undefined) this.post({ kind: "bridge", httpUrl: this.httpUrl() });
    this.boot();
  }

  disconnect(): void {
    this.connected = false;
  }

  show(visible: boolean): void {
    if (visible === this.visible) return;
    this.visible = visible;
    this.post({ kind: "visible", visible });
    if (this.connected) this.announce("node_update");
  }

  /** A frame for the node. Before it is up there is nobody to read it. */
  deliver(text: string): void {
    if (this.nodeId !== undefined) this.post({ kind: "frame", text });
  }

  /** Anything else for the node, if it is up. */
  pass(message: NetToNode): void {
    if (this.nodeId !== undefined) this.post(message);
  }

  /** The page goes away. */
  leave(): void {
    if (this.nodeId !== undefined) this.tell("leaving");
    this.end();
    this.untold = [];
    this.crashes = [];
    this.ends = 0;
    this.connected = false;
  }

  /** The bridge does not accept this node's id: another one is needed. */
  replace(): void {
    if (this.worker !== undefined) this.ended("crashed");
  }

  /** Its epoch is over: rule 5. */
  renew(): void {
    // One that still boots has not been anywhere.
    if (this.nodeId === undefined || this.handsIn) return;
    this.handsIn = true;
    this.post({ kind: "over" });
    this.waiting();
    this.waiting = this.clock.after(HAND_IN_MS, () => this.renewed());
  }

  private renewed(): void {
    if (!this.handsIn) return;
    if (this.connected) this.tellAll();
    this.tell("leaving");
    this.end();
    this.boot();
  }

  /** Only bridges want to know, and the next one again what was told a moment ago. */
  private tellAll(): void {
    if (!this.loads) return;
    const now = this.clock.now();
    this.handed = this.handed.filter(({ toldAt }) => now - toldAt < HANDED_MS);
    for (const one of this.handed) {
      for (const text of one.texts) this.events.sendText(text);
      one.toldAt = Math.min(one.toldAt, now);
    }
    for (const down of this.untold.splice(0)) this.events.send(down);
  }

  /** A piece of what the node remembers. */
  private remembered(text: string): void {
    this.recalled.push(text);
    if (!isLastRecalled(text)) return;
    const texts = this.recalled.splice(0);
    if (this.handsIn) this.handed.push({ texts, toldAt: Infinity });
    else if (this.connected && this.loads) for (const one of texts) this.events.sendText(one);
  }

  private boot(): void {
    const { welcome } = this;
    if (!this.allowed || !this.connected || !this.loads || welcome === undefined) return;
    if (this.worker !== undefined || this.crashes.length >= CRASHES) return;
    this.waiting();
    // Workers must come from the page's own origin (and may, from the cache, when it is gone); what
    // another bridge calls its runtime need not exist there.
    const { origin } = this.home;
    const own = this.origin === origin;
    const runtime = own ? new URL(welcome.runtime, origin).href : this.home.runtime;
    let worker: NodeWorker;
    try {
      worker = this.spawn(new URL("node-worker.js", runtime).href);
    } catch (error) {
      // No workers inside workers here (older Safari): this tab votes, but never hosts.
      this.crashes = Array<number>(CRASHES).fill(this.clock.now());
      this.events.failed({ code: "node_failed", message: String(error) });
      return;
    }
    this.worker = worker;
    this.startedAt = this.clock.now();
    worker.onmessage = (event: { data: unknown }) => this.hear(event.data);
    worker.onerror = (event: { message?: string }) =>
      this.broken(event.message ?? "The worker's script could not be loaded.");
    this.post({
      kind: "start",
      runtime,
      bundleUrl: new URL(`/ftweb/bundle/${welcome.bundle}.zip`, origin).href,
      bundle: welcome.bundle,
      visible: this.visible,
      welcome,
      http: { url: this.httpUrl(), ...this.credentials },
    });
  }

  private httpUrl(): string {
    return new URL("/ftweb/http", this.origin).href.replace(/^http/, "ws");
  }

  private post(message: NetToNode): void {
    this.worker?.postMessage(JSON.stringify(message));
  }

  private hear(data: unknown): void {
    const result = v.safeParse(NodeToNet, parse(data));
    if (!result.success) {
      console.warn(`ftweb: the node worker sent what is not understood: ${String(data)}`);
      return;
    }
    const message = result.output;
    switch (message.kind) {
      case "frame":
        if (isRecalled(message.text)) this.remembered(message.text);
        else this.events.sendText(message.text);
        break;
      case "handed_in":
        this.renewed();
        break;
      case "begin":
        this.watchdog.begin(
          { client_id: message.clientId, session: message.session, serial: message.serial },
          (this.welcome?.limits.handler_seconds ?? 1) * 1000,
        );
        break;
      case "end":
        this.watchdog.end();
        break;
      case "wire_out":
        this.events.toGuests(message.links, message.text);
        break;
      case "wire_close":
        this.events.endGuest(message.link, message.code);
        break;
      case "pong":
        this.pulse.alive();
        break;
      case "up":
        this.nodeId = message.nodeId;
        this.upSince = this.clock.now();
        this.events.booted(Math.round(this.upSince - this.startedAt));
        this.pulse.alive();
        this.events.changed({ nodeId: this.nodeId, node: undefined });
        if (this.connected) this.announce("node_up");
        break;
      case "position":
        this.position = message.left;
        break;
      case "status":
        this.status = message;
        this.events.changed({ nodeId: this.nodeId, node: message });
        if (this.connected && JSON.stringify(this.claim()) !== this.claimed) {
          this.announce("node_update");
        }
        break;
      case "failed":
        // An app that does not start here would start nowhere: that is not this device's weakness.
        if (APP.has(message.stage)) this.weak = false;
        this.broken(`${message.stage}: ${message.message}`);
        break;
    }
  }

  /** The worker threw, or could not boot. */
  private broken(message: string): void {
    if (this.worker === undefined) return;
    // For the app's author: the page goes on without a word, and nothing else says why none hosts.
    console.warn(`ftweb: the app does not run in this tab: ${message}`);
    const home = this.origin === this.home.origin;
    this.events.failed({
      code: "node_failed",
      message: home || this.nodeId !== undefined ? message : `${AWAY} (${message})`,
    });
    // Without the home bridge nothing can be loaded: that says nothing against this tab.
    if (this.connected && this.loads && home) {
      const now = this.clock.now();
      this.crashes = [...this.crashes.filter((time) => now - time < CRASHES_MS), now];
      if (this.crashes.length === CRASHES && this.weak) this.events.gaveUp();
    }
    this.ended("crashed");
  }

  private ended(reason: "stuck" | "crashed", request?: RequestId): void {
    if (this.nodeId !== undefined) this.tell(reason, request);
    this.end();
    if (this.clock.now() - this.upSince >= CRASHES_MS) this.ends = 0;
    this.upSince = Infinity;
    const wait = Math.min(REBOOT_CAP_MS, REBOOT_BASE_MS * 2 ** this.ends++);
    this.waiting = this.clock.after(wait, () => this.boot());
  }

  private tell(reason: NodeDown["reason"], request?: RequestId): void {
    if (this.nodeId === undefined) return;
    const node_id = this.nodeId;
    const left = [...(this.status?.left ?? []), ...(this.position ? [this.position] : [])];
    const down: NodeDown = {
      type: "node_down",
      node_id,
      reason,
      ...(request === undefined ? {} : { request }),
      ...(left.length > 0 ? { left } : {}),
    };
    if (this.connected) this.events.send(down);
    if (!this.connected || !this.loads) this.untold.push(down);
  }

  /** End the worker at once: what it was doing is not worth waiting for. */
  private end(): void {
    this.waiting();
    this.watchdog.end();
    this.pulse.end();
    const { worker } = this;
    this.worker = undefined;
    this.nodeId = undefined;
    this.status = undefined;
    this.position = undefined;
    this.handsIn = false;
    this.recalled = [];
    if (worker === undefined) return;
    worker.onmessage = worker.onerror = null;
    worker.terminate();
    this.events.changed({ nodeId: undefined, node: undefined });
  }

  private announce(type: "node_up" | "node_update"): void {
    if (this.nodeId === undefined) return;
    const claim = this.claim();
    this.claimed = JSON.stringify(claim);
    this.events.send({ type, node_id: this.nodeId, visible: this.visible, ...claim });
  }

  /** Its epoch, whether it leads there, and which ones it has left. */
  private claim(): { readonly epoch?: number; readonly leads?: Leads; readonly left?: Left[] } {
    const { role, epoch = 0, term = 0, history, left = [] } = this.status ?? {};
    return {
      ...(epoch > 0 ? { epoch } : {}),
      ...(role === "leader" ? { leads: { epoch, term, ...(history ? { history } : {}) } } : {}),
      ...(left.length > 0 ? { left } : {}),
    };
  }
}

function parse(data: unknown): unknown {
  if (typeof data !== "string") return undefined;
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return undefined;
  }
}
