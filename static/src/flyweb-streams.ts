/** The streams of one published server: requests and WebSockets, each with credit both ways. */

/* oxlint-disable no-await-in-loop -- pieces of a stream go one after the other */

import {
  FlyWebFetchEvent,
  FlyWebSocket,
  FlyWebWebSocketEvent,
  type SocketPipe,
} from "./flyweb-events";
import * as wire from "./flyweb-wire";
import { join } from "./msgpack";

/** What the page holds of bodies and messages before a handler has them: of one, and of all. */
const MOST: Most = { body: 64 * 1024 * 1024, bodies: 128 * 1024 * 1024 };

interface Most {
  readonly body: number;
  readonly bodies: number;
}

/** Methods that `Request` does not take. */
const FORBIDDEN_METHODS = /^(CONNECT|TRACE|TRACK)$/i;

export interface Server {
  /** Where the server is, `http://host:port`. */
  readonly origin: string;
  dispatch(event: Event): void;
  post(message: Uint8Array<ArrayBuffer>): void;
}

export class Streams {
  private readonly open = new Map<number, Stream>();
  /** What all of them hold. */
  private readonly all = { held: 0 };

  constructor(
    private readonly server: Server,
    private readonly most: Most = MOST,
  ) {}

  received(message: ArrayBuffer): void {
    for (const frame of wire.split(message)) {
      if (frame.kind === wire.OPEN) this.begin(frame);
      else this.open.get(frame.stream)?.take(frame);
    }
  }

  closed(): void {
    for (const stream of this.open.values()) stream.gone();
    this.open.clear();
  }

  private begin(frame: wire.Frame): void {
    const opened = wire.readOpen(frame);
    const { server, most, all } = this;
    const stream = new Stream(frame.stream, opened, server, most, all, () =>
      this.open.delete(frame.stream),
    );
    this.open.set(frame.stream, stream);
    stream.start((frame.flags & wire.END) !== 0, opened.asks);
  }
}

class Stream {
  private credit: number;
  private waiting: (() => void) | undefined;
  private pieces: Uint8Array<ArrayBuffer>[] = [];
  private size = 0;
  private over = false;
  private refused = false;
  private socket: FlyWebSocket | undefined;
  private outgoing = Promise.resolve();
  private unsent = 0;

  constructor(
    private readonly number: number,
    private readonly opened: wire.Opened,
    private readonly server: Server,
    private readonly most: Most,
    private readonly all: { held: number },
    private readonly done: () => void,
  ) {
    this.credit = opened.window;
  }

  start(ended: boolean, asks: boolean): void {
    if (asks) this.server.post(wire.encodeCredit(this.number, wire.UPLOAD_WINDOW));
    if (this.opened.kind === "websocket") this.handshake();
    else if (ended) void this.fetch();
  }

  take(frame: wire.Frame): void {
    switch (frame.kind) {
      case wire.CREDIT:
        this.credit += wire.readCredit(frame);
        this.waiting?.();
        break;
      case wire.DATA:
        this.data(frame);
        break;
      case wire.CLOSE: {
        const { code, reason } = wire.readClose(frame);
        this.end();
        this.socket?.ended(code, reason, true);
        break;
      }
      case wire.RESET:
        this.gone();
        break;
    }
  }

  /** The client, or the bridge, is not there any more. */
  gone(): void {
    this.end();
    this.socket?.ended(1006, "", false);
  }

  private end(): void {
    this.over = true;
    this.waiting?.();
    this.taken();
    this.done();
  }

  /** The body, or message: it is held no longer here. */
  private taken(): Uint8Array<ArrayBuffer> {
    const whole = join(this.pieces);
    this.pieces = [];
    this.all.held -= this.size;
    this.size = 0;
    return whole;
  }

  private data(frame: wire.Frame): void {
    if (this.over || this.refused) return;
    const { payload } = frame;
    this.pieces.push(payload);
    this.size += payload.length;
    this.all.held += payload.length;
    const large = this.size > this.most.body;
    if (large || this.all.held > this.most.bodies) {
      this.refused = true;
      this.pieces = [];
      this.taken();
      const headers = large ? {} : { "retry-after": "1" };
      const text = large ? "The body is too large for a page." : "Too much at once for a page.";
      void this.respond(new Response(text, { status: large ? 413 : 503, headers }));
      return;
    }
    if (payload.length > 0) this.server.post(wire.encodeCredit(this.number, payload.length));
    if ((frame.flags & wire.END) === 0) return;
    if (this.opened.kind === "http") {
      void this.fetch();
      return;
    }
    this.socket?.message(this.taken(), (frame.flags & wire.TEXT) !== 0);
  }

  // --- HTTP -----------------------------------------------------------------------------------

  private async fetch(): Promise<void> {
    if (FORBIDDEN_METHODS.test(this.opened.method)) {
      await this.respond(new Response("Method Not Allowed", { status: 405 }));
      return;
    }
    const event = new FlyWebFetchEvent(this.request(this.taken()));
    this.server.dispatch(event);
    await this.answer(event.answer);
  }

