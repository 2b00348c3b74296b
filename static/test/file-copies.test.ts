/** Copies for others: what is told, what is fetched, and when not. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { tooMany, type Kept } from "../src/chunk-store";
import { Copies, type Means } from "../src/file-copies";
import { fetchFile } from "../src/file-getting";
import { idOf } from "../src/file-giving";
import { FileFailure } from "../src/file-jobs";
import {
  FILE_COPY_BYTES,
  FILES_COPIED_BYTES,
  FILES_KEPT_IN_TAB_BYTES,
  FILES_UNNAMED_SECONDS,
} from "../src/file-limits";
import { Keeping } from "../src/file-keeping";
import { Holders } from "../src/holders";
import type { Manifest } from "../src/manifest";
import { CONTENT, cut, FILE, MemoryStore, rig, type Holder, type Rig } from "./support/holder";
import { until } from "./support/until";

const BROWSER = "b".repeat(32);
const NOTHING = { copy: null, give: [], named: [] };
const large = (size: number): Manifest => ({ ...FILE, size, chunks: ["0".repeat(64)] });

/** The chunk store, in memory. */
class MemoryShelf extends MemoryStore {
  readonly kept = new Map<string, Kept>();

  files(): Promise<Kept[]> {
    return Promise.resolve([...this.kept.values()]);
  }

  use(id: string, manifest: Manifest, _: ReadonlySet<string>, copy = false): Promise<void> {
    this.kept.set(id, { id, manifest, copy, usedAt: Date.now() });
    return Promise.resolve();
  }

  forget(id: string): Promise<void> {
    this.kept.delete(id);
    return Promise.resolve();
  }
}

interface Made {
  readonly all: Rig;
  readonly id: string;
  readonly shelf: MemoryShelf;
  readonly means: Means;
  readonly copies: Copies;
  readonly given: Manifest[];
  readonly held: string[][];
  readonly first: Holder;
  readonly second: Holder;
}

/** Two bridges; the first by its address is the one that is told. */
async function make(change: Partial<Means> = {}): Promise<Made> {
  const all = await rig();
  const bridges = [...all.bridges].sort((one, other) => (one.origin < other.origin ? -1 : 1));
  const [first, second] = bridges;
  assert.ok(first !== undefined && second !== undefined);
  for (const bridge of bridges) bridge.answer = NOTHING;
  const shelf = new MemoryShelf();
  const given: Manifest[] = [];
  const held: string[][] = [];
  const means: Means = {
    world: all.world,
    shelf,
    browser: () => BROWSER,
    bridges: () => [second.origin, first.origin],
    sources: new Map(),
    inUse: new Set(),
    free: () => Promise.resolve(Infinity),
    fetch: (job, id, manifest) =>
      fetchFile(all.world, shelf, job, id, manifest, new Holders([first.origin])),
    give: (manifest) => given.push(manifest),
    holds: (files) => held.push([...files.keys()]),
    ...change,
  };
  const copies = new Copies(means);
  return { all, id: idOf(all.world, FILE), shelf, means, copies, given, held, first, second };
}

async function end({ all, copies }: Made): Promise<void> {
  copies.end();
  await all.end();
}

/** One round; gives what the first bridge was told. */
async function told({ copies, first }: Made): Promise<Record<string, unknown>> {
  const before = first.reports.length;
  copies.soon();
  await until(() => first.reports.length > before, "a report");
  return first.reports.at(-1) ?? assert.fail();
}

test("one bridge is told, the first by its address, which browser has room for how much", async () => {
  const made = await make();
  const { tab, ...rest } = await told(made);
  assert.match(String(tab), /^[0-9a-f]{32}$/);
  const most = FILE_COPY_BYTES;
  assert.deepEqual(rest, { browser: BROWSER, most, room: FILES_COPIED_BYTES, files: [] });
  assert.deepEqual(made.second.reports, []);
  await end(made);
});

test("another one is told when the first is silent, or does not know of it", async () => {
  const made = await make();
  made.first.answer = undefined;
  await told(made);
  await until(() => made.second.reports.length === 1);
  await made.first.stop();
  made.copies.soon();
  await until(() => made.second.reports.length === 2);
  await made.first.start();
  await end(made);
});

test("a tab without a token tells nothing", async () => {
  const made = await make();
  Object.assign(made.all.world, { token: () => "" });
  made.copies.soon();
  await until(() => made.held.length === 1);
  assert.deepEqual(made.first.reports, []);
  await end(made);
});

