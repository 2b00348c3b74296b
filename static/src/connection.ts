/**
 * The one WebSocket to the bridge: opened, welcomed, probed, given up and opened again.
 *
 * 1. A socket counts as open from its `welcome` on; without one in WELCOME_MS it is given up.
 * 2. It is pinged every `ping_seconds`. A bridge from which nothing came for PONG_MS after a ping
 *    is gone, whatever the socket says of itself (a locked iPhone leaves sockets that read as
 *    open). Where our own timer fired late it was us who stalled, and the bridge gets one more
 *    ping. While a whole state may be on its way (from the welcome to the first status, and after
 *    a resync) it gets LOADING_MS: the pong waits behind it.
 * 3. `probe` pings at once: after the page was hidden, or the clock leapt.
 * 4. A given-up socket is dropped, not waited for: its close handshake may never end.
 * 5. Retries have full jitter: a bridge's end is noticed by everybody in the same moment.
 * 6. `bad_token` and `version_mismatch` end it for good: trying again cannot help.
 */

import { nothing, type Cancel, type Clock } from "./clock";
import { FrameError } from "./errors";
import {
  decode,
  encode,
  type ErrorFrame,
  type Hello,
  type Received,
  type Sent,
  type Welcome,
} from "./frames";
import {
  BUSY_MS,
  LATE_MS,
  LOADING_MS,
  PONG_MS,
  RETRY_BASE_MS,
  RETRY_CAP_MS,
  RETRY_FIRST_MS,
  STABLE_MS,
  WELCOME_MS,
} from "./timing";

/** What the link itself has no use for. */
export type Payload = Exclude<Received, { type: "welcome" | "error" | "ping" | "pong" }>;

/** What is used of a WebSocket. */
export interface Socket {
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface LinkEvents {
  /** The words to join with; asked for on each new socket. */
  hello(): Hello;
  welcomed(welcome: Welcome): void;
  /** A checked frame that is none of the link's own. */
  received(frame: Payload): void;
  /** A frame for the node in this tab. */
  forNode(text: string): void;
  /** The socket that had been welcomed is gone. */
  lost(): void;
  /** The bridge says why it will close, or (not fatal) what it did not accept. */
  refused(error: ErrorFrame, final: boolean): void;
}

const FINAL: ReadonlySet<string> = new Set(["bad_token", "version_mismatch"]);
const BUSY: ReadonlySet<string> = new Set(["rate_limited", "too_many_connections", "slow_reader"]);

export class Link {
  private socket: Socket | undefined;
  private welcome: Welcome | undefined;
  private running = false;
  private attempts = 0;
  private busy = false;
  private openedAt = 0;
  private heardAt = 0;
  private pings = 0;
  private pingedAt: number | undefined;
  private rtt = 0;
  /** Since when a whole state may be on its way, and the frame after which it is not. */
  private loading: { readonly since: number; readonly until: "status" | "state" } | undefined;
  /** The one thing that is waited for: welcome, retry, next ping or pong. */
  private cancel: Cancel = nothing;

  constructor(
    private readonly open: () => Socket,
    private readonly clock: Clock,
    private readonly events: LinkEvents,
  ) {}

  get connected(): boolean {
    return this.welcome !== undefined;
  }

  /** Bytes that the socket has not sent yet. */
  get backlog(): number {
    return this.socket?.bufferedAmount ?? 0;
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    this.attempts = 0;
    this.connect();
  }

  /** End it; `start` may follow. Says goodbye where there is somebody to say it to. */
  stop(): void {
    if (!this.running) return;
    this.running = false;
    if (this.connected) this.send({ type: "bye" });
    this.drop();
  }

  /** Send a frame; without a welcomed socket it is lost, as it may be on any wire. */
  send(frame: Sent): void {
    this.sendText(encode(frame));
  }

  sendText(text: string): void {
    if (this.welcome !== undefined) this.socket?.send(text);
  }

  /** Ask for the whole state. */
  resync(): void {
    this.loading = { since: this.clock.now(), until: "state" };
    this.send({ type: "resync" });
  }

  /** Something may have happened to the link (rule 3): find out now. */
  probe(): void {
    if (!this.running) return;
    if (this.connected) this.ping();
    else if (this.socket === undefined) this.connect();
  }

