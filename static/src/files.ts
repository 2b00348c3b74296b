/**
 * `/ftweb/files.js`, the module with which pages share files and download them; docs/files.md
 * describes it. It is apart from client.js, since most pages need no files.
 *
 * The work is done in a worker of its own, which is started by the first call.
 */

import { FILE_COPY_BYTES, FILES_COPIED_BYTES } from "./file-limits";
import type { AboutJob, CopyBounds, FileProgress, FilesToPage, PageToFiles } from "./file-messages";
import { browserKey, findTokens, type Place } from "./keys";
import type { Manifest } from "./manifest";

export type { FileProgress, Manifest };

/** Put in by the build, as in client.ts. */
declare const FTWEB_BUILD: string;
const RUNTIME = new URL(`runtime/${FTWEB_BUILD}/`, new URL("/ftweb/", import.meta.url));

/** How often the list of bridges is looked at, which client.js keeps in the tab's storage. */
const LOOK_MS = 1_000;

/** The worker is started then at the latest, since this tab may be asked to keep a file for others;
 * what the page itself needs comes first. */
const START_MS = 3_000;

/** Why a file could not be shared or downloaded. Codes are those of docs/errors.md. */
export class FileError extends Error {
  override readonly name = "FileError";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Options {
  /** Called about ten times a second, and at each change of the phase. */
  readonly onProgress?: (progress: FileProgress) => void;
}

/** Something under way. */
export interface Task<T> {
  readonly done: Promise<T>;
  pause(): void;
  resume(): void;
  cancel(): void;
}

export interface Sharing extends Task<void> {
  /** What the file is, as soon as it has been read: tell it to the app, so that others see it. */
  readonly described: Promise<{ readonly id: string; readonly manifest: Manifest }>;
}

interface Waiting {
  onProgress(progress: FileProgress): void;
  described(id: string, manifest: Manifest): void;
  ended(value: unknown): void;
  failed(error: FileError): void;
}

const waiting = new Map<number, Waiting>();
let lastJob = 0;
let worker: Worker | undefined;
const watchers = new Set<(hashes: readonly string[]) => void>();
let lastHeld: readonly string[] | undefined;

function post(message: PageToFiles): void {
  worker ??= start();
  worker.postMessage(message);
}

function start(): Worker {
  const made = new Worker(new URL("files-worker.js", RUNTIME), {
    type: "module",
    name: "ftweb-files",
  });
  made.onmessage = ({ data }: MessageEvent<FilesToPage>) => {
    if (data.kind !== "held") {
      hear(data);
      return;
    }
    lastHeld = data.hashes;
    for (const watcher of watchers) watcher(data.hashes);
  };
  made.onerror = () => {
    const error = new FileError("connect_failed", "The files worker stopped; reload the page.");
    for (const one of waiting.values()) one.failed(error);
    waiting.clear();
  };
  const browser = browserKey(stores()[1]);
  let told = "";
  const tell = (always: boolean): void => {
    const setup = { kind: "setup", token: token(), origins: origins(), browser } as const;
    const text = JSON.stringify(setup);
    if (always || text !== told) made.postMessage(setup satisfies PageToFiles);
    told = text;
  };
  tell(true);
  setInterval(() => tell(false), LOOK_MS);
  window.addEventListener("online", () => tell(true));
  window.addEventListener("pageshow", () => tell(true));
  return made;
}

function hear(message: AboutJob): void {
  const one = waiting.get(message.job);
  if (one === undefined) return;
  switch (message.kind) {
    case "progress":
      one.onProgress(message.progress);
      return;
    case "manifest":
      one.described(message.id, message.manifest);
      return;
    case "shared":
      one.ended(undefined);
      break;
    case "downloaded":
      one.ended(message.blob);
      break;
    case "list":
      one.ended(message.hashes);
      break;
    case "failed":
      one.failed(new FileError(message.code, message.message));
      break;
  }
  waiting.delete(message.job);
}

function begin<T>(options: Options, message: (job: number) => PageToFiles): Task<T> {
  return beginSharing<T>(options, message).task;
}

function beginSharing<T>(
  options: Options,
  message: (job: number) => PageToFiles,
): { readonly task: Task<T>; readonly described: Sharing["described"] } {
  const job = ++lastJob;
  const one: Partial<Waiting> = { onProgress: (progress) => options.onProgress?.(progress) };
  const described: Sharing["described"] = new Promise((resolve, reject) => {
    one.described = (id, manifest) => resolve({ id, manifest });
    one.failed = reject;
  });
  const done = new Promise<T>((resolve, reject) => {
    const early = one.failed;
    one.ended = (value) => resolve(value as T);
    one.failed = (error) => {
      early?.(error);
      reject(error);
    };
  });
  // Who waits for either is told; who waits for one only is not told twice.
  described.catch(() => undefined);
  done.catch(() => undefined);
  waiting.set(job, one as Waiting);
  post(message(job));
  const order = (kind: "pause" | "resume" | "cancel") => (): void => post({ kind, job });
  const task = { done, pause: order("pause"), resume: order("resume"), cancel: order("cancel") };
  return { task, described };
}

/** Give a file to the bridges, and so to everybody. */
export function share(file: File, options: Options = {}): Sharing {
  const begun = beginSharing<void>(options, (job) => ({ kind: "share", job, file }));
  return { ...begun.task, described: begun.described };
}

/**
 * Fetch a file from whoever has it. What is here already is not fetched again, also after a reload.
 *
 * @returns a task whose `done` gives the content. It is on the disk, not in memory; `save` offers it
 *   to the person as a download.
 */
export function download(manifest: Manifest, options: Options = {}): Task<Blob> {
  return begin<Blob>(options, (job) => ({ kind: "download", job, manifest }));
}

/** Let the browser save some content under a name, as after a click on a link. */
export function save(content: Blob, name: string): void {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(content);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

/**
 * These are the files that there are: from now on this tab gives bridges what they lack and it has,
 * and forgets other files. Call it with each new state.
 */
export function keep(manifests: readonly Manifest[]): void {
  post({ kind: "keep", manifests });
}

/** SHA-256 of the files that this tab holds as a whole. */
export function held(): Promise<readonly string[]> {
  return begin<readonly string[]>({}, (job) => ({ kind: "list", job })).done;
}

/**
 * Be told what this tab holds as a whole (SHA-256), now and at each change: also what it keeps for
 * others.
 *
 * @returns a function that ends it.
 */
export function onHeld(watcher: (hashes: readonly string[]) => void): () => void {
  watchers.add(watcher);
  if (lastHeld !== undefined) watcher(lastHeld);
  worker ??= start();
  return () => void watchers.delete(watcher);
}

/**
 * How much this browser keeps of files that others have shared, so that each is kept by two. Without
 * a call of this it is up to 64 MiB of a file, and 256 MiB of all; `{ fileBytes: 0 }` is nothing.
 */
export function copying({
  fileBytes = FILE_COPY_BYTES,
  allBytes = FILES_COPIED_BYTES,
}: Partial<CopyBounds>): void {
  post({ kind: "copying", fileBytes, allBytes });
}

/** The address of a file at this page's bridge, for a plain link that the browser itself follows. */
export function link(id: string, name: string): string {
  return new URL(`/ftweb/files/${id}/as/${encodeURIComponent(name)}`, RUNTIME).href;
}

function token(): string {
  const place: Place = { fragment: "", path: location.pathname, stores: stores() };
  const { join, presenter } = findTokens(place, {});
  return presenter ?? join ?? "";
}

/** The bridges that can be asked: the page's own, and those that client.js was told of. */
function origins(): string[] {
  const found = new Set([RUNTIME.origin]);
  for (const store of stores()) {
    try {
      const listed: unknown = JSON.parse(store.getItem("ftweb.bridges") ?? "[]");
      for (const { urls } of listed as { urls: readonly string[] }[]) {
        for (const url of urls) found.add(new URL(url).origin);
      }
    } catch {
      // Nothing that client.js wrote: the page's own bridge is known.
    }
  }
  return [...found];
}

function stores(): Storage[] {
  const open = [(): Storage => sessionStorage, (): Storage => localStorage];
  return open.flatMap((one) => {
    try {
      return [one()];
    } catch {
      return [];
    }
  });
}

setTimeout(() => (worker ??= start()), START_MS);
