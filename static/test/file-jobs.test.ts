/** Sharing and downloading against real HTTP servers that die, come back, lie and refuse. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import {
  describeFile,
  fetchFile,
  FileFailure,
  giveFile,
  Job,
  missingAt,
  type Store,
  type World,
} from "../src/file-jobs";
import type { FileProgress } from "../src/file-messages";
import { Holders } from "../src/holders";
import { chunkSize, type Manifest } from "../src/manifest";
import { sha256 } from "../src/sha256";

const CHUNK = 65_536;
const CONTENT = Buffer.alloc(CHUNK * 9 + 77, "files in chunks, each with its hash. ");
const hex = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const cut = (index: number): Buffer => CONTENT.subarray(index * CHUNK, (index + 1) * CHUNK);
const FILE: Manifest = {
  name: "x.bin",
  media_type: "text/plain",
  size: CONTENT.length,
  chunk_bytes: CHUNK,
  sha256: hex(CONTENT),
  chunks: Array.from({ length: 10 }, (_, index) => hex(cut(index))),
};
const ID = "a".repeat(64);

/** A bridge that can be made to misbehave. */
class Holder {
  readonly asked: string[] = [];
  readonly given = new Map<number, Buffer>();
  breaksAfter = Infinity;
  /** It falls silent where it would break off. */
  holds = false;
  refuses = 0;
  refusal = "";
  token = "";
  private server: Server | undefined;
  port = 0;

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.server = createServer((request, response) => void this.answer(request, response));
    await new Promise<void>((resolve) => this.server?.listen(this.port, "127.0.0.1", resolve));
    this.port = (this.server.address() as AddressInfo).port;
    this.server.unref(); // a test that fails must not hang
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, , , , what = "", number = ""] = (request.url ?? "").split("/");
    this.asked.push(`${request.method} ${what}${number} ${request.headers.range ?? ""}`.trim());
    if (request.method === "PUT") {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      this.token = request.headers.authorization ?? "";
      if (this.refuses !== 0) {
        response.writeHead(this.refuses).end(this.refusal);
        return;
      }
      if (what === "chunks") this.given.set(Number(number), Buffer.concat(pieces));
    }
    if (what !== "chunks") {
      const missing = FILE.chunks.flatMap((_, at) => (this.given.has(at) ? [] : [[at, at]]));
      response.end(JSON.stringify({ missing }));
      return;
    }
    if (request.method === "PUT") {
      response.writeHead(204).end();
      return;
    }
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const body = cut(Number(number)).subarray(start);
    response.writeHead(start > 0 ? 206 : 200, { "content-length": body.length });
    if (body.length <= this.breaksAfter) response.end(body);
    else {
      response.write(body.subarray(0, this.breaksAfter), () => {
        if (!this.holds) response.destroy();
      });
    }
  }
}

class MemoryStore implements Store {
  readonly chunks = new Map<string, Blob>();
  fails = false;

  have(manifest: Manifest): Promise<number[]> {
    return Promise.resolve(
      manifest.chunks.flatMap((hash, index) => (this.chunks.has(hash) ? [index] : [])),
    );
  }

  put(hash: string, chunk: Blob): Promise<void> {
    if (this.fails) return Promise.reject(new Error("QuotaExceededError"));
    this.chunks.set(hash, chunk);
    return Promise.resolve();
  }

  async content(): Promise<Buffer> {
    const whole = new Blob(FILE.chunks.map((hash) => this.chunks.get(hash) ?? ""));
    return Buffer.from(await whole.arrayBuffer());
  }
}

interface Rig {
  readonly world: World;
  readonly job: Job;
  readonly told: FileProgress[];
  readonly store: MemoryStore;
  readonly bridges: readonly [Holder, Holder];
  readonly holders: Holders;
  end(): Promise<void>;
}

async function rig(): Promise<Rig> {
  const bridges = [new Holder(), new Holder()] as const;
  for (const bridge of bridges) await bridge.start();
  const told: FileProgress[] = [];
  return {
    world: { sha: await sha256(), token: () => "secret", now: () => performance.now() / 1000 },
    job: new Job((progress) => told.push(progress)),
    told,
    store: new MemoryStore(),
    bridges,
    holders: new Holders(bridges.map(({ origin }) => origin)),
    end: async () => void (await Promise.all(bridges.map((bridge) => bridge.stop()))),
  };
}

const get = ({ world, store, job, holders }: Rig): Promise<void> =>
  fetchFile(world, store, job, ID, FILE, holders);

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    assert.ok(Date.now() < end, "it did not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

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

// --- sharing ----------------------------------------------------------------------------------

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