  /** Send the answer when there is one; 500 if it fails. */
  private async answer(answer: Promise<Response>): Promise<void> {
    let response: Response;
    try {
      response = await answer;
      if (!(response instanceof Response) || response.type === "error") {
        throw new TypeError("respondWith() needs a Response.");
      }
    } catch (error) {
      console.error("ftweb: a published server failed.", error);
      response = new Response("Internal Server Error", { status: 500 });
    }
    await this.respond(response);
  }

  private request(body: Uint8Array<ArrayBuffer>): Request {
    const { method, target } = this.opened;
    const url = target.startsWith("/") ? this.server.origin + target : target;
    const bodiless = /^(GET|HEAD)$/i.test(method);
    const request = new Request(url, {
      method,
      ...(bodiless || body.length === 0 ? {} : { body }),
    });
    // A page may not set some headers of its own requests; this one came from outside with them.
    const headers = new Headers();
    for (const [name, value] of this.opened.headers) headers.append(name, value);
    Object.defineProperty(request, "headers", { value: headers });
    return request;
  }

  private async respond(response: Response): Promise<void> {
    if (this.over) {
      void response.body?.cancel().catch(() => undefined);
      return; // the client did not wait
    }
    const reader = response.body?.getReader();
    try {
      const first = await reader?.read();
      const next = reader?.read();
      const soon = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined)));
      const ended = first === undefined || first.done || (await Promise.race([next, soon]))?.done;
      const body = first?.value ?? new Uint8Array();
      const headers = [...response.headers].filter(([name]) => name !== "transfer-encoding");
      const counted = ended === true && !response.headers.has("content-length");
      const bodiless = [204, 304].includes(response.status) || this.opened.method === "HEAD";
      if (counted && !(bodiless && body.length === 0)) {
        headers.push(["content-length", String(body.length)]);
      }
      this.server.post(wire.encodeHead(this.number, response.status, headers));
      if (this.opened.method !== "HEAD") {
        await this.send(body);
        for (let rest = await next; rest !== undefined && !rest.done && !this.over;) {
          await this.send(rest.value);
          rest = await reader?.read();
        }
      }
      this.server.post(wire.encode(wire.DATA, this.number, new Uint8Array(), wire.END));
    } catch (error) {
      console.error("ftweb: a response of a published server broke off.", error);
      this.server.post(wire.encodeReset(this.number, "failed"));
    } finally {
      void reader?.cancel().catch(() => undefined);
      this.end();
    }
  }

  /** Send bytes as the receiver takes them. */
  private async send(data: Uint8Array, flags = 0): Promise<void> {
    let at = 0;
    do {
      while (this.credit <= 0 && !this.over && data.length > 0) {
        await new Promise<void>((resolve) => {
          this.waiting = resolve;
        });
      }
      if (this.over) return;
      const size = Math.min(data.length - at, wire.PIECE_BYTES, Math.max(this.credit, 0));
      const last = at + size >= data.length;
      const piece = data.subarray(at, at + size);
      this.credit -= size;
      at += size;
      this.server.post(
        wire.encode(wire.DATA, this.number, piece, last ? flags : flags & ~wire.END),
      );
    } while (at < data.length);
  }

  // --- WebSockets -----------------------------------------------------------------------------

  private handshake(): void {
    const pipe: SocketPipe = {
      send: (data, text) => this.queue(data, wire.END | (text ? wire.TEXT : 0)),
      close: (code, reason) => {
        void this.afterwards(() => {
          if (!this.over) this.server.post(wire.encodeClose(this.number, code, reason));
          this.end();
        });
      },
      get waiting() {
        return unsent();
      },
    };
    const unsent = (): number => this.unsent;
    const event = new FlyWebWebSocketEvent(
      this.request(new Uint8Array()),
      this.opened.subprotocols,
      (protocol) => {
        const url = this.server.origin.replace(/^http/, "ws") + this.opened.target;
        const socket = new FlyWebSocket(url, protocol, pipe);
        this.socket = socket;
        if (this.over) {
          setTimeout(() => socket.ended(1006, "", false)); // the client did not wait
          return socket;
        }
        this.server.post(wire.encodeAccept(this.number, protocol === "" ? null : protocol));
        setTimeout(() => socket.opened()); // after the page has set its handlers
        return socket;
      },
    );
    this.server.dispatch(event);
    void this.answer(event.answer);
  }

  private queue(data: Uint8Array, flags: number): void {
    this.unsent += data.length;
    void this.afterwards(async () => {
      await this.send(data, flags);
      this.unsent -= data.length;
    });
  }

  /** Do something when all that was to be sent before has been. */
  private afterwards(act: () => void | Promise<void>): Promise<void> {
    const before = this.outgoing;
    const turn = async (): Promise<void> => {
      await before;
      await act();
    };
    this.outgoing = turn();
    return this.outgoing;
  }
}
