/**
 * Sharing and downloading, as they run in the files worker.
 *
 * 1. Nothing larger than a chunk is in memory, FILE_STREAMS of them per job: what arrives goes to the
 *    chunk store at once, what is sent is a slice of what the disk has.
 * 2. A job ends when it is done, cancelled, or told no in a way that will not change. A holder that
 *    fails, or all of them, only makes it wait.
 * 3. Pausing drops the connections and keeps every byte.
 */

import * as v from "valibot";

import type { ChunkStore } from "./chunk-store";
import { FILE_STALL_SECONDS, FILE_STREAMS } from "./file-limits";
import type { FileProgress, Phase } from "./file-messages";
import type { Holders } from "./holders";
import { chunkBytesFor, chunkSize, cleanName, cleanType, idLines, type Manifest } from "./manifest";
import { running, type Sha256 } from "./sha256";
import { Transfer, type Fetch } from "./transfer";

/** Told no for good. */
export class FileFailure extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Why a request was stopped: nothing is wrong with who was asked. */
const STOPPED = new Error("The job was paused or cancelled.");
const FINAL = new Set([401, 413, 422, 507]);
const PROGRESS_MS = 100;

const Status = v.object({
  missing: v.array(v.tuple([v.pipe(v.number(), v.integer()), v.pipe(v.number(), v.integer())])),
});

/** What a job is told from outside, and what it tells. */
export class Job {
  paused = false;
  cancelled = false;
  private wakers: (() => void)[] = [];
  private aborts = new Set<AbortController>();
  private latest: FileProgress | undefined;
  private telling: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly tell: (progress: FileProgress) => void) {}

  pause(): void {
    this.paused = true;
    this.stop();
  }

  resume(): void {
    this.paused = false;
    this.wake();
  }

  cancel(): void {
    this.cancelled = true;
    this.stop();
  }

  wake(): void {
    for (const waker of this.wakers.splice(0)) waker();
  }

  /** Until something happens, or so many seconds have passed. */
  change(seconds: number | null): Promise<void> {
    return new Promise((resolve) => {
      const timer = seconds === null ? undefined : setTimeout(resolve, seconds * 1000 + 1);
      this.wakers.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Let a request be stopped by a pause. */
  abortable(): AbortController {
    const abort = new AbortController();
    this.aborts.add(abort);
    if (this.paused || this.cancelled) abort.abort(STOPPED);
    return abort;
  }

  over(abort: AbortController): void {
    this.aborts.delete(abort);
  }

  check(): void {
    if (this.cancelled) throw new FileFailure("closed", "It was cancelled.");
  }

  /** Told at once when the phase is another one, else ten times a second; the last is never lost. */
  progress(phase: Phase, bytes: number, size: number, from: readonly string[] = []): void {
    const another = phase !== this.latest?.phase;
    this.latest = { phase, bytes, size, from };
    if (another) this.tellNow();
    else this.telling ??= setTimeout(() => this.tellNow(), PROGRESS_MS);
  }

  private tellNow(): void {
    clearTimeout(this.telling);
    this.telling = undefined;
    if (this.latest !== undefined) this.tell(this.latest);
  }

  private stop(): void {
    for (const abort of this.aborts) abort.abort(STOPPED);
    this.wake();
  }
}

/** What is used of the chunk store. */
export type Store = Pick<ChunkStore, "have" | "put">;

/** What jobs share. */
export interface World {
  readonly sha: Sha256;
  readonly token: () => string;
  readonly now: () => number;
}

const STALL_MS = FILE_STALL_SECONDS * 1000;

/** A request that gives up when nothing moves; `alive` is to be called when something does. */
async function request(
  url: string,
  init: RequestInit,
  abort: AbortController,
): Promise<{ response: Response; alive: () => void; end: () => void }> {
  let timer = setTimeout(() => abort.abort(), STALL_MS);
  const end = (): void => clearTimeout(timer);
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), STALL_MS);
  };
  try {
    const response = await fetch(url, {
      ...init,
      signal: abort.signal,
      cache: "no-store",
      credentials: "omit",
    });
    return { response, alive, end };
  } catch (error) {
    end();
    throw error;
  }
}

function address(origin: string, id: string, rest = ""): string {
  return `${origin}/ftweb/files/${id}${rest}`;
}

// --- downloading ------------------------------------------------------------------------------

