/** Holders of a file: real HTTP servers that can be made to die, come back, lie, stall and refuse. */

import { createHash } from "node:crypto";
import {
  createServer,
  request as startRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

import type { Store } from "../../src/file-getting";
import { Job, Patience, type Put, type World } from "../../src/file-jobs";
import { FILE_STALL_SECONDS } from "../../src/file-limits";
import type { FileProgress } from "../../src/file-messages";
import { Holders } from "../../src/holders";
import type { Manifest } from "../../src/manifest";
import { sha256 } from "../../src/sha256";

export const CHUNK = 65_536;
export const CONTENT = Buffer.alloc(CHUNK * 9 + 77, "files in chunks, each with its hash. ");
const hex = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
export const cut = (index: number): Buffer => CONTENT.subarray(index * CHUNK, (index + 1) * CHUNK);
export const FILE: Manifest = {
  name: "x.bin",
  media_type: "text/plain",
  size: CONTENT.length,
  chunk_bytes: CHUNK,
  sha256: hex(CONTENT),
  chunks: Array.from({ length: 10 }, (_, index) => hex(cut(index))),
};
export const ID = "a".repeat(64);

/** A bridge that can be made to misbehave. */
export class Holder {
  readonly asked: string[] = [];
  readonly given = new Map<number, Buffer>();
  breaksAfter = Infinity;
  /** It falls silent where it would break off. */
  holds = false;
  refuses = 0;
  refusal = "";
  /** What it says of the file; nothing: the truth. */
  status = "";
  token = "";
  /** What it answers to a tab that tells what it holds; nothing: it knows nothing of that. */
  answer: unknown;
  /** What tabs have told. */
  readonly reports: Record<string, unknown>[] = [];
  /** Chunks whose next upload is taken and never answered. */
  readonly swallows = new Set<number>();
  /** How many chunks were being uploaded when each upload of one began, itself included. */
  readonly atOnce: number[] = [];
  private uploads = 0;
  private server: Server | undefined;
  port = 0;

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.server = createServer((request, response) => void this.respond(request, response));
    await new Promise<void>((resolve) => this.server?.listen(this.port, "127.0.0.1", resolve));
    this.port = (this.server.address() as AddressInfo).port;
    this.server.unref(); // a test that fails must not hang
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }

  private async respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, , , id, what = "", number = ""] = (request.url ?? "").split("/");
    this.asked.push(`${request.method} ${what}${number} ${request.headers.range ?? ""}`.trim());
    if (request.method === "PUT") {
      if (what === "chunks") {
        this.atOnce.push(++this.uploads);
        response.on("close", () => (this.uploads -= 1));
      }
      const pieces: Buffer[] = [];
      try {
        for await (const piece of request) pieces.push(piece as Buffer);
      } catch {
        return; // it broke off
      }
      if (id === "kept") {
        this.reports.push(JSON.parse(String(Buffer.concat(pieces))) as Record<string, unknown>);
        if (this.answer === undefined) response.writeHead(404).end();
        else response.end(JSON.stringify(this.answer));
        return;
      }
      if (what === "chunks" && this.swallows.delete(Number(number))) return;
      this.token = request.headers.authorization ?? "";
      if (this.refuses !== 0) {
        response.writeHead(this.refuses).end(this.refusal);
        return;
      }
      if (what === "chunks") this.given.set(Number(number), Buffer.concat(pieces));
    }
    if (what === "manifest") {
      response.end(JSON.stringify(FILE));
      return;
    }
    if (what !== "chunks") {
      const missing = FILE.chunks.flatMap((_, at) => (this.given.has(at) ? [] : [[at, at]]));
      response.end(this.status || JSON.stringify({ missing }));
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

export class MemoryStore implements Store {
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

export interface Rig {
  readonly world: World;
  readonly job: Job;
  readonly told: FileProgress[];
  readonly store: MemoryStore;
  readonly bridges: readonly [Holder, Holder];
  readonly holders: Holders;
  end(): Promise<void>;
}

export async function rig(slowness = 0, patience = FILE_STALL_SECONDS): Promise<Rig> {
  const bridges = [new Holder(), new Holder()] as const;
  for (const bridge of bridges) await bridge.start();
  const told: FileProgress[] = [];
  return {
    world: {
      sha: await sha256(),
      token: () => "secret",
      now: () => performance.now() / 1000,
      put: puts(slowness),
    },
    job: new Job((progress) => told.push(progress), new Patience(patience)),
    told,
    store: new MemoryStore(),
    bridges,
    holders: new Holders(bridges.map(({ origin }) => origin)),
    end: async () => void (await Promise.all(bridges.map((bridge) => bridge.stop()))),
  };
}

/** What putting.ts does with XMLHttpRequest: in four pieces, with so many ms before each. */
function puts(slowness: number): Put {
  return async (url, body, token, abort, moved) => {
    const data = Buffer.from(await new Blob([body]).arrayBuffer());
    const headers = { authorization: `Bearer ${token}`, "content-length": data.length };
    const request = startRequest(url, { method: "PUT", headers, signal: abort });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.on("response", resolve).on("error", reject);
    });
    answered.catch(() => undefined); // heard below, or not at all if it is stopped before
    const step = Math.ceil(data.length / 4) || 1;
    for (let at = 0; at < data.length; at += step) {
      if (slowness > 0) await new Promise((resolve) => setTimeout(resolve, slowness));
      if (abort.aborted) throw new Error("aborted");
      request.write(data.subarray(at, at + step));
      moved();
    }
    request.end();
    const response = await answered;
    let text = "";
    for await (const piece of response) text += String(piece);
    return { status: response.statusCode ?? 0, text };
  };
}
