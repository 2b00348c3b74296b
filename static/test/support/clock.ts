/** Clocks for tests: one that a test moves, one that is real but runs faster. */

import type { Cancel, Clock } from "../../src/clock";

/** Time stands still until the test moves it; what falls due runs in order. */
export class ManualClock implements Clock {
  chance = 0;
  /** Added to the wall clock only: somebody set it, or the device slept. */
  leap = 0;
  private time = 1_000;
  private timers: { due: number; run: () => void }[] = [];

  now(): number {
    return this.time;
  }

  wall(): number {
    return 1_800_000_000_000 + this.time + this.leap;
  }

  random(): number {
    return this.chance;
  }

  after(milliseconds: number, run: () => void): Cancel {
    const timer = { due: this.time + milliseconds, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  /** Let time pass, running each timer when it is due. */
  pass(milliseconds: number): void {
    const end = this.time + milliseconds;
    for (;;) {
      const next = this.next();
      if (next === undefined || next.due > end) break;
      this.time = Math.max(this.time, next.due);
      this.fire(next);
    }
    this.time = end;
  }

  /** Let time pass with nobody looking: timers that fell due run afterwards, late. */
  stall(milliseconds: number): void {
    this.time += milliseconds;
    const due = this.timers.filter((timer) => timer.due <= this.time);
    for (const timer of due.sort((one, other) => one.due - other.due)) {
      if (this.timers.includes(timer)) this.fire(timer);
    }
  }

  /** When the next timer is due, from now. */
  get wait(): number | undefined {
    const next = this.next();
    return next === undefined ? undefined : next.due - this.time;
  }

  private next(): { due: number; run: () => void } | undefined {
    return this.timers.reduce<{ due: number; run: () => void } | undefined>(
      (first, timer) => (first === undefined || timer.due < first.due ? timer : first),
      undefined,
    );
  }

  private fire(timer: { due: number; run: () => void }): void {
    this.timers = this.timers.filter((other) => other !== timer);
    timer.run();
  }
}

/** A real clock whose seconds are short, for tests over real sockets. */
export function fastClock(speed: number): Clock {
  return {
    now: () => performance.now() * speed,
    wall: () => Date.now() * speed,
    random: Math.random,
    after(milliseconds, run) {
      const timer = setTimeout(run, milliseconds / speed);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}
