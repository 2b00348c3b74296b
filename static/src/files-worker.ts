/**
 * The files worker: jobs of the page, and giving bridges what they lack.
 *
 * Keeping: of the files that the app lists, each tab offers what it has to the first bridge that
 * answers, when the list or the bridges change and once in a while. So a bridge that lost its disk,
 * or a new one when all others are gone, gets everything back that some tab still has. Tabs wait for
 * a random time before, so that mostly one of them does it.
 */

import * as v from "valibot";

import { ChunkStore } from "./chunk-store";
import { fetchFile } from "./file-getting";
import { describeFile, giveFile, idOf, missingAt } from "./file-giving";
import { FileFailure, Job, type World } from "./file-jobs";
import { FILES_KEPT_IN_TAB_BYTES } from "./file-limits";
import type { FilesToPage, PageToFiles } from "./file-messages";
import { Holders } from "./holders";
import { Manifest } from "./manifest";
import { put } from "./putting";
import { sha256 } from "./sha256";

const KEEP_FIRST_MS = 3_000;
const KEEP_AGAIN_MS = 60_000;

/** A shared file is kept as a copy, for after a reload, up to this size; above it the file itself
 * is read as long as the page lives. */
const COPIED_BYTES = FILES_KEPT_IN_TAB_BYTES / 4;

const tell = (message: FilesToPage): void => self.postMessage(message);

interface Place extends World {
  /** None where the browser keeps nothing. */
  readonly store: ChunkStore | undefined;
}

class Files {
  private token = "";
  private origins: readonly string[] = [];
  private readonly jobs = new Map<number, Job>();
  private readonly holders = new Set<Holders>();
  private readonly inUse = new Set<string>();
  private readonly sources = new Map<string, { file: File; manifest: Manifest }>();
  private listed: readonly Manifest[] = [];
  private keeping: ReturnType<typeof setTimeout> | undefined;
  private readonly world: Promise<Place>;

  constructor() {
    this.world = this.open();
  }

  private async open(): Promise<Place> {
    const store = await ChunkStore.open().catch(() => undefined);
    const token = (): string => this.token;
    return { store, sha: await sha256(), token, now: () => performance.now() / 1000, put };
  }

  hear(message: PageToFiles): void {
    switch (message.kind) {
      case "setup":
        this.token = message.token;
        this.origins = message.origins;
        for (const holders of this.holders) {
          holders.update(this.origins);
          for (const name of holders.names) holders.returned(name);
        }
        for (const job of this.jobs.values()) job.wake();
        this.keepSoon(KEEP_FIRST_MS);
        break;
      case "share":
        void this.run(message.job, (job) => this.share(message.job, job, message.file));
        break;
      case "download":
        void this.run(message.job, (job) => this.download(message.job, job, message.manifest));
        break;
      case "keep":
        this.listed = message.manifests;
        this.keepSoon(KEEP_FIRST_MS);
        break;
      case "list":
        void this.run(message.job, () => this.list(message.job));
        break;
      case "pause":
      case "resume":
      case "cancel":
        this.jobs.get(message.job)?.[message.kind]();
        break;
    }
  }

  private async run(number: number, act: (job: Job) => Promise<void>): Promise<void> {
    const job = new Job((progress) => tell({ kind: "progress", job: number, progress }));
    this.jobs.set(number, job);
    try {
      await act(job);
    } catch (error) {
      const code = error instanceof FileFailure ? error.code : "bad_manifest";
      const text = error instanceof Error ? error.message : String(error);
      tell({ kind: "failed", job: number, code, message: text });
    } finally {
      this.jobs.delete(number);
    }
  }

  private async asking<T>(act: (holders: Holders) => Promise<T>): Promise<T> {
    const holders = new Holders(this.origins);
    this.holders.add(holders);
    try {
      return await act(holders);
    } finally {
      this.holders.delete(holders);
    }
  }

  private async share(number: number, job: Job, file: File): Promise<void> {
    const world = await this.world;
    const { id, manifest } = await describeFile(world, job, file);
    this.sources.set(id, { file, manifest });
    tell({ kind: "manifest", job: number, id, manifest });
    const chunk = (index: number): Promise<Blob | undefined> =>
      this.chunk(world, id, manifest, index);
    await this.asking((holders) => giveFile(world, job, id, manifest, holders, chunk));
    tell({ kind: "shared", job: number });
    if (file.size <= COPIED_BYTES) await this.copy(world, id, manifest);
  }

