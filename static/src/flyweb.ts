/**
 * `/ftweb/flyweb.js`: FlyWeb's `navigator.publishServer` for pages of a bridge; docs/flyweb.md.
 *
 * 1. A person is asked before a page publishes, each time, in the page itself.
 * 2. The promise is kept when the server runs and has been announced.
 * 3. A server ends with its page, or when its bridge is lost; then it gets `close`. The bridge asks
 *    whether the page is still there: one that was frozen or cut off is there no longer.
 */

import * as v from "valibot";

import { Target, FlyWebFetchEvent, FlyWebSocket, FlyWebWebSocketEvent } from "./flyweb-events";
import { Streams, type Server } from "./flyweb-streams";
import { ask } from "./flyweb-ask";
import { findTokens } from "./keys";

export interface PublishOptions {
  readonly uiUrl?: string | null;
}

type Handler = ((event: never) => unknown) | null;

const Answer = v.variant("type", [
  v.object({ type: v.literal("published"), name: v.string(), port: v.number() }),
  v.object({ type: v.literal("refused"), code: v.string(), message: v.string() }),
]);

/** What the bridge is told when it asks; by the page itself, for a frozen one answers nothing. */
const STILL_HERE = JSON.stringify({ type: "pong" });

/** A published server. */
class FlyWebPublishedServer extends Target {
  /** Where it is: not FlyWeb's, whose browser knew. */
  readonly origin: string;
  private readonly streams: Streams;

  constructor(
    readonly name: string,
    readonly uiUrl: string | null,
    private readonly socket: WebSocket,
    port: number,
  ) {
    super();
    this.origin = `http://${location.hostname}:${port}`;
    const server: Server = {
      origin: this.origin,
      dispatch: (event) => void this.dispatchEvent(event),
      post: (message) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(message);
      },
    };
    this.streams = new Streams(server);
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
      if (typeof data === "string") socket.send(STILL_HERE);
      else this.streams.received(data);
    };
    socket.onclose = () => this.ended();
  }

  get onclose(): Handler {
    return this.handler("close");
  }
  set onclose(handler: Handler) {
    this.setHandler("close", handler);
  }
  get onfetch(): Handler {
    return this.handler("fetch");
  }
  set onfetch(handler: Handler) {
    this.setHandler("fetch", handler);
  }
  get onwebsocket(): Handler {
    return this.handler("websocket");
  }
  set onwebsocket(handler: Handler) {
    this.setHandler("websocket", handler);
  }

  /** Publish it no more. */
  close(): void {
    this.socket.close();
    this.ended();
  }

  private ended(): void {
    if (this.socket.onclose === null) return;
    this.socket.onclose = this.socket.onmessage = null;
    this.streams.closed();
    published.delete(this.name);
    this.dispatchEvent(new Event("close"));
  }
}

/** Names that this page publishes, or is about to. */
const published = new Map<string, FlyWebPublishedServer | undefined>();

async function publishServer(
  name: string,
  options: PublishOptions = {},
): Promise<FlyWebPublishedServer> {
  const wanted = name;
  if (wanted === "") throw new DOMException("A server needs a name.", "InvalidAccessError");
  if (published.has(wanted)) {
    throw new DOMException(`${wanted} is published already.`, "InvalidStateError");
  }
  published.set(wanted, undefined);
  try {
    if (!(await ask(wanted))) {
      throw new DOMException("The person at this page did not allow it.", "NotAllowedError");
    }
    const server = await open(wanted, options.uiUrl ?? null);
    published.set(wanted, server);
    return server;
  } catch (error) {
    published.delete(wanted);
    throw error;
  }
}

function open(name: string, uiUrl: string | null): Promise<FlyWebPublishedServer> {
  const url = new URL("/ftweb/publish", location.href);
  url.protocol = "ws:";
  const stores = [sessionStorage, localStorage];
  const place = { fragment: location.hash, path: location.pathname, stores };
  const { presenter, join } = findTokens(place, {});
  const socket = new WebSocket(url.href);
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    const fail = (message: string, kind = "NetworkError"): void =>
      reject(new DOMException(message, kind));
    socket.onopen = () => {
      socket.send(JSON.stringify({ token: presenter ?? join ?? "", name, uiUrl: uiUrl ?? "" }));
    };
    socket.onclose = () => fail("The bridge cannot be reached.");
    socket.onmessage = (event: MessageEvent<string>) => {
      const answer = v.parse(Answer, JSON.parse(event.data));
      if (answer.type === "published") {
        resolve(new FlyWebPublishedServer(name, uiUrl, socket, answer.port));
      } else if (answer.code === "name_taken") fail(answer.message, "InvalidStateError");
      else fail(answer.message, answer.code === "bad_token" ? "NotAllowedError" : "NetworkError");
    };
  });
}

// FlyWeb closed a server when its page went; a page in the back/forward cache has gone too.
addEventListener("pagehide", () => {
  for (const server of published.values()) server?.close();
});

Object.defineProperty(Navigator.prototype, "publishServer", {
  value: publishServer,
  writable: true,
  configurable: true,
});
Object.assign(globalThis, {
  FlyWebPublishedServer,
  FlyWebFetchEvent,
  FlyWebWebSocketEvent,
  FlyWebSocket,
});