  private connect(): void {
    this.cancel();
    let socket: Socket;
    try {
      socket = this.open();
    } catch {
      this.retry();
      return;
    }
    this.socket = socket;
    this.cancel = this.clock.after(WELCOME_MS, () => this.giveUp());
    socket.onopen = () => socket.send(encode(this.events.hello()));
    socket.onclose = () => this.giveUp();
    socket.onmessage = (event: { data: unknown }) => {
      if (typeof event.data === "string") this.receive(event.data);
    };
  }

  private receive(text: string): void {
    this.heardAt = this.clock.now();
    let frame;
    try {
      frame = decode(text);
    } catch (error) {
      // Ignored: to reconnect would bring the same again. What it was is for whoever looks.
      if (!(error instanceof FrameError)) throw error;
      console.warn(`ftweb: ${error.message}`);
      return;
    }
    switch (frame.type) {
      case "for_node":
        this.events.forNode(frame.text);
        break;
      case "welcome":
        this.welcomed(frame);
        break;
      case "error":
        this.refused(frame);
        break;
      case "ping":
        this.send({ type: "pong", n: frame.n });
        break;
      case "pong":
        if (frame.n === this.pings && this.pingedAt !== undefined) {
          this.rtt = this.heardAt - this.pingedAt;
          this.pingLater();
        }
        break;
      case "session":
      case "reply":
      case "message":
      case "state":
      case "change":
      case "status":
        if (frame.type === this.loading?.until) this.loading = undefined;
        this.events.received(frame);
    }
  }

  private welcomed(welcome: Welcome): void {
    if (this.connected) return;
    this.welcome = welcome;
    this.openedAt = this.clock.now();
    this.busy = false;
    this.loading = { since: this.openedAt, until: "status" };
    this.events.welcomed(welcome);
    // The first ping comes at once: consensus timing and ranking want a round trip early.
    this.ping();
  }

  private refused(error: ErrorFrame): void {
    const final = FINAL.has(error.code);
    this.busy = BUSY.has(error.code);
    if (final) {
      this.running = false;
      this.drop();
    }
    this.events.refused(error, final);
  }

  private ping(): void {
    this.cancel();
    this.pings += 1;
    this.pingedAt = this.clock.now();
    const expected = this.pingedAt + PONG_MS;
    const rtt = Math.round(this.rtt * 100) / 100;
    this.send({ type: "ping", n: this.pings, ...(rtt > 0 ? { rtt } : {}) });
    this.cancel = this.clock.after(PONG_MS, () => this.judge(expected));
  }

  /** No pong came to the last ping. */
  private judge(expected: number): void {
    const now = this.clock.now();
    const loads = this.loading !== undefined && now - this.loading.since < LOADING_MS;
    if (loads || now - expected > LATE_MS) this.ping();
    else if (this.pingedAt !== undefined && this.heardAt > this.pingedAt) this.pingLater();
    else this.giveUp();
  }

  private pingLater(): void {
    this.pingedAt = undefined;
    this.cancel();
    const wait = (this.welcome?.limits.ping_seconds ?? 0) * 1000;
    this.cancel = this.clock.after(wait, () => this.ping());
  }

  private giveUp(): void {
    this.drop();
    this.retry();
  }

  private drop(): void {
    this.cancel();
    this.cancel = nothing;
    const { socket, welcome } = this;
    this.socket = undefined;
    this.welcome = undefined;
    this.pingedAt = undefined;
    this.loading = undefined;
    if (socket !== undefined) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    if (welcome !== undefined) {
      if (this.clock.now() - this.openedAt >= STABLE_MS) this.attempts = 0;
      this.events.lost();
    }
  }

  private retry(): void {
    if (!this.running) return;
    this.cancel();
    this.cancel = this.clock.after(this.delay(), () => this.connect());
  }

  private delay(): number {
    const [least, most] = RETRY_FIRST_MS;
    const attempt = this.attempts++;
    const chance = this.clock.random();
    if (this.busy) return BUSY_MS + chance * (RETRY_CAP_MS - BUSY_MS);
    if (attempt === 0) return least + chance * (most - least);
    const ceiling = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** (attempt - 1));
    return least + chance * (ceiling - least);
  }
}
