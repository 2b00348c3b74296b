/**
 * SHA-256, since `crypto.subtle` does not exist on plain HTTP and could not hash in pieces anyway.
 * hash-wasm does 240 MB/s where the best in JavaScript does 120.
 */

import { createSHA256 } from "hash-wasm";

export interface Sha256 {
  /** Of some bytes at once, in hex. */
  of(data: Uint8Array | string): string;
}

export async function sha256(): Promise<Sha256> {
  const hasher = await createSHA256();
  return { of: (data) => hasher.init().update(data).digest("hex") };
}

/** Over many pieces. */
export async function running(): Promise<{ update(data: Uint8Array): void; hex(): string }> {
  const hasher = (await createSHA256()).init();
  return {
    update: (data) => void hasher.update(data),
    hex: () => hasher.digest("hex"),
  };
}