test("what it is asked to copy is fetched once, and told when it is there", async () => {
  const made = await make();
  made.first.answer = { ...NOTHING, copy: made.id };
  await told(made);
  await until(() => made.held.at(-1)?.includes(made.id) === true, "the copy");
  assert.ok((await made.shelf.content()).equals(CONTENT));
  assert.equal(made.shelf.kept.get(made.id)?.copy, true);
  assert.deepEqual((await told(made))["files"], [made.id]);
  const asked = made.first.asked.filter((one) => one.startsWith("GET chunks"));
  assert.equal(asked.length, FILE.chunks.length);
  assert.deepEqual([...made.means.inUse], []);
  await end(made);
});

test("what the person shared is told from the first, what is here by halves is not", async () => {
  const made = await make({ sources: new Map([["c".repeat(64), { manifest: FILE }]]) });
  await made.shelf.use(made.id, FILE, new Set());
  await made.shelf.put(FILE.chunks[0] ?? "", new Blob([new Uint8Array(cut(0))]));
  assert.deepEqual((await told(made))["files"], ["c".repeat(64)]);
  await end(made);
});

test("who has no room says so", async () => {
  const none = await make({ shelf: undefined });
  assert.equal((await told(none))["most"], 0);
  await end(none);

  const full = await make({ free: () => Promise.resolve(-5) });
  assert.equal((await told(full))["room"], 0);
  await end(full);

  const off = await make();
  off.copies.bounds = { fileBytes: 0, allBytes: FILES_COPIED_BYTES };
  assert.equal((await told(off))["most"], 0);
  await end(off);
});

test("copies have a bound of their own, and stay below that of all files", async () => {
  const made = await make();
  await made.shelf.use("copy", large(1000), new Set(), true);
  await made.shelf.use("own", large(5000), new Set());
  assert.equal((await told(made))["room"], FILES_COPIED_BYTES - 1000);
  await made.shelf.use("own", large(FILES_KEPT_IN_TAB_BYTES - 1500), new Set());
  assert.equal((await told(made))["room"], 500);
  await end(made);
});

test("a file above the bound is not fetched, whoever asks", async () => {
  const made = await make();
  made.copies.bounds = { fileBytes: FILE.size - 1, allBytes: FILES_COPIED_BYTES };
  made.first.answer = { ...NOTHING, copy: made.id };
  await told(made);
  await until(() => made.first.asked.includes("GET manifest"));
  await told(made);
  assert.deepEqual(
    made.first.asked.filter((one) => one.startsWith("GET chunks")),
    [],
  );
  await end(made);
});

test("another file than was asked for is not kept", async () => {
  const made = await make();
  made.first.answer = { ...NOTHING, copy: "d".repeat(64) };
  await told(made);
  await until(() => made.first.asked.includes("GET manifest"));
  await told(made);
  assert.equal(made.shelf.kept.size, 0);
  await end(made);
});

test("a browser that could not save it forgets it, and says that it has no room", async () => {
  const made = await make();
  made.shelf.fails = true;
  made.first.answer = { ...NOTHING, copy: made.id };
  await told(made);
  await until(() => made.means.inUse.size === 0 && made.first.asked.includes("GET chunks0"));
  made.first.answer = NOTHING;
  assert.deepEqual(
    [(await told(made))["most"], made.shelf.kept.size],
    [0, 0],
    "not asked again for a while",
  );
  await end(made);
});

test("a copy that fails is not begun again at once", async () => {
  let begun = 0;
  const made = await make({
    fetch: () => {
      begun += 1;
      return Promise.reject(new FileFailure("closed", "no"));
    },
  });
  made.first.answer = { ...NOTHING, copy: made.id };
  await told(made);
  await until(() => begun === 1 && made.means.inUse.size === 0);
  await new Promise((resolve) => {
    setTimeout(resolve, 100);
  });
  assert.equal(made.first.reports.length, 1);
  await end(made);
});

test("what somebody here wants becomes theirs, with what has come of it", async () => {
  const made = await make();
  made.first.answer = { ...NOTHING, copy: made.id };
  made.first.breaksAfter = 10;
  made.first.holds = true;
  await told(made);
  await until(() => made.first.asked.includes("GET chunks0"));
  await made.copies.leave("another");
  assert.ok(made.means.inUse.has(made.id));
  await made.copies.leave(made.id);
  assert.equal(made.means.inUse.has(made.id), false, "the request has been stopped");
  assert.ok(made.shelf.kept.has(made.id));
  await end(made);
});