/** Fetch what is missing of a file into the chunk store. */
export async function fetchFile(
  world: World,
  store: Store,
  job: Job,
  id: string,
  manifest: Manifest,
  holders: Holders,
): Promise<void> {
  const have = await store.have(manifest);
  const transfer = new Transfer(manifest, holders, (data) => world.sha.of(data), have);
  const active = new Map<Promise<void>, string>();
  const broken: unknown[] = [];
  const tell = (phase: Phase): void =>
    job.progress(phase, transfer.received, manifest.size, [...new Set(active.values())]);
  const start = (wanted: Fetch): void => {
    const stream: Promise<void> = fetchPart(world, store, job, id, transfer, wanted, () =>
      tell("fetching"),
    )
      .catch((error: unknown) => {
        broken.push(error);
      })
      .finally(() => {
        active.delete(stream);
        job.wake();
      });
    active.set(stream, wanted.holder);
  };
  /* eslint-disable no-await-in-loop -- a loop that waits for what happens next */
  while (!transfer.done && broken.length === 0 && !job.cancelled) {
    if (job.paused) {
      tell("paused");
      await job.change(null);
      continue;
    }
    const wanted = active.size < FILE_STREAMS ? transfer.next(world.now()) : null;
    if (wanted !== null) {
      start(wanted);
      continue;
    }
    tell(active.size === 0 ? "waiting" : "fetching");
    await job.change(active.size < FILE_STREAMS ? transfer.wait(world.now()) : null);
  }
  /* eslint-enable no-await-in-loop */
  await Promise.all(active.keys());
  job.check();
  if (broken.length > 0) throw broken[0];
  job.progress("done", manifest.size, manifest.size);
}

async function fetchPart(
  world: World,
  store: Store,
  job: Job,
  id: string,
  transfer: Transfer,
  wanted: Fetch,
  moved: () => void,
): Promise<void> {
  const abort = job.abortable();
  let complete: Uint8Array<ArrayBuffer> | undefined;
  let end: (() => void) | undefined;
  try {
    const opened = await request(
      address(wanted.holder, id, `/chunks/${wanted.index}`),
      { headers: wanted.start > 0 ? { range: `bytes=${wanted.start}-` } : {} },
      abort,
    );
    end = opened.end;
    const reader = opened.response.body?.getReader();
    if (opened.response.status !== (wanted.start > 0 ? 206 : 200) || reader === undefined) {
      throw new Error(`answered ${opened.response.status}`);
    }
    while (complete === undefined) {
      // eslint-disable-next-line no-await-in-loop -- a stream is read piece by piece
      const { done, value } = await reader.read();
      if (done) throw new Error("broke off");
      opened.alive();
      const taken = transfer.take(wanted, value, world.now());
      if (taken === "wrong") break;
      if (taken !== "more") complete = taken;
      moved();
    }
    if (complete === undefined) abort.abort();
  } catch {
    if (abort.signal.reason === STOPPED) transfer.abandon(wanted);
    else transfer.failed(wanted, world.now());
  } finally {
    end?.();
    job.over(abort);
  }
  const hash = transfer.manifest.chunks[wanted.index];
  if (complete === undefined || hash === undefined) return;
  try {
    await store.put(hash, new Blob([complete]));
  } catch (error) {
    throw new FileFailure(
      "files_full",
      `This browser has no room for the file (${String(error)}). Use the direct link.`,
    );
  }
}

// --- sharing ----------------------------------------------------------------------------------

/** Read a file once and describe it. */
export async function describeFile(
  world: World,
  job: Job,
  file: File,
): Promise<{ id: string; manifest: Manifest }> {
  const chunkBytes = chunkBytesFor(file.size);
  const whole = await running();
  const chunks: string[] = [];
  /* eslint-disable no-await-in-loop -- a file is read from its beginning to its end */
  for (let start = 0; start < file.size; start += chunkBytes) {
    while (job.paused && !job.cancelled) {
      job.progress("paused", start, file.size);
      await job.change(null);
    }
    job.check();
    let data: Uint8Array;
    try {
      data = new Uint8Array(await file.slice(start, start + chunkBytes).arrayBuffer());
    } catch {
      throw new FileFailure("bad_chunk", "The file cannot be read; was it moved or changed?");
    }
    whole.update(data);
    chunks.push(world.sha.of(data));
    job.progress("hashing", start + data.length, file.size);
  }
  /* eslint-enable no-await-in-loop */
  const manifest: Manifest = {
    name: cleanName(file.name),
    media_type: cleanType(file.type),
    size: file.size,
    chunk_bytes: chunkBytes,
    sha256: whole.hex(),
    chunks,
  };
  return { id: idOf(world, manifest), manifest };
}

