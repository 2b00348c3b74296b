/**
 * Copies of what others have shared, as they are kept in the files worker. Each file is kept by two
 * browsers; the bridge counts them and says whose turn it is (ftweb/bridge/keepers.py, which has the
 * other half of these rules).
 *
 * 1. Every FILES_TOLD_SECONDS, and when something changes, a tab tells one bridge which files it
 *    holds as a whole. It is the first by its address that answers, so that mostly all tabs tell the
 *    same one. The answer may name one file to fetch, and files to give to the bridge.
 * 2. One file is fetched at a time, like any download: FILE_STREAMS chunks are in memory. Copies have
 *    bounds of their own, for each and for all, and stay below what the browser keeps anyway: they
 *    never take the place of what somebody here fetched, but that takes theirs.
 * 3. Who has no room says so and is not asked: without a storage, when the browser's quota or the
 *    bounds are reached, and for FULL_SECONDS after it could not save something.
 * 4. A copy is forgotten when the app's state has not named it for FILES_UNNAMED_SECONDS.
 */

import * as v from "valibot";

import type { ChunkStore, Kept } from "./chunk-store";
import { idOf } from "./file-giving";
import { address, FileFailure, get, Job, type World } from "./file-jobs";
import {
  FILE_COPY_BYTES,
  FILE_COPY_SECONDS,
  FILES_COPIED_BYTES,
  FILES_KEPT_IN_TAB_BYTES,
  FILES_TOLD_SECONDS,
  FILES_UNNAMED_SECONDS,
} from "./file-limits";
import type { CopyBounds } from "./file-messages";
import { randomKey } from "./keys";
import { Manifest } from "./manifest";

const FULL_SECONDS = 600;

/** Files that are told of; more would not fit into a request. */
const TOLD_FILES = 900;

/** A copy's record is written again when it is named, but not each time. */
const NAMED_AGAIN_MS = 600_000;

const Id = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const Answer = v.object({
  copy: v.nullable(Id),
  give: v.array(Id),
  named: v.array(Id),
});

/** What is used of the chunk store. */
export type Shelf = Pick<ChunkStore, "files" | "forget" | "have" | "use">;

/** What the worker gives. */
export interface Means {
  readonly world: World;
  /** None where the browser keeps nothing. */
  readonly shelf: Shelf | undefined;
  readonly browser: () => string;
  readonly bridges: () => readonly string[];
  /** Files that the page itself has from the person, by their ids. */
  readonly sources: ReadonlyMap<string, { readonly manifest: Manifest }>;
  /** Files that must not be taken away just now, because a job is at them. */
  readonly inUse: Set<string>;
  /** Bytes that the browser would still save; Infinity if it does not say. */
  readonly free: () => Promise<number>;
  fetch(job: Job, id: string, manifest: Manifest): Promise<void>;
  give(manifest: Manifest): void;
  /** What is here as a whole, told after each round. */
  holds(files: ReadonlyMap<string, Manifest>): void;
}

interface Copying {
  readonly id: string;
  readonly job: Job;
  readonly ended: Promise<void>;
}

export class Copies {
  bounds: CopyBounds = { fileBytes: FILE_COPY_BYTES, allBytes: FILES_COPIED_BYTES };
  private readonly tab = randomKey();
  /** Files that were found to be here as a whole; as long as they are kept, they are. */
  private readonly whole = new Set<string>();
  private copying: Copying | undefined;
  private fullUntil = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer ends. What is wanted later than that does not put it off. */
  private due = Infinity;
  private telling = false;
  private again = false;
  private ended = false;

  constructor(private readonly means: Means) {}

