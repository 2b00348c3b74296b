/** Sharing with real HTTP servers that die, stall and refuse. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { describeFile, giveFile, missingAt } from "../src/file-giving";
import { FileFailure } from "../src/file-jobs";
import { FILE_STREAMS } from "../src/file-limits";
import { chunkSize } from "../src/manifest";
import { CONTENT, cut, FILE, ID, rig, type Rig } from "./support/holder";
import { until } from "./support/until";

const chunk = (index: number): Promise<Blob> =>
  Promise.resolve(new Blob([new Uint8Array(cut(index))]));
const give = ({ world, job, holders }: Rig): Promise<void> =>
  giveFile(world, job, ID, FILE, holders, chunk);

test("a file is described as Python would", async () => {
  const all = await rig();
  const file = new File([CONTENT], "a/b.PDF", { type: "Text/Plain; charset=utf-8" });
  const { id, manifest } = await describeFile(all.world, all.job, file);
  assert.equal(manifest.sha256, FILE.sha256);
  assert.equal(manifest.name, "a_b.PDF");
  assert.equal(manifest.media_type, "text/plain");
  assert.equal(manifest.chunks.length, 1, "1 MiB is the usual chunk");
  assert.match(id, /^[0-9a-f]{64}$/);
  const empty = await describeFile(all.world, all.job, new File([], "nothing"));
  assert.deepEqual([empty.manifest.size, empty.manifest.chunks], [0, []]);
  await all.end();
});

test("only what is missing is given", async () => {
  const all = await rig();
  const [first] = all.bridges;
  first.given.set(2, cut(2));
  await give(all);
  assert.equal(first.given.size, 10);
  assert.ok(!first.asked.includes("PUT chunks2"));
  assert.equal(first.token, "Bearer secret");
  assert.deepEqual(await missingAt(all.job, first.origin, ID), []);
  await all.end();
  assert.equal(await missingAt(all.job, first.origin, ID), undefined);
});

test("when one dies, another one gets it", async () => {
  const all = await rig();
  const [first, second] = all.bridges;
  await first.stop();
  await give(all);
  assert.equal(second.given.size, 10);
  for (const [index, data] of second.given) assert.equal(data.length, chunkSize(FILE, index));
  await first.start();
  await all.end();
});

test("when all are full, that is said", async () => {
  const all = await rig();
  for (const bridge of all.bridges) {
    bridge.refuses = 507;
    bridge.refusal = "files_full: This bridge's room is full.\n";
  }
  await assert.rejects(give(all), (error: unknown) => {
    assert.ok(error instanceof FileFailure);
    assert.deepEqual([error.code, error.message], ["files_full", "This bridge's room is full."]);
    return true;
  });
  await all.end();
});

test("what is slow and moves is not given up", async () => {
  const all = await rig(700, 2); // 2.8 s for each chunk; patience lasts for 2 s
  const [first, second] = all.bridges;
  all.holders.update([first.origin]);
  for (let index = 2; index < 10; index++) first.given.set(index, cut(index));
  await give(all);
  assert.equal(first.given.size, 10);
  assert.equal(first.asked.filter((one) => one.startsWith("PUT chunks")).length, 2);
  assert.deepEqual(second.asked, []);
  await all.end();
});

test("after a stall it goes on with the next missing chunk, more patiently", async () => {
  const all = await rig(0, 2);
  const [first, second] = all.bridges;
  all.holders.update([first.origin]);
  first.swallows.add(5);
  await give(all);
  assert.equal(first.given.size, 10);
  const puts = first.asked.filter((one) => one.startsWith("PUT chunks"));
  assert.equal(puts.filter((one) => one === "PUT chunks5").length, 2);
  assert.equal(puts.length, 11, "nothing else was sent twice");
  assert.deepEqual(second.asked, []);
  await all.end();
});

test("where everything stalls, fewer go at once, and more again when they get through", async () => {
  const all = await rig(10, 2);
  const [first] = all.bridges;
  all.holders.update([first.origin]);
  for (let index = 0; index < FILE_STREAMS; index++) first.swallows.add(index);
  const before = performance.now();
  const done = give(all);
  await until(() => first.atOnce.length === 4 && first.swallows.size === 0);
  first.swallows.add(0).add(1);
  await done;
  assert.equal(first.given.size, 10);
  assert.deepEqual(first.atOnce.slice(0, 4), [1, 2, 3, 4]);
  assert.ok(Math.max(...first.atOnce.slice(4, 6)) === 2, first.atOnce.join());
  assert.equal(first.atOnce[6], 1, first.atOnce.join());
  assert.ok(Math.max(...first.atOnce.slice(7)) > 1, "it does not stay slow");
  assert.ok(performance.now() - before >= 6000, "2 s, then 4 s");
  assert.equal(all.job.patience.seconds, 8, "what the link needed stays");
  await all.end();
});

test("a pause keeps what has arrived", async () => {
  const all = await rig(30);
  const [first] = all.bridges;
  all.holders.update([first.origin]);
  const done = give(all);
  await until(() => all.told.some(({ bytes }) => bytes > 0));
  all.job.pause();
  await until(() => all.told.at(-1)?.phase === "paused");
  assert.ok((all.told.at(-1)?.bytes ?? 0) > 0, "the bar stays where it was");
  const had = new Set(first.given.keys());
  const asked = first.asked.length;
  all.job.resume();
  await done;
  assert.equal(first.given.size, 10);
  for (const index of had) assert.ok(!first.asked.slice(asked).includes(`PUT chunks${index}`));
  await all.end();
});

test("a bridge that says nonsense is not believed", async () => {
  const all = await rig();
  const [first, second] = all.bridges;
  first.status = '{"missing": [[0, 4000000000]]}';
  await give(all);
  assert.equal(second.given.size, 10);
  await all.end();
});
