/**
 * Opens a socket at one of several targets: the first that opens is taken.
 *
 * 1. Targets are tried in order, each without waiting for the end of the one before: a dead address
 *    says nothing for long, and must cost a moment only (as in RFC 8305). One that fails at once
 *    lets the next begin at once.
 * 2. The second target waits for a jittered moment even if the first failed: the first is mostly
 *    the bridge that was lost, and all who lost it would come to the next in the same instant.
 * 3. A socket counts once it is open: then a process has answered, not only a kernel.
 * 4. `failed` is told once all are closed, or DIAL_MS after the last was begun.
 * 5. A socket that is still connecting then is kept for the next round, which opens no second one to
 *    the same target: on a bad Wi-Fi, or at a bridge with much to do, each would begin from nothing
 *    what the one before had nearly done. It is taken when it opens, whenever that is.
 * 6. After KEEP_MS it is replaced all the same. `afresh` replaces all that are older than a moment:
 *    the device may have slept, and a socket from before that never opens.
 */

import { nothing, type Cancel, type Clock } from "./clock";
import type { Socket, Target } from "./targets";
import { DIAL_MS, DIAL_NEXT_MS, KEEP_MS, SPREAD_MS, SUSPECT_MS } from "./timing";

export interface Dialed {
  opened(socket: Socket, target: Target): void;
  failed(): void;
}

/** A socket that is still connecting. */
interface Attempt {
  readonly socket: Socket;
  readonly begun: number;
  /** Ends its time (rule 6). */
  readonly cancel: Cancel;
}

export class Dialer {
  private waiting: Target[] = [];
  /** By their targets' names; those of earlier rounds, too. */
  private readonly attempts = new Map<string, Attempt>();
  /** Targets of this round that may still open; nothing between two rounds. */
  private round: Set<string> | undefined;
  private begun = 0;
  private spreadUntil = 0;
  private cancel: Cancel = nothing;

  constructor(
    private readonly clock: Clock,
    private readonly events: Dialed,
  ) {}

  /** A round is under way. */
  get dialing(): boolean {
    return this.round !== undefined;
  }

  /** Begin a round; one that is under way is over. */
  dial(targets: readonly Target[]): void {
    this.waiting = [...targets];
    this.round = new Set();
    this.begun = 0;
    this.spreadUntil = this.clock.now() + this.clock.random() * SPREAD_MS;
    this.next();
  }

  /** Trust no socket that is older than a moment (rule 6). */
  afresh(): void {
    const now = this.clock.now();
    for (const [name, { begun }] of this.attempts) {
      if (now - begun > SUSPECT_MS) this.forget(name);
    }
  }

  /** Give up all attempts. */
  stop(): void {
    this.endRound();
    for (const name of this.attempts.keys()) this.forget(name);
  }

  private endRound(): void {
    this.cancel();
    this.cancel = nothing;
    this.waiting = [];
    this.round = undefined;
  }

  private next(): void {
    this.cancel();
    const target = this.waiting.shift();
    if (target === undefined) {
      this.fail();
      return;
    }
    this.begun += 1;
    const wait = this.waiting.length > 0 ? Math.max(DIAL_NEXT_MS, this.spread()) : DIAL_MS;
    this.cancel = this.clock.after(wait, () => this.next());
    this.round?.add(target.name);
    if (this.attempts.has(target.name)) return;
    let socket: Socket;
    try {
      socket = target.open();
    } catch {
      this.over(target.name);
      return;
    }
    this.attempts.set(target.name, {
      socket,
      begun: this.clock.now(),
      cancel: this.clock.after(KEEP_MS, () => {
        this.forget(target.name);
        this.over(target.name);
      }),
    });
    socket.onopen = () => {
      this.attempts.get(target.name)?.cancel();
      this.attempts.delete(target.name);
      socket.onopen = socket.onclose = null;
      this.stop();
      this.events.opened(socket, target);
    };
    socket.onclose = () => {
      this.forget(target.name);
      this.over(target.name);
    };
  }

  /** An attempt has failed. */
  private over(name: string): void {
    if (this.round?.delete(name) !== true) return;
    if (this.waiting.length > 0) {
      this.cancel();
      this.cancel = this.clock.after(this.spread(), () => this.next());
    } else if (this.round.size === 0) {
      this.fail();
    }
  }

  /** What is left of rule 2's moment. */
  private spread(): number {
    return this.begun > 1 ? 0 : Math.max(0, this.spreadUntil - this.clock.now());
  }

  private fail(): void {
    this.endRound();
    this.events.failed();
  }

  private forget(name: string): void {
    const attempt = this.attempts.get(name);
    if (attempt === undefined) return;
    this.attempts.delete(name);
    attempt.cancel();
    const { socket } = attempt;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }
}
