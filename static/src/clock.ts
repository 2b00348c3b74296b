/**
 * Time and chance, handed in so that everything above them can be tested without waiting.
 */

/** Undoes an `after`; harmless when it has already run. */
export type Cancel = () => void;

export interface Clock {
  /** Milliseconds, steady: never jumps, may stand still while the device sleeps. */
  now(): number;
  /** Milliseconds since 1970: jumps, which is how a sleep is noticed. */
  wall(): number;
  /** In [0, 1). */
  random(): number;
  after(milliseconds: number, run: () => void): Cancel;
}

export const realClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
  after(milliseconds, run) {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
};

export const nothing: Cancel = () => undefined;
