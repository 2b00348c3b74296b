/** What a file is: ftweb/files/manifest.py in the page. Both run tests/vectors/manifests.json. */

import * as v from "valibot";

import {
  FILE_BYTES,
  FILE_CHUNK_BYTES,
  FILE_CHUNK_BYTES_MOST,
  FILE_CHUNKS,
  FILE_NAME_CHARS,
  FILE_TYPE_CHARS,
} from "./file-limits";

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/;
const NOT_IN_NAMES = /[/\\\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

export const Manifest = v.pipe(
  v.object({
    name: v.pipe(v.string(), v.minLength(1)),
    media_type: v.pipe(v.string(), v.maxLength(FILE_TYPE_CHARS), v.regex(TYPE)),
    size: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(FILE_BYTES)),
    chunk_bytes: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(FILE_CHUNK_BYTES_MOST)),
    sha256: hash,
    chunks: v.pipe(v.array(hash), v.maxLength(FILE_CHUNKS)),
  }),
  v.check((one) => one.chunks.length === Math.ceil(one.size / one.chunk_bytes)),
);
export type Manifest = Readonly<v.InferOutput<typeof Manifest>>;

/** The lines whose SHA-256 is the file's id. */
export function idLines(manifest: Manifest): string {
  const { name, media_type, size, chunk_bytes, sha256, chunks } = manifest;
  const lines = ["ftweb file 1", name, media_type, size, chunk_bytes, sha256, ...chunks];
  return lines.map((line) => `${line}\n`).join("");
}

export function chunkSize(manifest: Manifest, index: number): number {
  return Math.min(manifest.chunk_bytes, manifest.size - index * manifest.chunk_bytes);
}

/** The chunk size that everybody uses for a file of so many bytes. */
export function chunkBytesFor(size: number): number {
  let chosen = FILE_CHUNK_BYTES;
  while (chosen * FILE_CHUNKS < size) chosen *= 2;
  return chosen;
}

/** A name that may be shown and saved, as near to the given one as possible. */
export function cleanName(name: string): string {
  const clean = name.normalize("NFC").replace(NOT_IN_NAMES, "_").trim();
  const letters = Array.from(clean);
  const dot = clean.lastIndexOf(".");
  const suffix = dot > 0 && clean.length - dot <= 12 ? Array.from(clean.slice(dot)) : [];
  const short =
    letters.length <= FILE_NAME_CHARS
      ? clean
      : letters
          .slice(0, FILE_NAME_CHARS - suffix.length)
          .concat(suffix)
          .join("");
  return short === "" || short === "." || short === ".." ? "file" : short;
}

/** A media type without parameters, or the general one. */
export function cleanType(type: string): string {
  const bare = (type.split(";")[0] ?? "").trim().toLowerCase();
  return TYPE.test(bare) && bare.length <= FILE_TYPE_CHARS ? bare : "application/octet-stream";
}
