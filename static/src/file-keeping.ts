/**
 * Giving bridges what they lack and this tab has, as the files worker does it.
 *
 * Of the files that the app lists, each tab offers what it has to the first bridge that answers, when
 * the list or the bridges change and once in a while. So a bridge that lost its disk, or a new one
 * when all others are gone, gets everything back that some tab still has. Tabs wait for a random time
 * before, so that mostly one of them does it. What a tab has as a whole, a bridge may also ask for
 * (file-copies.ts).
 */

import type { ChunkStore } from "./chunk-store";
import { giveFile, idOf, missingAt, type Chunk } from "./file-giving";
import { Job, type World } from "./file-jobs";
import { Holders } from "./holders";
import type { Manifest } from "./manifest";

const FIRST_MS = 3_000;
const AGAIN_MS = 60_000;

/** What the worker gives. */
export interface Means {
  readonly world: World;
  readonly store: Pick<ChunkStore, "files" | "forget" | "have"> | undefined;
  readonly bridges: () => readonly string[];
  /** Files that the page itself has from the person, by their ids. */
  readonly sources: ReadonlyMap<string, unknown>;
  readonly inUse: ReadonlySet<string>;
  chunk(id: string, manifest: Manifest): Chunk;
}

export class Keeping {
  listed: readonly Manifest[] = [];
  /** Files that a bridge is being given just now: not twice at a time. */
  readonly giving = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly means: Means) {}

  soon(milliseconds = FIRST_MS): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.now(), milliseconds * (0.5 + Math.random()));
  }

  private async now(): Promise<void> {
    const { store, inUse } = this.means;
    try {
      const named = new Set<string>();
      for (const manifest of this.listed) {
        // eslint-disable-next-line no-await-in-loop -- politely, one after another
        named.add(await this.offer(manifest));
      }
      if (named.size > 0) {
        for (const { id } of (await store?.files()) ?? []) {
          // eslint-disable-next-line no-await-in-loop -- as above
          if (!named.has(id) && !inUse.has(id)) await store?.forget(id);
        }
      }
    } catch (error) {
      console.warn(`ftweb: files could not be offered: ${String(error)}`);
    }
    this.soon(AGAIN_MS);
  }

  /** Give the first bridge that answers what it lacks and this tab has. Returns the file's id. */
  async offer(manifest: Manifest): Promise<string> {
    const { world, store, sources, bridges } = this.means;
    const id = idOf(world, manifest);
    const whole = sources.has(id);
    const have = whole ? [] : ((await store?.have(manifest)) ?? []);
    if ((!whole && have.length === 0) || this.giving.has(id)) return id;
    this.giving.add(id);
    // A bridge that cannot be reached is not waited for: there is a next time, and another bridge.
    const quiet = new Job(({ phase }) => {
      if (phase === "waiting") quiet.cancel();
    });
    try {
      for (const origin of bridges()) {
        // eslint-disable-next-line no-await-in-loop -- the next one only if this one is silent
        const missing = await missingAt(quiet, origin, id);
        if (missing === undefined) continue;
        if (missing === "all" || missing.some((index) => whole || have.includes(index))) {
          const chunk = this.means.chunk(id, manifest);
          // eslint-disable-next-line no-await-in-loop -- it returns
          await giveFile(world, quiet, id, manifest, new Holders([origin]), chunk).catch(
            () => undefined,
          );
        }
        break;
      }
    } finally {
      this.giving.delete(id);
    }
    return id;
  }
}
