/** The bridge's end of real WebSockets on the loopback interface, spoken by hand. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";

import { WebSocket, WebSocketServer } from "ws";

import type { Json } from "../../src/json";
import type { Socket } from "../../src/targets";

export type Frame = { readonly type: string; readonly [field: string]: Json };

export const WELCOME = {
  type: "welcome",
  version: 1,
  client_id: "c1",
  device_id: "d1",
  presenter: false,
  bridge: "b1",
  name: "test",
  guid: "g1",
  bundle: "0".repeat(64),
  runtime: "/ftweb/runtime/1/",
  join_url: "",
  local: false,
  limits: {
    frame_bytes: 262144,
    payload_bytes: 65536,
    json_depth: 32,
    json_key_chars: 256,
    pending_requests: 64,
    ping_seconds: 5,
    handler_seconds: 1,
  },
} as const;

export const STATUS = {
  type: "status",
  epoch: 1,
  term: 1,
  host: "n1",
  successors: ["n1", "b1"],
  quorum: true,
  participants: 1,
} as const;

/** One accepted socket. Pings are answered unless `mute`; all other frames wait to be read. */
export class Peer {
  mute = false;
  pings = 0;
  private readonly queue: Frame[] = [];
  private wake: () => void = () => undefined;
  readonly closed: Promise<number>;

  constructor(readonly socket: WebSocket) {
    this.closed = new Promise((resolve) => {
      socket.on("close", (code) => {
        resolve(code);
        this.wake();
      });
    });
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as Frame;
      if (frame.type === "ping") {
        this.pings += 1;
        if (!this.mute) this.say({ type: "pong", n: frame["n"] ?? 0 });
        return;
      }
      this.queue.push(frame);
      this.wake();
    });
  }

  say(...frames: readonly object[]): void {
    for (const frame of frames) this.socket.send(JSON.stringify(frame));
  }

  /** The next frame, whatever it is. */
  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.queue.shift();
      if (frame !== undefined) return frame;
      if (this.socket.readyState !== WebSocket.OPEN) throw new Error("The socket has been closed.");
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** The next frame, which must be of this type. */
  async expect(type: string): Promise<Frame> {
    const frame = await this.next();
    if (frame.type !== type) {
      throw new Error(`Expected ${type}, got ${JSON.stringify(frame)}.`);
    }
    return frame;
  }

  /** Frames that have come and were not read. */
  get unread(): readonly Frame[] {
    return this.queue;
  }

  /** Greet as a bridge does; gives the hello. */
  async welcome(more: object = {}): Promise<Frame> {
    const hello = await this.expect("hello");
    this.say({ ...WELCOME, ...more });
    return hello;
  }
}

export class Bridge {
  private readonly waiting: Peer[] = [];
  private wake: () => void = () => undefined;
  accepted = 0;

  readonly port: number;

  private constructor(private readonly server: WebSocketServer) {
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (socket) => {
      this.accepted += 1;
      this.waiting.push(new Peer(socket));
      this.wake();
    });
  }

  static async start(port = 0): Promise<Bridge> {
    const server = new WebSocketServer({ host: "127.0.0.1", port });
    await once(server, "listening");
    return new Bridge(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ftweb/socket`;
  }

  /** The next socket that connects. */
  async accept(): Promise<Peer> {
    for (;;) {
      const peer = this.waiting.shift();
      if (peer !== undefined) return peer;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** As if the process had been killed. */
  async stop(): Promise<void> {
    for (const socket of this.server.clients) socket.terminate();
    await new Promise((resolve) => {
      this.server.close(resolve);
    });
  }
}

/** Node 20 has no WebSocket of its own. */
export function openSocket(url: string): Socket {
  const socket = new WebSocket(url);
  // A browser's socket that fails to open only closes; this one would also throw.
  socket.on("error", () => undefined);
  return socket;
}
