/**
 * The one socket to the group: opened, welcomed, probed, given up and opened again, there or
 * elsewhere (targets.ts says where, dialing.ts how).
 *
 * 1. A socket counts from its `welcome` on; without one in WELCOME_MS it is given up.
 * 2. It is pinged every `ping_seconds`, and while something is `expected`, when it has been quiet
 *    for QUIET_MS: what carries the host's heartbeats needs no pings.
 * 3. A bridge from which nothing came for SUSPECT_MS after a ping is looked for elsewhere, if there
 *    is elsewhere; the socket is kept until another one is open. After PONG_MS it is given up,
 *    whatever it says of itself (a locked iPhone leaves sockets that read as open).
 * 4. Where our own timer fired late it was us who stalled, and the bridge gets one more ping. While
 *    a whole state may be on its way (from the welcome to the first status, and after a resync) it
 *    gets LOADING_MS: the pong waits behind it.
 * 5. `probe` pings at once: after the page was hidden, or the clock leapt. Then the socket is in
 *    doubt, and even where there is no other bridge a new one is opened after SUSPECT_MS: a page
 *    that is looked at again must be right within two seconds.
 * 6. A given-up socket is dropped, not waited for: its close handshake may never end.
 * 7. Retries have full jitter: a bridge's end is noticed by everybody in the same moment. Where
 *    there is another bridge to go to, the first retry does not wait.
 * 8. `bad_token` and `version_mismatch` end it for good: trying again cannot help. Closed with
 *    MOVE, the bridge asks us to go to another one.
 */

import { nothing, type Cancel, type Clock } from "./clock";
import { Dialer } from "./dialing";
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
import type { Occasion, Socket, Target, Targets } from "./targets";
import {
  BUSY_MS,
  LATE_MS,
  LOADING_MS,
  PONG_MS,
  QUIET_MS,
  RETRY_BASE_MS,
  RETRY_CAP_MS,
  RETRY_FIRST_MS,
  STABLE_MS,
  SUSPECT_MS,
  WELCOME_MS,
} from "./timing";

/** The close code with which a bridge asks a client to go to another one. */
const MOVE = 4002;

/** What the link itself has no use for. */
export type Payload = Exclude<Received, { type: "welcome" | "error" | "ping" | "pong" }>;

export interface LinkEvents {
  /** The words to join with; asked for on each new socket. */
  hello(target: Target): Hello;
  welcomed(welcome: Welcome, target: Target): void;
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
  private target: Target | undefined;
  private welcome: Welcome | undefined;
  private running = false;
  private attempts = 0;
  private busy = false;
  private openedAt = 0;
  private heardAt = 0;
  private expects = false;
  private pings = 0;
  private pingedAt: number | undefined;
  private nextPing = 0;
  private rtt = 0;
  /** Since when a whole state may be on its way, and the frame after which it is not. */
  private loading: { readonly since: number; readonly until: "status" | "state" } | undefined;
  /** The one thing that is waited for: welcome, retry, next ping or pong. */
  private cancel: Cancel = nothing;
  private readonly dialer: Dialer;

  constructor(
    private readonly targets: Targets,
    private readonly clock: Clock,
    private readonly events: LinkEvents,
  ) {
    this.dialer = new Dialer(clock, {
      opened: (socket, target) => this.opened(socket, target),
      failed: () => {
        // Looked for in vain; the silent socket may yet come back (rule 3).
        if (this.socket === undefined) this.retry();
      },
    });
  }

  get connected(): boolean {
    return this.welcome !== undefined;
  }

  /** Something should be coming: rule 2. */
  expect(expected: boolean): void {
    if (expected === this.expects) return;
    this.expects = expected;
    if (this.connected && this.pingedAt === undefined) this.pingLater();
  }

  /** Bytes that the socket has not sent yet. */
  get backlog(): number {
    return this.socket?.bufferedAmount ?? 0;
  }

  /** For how long nothing has come. */
  get quiet(): number {
    return this.clock.now() - this.heardAt;
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    this.attempts = 0;
    this.dial("start");
  }

  /** There is somewhere new to go: look again. The present socket is kept until one is open. */
  seek(): void {
    if (this.running) this.dial("lost");
  }

  /** Go on over a socket that is open already. */
  adopt(socket: Socket, target: Target): void {
    this.dialer.stop();
    if (this.running) this.opened(socket, target);
    else socket.close(1000);
  }

  /** Leave the present bridge for another one. */
  move(): void {
    if (!this.running) return;
    this.send({ type: "bye" });
    this.drop();
    this.dial("move");
  }

