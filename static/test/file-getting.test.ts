/** Downloading from real HTTP servers that die, come back and lie. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fetchFile } from "../src/file-getting";
import { CONTENT, cut, FILE, ID, rig, type Rig } from "./support/holder";
import { until } from "./support/until";

const get = ({ world, store, job, holders }: Rig): Promise<void> =>
  fetchFile(world, store, job, ID, FILE, holders);

test("a file comes from both", async () => {
  const all = await rig();
  await get(all);
  assert.ok((await all.store.content()).equals(CONTENT));
  assert.ok(all.bridges.every(({ asked }) => asked.length > 0));
  assert.equal(all.told.at(-1)?.phase, "done");
  await all.end();
});

test("on from the next byte when one breaks off", async () => {
  const all = await rig();
  const [breaking, other] = all.bridges;
  breaking.breaksAfter = 1000;
  await get(all);
  assert.ok((await all.store.content()).equals(CONTENT));
  assert.ok(other.asked.includes("GET chunks0 bytes=1000-"), other.asked.join());
  await all.end();
});

test("all die, and one comes back", async () => {
  const all = await rig();
  for (const bridge of all.bridges) bridge.breaksAfter = 20_000;
  const done = get(all);
  await until(() => all.bridges.every(({ asked }) => asked.length > 1));
  await all.end();
  await until(() => all.told.at(-1)?.phase === "waiting");
  const [first, second] = all.bridges;
  first.breaksAfter = Infinity;
  await first.start();
  await done;
  assert.ok((await all.store.content()).equals(CONTENT));
  await second.start();
  await all.end();
});

test("a pause keeps every byte, and is nobody's fault", async () => {
  const all = await rig();
  const [first, second] = all.bridges;
  await second.stop();
  all.holders.update([first.origin]);
  first.breaksAfter = 30_000;
  first.holds = true;
  const done = get(all);
  await until(() => all.told.some(({ bytes }) => bytes > 0));
  all.job.pause();
  await until(() => all.told.at(-1)?.phase === "paused");
  const { bytes } = all.told.at(-1) ?? assert.fail();
  const asked = first.asked.length;
  assert.equal(asked, 4);
  first.breaksAfter = Infinity;
  const before = performance.now();
  all.job.resume();
  await done;
  assert.ok(performance.now() - before < 2000, "the holder is not let alone for it");
  assert.ok((await all.store.content()).equals(CONTENT));
  const again = first.asked.slice(asked);
  const starts = again.map((one) => Number(/bytes=(\d+)-/.exec(one)?.[1] ?? 0));
  assert.equal(
    starts.reduce((sum, start) => sum + start, 0),
    bytes,
    "every byte was kept",
  );
  await second.start();
  await all.end();
});

test("what is here is not asked for", async () => {
  const all = await rig();
  for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
    all.store.chunks.set(FILE.chunks[index] ?? "", new Blob([new Uint8Array(cut(index))]));
  }
  await get(all);
  assert.deepEqual(
    all.bridges.flatMap(({ asked }) => asked),
    ["GET chunks9"],
  );
  await all.end();
});

test("a cancelled one ends", async () => {
  const all = await rig();
  for (const bridge of all.bridges) bridge.breaksAfter = 0;
  const done = get(all);
  setTimeout(() => all.job.cancel(), 50);
  await assert.rejects(done, { code: "closed" });
  await all.end();
});

test("a browser without room says so", async () => {
  const all = await rig();
  all.store.fails = true;
  await assert.rejects(get(all), { code: "files_full" });
  await all.end();
});
