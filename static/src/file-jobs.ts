/**
 * What downloads (file-getting.ts) and uploads (file-giving.ts) have in common, in the files worker.
 *
 * 1. Nothing larger than a chunk is in memory, FILE_STREAMS of them per job: what arrives goes to the
 *    chunk store at once, what is sent is a slice of what the disk has.
 * 2. A job ends when it is done, cancelled, or told no in a way that will not change. A holder that
 *    fails, or all of them, only makes it wait.
 * 3. Pausing drops the connections and keeps every byte that is checked or on its way to be.
 * 4. A request is given up when nothing of it has moved for as long as the job's patience lasts. How
 *    much there is to move, and how slow it goes, does not matter. Patience doubles each time that it
 *    ends, since the next one may be on the same bad Wi-Fi, and is as before once a chunk is through.
 */

import { FILE_STALL_SECONDS, FILE_STALL_SECONDS_MOST } from "./file-limits";
import type { FileProgress, Phase } from "./file-messages";
import type { Sha256 } from "./sha256";

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
export const STOPPED = new Error("The job was paused or cancelled.");
const PROGRESS_MS = 100;

/** What jobs share. */
export interface World {
  readonly sha: Sha256;
  readonly token: () => string;
  readonly now: () => number;
  readonly put: Put;
}

/** A PUT that tells of its progress. */
export type Put = (
  url: string,
  body: Blob | string,
  token: string,
  abort: AbortSignal,
  /** Some of it has been sent, or an answer begins to come. */
  moved: () => void,
) => Promise<{ readonly status: number; readonly text: string }>;

/** How long a request may stand still, in seconds. */
export class Patience {
  seconds: number;

  constructor(private readonly least = FILE_STALL_SECONDS) {
    this.seconds = least;
  }

  /** A request that was given so many seconds was given up. Several at once count once. */
  ended(given: number): void {
    this.seconds = Math.max(this.seconds, Math.min(given * 2, FILE_STALL_SECONDS_MOST));
  }

  rewarded(): void {
    this.seconds = this.least;
  }
}

/** What a job is told from outside, and what it tells. */
export class Job {
  paused = false;
  cancelled = false;
  private wakers: (() => void)[] = [];
  private aborts = new Set<AbortController>();
  private latest: FileProgress | undefined;
  private telling: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly tell: (progress: FileProgress) => void,
    readonly patience = new Patience(),
  ) {}

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

  /**
   * Make a request that a pause stops, and that is given up when it is not `alive` for too long.
   *
   * @throws STOPPED when the job was paused or cancelled; else what the request threw.
   */
  async request<T>(act: (abort: AbortController, alive: () => void) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    this.aborts.add(abort);
    if (this.paused || this.cancelled) abort.abort(STOPPED);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const given = this.patience.seconds;
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.patience.ended(given);
        abort.abort(new Error("Nothing moved for too long."));
      }, given * 1000);
    };
    alive();
    try {
      return await act(abort, alive);
    } catch (error) {
      throw abort.signal.reason === STOPPED ? STOPPED : error;
    } finally {
      clearTimeout(timer);
      this.aborts.delete(abort);
    }
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

export function address(origin: string, id: string, rest = ""): string {
  return `${origin}/ftweb/files/${id}${rest}`;
}

/** A GET as all of ours are: nothing cached, nothing sent along. */
export function get(url: string, abort: AbortController, range = ""): Promise<Response> {
  return fetch(url, {
    headers: range === "" ? {} : { range },
    signal: abort.signal,
    cache: "no-store",
    credentials: "omit",
  });
}
