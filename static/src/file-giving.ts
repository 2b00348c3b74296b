/**
 * Sharing, as it runs in the files worker; the rules of file-jobs.ts, and:
 *
 * 1. A bridge is asked what it lacks, and is given that. When a request breaks off it is asked again,
 *    or another one is: what has arrived is not sent twice.
 * 2. FILE_STREAMS chunks are on their way at once. On a Wi-Fi where they stall, half as many after
 *    each stall, down to one; one more after each chunk that got through.
 */

import * as v from "valibot";

import { address, FileFailure, get, STOPPED, type Job, type World } from "./file-jobs";
import { FILE_CHUNKS, FILE_STREAMS } from "./file-limits";
import type { Holders } from "./holders";
import { chunkBytesFor, chunkSize, cleanName, cleanType, idLines, type Manifest } from "./manifest";
import { running } from "./sha256";

const FINAL = new Set([401, 413, 422, 507]);

const Index = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(FILE_CHUNKS - 1));
const Status = v.object({
  missing: v.pipe(v.array(v.tuple([Index, Index])), v.maxLength(FILE_CHUNKS)),
});

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

/** Gives the bytes of a chunk; undefined if they are not here. */
export type Chunk = (index: number) => Promise<Blob | undefined>;

/** Give a bridge what it lacks of a file, whichever bridge it is. */
export async function giveFile(
  world: World,
  job: Job,
  id: string,
  manifest: Manifest,
  holders: Holders,
  chunk: Chunk,
): Promise<void> {
  const lanes = new Lanes();
  /* eslint-disable no-await-in-loop -- one bridge after another, until one has it all */
  let refusal: FileFailure | undefined;
  let bytes = 0;
  for (let refused = 0; refused <= holders.names.length;) {
    job.check();
    if (job.paused) {
      job.progress("paused", bytes, manifest.size);
      await job.change(null);
      continue;
    }
    const origin = holders.pick(world.now());
    if (origin === null) {
      job.progress("waiting", bytes, manifest.size);
      await job.change(holders.wait(world.now()));
      continue;
    }
    holders.asked(origin);
    try {
      await giveTo(world, job, origin, id, manifest, chunk, lanes, (there) => {
        bytes = there;
        job.progress("sending", bytes, manifest.size, [origin]);
      });
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

/** How many chunks may be on their way at once. */
class Lanes {
  most = FILE_STREAMS;

  failed(): void {
    this.most = Math.max(1, this.most >> 1);
  }

  through(): void {
    this.most = Math.min(FILE_STREAMS, this.most + 1);
  }
}

async function giveTo(
  world: World,
  job: Job,
  origin: string,
  id: string,
  manifest: Manifest,
  chunk: Chunk,
  lanes: Lanes,
  tell: (bytes: number) => void,
): Promise<void> {
  const known = await put(world, job, address(origin, id), JSON.stringify(manifest));
  const wanted = indexes(JSON.parse(known)).filter((index) => index < manifest.chunks.length);
  let left = wanted.reduce((sum, index) => sum + chunkSize(manifest, index), 0);
  tell(manifest.size - left);
  const give = async (index: number): Promise<void> => {
    const data = await chunk(index);
    if (data === undefined) return;
    await put(world, job, address(origin, id, `/chunks/${index}`), data);
    // The patience that it took stays: a slow link's buffers take a whole chunk at once, and nothing
    // moves from there on until the answer comes.
    lanes.through();
    left -= data.size;
    tell(manifest.size - left);
  };
  const active = new Set<Promise<void>>();
  try {
    while (wanted.length > 0 || active.size > 0) {
      job.check();
      const index = active.size < lanes.most ? wanted.shift() : undefined;
      if (index === undefined) {
        // eslint-disable-next-line no-await-in-loop -- until one of them has ended
        await Promise.race(active);
        continue;
      }
      const giving = give(index).finally(() => active.delete(giving));
      active.add(giving);
    }
  } catch (error) {
    if (error !== STOPPED) lanes.failed();
    throw error;
  } finally {
    await Promise.allSettled(active); // nothing more is begun; those may still arrive
  }
}

async function put(world: World, job: Job, url: string, body: Blob | string): Promise<string> {
  const { status, text } = await job.request((abort, alive) =>
    world.put(url, body, world.token(), abort.signal, alive),
  );
  if (status >= 200 && status < 300) return text;
  const [code = "", ...words] = text.trim().split(": ");
  if (FINAL.has(status)) throw new FileFailure(code, words.join(": "));
  throw new Error(`answered ${status}`);
}

/** What a bridge lacks of a file; undefined if it cannot be asked. */
export async function missingAt(
  job: Job,
  origin: string,
  id: string,
): Promise<"all" | number[] | undefined> {
  try {
    return await job.request(async (abort) => {
      const response = await get(address(origin, id, "/status"), abort);
      if (response.status === 404) return "all";
      return response.ok ? indexes(await response.json()) : undefined;
    });
  } catch {
    return undefined;
  }
}

function indexes(status: unknown): number[] {
  return v
    .parse(Status, status)
    .missing.flatMap(([first, last]) =>
      Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at),
    );
}
