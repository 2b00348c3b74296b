/** Downloading, as it runs in the files worker; its rules stand in file-jobs.ts. */

import type { ChunkStore } from "./chunk-store";
import { address, FileFailure, get, STOPPED, type Job, type World } from "./file-jobs";
import { FILE_STREAMS } from "./file-limits";
import type { Phase } from "./file-messages";
import type { Holders } from "./holders";
import type { Manifest } from "./manifest";
import { Transfer, type Fetch } from "./transfer";

/** What is used of the chunk store. */
export type Store = Pick<ChunkStore, "have" | "put">;

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
  let complete: Uint8Array<ArrayBuffer> | undefined;
  try {
    complete = await job.request(async (abort, alive) => {
      const url = address(wanted.holder, id, `/chunks/${wanted.index}`);
      const range = wanted.start > 0 ? `bytes=${wanted.start}-` : "";
      const response = await get(url, abort, range);
      const reader = response.body?.getReader();
      if (response.status !== (range === "" ? 200 : 206) || reader === undefined) {
        abort.abort();
        throw new Error(`answered ${response.status}`);
      }
      for (;;) {
        // eslint-disable-next-line no-await-in-loop -- a stream is read piece by piece
        const { done, value } = await reader.read();
        if (done) throw new Error("broke off");
        alive();
        const taken = transfer.take(wanted, value, world.now());
        moved();
        if (taken === "more") continue;
        if (taken !== "wrong") return taken;
        abort.abort();
        throw new Error("not what was asked for");
      }
    });
    job.patience.rewarded();
  } catch (error) {
    if (error === STOPPED) transfer.abandon(wanted);
    else transfer.failed(wanted, world.now());
  }
  const hash = transfer.manifest.chunks[wanted.index];
  if (complete === undefined || hash === undefined) return;
  const chunk = new Blob([complete]);
  transfer.recycle(complete);
  try {
    await store.put(hash, chunk);
  } catch (error) {
    throw new FileFailure(
      "files_full",
      `This browser has no room for the file (${String(error)}). Use the direct link.`,
    );
  }
}
