/**
 * The files worker: the jobs of the page, and what the tab does without being told: giving bridges
 * what they lack (file-keeping.ts), and keeping copies for others (file-copies.ts).
 */

import * as v from "valibot";

import { ChunkStore } from "./chunk-store";
import { Copies } from "./file-copies";
import { fetchFile } from "./file-getting";
import { describeFile, giveFile, idOf } from "./file-giving";
import { FileFailure, Job, type World } from "./file-jobs";
import { FILES_KEPT_IN_TAB_BYTES } from "./file-limits";
import { Keeping } from "./file-keeping";
import type { CopyBounds, FilesToPage, PageToFiles } from "./file-messages";
import { Holders } from "./holders";
import { Manifest } from "./manifest";
import { put } from "./putting";
import { sha256 } from "./sha256";

/** Copies for others leave so much of what the browser says that it would still save. */
const SPARE_BYTES = 64 * 1024 * 1024;

/** A shared file is kept as a copy, for after a reload, up to this size; above it the file itself
 * is read as long as the page lives. */
const COPIED_BYTES = FILES_KEPT_IN_TAB_BYTES / 4;

const tell = (message: FilesToPage): void => self.postMessage(message);

interface Place extends World {
  /** None where the browser keeps nothing. */
  readonly store: ChunkStore | undefined;
  readonly keeping: Keeping;
  readonly copies: Copies;
}

class Files {
  private token = "";
  private browser = "";
  private toldHeld = "";
  private origins: readonly string[] = [];
  private readonly jobs = new Map<number, Job>();
  private readonly holders = new Set<Holders>();
  private readonly inUse = new Set<string>();
  private readonly sources = new Map<string, { file: File; manifest: Manifest }>();
  private readonly world: Promise<Place>;

  constructor() {
    this.world = this.open();
  }

  private async open(): Promise<Place> {
    const store = await ChunkStore.open().catch(() => undefined);
    const token = (): string => this.token;
    const world = { sha: await sha256(), token, now: () => performance.now() / 1000, put };
    const { sources, inUse } = this;
    const bridges = (): readonly string[] => this.origins;
    const keeping = new Keeping({
      world,
      store,
      bridges,
      sources,
      inUse,
      chunk: (id, manifest) => (index) => this.chunk(store, id, manifest, index),
    });
    const copies = new Copies({
      world,
      shelf: store,
      browser: () => this.browser,
      bridges,
      sources,
      inUse,
      free,
      fetch: async (job, id, manifest) => {
        if (store === undefined) return;
        await this.asking((holders) => fetchFile(world, store, job, id, manifest, holders));
      },
      give: (manifest) => void keeping.offer(manifest).catch(() => undefined),
      holds: (files) => this.tellHeld(files),
    });
    return { ...world, store, keeping, copies };
  }

  hear(message: PageToFiles): void {
    switch (message.kind) {
      case "setup":
        this.token = message.token;
        this.browser = message.browser;
        this.origins = message.origins;
        for (const holders of this.holders) {
          holders.update(this.origins);
          for (const name of holders.names) holders.returned(name);
        }
        for (const job of this.jobs.values()) job.wake();
        void this.lookAgain();
        break;
      case "copying":
        void this.bound(message);
        break;
      case "share":
        void this.run(message.job, (job) => this.share(message.job, job, message.file));
        break;
      case "download":
        void this.run(message.job, (job) => this.download(message.job, job, message.manifest));
        break;
      case "keep":
        void this.keep(message.manifests);
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
    world.copies.soon();
    const chunk = (index: number): Promise<Blob | undefined> =>
      this.chunk(world.store, id, manifest, index);
    world.keeping.giving.add(id);
    try {
      await this.asking((holders) => giveFile(world, job, id, manifest, holders, chunk));
    } finally {
      world.keeping.giving.delete(id);
    }
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
        const data = await (await this.chunk(world.store, id, manifest, index))?.arrayBuffer();
        // eslint-disable-next-line no-await-in-loop -- as above
        if (data !== undefined) await world.store.put(hash, new Blob([data]));
      }
    } catch (error) {
      console.warn(`ftweb: no copy of ${manifest.name} is kept here: ${String(error)}`);
    }
  }

  private async chunk(
    store: ChunkStore | undefined,
    id: string,
    manifest: Manifest,
    index: number,
  ): Promise<Blob | undefined> {
    const source = this.sources.get(id);
    const start = index * manifest.chunk_bytes;
    if (source !== undefined) return source.file.slice(start, start + manifest.chunk_bytes);
    const hash = manifest.chunks[index];
    return hash === undefined ? undefined : store?.get(hash);
  }

  private async download(number: number, job: Job, given: Manifest): Promise<void> {
    const world = await this.world;
    const { store } = world;
    const manifest = v.parse(Manifest, given);
    const id = idOf(world, manifest);
    if (store === undefined) {
      throw new FileFailure("files_full", "This browser keeps nothing. Use the direct link.");
    }
    await world.copies.leave(id);
    this.inUse.add(id);
    try {
      await store.use(id, manifest, this.inUse);
      await this.asking((holders) => fetchFile(world, store, job, id, manifest, holders));
      const blob = await store.whole(manifest);
      if (blob === undefined) {
        throw new FileFailure("chunk_missing", "The browser has lost part of it. Try again.");
      }
      tell({ kind: "downloaded", job: number, blob });
      world.copies.soon();
    } finally {
      this.inUse.delete(id);
    }
  }

  /** SHA-256 of the files that are here as a whole. */
  private async list(number: number): Promise<void> {
    const { copies } = await this.world;
    tell({ kind: "list", job: number, hashes: hashesOf(await copies.held(true)) });
  }

  private async keep(manifests: readonly Manifest[]): Promise<void> {
    const { keeping } = await this.world;
    keeping.listed = manifests;
    keeping.soon();
  }

  /** The bridges may be others now, or this tab has just begun. */
  private async lookAgain(): Promise<void> {
    const { keeping, copies } = await this.world;
    keeping.soon();
    copies.soon(Math.random() * 2);
  }

  private async bound({ fileBytes, allBytes }: CopyBounds): Promise<void> {
    const { copies } = await this.world;
    copies.bounds = { fileBytes, allBytes };
    copies.soon();
  }

  private tellHeld(files: ReadonlyMap<string, Manifest>): void {
    const hashes = hashesOf(files);
    const text = hashes.join(" ");
    if (text !== this.toldHeld) tell({ kind: "held", hashes });
    this.toldHeld = text;
  }
}

function hashesOf(files: ReadonlyMap<string, Manifest>): string[] {
  return [...new Set([...files.values()].map(({ sha256: hash }) => hash))].sort();
}

/** What the browser would still save for this origin. On insecure ones it does not say. */
async function free(): Promise<number> {
  const storage = navigator.storage as StorageManager | undefined;
  if (storage?.estimate === undefined) return Infinity;
  const { quota = Infinity, usage = 0 } = await storage.estimate();
  return quota - usage - SPARE_BYTES;
}

const files = new Files();
self.onmessage = (event: MessageEvent<PageToFiles>) => files.hear(event.data);
