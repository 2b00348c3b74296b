/**
 * Whom to ask for the next part of a file: ftweb/files/holders.py in the page, with its rules. Both
 * run tests/vectors/holders.json.
 */

import { FILE_PAUSE_SECONDS, FILE_PAUSE_SECONDS_MOST } from "./file-limits";

interface Holder {
  busy: number;
  failures: number;
  freeAt: number;
  /** Which request it was last asked by; 0 for none. */
  asked: number;
}

export class Holders {
  private all = new Map<string, Holder>();
  private requests = 0;

  constructor(names: Iterable<string> = []) {
    this.update(names);
  }

  get names(): readonly string[] {
    return [...this.all.keys()];
  }

  /** How many requests each has under way. */
  get busy(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.all].map(([name, { busy }]) => [name, busy]));
  }

  /** These are the holders now. Those that stay keep what is known of them. */
  update(names: Iterable<string>): void {
    const all = new Map<string, Holder>();
    for (const name of names) {
      all.set(name, this.all.get(name) ?? { busy: 0, failures: 0, freeAt: 0, asked: 0 });
    }
    this.all = all;
  }

  /** Whom to ask now; `besides` only if there is no other. `now` is in seconds. */
  pick(now: number, besides: string | null = null): string | null {
    const free = [...this.all].filter(([, holder]) => holder.freeAt <= now);
    const others = free.filter(([name]) => name !== besides);
    let best: [string, Holder] | undefined;
    for (const one of others.length > 0 ? others : free) {
      if (best === undefined || comesBefore(one[1], best[1])) best = one;
    }
    return best?.[0] ?? null;
  }

  /** Seconds until one may be asked; null if there is no holder at all. */
  wait(now: number): number | null {
    if (this.all.size === 0) return null;
    return Math.max(0, Math.min(...[...this.all.values()].map(({ freeAt }) => freeAt)) - now);
  }

  asked(name: string): void {
    this.requests += 1;
    const holder = this.all.get(name);
    if (holder === undefined) return;
    holder.busy += 1;
    holder.asked = this.requests;
  }

  served(name: string): void {
    this.ended(name);
    this.returned(name);
  }

  failed(name: string, now: number): void {
    this.ended(name);
    this.distrust(name, now);
  }

  /** Its request ended without a word on the holder: it was not wanted any more. */
  ended(name: string): void {
    const holder = this.all.get(name);
    if (holder !== undefined) holder.busy = Math.max(0, holder.busy - 1);
  }

  /** It had a part in something wrong: let it alone for a while. */
  distrust(name: string, now: number): void {
    const holder = this.all.get(name);
    if (holder === undefined) return;
    const pause = Math.min(FILE_PAUSE_SECONDS * 2 ** holder.failures, FILE_PAUSE_SECONDS_MOST);
    holder.freeAt = now + pause;
    holder.failures = Math.min(holder.failures + 1, 16);
  }

  returned(name: string): void {
    const holder = this.all.get(name);
    if (holder === undefined) return;
    holder.failures = 0;
    holder.freeAt = 0;
  }
}

function comesBefore(one: Holder, other: Holder): boolean {
  return one.busy === other.busy ? one.asked < other.asked : one.busy < other.busy;
}
