/**
 * The page's side of a connection: promises and callbacks over the net worker's messages.
 *
 * Subscribers are called in the order of their subscription; one that throws does not keep the
 * others, or the connection, from going on.
 */

import type { FtwebStatus, NetToPage, PageToNet } from "./channels";
import { ConnectError, RequestError } from "./errors";
import type { Failure, Welcome } from "./frames";
import { toPayload, type Json } from "./json";
import { Replica } from "./replica";

export type Unsubscribe = () => void;

/** What is used of the net worker. */
export interface Port {
  postMessage(message: PageToNet): void;
}

class Subscribers<T> {
  private readonly all = new Set<(value: T) => void>();

  add(call: (value: T) => void): Unsubscribe {
    // Wrapped: the same function subscribed twice is called twice and ended one by one.
    const subscription = (value: T): void => call(value);
    this.all.add(subscription);
    return () => void this.all.delete(subscription);
  }

  tell(value: T): void {
    for (const subscriber of this.all) callSafely(subscriber, value);
  }
}

function callSafely<T>(call: (value: T) => void, value: T): void {
  try {
    call(value);
  } catch (error) {
    // As if it had been an event listener: to the console and window.onerror.
    setTimeout(() => {
      throw error;
    });
  }
}

/** A request whose provisional reply turned out otherwise. */
export interface Outcome {
  readonly request: Json;
  /** What holds now; null if `error` does. */
  readonly reply: Json;
  readonly error: RequestError | null;
  /** What the page was told at first. */
  readonly before: { readonly reply: Json; readonly error: RequestError | null };
}

interface Waiting {
  resolve(reply: Json): void;
  reject(error: RequestError): void;
}

/** A connection to the published server. */
export class Connection {
  private readonly replica = new Replica();
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private ended = false;
  private readonly receivers = new Subscribers<Json>();
  private readonly stateWatchers = new Subscribers<Json>();
  private readonly statusWatchers = new Subscribers<FtwebStatus>();
  private readonly outcomeWatchers = new Subscribers<Outcome>();

  constructor(
    private readonly port: Port,
    private welcome: Welcome,
    private now: FtwebStatus,
  ) {}

  get clientId(): string {
    return this.welcome.client_id;
  }

  get deviceId(): string {
    return this.welcome.device_id;
  }

  get presenter(): boolean {
    return this.welcome.presenter;
  }

  /** The published server's name. */
  get name(): string {
    return this.welcome.name;
  }

  /** What a phone opens, token included; empty for who is no presenter. */
  get joinUrl(): string {
    return this.welcome.join_url;
  }

  /** The latest state, frozen; undefined before the first. */
  get state(): Json | undefined {
    return this.replica.value;
  }

  status(): FtwebStatus {
    return this.now;
  }

  /**
   * Send a message to the server's handler.
   *
   * @returns its reply, after the change it made is safe. While the server is away the promise
   *   waits; the message is handled exactly once.
   * @throws RequestError - with the handler's code, or one of docs/errors.md.
   */
  send(payload: unknown): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.ended) throw new RequestError("closed", "The connection has been closed.");
      const id = ++this.lastId;
      const checked = toPayload(payload, this.welcome.limits);
      this.waiting.set(id, { resolve, reject });
      this.port.postMessage({ kind: "request", id, payload: checked });
    });
  }

  /** Call `receiver` with each message that the server sends. */
  onReceive(receiver: (message: Json) => void): Unsubscribe {
    return this.receivers.add(receiver);
  }

  /** Call `watcher` with the state, now if there is one, and after each change. */
  onState(watcher: (state: Json) => void): Unsubscribe {
    const unsubscribe = this.stateWatchers.add(watcher);
    if (this.state !== undefined) callSafely(watcher, this.state);
    return unsubscribe;
  }

  /** Call `watcher` with the status, now and after each change. */
  onStatus(watcher: (status: FtwebStatus) => void): Unsubscribe {
    const unsubscribe = this.statusWatchers.add(watcher);
    callSafely(watcher, this.now);
    return unsubscribe;
  }

  /**
   * Call `listener` when a request that was answered provisionally (`status().provisional`) turned
   * out otherwise: the group had been in parts, and is one again.
   */
  onOutcome(listener: (outcome: Outcome) => void): Unsubscribe {
    return this.outcomeWatchers.add(listener);
  }

  /** Leave. Requests without a reply are rejected with `closed`. */
  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.port.postMessage({ kind: "close" });
  }

  /** Take a message of the net worker. */
  hear(message: NetToPage): void {
    switch (message.kind) {
      case "welcome": {
        const { join_url } = this.welcome;
        this.welcome = message.welcome;
        if (message.another) this.replica.reset();
        // It is shown with the status, in which nothing else needs to have changed.
        if (this.joinUrl !== join_url) this.statusWatchers.tell(this.now);
        break;
      }
      case "status":
        this.now = message.status;
        this.statusWatchers.tell(message.status);
        break;
      case "stream": {
        const outcome = this.replica.take(message.frame);
        if (outcome === "gap") this.port.postMessage({ kind: "resync" });
        if (outcome === "changed" && this.state !== undefined) {
          this.stateWatchers.tell(this.state);
        }
        break;
      }
      case "message":
        this.receivers.tell(message.payload);
        break;
      case "result": {
        const waiting = this.waiting.get(message.id);
        this.waiting.delete(message.id);
        if (message.error === null) waiting?.resolve(message.payload);
        else waiting?.reject(toError(message.error));
        break;
      }
      case "turned": {
        const { request, reply, error, before } = message.turned;
        this.outcomeWatchers.tell({
          request,
          reply,
          error: toError(error),
          before: { reply: before.reply, error: toError(before.error) },
        });
        break;
      }
      case "refused":
        this.ended = true;
        break;
      case "bridges":
      case "rtc":
      case "barred":
        break;
    }
  }
}

function toError(failure: Failure): RequestError;
function toError(failure: Failure | null): RequestError | null;
function toError(failure: Failure | null): RequestError | null {
  return failure === null ? null : new RequestError(failure.code, failure.message);
}

export interface Joining {
  readonly joined: Promise<Connection>;
  /** Takes each message of the net worker. */
  readonly hear: (message: NetToPage) => void;
}

/** Until the welcome there is no connection, only the promise of one. */
export function joining(port: Port, initial: FtwebStatus): Joining {
  let connection: Connection | undefined;
  let status = initial;
  let settle: { resolve(connection: Connection): void; reject(error: ConnectError): void };
  const joined = new Promise<Connection>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return {
    joined,
    hear(message) {
      if (connection !== undefined) {
        connection.hear(message);
      } else if (message.kind === "status") {
        status = message.status;
      } else if (message.kind === "welcome") {
        connection = new Connection(port, message.welcome, status);
        settle.resolve(connection);
      } else if (message.kind === "refused") {
        settle.reject(new ConnectError(message.code, message.message));
      }
    },
  };
}
