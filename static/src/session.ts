/**
 * Requests that happen exactly once, whatever socket or host they meet. No I/O: frames in, frames
 * and results out.
 *
 * 1. One client session, a number that the log gave, outlives sockets and hosts. It is asked for
 *    when there is a host (`open_session`) and asked for again until it comes.
 * 2. Every request has a serial, growing by one, never reused, also not in a later session (a late
 *    reply could be taken for another's). It is kept until its reply is here and repeated as it
 *    is: the replicas answer a serial they know from their cache.
 * 3. Bridges do not queue. Without a host, requests are only kept. Whenever `status` names a new
 *    (epoch, term, host), and on each new socket, everything kept is sent again in serial order.
 * 4. As a last resort (a frame lost with nothing else to tell of it) what has waited for REPEAT_MS
 *    is sent again on a tick.
 * 5. `acknowledged` is the serial below the lowest one kept: those replies may be dropped.
 * 6. After `session_expired` nobody can say whether a request of that session was run, so all that
 *    were ever sent in it fail with that code. What was never sent goes into the next session.
 * 7. What a bridge has refused twice in a row as malformed would be refused for ever, and take the
 *    connection with it each time: it fails with the bridge's code.
 * 8. A provisional reply may still turn out otherwise (`outcome`). The last PROVISIONAL_KEPT such
 *    requests are kept with their replies, so that the page can be told what has changed.
 *
 * `drain` hands over what has come up, and forgets it.
 */

import type { Failure, Outcome, Reply, Sent, Status } from "./frames";
import type { Json } from "./json";
import { PROVISIONAL_KEPT, REPEAT_MS } from "./timing";

export interface Result {
  /** Who asked: the number that `request` was given. */
  readonly id: number;
  readonly payload: Json;
  readonly error: Failure | null;
}

/** What became of a request whose provisional reply was another. */
export interface Turned {
  readonly request: Json;
  readonly reply: Json;
  readonly error: Failure | null;
  readonly before: { readonly reply: Json; readonly error: Failure | null };
}

interface Pending {
  readonly id: number;
  readonly payload: Json;
  /** When it was last sent in the current session, on whatever socket. */
  sentAt: number | undefined;
}

/** Errors for which the frames we sent are to blame. */
const OUR_FAULT: ReadonlySet<string> = new Set(["bad_frame", "too_large", "too_deep"]);
const REFUSALS = 2;

const CLOSED = { code: "closed", message: "The connection was closed before the reply came." };

export class Session {
  private readonly pending = new Map<number, Pending>();
  private lastSerial = 0;
  private session: number | undefined;
  private expired = 0;
  private askedAt: number | undefined;
  private epoch = 0;
  private turnedAt = 0;
  private readonly provisional = new Map<number, { request: Json; reply: Reply }>();
  /** "epoch term host" that this socket's requests go to; undefined while there is none. */
  private route: string | undefined;
  private refusals = 0;
  private closed = false;
  private out: Sent[] = [];
  private results: Result[] = [];
  private turned: Turned[] = [];

  /** Requests without a result. */
  get size(): number {
    return this.pending.size;
  }

  /** Take what has come up: frames to send now, in order, results, and changed outcomes. */
  drain(): {
    frames: readonly Sent[];
    results: readonly Result[];
    turned: readonly Turned[];
  } {
    const drained = { frames: this.out, results: this.results, turned: this.turned };
    this.out = [];
    this.results = [];
    this.turned = [];
    return drained;
  }

  /** The socket is gone. Requests are kept. */
  disconnected(): void {
    this.route = undefined;
    this.out = [];
  }

  /** Take a request whose payload has been checked. */
  request(id: number, payload: Json, limit: number, now: number): void {
    if (this.closed) {
      this.fail(id, CLOSED);
      return;
    }
    // A window, not a count: replicas forget replies that lie further back than this.
    if (this.lastSerial + 1 - this.lowest() >= limit) {
      this.fail(id, {
        code: "too_many_pending",
        message: `${limit} requests are unanswered, the most that are kept. Wait for replies first.`,
      });
      return;
    }
    const serial = ++this.lastSerial;
    const pending: Pending = { id, payload, sentAt: undefined };
    this.pending.set(serial, pending);
    if (this.route === undefined) return;
    if (this.session === undefined) this.ask(now);
    else this.send(serial, pending, now);
  }

  status(status: Status, now: number): void {
    if (status.epoch > 0) this.enter(status.epoch);
    const route =
      status.host === null ? undefined : `${status.epoch} ${status.term} ${status.host}`;
    if (route === this.route) return;
    this.route = route;
    if (route === undefined) return;
    // Opened ahead of the first request, which then needs one way through the log only.
    if (this.session === undefined) this.ask(now, true);
    else this.sendAll(now);
  }

