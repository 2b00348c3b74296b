/**
 * The chunks that this browser keeps, in IndexedDB: the one storage of size that insecure origins
 * have (no OPFS, no Cache API, no showSaveFilePicker there).
 *
 * 1. Chunks are kept as Blobs, which browsers hold on the disk. A Blob made of such Blobs only refers
 *    to them: that is how a file of a gigabyte is saved without being in memory.
 * 2. A file is kept by its manifest; its chunks by their hashes, once for all files that have them.
 * 3. There is a bound (FILES_KEPT_IN_TAB_BYTES). Copies that are kept for others only go first
 *    (file-copies.ts), then the files used longest ago; a file that is in use is never taken away.
 */

import { FILES_KEPT_IN_TAB_BYTES } from "./file-limits";
import { chunkSize, type Manifest } from "./manifest";

const NAME = "ftweb-files";

export interface Kept {
  readonly id: string;
  readonly manifest: Manifest;
  readonly usedAt: number;
  /** Nobody here asked for it: it is kept for others. */
  readonly copy?: boolean;
}

export class ChunkStore {
  private constructor(private readonly database: IDBDatabase) {}

  static async open(): Promise<ChunkStore> {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("chunks");
      request.result.createObjectStore("files", { keyPath: "id" });
    };
    const database = await settled(request);
    database.onversionchange = () => database.close();
    return new ChunkStore(database);
  }

  /**
   * Note that a file is being used; make room for it among the others.
   *
   * @param copy it is kept for others only. A file that somebody here fetched does not become one.
   */
  async use(
    id: string,
    manifest: Manifest,
    inUse: ReadonlySet<string>,
    copy = false,
  ): Promise<void> {
    const known = (await this.files()).find((file) => file.id === id);
    if (copy && known !== undefined && known.copy !== true) return;
    const used: Kept = { id, manifest, usedAt: Date.now(), copy };
    await this.write("files", (store) => store.put(used));
    for (const gone of tooMany(await this.files(), id, inUse)) {
      // eslint-disable-next-line no-await-in-loop -- one after another, each changes what is left
      await this.forget(gone);
    }
  }

  async files(): Promise<Kept[]> {
    return settled(this.store("files", "readonly").getAll() as IDBRequest<Kept[]>);
  }

  /** Forget a file, and those of its chunks that no other has. */
  async forget(id: string): Promise<void> {
    const files = await this.files();
    const gone = files.find((file) => file.id === id);
    if (gone === undefined) return;
    const others = new Set(files.flatMap((file) => (file.id === id ? [] : file.manifest.chunks)));
    await this.write("chunks", (store) => {
      for (const hash of gone.manifest.chunks) if (!others.has(hash)) store.delete(hash);
    });
    await this.write("files", (store) => store.delete(id));
  }

  /** Indexes of the chunks of a file that are here. */
  async have(manifest: Manifest): Promise<number[]> {
    const store = this.store("chunks", "readonly");
    const keys = await Promise.all(manifest.chunks.map((hash) => settled(store.getKey(hash))));
    return keys.flatMap((key, index) => (key === undefined ? [] : [index]));
  }

  async get(hash: string): Promise<Blob | undefined> {
    return settled(this.store("chunks", "readonly").get(hash) as IDBRequest<Blob | undefined>);
  }

  /** Keep a chunk. Resolves when it is on its way to the disk and not ours to hold any more. */
  async put(hash: string, chunk: Blob): Promise<void> {
    await this.write("chunks", (store) => store.put(chunk, hash));
  }

  /** The whole file, made of references; undefined if a chunk is missing. */
  async whole(manifest: Manifest): Promise<Blob | undefined> {
    const store = this.store("chunks", "readonly");
    const chunks = await Promise.all(
      manifest.chunks.map((hash) => settled(store.get(hash) as IDBRequest<Blob | undefined>)),
    );
    const parts: Blob[] = [];
    for (const [index, chunk] of chunks.entries()) {
      if (chunk?.size !== chunkSize(manifest, index)) return undefined;
      parts.push(chunk);
    }
    return new Blob(parts, { type: manifest.media_type });
  }

  private store(name: string, mode: IDBTransactionMode): IDBObjectStore {
    return this.database.transaction(name, mode).objectStore(name);
  }

  private write(name: string, act: (store: IDBObjectStore) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(name, "readwrite");
      transaction.oncomplete = () => resolve();
      const fail = (): void => reject(transaction.error ?? new Error("The browser saved nothing."));
      transaction.onerror = fail;
      transaction.onabort = fail;
      act(transaction.objectStore(name));
    });
  }
}

/** Which files have to go so that the bound is kept (rule 3), `id` being used now. */
export function tooMany(files: readonly Kept[], id: string, inUse: ReadonlySet<string>): string[] {
  const isCopy = ({ copy }: Kept): number => Number(copy === true);
  const kept = [...files].sort((a, b) => isCopy(a) - isCopy(b) || b.usedAt - a.usedAt);
  let room = FILES_KEPT_IN_TAB_BYTES;
  const gone: string[] = [];
  for (const file of kept) {
    room -= file.manifest.size;
    if (room < 0 && file.id !== id && !inUse.has(file.id)) gone.push(file.id);
  }
  return gone;
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("The browser's storage failed."));
  });
}