  /** End it; `start` may follow. Says goodbye where there is somebody to say it to. */
  stop(): void {
    if (!this.running) return;
    this.running = false;
    if (this.connected) this.send({ type: "bye" });
    this.dialer.stop();
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
    if (this.connected) this.ping(true);
    else if (this.socket === undefined) {
      this.dialer.afresh();
      this.dial("lost");
    }
  }

  private dial(occasion: Occasion): void {
    if (this.socket === undefined) this.cancel();
    this.dialer.dial(this.targets.round(occasion, this.target));
  }

  private opened(socket: Socket, target: Target): void {
    // Should the silent bridge hear it after all, it will not take our node for one that died.
    if (target.name !== this.target?.name) this.send({ type: "bye" });
    this.drop();
    this.socket = socket;
    this.target = target;
    this.cancel = this.clock.after(WELCOME_MS, () => this.giveUp());
    socket.onclose = (event: { code?: number } | undefined) => this.giveUp(event?.code);
    socket.onmessage = (event: { data: unknown }) => {
      if (typeof event.data === "string") this.receive(event.data);
    };
    socket.send(encode(this.events.hello(target)));
  }

  private receive(text: string): void {
    this.heardAt = this.clock.now();
    if (this.connected) this.dialer.stop();
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
      case "outcome":
      case "message":
      case "state":
      case "change":
      case "status":
      case "signal":
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
    if (this.target === undefined) return;
    this.targets.arrived(this.target, welcome.bridge);
    this.events.welcomed(welcome, this.target);
    // The first ping comes at once: consensus timing and ranking want a round trip early.
    this.ping();
  }

  private refused(error: ErrorFrame): void {
    const final = FINAL.has(error.code);
    this.busy = BUSY.has(error.code);
    if (final) {
      this.running = false;
      this.dialer.stop();
      this.drop();
    }
    this.events.refused(error, final);
  }

  private ping(doubted = false): void {
    this.cancel();
    this.pings += 1;
    const now = (this.pingedAt = this.clock.now());
    const rtt = Math.round(this.rtt * 100) / 100;
    this.send({ type: "ping", n: this.pings, ...(rtt > 0 ? { rtt } : {}) });
    const patience = this.targets.several || doubted ? SUSPECT_MS : PONG_MS;
    this.cancel = this.clock.after(patience, () => this.judge(now + patience));
  }

  /** No pong came to the last ping. */
  private judge(expected: number): void {
    const now = this.clock.now();
    const pingedAt = this.pingedAt ?? now;
    if (now - expected > LATE_MS) this.ping(expected < pingedAt + PONG_MS);
    else if (this.heardAt > pingedAt) this.pingLater();
    else if (now - pingedAt >= PONG_MS) {
      if (this.loads(now)) this.ping();
      else this.giveUp();
    } else {
      if (!this.loads(now) && !this.dialer.dialing) this.dial("silent");
      const due = pingedAt + PONG_MS;
      this.cancel = this.clock.after(due - now, () => this.judge(due));
    }
  }

  private get pingEvery(): number {
    return (this.welcome?.limits.ping_seconds ?? 0) * 1000;
  }

  private loads(now: number): boolean {
    return this.loading !== undefined && now - this.loading.since < LOADING_MS;
  }

  /** Rule 2. */
  private pingLater(): void {
    const now = this.clock.now();
    if (this.pingedAt !== undefined) this.nextPing = now + this.pingEvery;
    this.pingedAt = undefined;
    this.cancel();
    const quiet = this.expects && this.targets.several ? this.heardAt + QUIET_MS : Infinity;
    const due = Math.min(this.nextPing, quiet);
    this.cancel = this.clock.after(Math.max(0, due - now), () => {
      if (this.heardAt + QUIET_MS > this.clock.now() && this.clock.now() < this.nextPing) {
        this.pingLater();
      } else this.ping();
    });
  }

  private giveUp(code?: number): void {
    const welcomed = this.connected;
    this.drop();
    // A round that a silent socket has begun goes on.
    if (this.dialer.dialing) return;
    const occasion = code === MOVE ? "move" : "lost";
    if (welcomed && this.targets.several && !this.busy && this.attempts === 0) {
      this.attempts = 1;
      this.dial(occasion);
    } else this.retry(occasion);
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

  private retry(occasion: Occasion = "again"): void {
    if (!this.running) return;
    this.cancel();
    this.cancel = this.clock.after(this.delay(), () => this.dial(occasion));
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