  /** Tell the bridge within so many seconds, and once in a while from then on. */
  soon(seconds = 0): void {
    const due = this.means.world.now() + seconds;
    if (this.ended || due >= this.due) return;
    this.due = due;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.turn(), seconds * 1000);
  }

  /** Tell nothing any more. */
  end(): void {
    this.ended = true;
    clearTimeout(this.timer);
    this.copying?.job.cancel();
  }

  /** Somebody here wants the file itself: what has come of it so far is theirs. */
  async leave(id: string): Promise<void> {
    const { copying } = this;
    if (copying?.id !== id) return;
    this.copying = undefined;
    copying.job.cancel();
    await copying.ended;
  }

  /**
   * What this tab holds as a whole, by ids.
   *
   * @param anew do not rely on what was found before.
   */
  async held(anew = false): Promise<Map<string, Manifest>> {
    const { shelf, sources } = this.means;
    const found = new Map<string, Manifest>();
    for (const [id, { manifest }] of sources) found.set(id, manifest);
    const kept = (await shelf?.files()) ?? [];
    const before = new Set(anew ? [] : this.whole);
    this.whole.clear();
    for (const { id, manifest } of kept) {
      // eslint-disable-next-line no-await-in-loop -- few, and each is one transaction
      const have = before.has(id) ? manifest.chunks : ((await shelf?.have(manifest)) ?? []);
      if (have.length !== manifest.chunks.length) continue;
      this.whole.add(id);
      found.set(id, manifest);
    }
    return found;
  }

  private async turn(): Promise<void> {
    this.due = Infinity;
    if (this.telling) {
      this.again = true;
      return;
    }
    this.telling = true;
    try {
      await this.tell();
    } catch (error) {
      console.warn(`ftweb: no bridge was told which files are here: ${String(error)}`);
    }
    this.telling = false;
    // Not all at once, and not in step.
    this.soon(this.again ? 0 : FILES_TOLD_SECONDS * (0.75 + Math.random() / 2));
    this.again = false;
  }

  private async tell(): Promise<void> {
    const { means } = this;
    const held = await this.held();
    means.holds(held);
    if (means.world.token() === "") return;
    const files = [...held.keys()].slice(0, TOLD_FILES);
    const { most, room } = await this.room();
    const report = { browser: means.browser(), tab: this.tab, most, room, files };
    for (const origin of [...means.bridges()].sort()) {
      // eslint-disable-next-line no-await-in-loop -- the next one only if this one is silent
      const answer = await this.ask(origin, JSON.stringify(report));
      if (answer === undefined) continue;
      for (const id of answer.give) {
        const manifest = held.get(id);
        if (manifest !== undefined) means.give(manifest);
      }
      const { copy } = answer;
      const begins = copy !== null && !held.has(copy) && !means.inUse.has(copy);
      if (begins && this.copying === undefined) this.begin(origin, copy);
      // eslint-disable-next-line no-await-in-loop -- it returns
      await this.forgetUnnamed(new Set(answer.named));
      return;
    }
  }

  private async ask(
    origin: string,
    report: string,
  ): Promise<v.InferOutput<typeof Answer> | undefined> {
    const { world } = this.means;
    const url = address(origin, "kept");
    try {
      const { status, text } = await new Job(() => undefined).request((abort, alive) =>
        world.put(url, report, world.token(), abort.signal, alive),
      );
      return status === 200 ? v.parse(Answer, JSON.parse(text)) : undefined;
    } catch {
      return undefined;
    }
  }

  /** What would be kept for others: the largest file, and all together. */
  private async room(): Promise<{ most: number; room: number }> {
    const { shelf, world, free } = this.means;
    const { fileBytes, allBytes } = this.bounds;
    const none = { most: 0, room: 0 };
    if (shelf === undefined || world.now() < this.fullUntil) return none;
    const kept = await shelf.files();
    const copied = sum(kept.filter(({ copy }) => copy === true));
    const room = Math.min(allBytes - copied, FILES_KEPT_IN_TAB_BYTES - sum(kept), await free());
    return { most: whole(fileBytes), room: whole(room) };
  }

  private begin(origin: string, id: string): void {
    const job = new Job(() => undefined);
    const ended = this.run(origin, id, job);
    this.copying = { id, job, ended };
  }

  private async run(origin: string, id: string, job: Job): Promise<void> {
    const done = await this.copy(origin, id, job);
    if (this.copying?.job === job) this.copying = undefined;
    if (done) this.soon(); // else it is told in time, or two that fail would keep each other busy
  }

  /** Returns whether all of it is here now. */
  private async copy(origin: string, id: string, job: Job): Promise<boolean> {
    const { means } = this;
    const { shelf } = means;
    if (shelf === undefined) return false;
    const late = setTimeout(() => job.cancel(), FILE_COPY_SECONDS * 1000);
    means.inUse.add(id);
    try {
      const manifest = await job.request(async (abort) => {
        const response = await get(address(origin, id, "/manifest"), abort);
        return v.parse(Manifest, await response.json());
      });
      if (idOf(means.world, manifest) !== id || manifest.size > this.bounds.fileBytes) {
        return false;
      }
      await shelf.use(id, manifest, means.inUse, true);
      await means.fetch(job, id, manifest);
      return true;
    } catch (error) {
      if (error instanceof FileFailure && error.code === "files_full") {
        this.fullUntil = means.world.now() + FULL_SECONDS;
      }
      // Unless somebody here wants it now (see leave), its room is for others.
      if (this.copying?.job === job) await this.drop(id).catch(() => undefined);
      return false;
    } finally {
      clearTimeout(late);
      means.inUse.delete(id);
    }
  }

  private async drop(id: string): Promise<void> {
    const { shelf } = this.means;
    const kept = (await shelf?.files()) ?? [];
    if (kept.some((file) => file.id === id && file.copy === true)) await shelf?.forget(id);
  }

  private async forgetUnnamed(named: ReadonlySet<string>): Promise<void> {
    const { shelf, inUse } = this.means;
    const now = Date.now();
    /* eslint-disable no-await-in-loop -- few, and each is one transaction */
    for (const { id, manifest, usedAt, copy } of (await shelf?.files()) ?? []) {
      if (copy !== true || inUse.has(id)) continue;
      if (!named.has(id)) {
        if (now - usedAt > FILES_UNNAMED_SECONDS * 1000) await this.drop(id);
      } else if (now - usedAt > NAMED_AGAIN_MS) {
        await shelf?.use(id, manifest, inUse, true);
      }
    }
    /* eslint-enable no-await-in-loop */
  }
}

function whole(bytes: number): number {
  return Math.max(0, Math.floor(Math.min(bytes, Number.MAX_SAFE_INTEGER)));
}

function sum(files: readonly Kept[]): number {
  return files.reduce((bytes, { manifest }) => bytes + manifest.size, 0);
}
