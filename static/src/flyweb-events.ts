/**
 * What a published server is told, as FlyWeb named it.
 *
 * An event may be answered later than it is dispatched, as in FlyWeb: by a handler that waits for
 * something first. Until then the client waits, as long as the bridge lets it.
 */

/** The body of a request may be this large; a page holds all of it. */
export type Respond = Response | PromiseLike<Response>;

abstract class Answerable extends Event {
  /** What it is answered with; settled when somebody has. */
  readonly answer: Promise<Response>;
  private resolve!: (response: Respond) => void;
  private taken = false;

  constructor(
    type: string,
    readonly request: Request,
  ) {
    super(type, { cancelable: true });
    this.answer = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  /** Answer with a response, or the promise of one. Once. */
  respondWith(response: Respond): void {
    this.take();
    this.resolve(response);
  }

  protected take(): void {
    if (this.taken) {
      throw new DOMException("This request has been answered already.", "InvalidStateError");
    }
    this.taken = true;
  }
}

export class FlyWebFetchEvent extends Answerable {
  constructor(request: Request) {
    super("fetch", request);
  }
}

export class FlyWebWebSocketEvent extends Answerable {
  private readonly offered: readonly string[];
  private readonly open: (protocol: string) => FlyWebSocket;

  constructor(
    request: Request,
    offered: readonly string[],
    open: (protocol: string) => FlyWebSocket,
  ) {
    super("websocket", request);
    this.offered = offered;
    this.open = open;
  }

  /**
   * Accept the WebSocket.
   *
   * @param protocol one that was offered.
   */
  accept(protocol?: string): FlyWebSocket {
    if (protocol !== undefined && !this.offered.includes(protocol)) {
      throw new DOMException(`The protocol ${protocol} was not offered.`, "InvalidAccessError");
    }
    this.take();
    return this.open(protocol ?? "");
  }
}

type Handler = ((event: never) => unknown) | null;

/** An event target with `on…` attributes. */
export class Target extends EventTarget {
  private readonly handlers = new Map<string, { handler: Handler; listener: EventListener }>();

  protected handler(type: string): Handler {
    return this.handlers.get(type)?.handler ?? null;
  }

  protected setHandler(type: string, handler: Handler): void {
    const before = this.handlers.get(type);
    if (before !== undefined) this.removeEventListener(type, before.listener);
    this.handlers.delete(type);
    if (typeof handler !== "function") return;
    const listener = (event: Event): void => void handler.call(this, event as never);
    this.handlers.set(type, { handler, listener });
    this.addEventListener(type, listener);
  }
}

/** What an accepted WebSocket sends through. */
export interface SocketPipe {
  send(data: Uint8Array, text: boolean): void;
  close(code: number, reason: string): void;
  readonly waiting: number;
}

/** The server's end of a WebSocket, with the interface of a client's. */
export class FlyWebSocket extends Target {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSING = 2;
  readonly CLOSED = 3;
  readonly extensions = "";
  binaryType: BinaryType = "blob";
  private state = 0;

  constructor(
    readonly url: string,
    readonly protocol: string,
    private readonly pipe: SocketPipe,
  ) {
    super();
  }

  get readyState(): number {
    return this.state;
  }

  get bufferedAmount(): number {
    return this.pipe.waiting;
  }

  get onopen(): Handler {
    return this.handler("open");
  }
  set onopen(handler: Handler) {
    this.setHandler("open", handler);
  }
  get onmessage(): Handler {
    return this.handler("message");
  }
  set onmessage(handler: Handler) {
    this.setHandler("message", handler);
  }
  get onclose(): Handler {
    return this.handler("close");
  }
  set onclose(handler: Handler) {
    this.setHandler("close", handler);
  }
  get onerror(): Handler {
    return this.handler("error");
  }
  set onerror(handler: Handler) {
    this.setHandler("error", handler);
  }

  send(data: string | ArrayBuffer | ArrayBufferView | Blob): void {
    if (this.state === FlyWebSocket.CONNECTING) {
      throw new DOMException("The WebSocket is not open yet.", "InvalidStateError");
    }
    if (this.state !== FlyWebSocket.OPEN) return;
    if (typeof data === "string") this.pipe.send(new TextEncoder().encode(data), true);
    else if (data instanceof Blob) {
      void data.arrayBuffer().then((buffer) => this.pipe.send(new Uint8Array(buffer), false));
    } else {
      const view = ArrayBuffer.isView(data)
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        : new Uint8Array(data);
      this.pipe.send(view, false);
    }
  }

  close(code = 1000, reason = ""): void {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("A close code is 1000 or 3000 to 4999.", "InvalidAccessError");
    }
    if (this.state >= FlyWebSocket.CLOSING) return;
    this.state = FlyWebSocket.CLOSING;
    this.pipe.close(code, reason);
    this.ended(code, reason, true);
  }

  // --- for the server -------------------------------------------------------------------------

  opened(): void {
    if (this.state !== FlyWebSocket.CONNECTING) return;
    this.state = FlyWebSocket.OPEN;
    this.dispatchEvent(new Event("open"));
  }

  message(data: Uint8Array<ArrayBuffer>, text: boolean): void {
    if (this.state !== FlyWebSocket.OPEN) return;
    const value = text
      ? new TextDecoder().decode(data)
      : this.binaryType === "blob"
        ? new Blob([data])
        : data.slice().buffer;
    this.dispatchEvent(new MessageEvent("message", { data: value }));
  }

  ended(code: number, reason: string, wasClean: boolean): void {
    if (this.state === FlyWebSocket.CLOSED) return;
    this.state = FlyWebSocket.CLOSED;
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }
}