test("what the page fetches itself is not fetched beside it", async () => {
  const made = await make();
  made.means.inUse.add(made.id);
  made.first.answer = { ...NOTHING, copy: made.id };
  await told(made);
  await told(made);
  assert.equal(made.first.asked.includes("GET manifest"), false);
  await end(made);
});

test("a copy that nobody names any more is forgotten after a while, a download is not", async () => {
  const made = await make();
  const before = Date.now() - FILES_UNNAMED_SECONDS * 1000 - 1;
  const put = (id: string, copy: boolean, usedAt: number): void =>
    void made.shelf.kept.set(id, { id, manifest: FILE, copy, usedAt });
  put("old", true, before);
  put("young", true, Date.now());
  put("own", false, before);
  put("e".repeat(64), true, before);
  made.first.answer = { ...NOTHING, named: ["e".repeat(64)] };
  await told(made);
  await until(() => made.shelf.kept.size === 3);
  assert.deepEqual([...made.shelf.kept.keys()].sort(), ["e".repeat(64), "own", "young"]);
  await until(() => (made.shelf.kept.get("e".repeat(64))?.usedAt ?? 0) > before, "it is noted");
  await end(made);
});

test("what the bridge lacks is given, if it is here", async () => {
  const made = await make({ sources: new Map([["c".repeat(64), { manifest: FILE }]]) });
  made.first.answer = { ...NOTHING, give: ["c".repeat(64), "d".repeat(64)] };
  await told(made);
  await until(() => made.given.length > 0);
  assert.deepEqual(made.given, [FILE]);
  await end(made);
});

test("copies make room first, then what was used longest ago", () => {
  const half = large(FILES_KEPT_IN_TAB_BYTES / 2);
  const kept = (id: string, usedAt: number, copy = false): Kept => ({
    id,
    manifest: half,
    usedAt,
    copy,
  });
  const both = [kept("old", 1), kept("copy", 2, true)];
  assert.deepEqual(tooMany(both, "old", new Set()), []);
  assert.deepEqual(tooMany([...both, kept("new", 3)], "new", new Set()), ["copy"]);
  assert.deepEqual(tooMany([...both, kept("new", 3)], "new", new Set(["copy"])), []);
  const own = [kept("old", 1), kept("middle", 2), kept("new", 3)];
  assert.deepEqual(tooMany(own, "new", new Set()), ["old"]);
});

// --- giving back ------------------------------------------------------------------------------

function keeping({ all, means }: Made, bridges: readonly Holder[]): Keeping {
  return new Keeping({
    world: all.world,
    store: undefined,
    bridges: () => bridges.map(({ origin }) => origin),
    sources: new Map([[idOf(all.world, FILE), 0]]),
    inUse: means.inUse,
    chunk: () => (index) => Promise.resolve(new Blob([new Uint8Array(cut(index))])),
  });
}

test("a bridge is given what it lacks, once at a time", async () => {
  const made = await make();
  const keeper = keeping(made, [made.first]);
  await Promise.all([keeper.offer(FILE), keeper.offer(FILE)]);
  assert.equal(made.first.given.size, FILE.chunks.length);
  const uploads = made.first.asked.filter((one) => one.startsWith("PUT chunks"));
  assert.equal(uploads.length, FILE.chunks.length);
  await keeper.offer(FILE);
  assert.equal(
    made.first.asked.filter((one) => one.startsWith("PUT chunks")).length,
    uploads.length,
  );
  await end(made);
});

test("what is being shared already is not offered beside it", async () => {
  const made = await make();
  const keeper = keeping(made, [made.first]);
  keeper.giving.add(made.id);
  await keeper.offer(FILE);
  assert.deepEqual(made.first.asked, []);
  await end(made);
});

test("a bridge that dies in the middle is not waited for", async () => {
  const made = await make();
  const keeper = keeping(made, [made.first, made.second]);
  made.first.swallows.add(0);
  const offered = keeper.offer(FILE);
  await until(() => made.first.asked.includes("PUT chunks0"));
  await made.first.stop();
  await offered;
  await keeper.offer(FILE);
  assert.equal(made.second.given.size, FILE.chunks.length, "the next time it is another one's");
  await made.first.start();
  await end(made);
});
