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
 */

import { nothing, type Cancel, type Clock } from "./clock";
import type { Socket, Target } from "./targets";
import { DIAL_MS, DIAL_NEXT_MS, SPREAD_MS } from "./timing";

export interface Dialed {
  opened(socket: Socket, target: Target): void;
  failed(): void;
}

export class Dialer {
  private waiting: Target[] = [];
  private readonly open = new Set<Socket>();
  private begun = 0;
  private spreadUntil = 0;
  private cancel: Cancel = nothing;

  constructor(
    private readonly clock: Clock,
    private readonly events: Dialed,
  ) {}

  get dialing(): boolean {
    return this.waiting.length > 0 || this.open.size > 0;
  }

  dial(targets: readonly Target[]): void {
    this.stop();
    this.waiting = [...targets];
    this.begun = 0;
    this.spreadUntil = this.clock.now() + this.clock.random() * SPREAD_MS;
    this.next();
  }

  /** Give up all attempts. */
  stop(): void {
    this.cancel();
    this.cancel = nothing;
    this.waiting = [];
    for (const socket of this.open) drop(socket);
    this.open.clear();
  }

  private next(): void {
    this.cancel();
    const target = this.waiting.shift();
    if (target === undefined) {
      this.end();
      return;
    }
    this.begun += 1;
    const wait = this.waiting.length > 0 ? Math.max(DIAL_NEXT_MS, this.spread()) : DIAL_MS;
    this.cancel = this.clock.after(wait, () => this.next());
    let socket: Socket;
    try {
      socket = target.open();
    } catch {
      this.over(undefined);
      return;
    }
    this.open.add(socket);
    socket.onopen = () => {
      this.open.delete(socket);
      socket.onopen = socket.onclose = null;
      this.stop();
      this.events.opened(socket, target);
    };
    socket.onclose = () => this.over(socket);
  }

  /** An attempt has failed. */
  private over(socket: Socket | undefined): void {
    if (socket !== undefined) this.open.delete(socket);
    if (this.waiting.length > 0) {
      this.cancel();
      this.cancel = this.clock.after(this.spread(), () => this.next());
    } else if (this.open.size === 0) {
      this.end();
    }
  }

  /** What is left of rule 2's moment. */
  private spread(): number {
    return this.begun > 1 ? 0 : Math.max(0, this.spreadUntil - this.clock.now());
  }

  private end(): void {
    this.stop();
    this.events.failed();
  }
}

function drop(socket: Socket): void {
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close(1000);
}
