/**
 * What of a file is still to be fetched, and from which byte: ftweb/files/transfer.py in the page,
 * with its rules. Here a chunk's bytes are gathered in one buffer of its size.
 */

import { FILE_STREAMS } from "./file-limits";
import type { Holders } from "./holders";
import { chunkSize, type Manifest } from "./manifest";

/** One request to make: bytes `start` to the end of a chunk, from a holder. */
export interface Fetch {
  readonly holder: string;
  readonly index: number;
  readonly start: number;
}

/** What became of the bytes that came. */
export type Taken = "more" | "wrong" | Uint8Array<ArrayBuffer>;

class Part {
  length = 0;
  readonly givers = new Set<string>();
  /** Who failed at it last. */
  last: string | null = null;

  constructor(
    readonly data: Uint8Array<ArrayBuffer>,
    /** To be taken from one holder only, since what several gave together was wrong. */
    readonly alone = false,
  ) {}
}

export class Transfer {
  private readonly have: Set<number>;
  private readonly parts = new Map<number, Part>();
  private readonly underWay = new Map<number, Fetch>();
  private readonly spare: Uint8Array<ArrayBuffer>[] = [];

  constructor(
    readonly manifest: Manifest,
    readonly holders: Holders,
    /** SHA-256 in hex. */
    private readonly hash: (data: Uint8Array) => string,
    have: Iterable<number> = [],
    private readonly streams = FILE_STREAMS,
  ) {
    this.have = new Set(have);
  }

  get done(): boolean {
    return this.have.size === this.manifest.chunks.length;
  }

  /** Bytes that are here, parts of chunks included. */
  get received(): number {
    let sum = 0;
    for (const index of this.have) sum += chunkSize(this.manifest, index);
    for (const part of this.parts.values()) sum += part.length;
    return sum;
  }

  /** A request to make now, if there is one and somebody to ask. `now` is in seconds. */
  next(now: number): Fetch | null {
    if (this.underWay.size >= this.streams) return null;
    const index = this.nextIndex();
    if (index === undefined) return null;
    const known = this.parts.get(index);
    const holder = this.holders.pick(now, known?.last ?? null);
    if (holder === null) return null;
    if (known === undefined) this.parts.set(index, new Part(this.buffer(index)));
    this.holders.asked(holder);
    const fetch = { holder, index, start: known?.length ?? 0 };
    this.underWay.set(index, fetch);
    return fetch;
  }

  /** Seconds after which `next` may have more; null: when something has come in. */
  wait(now: number): number | null {
    if (this.underWay.size >= this.streams || this.nextIndex() === undefined) return null;
    return this.holders.wait(now);
  }

  /** Bytes have come. Gives the chunk when it is complete and right; the request has then ended. */
  take(fetch: Fetch, bytes: Uint8Array, now: number): Taken {
    const part = this.parts.get(fetch.index);
    if (!this.alive(fetch) || part === undefined) return "wrong";
    part.givers.add(fetch.holder);
    const fits = part.length + bytes.length <= part.data.length;
    if (fits) {
      part.data.set(bytes, part.length);
      part.length += bytes.length;
      if (part.length < part.data.length) return "more";
    }
    this.underWay.delete(fetch.index);
    if (!fits || this.hash(part.data) !== this.manifest.chunks[fetch.index]) {
      const anew = new Part(part.data, true);
      anew.last = fetch.holder;
      this.parts.set(fetch.index, anew);
      this.holders.failed(fetch.holder, now);
      for (const giver of part.givers)
        if (giver !== fetch.holder) this.holders.distrust(giver, now);
      return "wrong";
    }
    this.parts.delete(fetch.index);
    this.have.add(fetch.index);
    this.holders.served(fetch.holder);
    return part.data;
  }

  /** What `take` gave has been copied: its buffer may be used again. New ones would pile up until
   * the collector runs, a hundred MB of them on a fast network. */
  recycle(data: Uint8Array<ArrayBuffer>): void {
    if (this.spare.length < this.streams) this.spare.push(data);
  }

  /** Whether more bytes of this request are wanted. */
  alive(fetch: Fetch): boolean {
    return this.underWay.get(fetch.index) === fetch;
  }

  /** A request ended before its chunk was complete. What came is kept. */
  failed(fetch: Fetch, now: number): void {
    if (this.abandon(fetch)) this.holders.distrust(fetch.holder, now);
  }

  /** The same, and it was not the holder's fault: the download has been paused. */
  abandon(fetch: Fetch): boolean {
    const part = this.parts.get(fetch.index);
    if (!this.alive(fetch) || part === undefined) return false;
    this.underWay.delete(fetch.index);
    part.last = fetch.holder;
    if (part.alone) {
      part.length = 0;
      part.givers.clear();
    }
    this.holders.ended(fetch.holder);
    return true;
  }

  private buffer(index: number): Uint8Array<ArrayBuffer> {
    const size = chunkSize(this.manifest, index);
    const at = this.spare.findIndex((one) => one.length === size);
    return this.spare.splice(at, at < 0 ? 0 : 1)[0] ?? new Uint8Array(size);
  }

  private nextIndex(): number | undefined {
    for (let index = 0; index < this.manifest.chunks.length; index++) {
      if (!this.have.has(index) && !this.underWay.has(index)) return index;
    }
    return undefined;
  }
}
