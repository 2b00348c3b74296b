/**
 * A phone without the memory for a replica should not try for ever. Nobody can ask how much it has
 * (`deviceMemory` is missing on insecure origins), so this goes by what happened.
 *
 * 1. While a replica boots or runs in a page that is looked at, its tab bears a mark. A page that
 *    leaves properly, or is hidden (systems end hidden pages for other reasons), takes it away.
 * 2. A page that finds a mark was loaded again after its tab had crashed.
 * 3. Two crashes within CRASHES_KEPT_MS, or a replica that could not be kept running within one
 *    page, and this device's pages do without: they vote, but never host. After that time it is
 *    tried again: another program may have taken the memory.
 * 4. A duplicated tab is born with a copy of the mark. So the tab that set it is asked first: if it
 *    answers, nothing has crashed.
 * 5. Without storage there is no memory of crashes, and each page tries.
 */

import type { Store } from "./keys";

const MARK = "ftweb.replica";
const TALLY = "ftweb.crashes";

export const CRASHES_ALLOWED = 1;
export const CRASHES_KEPT_MS = 3_600_000;

export interface CrashWorld {
  /** The tab's. */
  readonly session: Store | undefined;
  /** The browser's. */
  readonly local: Store | undefined;
  /** Milliseconds since 1970. */
  now(): number;
  /** Whether the page with this id lives in another tab. */
  lives(id: string): Promise<boolean>;
}

export class Crashes {
  private allowed = false;

  /**
   * @param id - of this page, unlike any other's.
   */
  constructor(
    private readonly world: CrashWorld,
    private readonly id: string,
  ) {}

  /** Whether this page may run a replica. To be asked once, before there is one. */
  async judge(): Promise<boolean> {
    const { session } = this.world;
    const mark = read(session, MARK);
    if (mark !== null) {
      if (!(await this.world.lives(mark))) this.count(1);
      attempt(() => session?.removeItem(MARK));
    }
    this.allowed = this.recent().length <= CRASHES_ALLOWED;
    return this.allowed;
  }

  /** The page is looked at, or is not. */
  show(visible: boolean): void {
    const { session } = this.world;
    if (!this.allowed) return;
    if (visible) attempt(() => session?.setItem(MARK, this.id));
    else attempt(() => session?.removeItem(MARK));
  }

  /** Its replica could not be kept running. */
  failed(): void {
    this.count(CRASHES_ALLOWED + 1);
  }

  private count(times: number): void {
    const crashes = [...this.recent(), ...Array<number>(times).fill(this.world.now())];
    attempt(() => this.world.local?.setItem(TALLY, crashes.slice(-9).join(" ")));
  }

  private recent(): number[] {
    const now = this.world.now();
    return (read(this.world.local, TALLY) ?? "")
      .split(" ")
      .map(Number)
      .filter((time) => time > now - CRASHES_KEPT_MS && time <= now && time > 0);
  }
}

/** Asking other tabs of this origin. A BroadcastChannel would keep pages out of the bfcache. */
export const ASK = "ftweb.ask";
export const ANSWER = "ftweb.lives";

function read(store: Store | undefined, key: string): string | null {
  return attempt(() => store?.getItem(key) ?? null) ?? null;
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