  /** Best done when the others have the file already. Without room the page's own file is left. */
  private async copy(world: Place, id: string, manifest: Manifest): Promise<void> {
    if (world.store === undefined) return;
    try {
      await world.store.use(id, manifest, this.inUse);
      for (const [index, hash] of manifest.chunks.entries()) {
        // eslint-disable-next-line no-await-in-loop -- one chunk in memory at a time
        const data = await (await this.chunk(world, id, manifest, index))?.arrayBuffer();
        // eslint-disable-next-line no-await-in-loop -- as above
        if (data !== undefined) await world.store.put(hash, new Blob([data]));
      }
    } catch (error) {
      console.warn(`ftweb: no copy of ${manifest.name} is kept here: ${String(error)}`);
    }
  }

  private async chunk(
    world: Place,
    id: string,
    manifest: Manifest,
    index: number,
  ): Promise<Blob | undefined> {
    const source = this.sources.get(id);
    const start = index * manifest.chunk_bytes;
    if (source !== undefined) return source.file.slice(start, start + manifest.chunk_bytes);
    const hash = manifest.chunks[index];
    return hash === undefined ? undefined : world.store?.get(hash);
  }

  private async download(number: number, job: Job, given: Manifest): Promise<void> {
    const world = await this.world;
    const { store } = world;
    const manifest = v.parse(Manifest, given);
    const id = idOf(world, manifest);
    if (store === undefined) {
      throw new FileFailure("files_full", "This browser keeps nothing. Use the direct link.");
    }
    this.inUse.add(id);
    try {
      await store.use(id, manifest, this.inUse);
      await this.asking((holders) => fetchFile(world, store, job, id, manifest, holders));
      const blob = await store.whole(manifest);
      if (blob === undefined) {
        throw new FileFailure("chunk_missing", "The browser has lost part of it. Try again.");
      }
      tell({ kind: "downloaded", job: number, blob });
    } finally {
      this.inUse.delete(id);
    }
  }

  /** SHA-256 of the files that are here as a whole. */
  private async list(number: number): Promise<void> {
    const { store } = await this.world;
    const hashes = new Set([...this.sources.values()].map(({ manifest }) => manifest.sha256));
    for (const { manifest } of (await store?.files()) ?? []) {
      // eslint-disable-next-line no-await-in-loop -- few, and each is one transaction
      if ((await store?.have(manifest))?.length === manifest.chunks.length) {
        hashes.add(manifest.sha256);
      }
    }
    tell({ kind: "list", job: number, hashes: [...hashes] });
  }

  // --- keeping --------------------------------------------------------------------------

  private keepSoon(milliseconds: number): void {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => void this.keepNow(), milliseconds * (0.5 + Math.random()));
  }

  private async keepNow(): Promise<void> {
    const world = await this.world;
    try {
      const named = new Set<string>();
      for (const manifest of this.listed) {
        // eslint-disable-next-line no-await-in-loop -- politely, one after another
        named.add(await this.offer(world, manifest));
      }
      if (named.size > 0) {
        for (const { id } of (await world.store?.files()) ?? []) {
          // eslint-disable-next-line no-await-in-loop -- as above
          if (!named.has(id) && !this.inUse.has(id)) await world.store?.forget(id);
        }
      }
    } catch (error) {
      console.warn(`ftweb: files could not be offered: ${String(error)}`);
    }
    this.keepSoon(KEEP_AGAIN_MS);
  }

  /** Give the first bridge that answers what it lacks and this tab has. Returns the file's id. */
  private async offer(world: Place, manifest: Manifest): Promise<string> {
    const id = idOf(world, manifest);
    const whole = this.sources.has(id);
    const have = whole ? [] : ((await world.store?.have(manifest)) ?? []);
    if (!whole && have.length === 0) return id;
    const quiet = new Job(() => undefined);
    for (const origin of this.origins) {
      // eslint-disable-next-line no-await-in-loop -- the next one only if this one is silent
      const missing = await missingAt(quiet, origin, id);
      if (missing === undefined) continue;
      if (missing === "all" || missing.some((index) => whole || have.includes(index))) {
        // eslint-disable-next-line no-await-in-loop -- it returns
        await giveFile(world, quiet, id, manifest, new Holders([origin]), (index) =>
          this.chunk(world, id, manifest, index),
        ).catch(() => undefined);
      }
      break;
    }
    return id;
  }
}

const files = new Files();
self.onmessage = (event: MessageEvent<PageToFiles>) => files.hear(event.data);