export function idOf(world: World, manifest: Manifest): string {
  return world.sha.of(idLines(manifest));
}

/** Give a bridge what it lacks of a file, whichever bridge it is. */
export async function giveFile(
  world: World,
  job: Job,
  id: string,
  manifest: Manifest,
  holders: Holders,
  chunk: (index: number) => Promise<Blob | undefined>,
): Promise<void> {
  /* eslint-disable no-await-in-loop -- one bridge after another, until one has it all */
  let refusal: FileFailure | undefined;
  for (let refused = 0; refused <= holders.names.length;) {
    job.check();
    if (job.paused) {
      job.progress("paused", 0, manifest.size);
      await job.change(null);
      continue;
    }
    const origin = holders.pick(world.now());
    if (origin === null) {
      job.progress("waiting", 0, manifest.size);
      await job.change(holders.wait(world.now()));
      continue;
    }
    holders.asked(origin);
    try {
      await giveTo(world, job, origin, id, manifest, chunk);
      holders.served(origin);
      job.progress("done", manifest.size, manifest.size);
      return;
    } catch (error) {
      if (error === STOPPED) {
        holders.ended(origin);
        continue;
      }
      holders.failed(origin, world.now());
      if (error instanceof FileFailure) {
        refusal = error;
        refused += 1;
      }
    }
  }
  /* eslint-enable no-await-in-loop */
  throw refusal ?? new FileFailure("connect_failed", "No bridge can be reached.");
}

async function giveTo(
  world: World,
  job: Job,
  origin: string,
  id: string,
  manifest: Manifest,
  chunk: (index: number) => Promise<Blob | undefined>,
): Promise<void> {
  const known = await put(world, job, address(origin, id), JSON.stringify(manifest));
  const { missing } = v.parse(Status, await known.json());
  const wanted = missing.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, at) => first + at),
  );
  let left = wanted.reduce((sum, index) => sum + chunkSize(manifest, index), 0);
  const tell = (): void => job.progress("sending", manifest.size - left, manifest.size, [origin]);
  tell();
  const lane = async (): Promise<void> => {
    for (let index = wanted.shift(); index !== undefined; index = wanted.shift()) {
      job.check();
      // eslint-disable-next-line no-await-in-loop -- a lane does one at a time
      const data = await chunk(index);
      if (data === undefined) continue;
      // eslint-disable-next-line no-await-in-loop -- as above
      await put(world, job, address(origin, id, `/chunks/${index}`), data);
      left -= data.size;
      tell();
    }
  };
  const lanes = Array.from({ length: FILE_STREAMS }, lane);
  try {
    await Promise.all(lanes);
  } finally {
    wanted.length = 0; // one lane failed: the others begin nothing more
    await Promise.allSettled(lanes);
  }
}

async function put(world: World, job: Job, url: string, body: Blob | string): Promise<Response> {
  const abort = job.abortable();
  try {
    // A chunk may take long on a bad Wi-Fi, and fetch tells nothing of an upload's progress.
    const { response, end } = await request(
      url,
      { method: "PUT", body, headers: { authorization: `Bearer ${world.token()}` } },
      abort,
    );
    end();
    if (response.ok) return response;
    const said = (await response.text()).trim();
    const [code = "", ...words] = said.split(": ");
    if (FINAL.has(response.status)) throw new FileFailure(code, words.join(": "));
    throw new Error(said);
  } finally {
    job.over(abort);
  }
}

/** What a bridge lacks of a file; undefined if it cannot be asked. */
export async function missingAt(
  job: Job,
  origin: string,
  id: string,
): Promise<"all" | number[] | undefined> {
  const abort = job.abortable();
  try {
    const { response, end } = await request(address(origin, id, "/status"), {}, abort);
    end();
    if (response.status === 404) return "all";
    if (!response.ok) return undefined;
    const { missing } = v.parse(Status, await response.json());
    return missing.flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, at) => first + at),
    );
  } catch {
    return undefined;
  } finally {
    job.over(abort);
  }
}
