/** Files in the page: manifests and holders as in Python, and downloads against any faults. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import * as v from "valibot";

import * as limits from "../src/file-limits";
import { Holders } from "../src/holders";
import { chunkBytesFor, cleanName, cleanType, idLines, Manifest } from "../src/manifest";
import { sha256 } from "../src/sha256";
import { Transfer, type Fetch } from "../src/transfer";

declare const FTWEB_ROOT: string;

function vectors(name: string): unknown {
  return JSON.parse(readFileSync(join(FTWEB_ROOT, "tests", "vectors", name), "utf8"));
}

const hex = (data: Uint8Array | string): string => createHash("sha256").update(data).digest("hex");

test("hashes are SHA-256", async () => {
  const sha = await sha256();
  assert.equal(sha.of("hello"), hex("hello"));
  assert.equal(sha.of(new Uint8Array(100_000)), hex(new Uint8Array(100_000)));
  assert.equal(sha.of(""), hex(""));
});

test("ids are those that Python gives", () => {
  const known = vectors("manifests.json") as { manifest: unknown; id: string }[];
  assert.ok(known.length >= 4);
  for (const { manifest, id } of known) {
    assert.equal(hex(idLines(v.parse(Manifest, manifest))), id);
  }
});

test("what is no manifest is refused", () => {
  const [good] = vectors("manifests.json") as { manifest: Record<string, unknown> }[];
  assert.ok(good !== undefined);
  for (const change of [
    { size: -1 },
    { size: 1e12 },
    { chunks: [] },
    { sha256: "x" },
    { chunk_bytes: 0 },
    { media_type: "x" },
    { name: "" },
    { name: 1 },
  ]) {
    assert.equal(v.is(Manifest, { ...good.manifest, ...change }), false, JSON.stringify(change));
  }
});

test("names and types are made fit", () => {
  assert.equal(cleanName("a/b\\c\n\u202ed.txt"), "a_b_c__d.txt");
  assert.equal(cleanName(" .. "), "file");
  assert.equal(cleanName(""), "file");
  const long = cleanName(`${"😀".repeat(300)}.pdf`);
  assert.equal(Array.from(long).length, limits.FILE_NAME_CHARS);
  assert.ok(long.endsWith("😀.pdf"));
  assert.equal(cleanType("text/plain; charset=utf-8"), "text/plain");
  assert.equal(cleanType(""), "application/octet-stream");
  assert.equal(cleanType("nonsense"), "application/octet-stream");
  assert.equal(chunkBytesFor(0), limits.FILE_CHUNK_BYTES);
  assert.equal(chunkBytesFor(limits.FILE_BYTES), limits.FILE_CHUNK_BYTES_MOST);
});

test("bounds are those of ftweb/limits.py", () => {
  const text = readFileSync(join(FTWEB_ROOT, "ftweb", "limits.py"), "utf8");
  const known = new Map<string, number>();
  for (const [, name = "", sum = ""] of text.matchAll(/^(FILES?_\w+): Final = (.+)$/gm)) {
    const value = sum
      .split("*")
      .map((factor) => {
        const word = factor.trim().replaceAll("_", "");
        return known.get(factor.trim()) ?? Number(word);
      })
      .reduce((product, factor) => product * factor, 1);
    known.set(name, value);
  }
  const wanted = Object.entries(limits);
  assert.ok(wanted.length >= 10);
  for (const [name, value] of wanted) assert.equal(value, known.get(name), name);
});

type Step = readonly [string, ...(readonly unknown[])];

test("holders are asked as in Python", () => {
  const known = vectors("holders.json") as { name: string; holders: string[]; steps: Step[] }[];
  assert.ok(known.length >= 5);
  for (const vector of known) {
    const holders = new Holders(vector.holders);
    for (const [what, ...given] of vector.steps) {
      const note = `${vector.name}: ${what} ${given.join(" ")}`;
      const [first, second, third] = given as [never, never, unknown];
      switch (what) {
        case "pick":
          assert.equal(holders.pick(first, second), third, note);
          break;
        case "wait":
          assert.equal(holders.wait(first), second, note);
          break;
        case "asked":
        case "served":
        case "returned":
          holders[what](first);
          break;
        case "failed":
        case "distrust":
          holders[what](first, second);
          break;
        case "update":
          holders.update(first);
          break;
        default:
          assert.fail(note);
      }
    }
  }
});

// --- transfers --------------------------------------------------------------------------------

const CHUNK = 1000;
const CONTENT = Uint8Array.from({ length: 6 * CHUNK + 123 }, (_, at) => (at * 7919) % 251);
const FILE: Manifest = {
  name: "x",
  media_type: "text/plain",
  size: CONTENT.length,
  chunk_bytes: CHUNK,
  sha256: hex(CONTENT),
  chunks: Array.from({ length: 7 }, (_, at) => hex(CONTENT.subarray(at * CHUNK, (at + 1) * CHUNK))),
};
const rest = ({ index, start }: Fetch): Uint8Array =>
  CONTENT.subarray(index * CHUNK + start, (index + 1) * CHUNK);

function begin(transfer: Transfer, now = 0): Fetch {
  const fetch = transfer.next(now);
  assert.ok(fetch !== null);
  return fetch;
}

test("the next byte comes from another holder", () => {
  const transfer = new Transfer(FILE, new Holders(["a", "b"]), hex);
  const first = begin(transfer);
  assert.equal(transfer.take(first, CONTENT.subarray(0, 100), 0), "more");
  transfer.failed(first, 0);
  assert.equal(transfer.take(first, CONTENT.subarray(0, 100), 0), "wrong", "it is over");
  const second = begin(transfer);
  assert.deepEqual(second, { holder: "b", index: 0, start: 100 });
  assert.deepEqual(transfer.take(second, rest(second), 0), CONTENT.slice(0, CHUNK));
  assert.equal(transfer.received, CHUNK);
});

test("a pause is nobody's fault", () => {
  const holders = new Holders(["a"]);
  const transfer = new Transfer(FILE, holders, hex);
  const first = begin(transfer);
  transfer.take(first, CONTENT.subarray(0, 100), 0);
  assert.ok(transfer.abandon(first));
  assert.equal(transfer.abandon(first), false);
  assert.deepEqual(begin(transfer), { holder: "a", index: 0, start: 100 });
});

test("a buffer that was copied is used again", () => {
  const transfer = new Transfer(FILE, new Holders(["a"]), hex, [], 1);
  const buffers = FILE.chunks.map((_, index) => {
    const fetch = begin(transfer);
    const taken = transfer.take(fetch, rest(fetch), 0);
    assert.ok(taken instanceof Uint8Array);
    assert.equal(hex(taken), FILE.chunks[index]);
    transfer.recycle(taken);
    return taken.buffer;
  });
  assert.equal(new Set(buffers).size, 2, "one for whole chunks, one for the last");
});

test("a wrong chunk is taken anew, from one holder only", () => {
  const transfer = new Transfer(FILE, new Holders(["a", "liar", "c"]), hex, [], 1);
  const first = begin(transfer);
  transfer.take(first, CONTENT.subarray(0, 10), 0);
  transfer.failed(first, 0);
  const second = begin(transfer);
  assert.equal(second.holder, "liar");
  assert.equal(transfer.take(second, new Uint8Array(CHUNK - 10), 0), "wrong");
  const third = begin(transfer);
  assert.deepEqual(third, { holder: "c", index: 0, start: 0 });
  transfer.take(third, CONTENT.subarray(0, 10), 0);
  transfer.failed(third, 0);
  const fourth = begin(transfer, 1);
  assert.equal(fourth.start, 0);
  assert.notEqual(transfer.take(fourth, rest(fourth), 1), "wrong");
  const fifth = begin(transfer, 1);
  assert.equal(transfer.take(fifth, new Uint8Array(CHUNK + 1), 1), "wrong", "too much");
});

test("any faults that end leave the right file", () => {
  for (let seed = 1; seed <= 200; seed++) {
    let state = seed;
    const chance = (): number => {
      state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647;
      return state / 2_147_483_647;
    };
    const names = ["a", "b", "c", "d"].slice(0, 1 + Math.floor(chance() * 4));
    const liars = new Set(names.slice(1).filter(() => chance() < 0.5));
    const transfer = new Transfer(FILE, new Holders(names), hex);
    const got = new Map<number, Uint8Array>();
    const underWay: Fetch[] = [];
    let now = 0;
    const calm = chance() * 20;
    while (!transfer.done) {
      assert.ok(now < calm + 400, `seed ${seed} does not end`);
      for (let fetch = transfer.next(now); fetch !== null; fetch = transfer.next(now)) {
        underWay.push(fetch);
      }
      const [fetch] = underWay.splice(Math.floor(chance() * underWay.length), 1);
      if (fetch === undefined) {
        now += transfer.wait(now) ?? assert.fail("nobody to wait for");
        continue;
      }
      now += chance() * 0.3;
      const left = rest(fetch);
      const some = now < calm ? left.slice(0, 1 + Math.floor(chance() * left.length)) : left;
      const data = liars.has(fetch.holder) && chance() < 0.9 ? new Uint8Array(some.length) : some;
      const taken = transfer.take(fetch, data, now);
      if (taken instanceof Uint8Array) got.set(fetch.index, taken);
      else if (taken === "more") transfer.failed(fetch, now);
    }
    const whole = Buffer.concat(FILE.chunks.map((_, at) => got.get(at) ?? new Uint8Array()));
    assert.equal(hex(whole), FILE.sha256);
  }
});