  /** Another history: its log indexes say nothing about those seen before. */
  enter(epoch: number): void {
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.expired = 0;
    this.turnedAt = 0;
  }

  opened(session: number, now: number): void {
    // A late answer to a repeated question may still bring the session that has expired. A lower
    // number may be newer: what expired may have been given in another part of the group.
    if (this.session !== undefined || session === this.expired) return;
    this.session = session;
    this.askedAt = undefined;
    if (this.route !== undefined) this.sendAll(now);
  }

  replied(reply: Reply, now: number): void {
    this.refusals = 0;
    const pending = this.pending.get(reply.serial);
    if (pending === undefined) return;
    this.pending.delete(reply.serial);
    this.results.push({ id: pending.id, payload: reply.payload, error: reply.error });
    if (reply.provisional) this.keep(reply, pending.payload);
    if (reply.error?.code === "session_expired") this.expire(reply.error, now);
  }

  /** Rule 8. Outcomes are sent again, as messages are: those seen are dropped. */
  outcome(outcome: Outcome, now: number): void {
    if (outcome.index <= this.turnedAt) return;
    this.turnedAt = outcome.index;
    const { serial, payload, error } = outcome;
    if (this.pending.has(serial)) {
      // The provisional reply never came: this is the first that is heard of it.
      this.replied({ type: "reply", serial, payload, error, provisional: false }, now);
      return;
    }
    const kept = this.provisional.get(serial);
    if (kept === undefined) return;
    this.provisional.delete(serial);
    const before = { reply: kept.reply.payload, error: kept.reply.error };
    this.turned.push({ request: kept.request, reply: payload, error, before });
  }

  /** The bridge closed the connection with this error. */
  refused(failure: Failure): void {
    if (!OUR_FAULT.has(failure.code)) return;
    this.refusals += 1;
    if (this.refusals < REFUSALS) return;
    this.refusals = 0;
    this.failSent(failure);
  }

  /** Another server answers at this address: nothing of the old one's session holds there. */
  reset(): void {
    this.failSent({
      code: "session_expired",
      message: "Another server answers here now; whether this request was handled is unknown.",
    });
    this.session = undefined;
    this.enter(0);
    this.provisional.clear();
    this.askedAt = undefined;
  }

  /** No more requests: those without a result fail, and so do later ones. */
  close(failure: Failure = CLOSED): void {
    this.closed = true;
    for (const pending of this.pending.values()) this.fail(pending.id, failure);
    this.pending.clear();
  }

  /** To be called about once a second. */
  tick(now: number): void {
    if (this.route === undefined) return;
    if (this.session === undefined) {
      if (this.askedAt !== undefined && now - this.askedAt >= REPEAT_MS) this.ask(now, true);
      return;
    }
    for (const [serial, pending] of this.pending) {
      if (pending.sentAt === undefined || now - pending.sentAt >= REPEAT_MS) {
        this.send(serial, pending, now);
      }
    }
  }

  private keep(reply: Reply, request: Json): void {
    this.provisional.set(reply.serial, { request, reply });
    for (const serial of this.provisional.keys()) {
      if (this.provisional.size <= PROVISIONAL_KEPT) break;
      this.provisional.delete(serial);
    }
  }

  private send(serial: number, pending: Pending, now: number): void {
    if (this.session === undefined) return;
    pending.sentAt = now;
    this.out.push({
      type: "request",
      session: this.session,
      serial,
      acknowledged: this.lowest() - 1,
      payload: pending.payload,
    });
  }

  /** The lowest serial kept: a map keeps the order in which serials were given. */
  private lowest(): number {
    for (const serial of this.pending.keys()) return serial;
    return this.lastSerial + 1;
  }

  private sendAll(now: number): void {
    for (const [serial, pending] of this.pending) this.send(serial, pending, now);
  }

  private ask(now: number, again = false): void {
    if (this.askedAt !== undefined && !again) return;
    this.askedAt = now;
    this.out.push({ type: "open_session" });
  }

  /** Rule 6. */
  private expire(failure: Failure, now: number): void {
    this.expired = this.session ?? this.expired;
    this.session = undefined;
    this.failSent(failure);
    if (this.route !== undefined) this.ask(now, true);
  }

  private failSent(failure: Failure): void {
    for (const [serial, pending] of this.pending) {
      if (pending.sentAt === undefined) continue;
      this.pending.delete(serial);
      this.fail(pending.id, failure);
    }
  }

  private fail(id: number, error: Failure): void {
    this.results.push({ id, payload: null, error });
  }
}
