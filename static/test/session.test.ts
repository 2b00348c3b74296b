/** The rules at the top of session.ts, each as a transcript. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Reply, Status } from "../src/frames";
import { Session } from "../src/session";
import { PROVISIONAL_KEPT, REPEAT_MS } from "../src/timing";

const LIMIT = 4;

function status(epoch: number, term: number, host: string | null): Status {
  return {
    type: "status",
    epoch,
    term,
    host,
    successors: [],
    quorum: true,
    participants: 1,
    bridges: [],
    provisional: false,
  };
}

function reply(serial: number, payload: Reply["payload"] = "ok"): Reply {
  return { type: "reply", serial, payload, error: null, provisional: false };
}

function failure(serial: number, code: string): Reply {
  return {
    type: "reply",
    serial,
    payload: null,
    error: { code, message: code },
    provisional: false,
  };
}

/** The frames that a session wants to send, in short: o = open_session, 3/1 = serial/acknowledged. */
function sent(session: Session): string {
  return session
    .drain()
    .frames.map((frame) =>
      frame.type === "request" ? `${frame.session}:${frame.serial}/${frame.acknowledged}` : "o",
    )
    .join(" ");
}

/** Results in short. */
function results(session: Session): string {
  return session
    .drain()
    .results.map(({ id, payload, error }) => `${id}=${error?.code ?? JSON.stringify(payload)}`)
    .join(" ");
}

/** A session that is open, with nothing pending. */
function opened(): Session {
  const session = new Session();
  session.status(status(1, 1, "h1"), 0);
  session.opened(7, 0);
  session.drain();
  return session;
}

test("a session is asked for as soon as there is a host, once", () => {
  const session = new Session();
  session.request(1, "a", LIMIT, 0);
  assert.equal(sent(session), "");
  session.status(status(1, 1, null), 0);
  assert.equal(sent(session), "");
  session.status(status(1, 2, "h1"), 0);
  assert.equal(sent(session), "o");
  session.request(2, "b", LIMIT, 0);
  assert.equal(sent(session), "");
  session.opened(7, 0);
  assert.equal(sent(session), "7:1/0 7:2/0");
});

test("a session that comes when the host has just gone waits for the next one", () => {
  const session = new Session();
  session.status(status(1, 1, "h1"), 0);
  session.request(1, "a", LIMIT, 0);
  session.drain();
  session.status(status(1, 1, null), 0);
  session.opened(7, 0);
  assert.equal(sent(session), "");
  session.status(status(1, 2, "h2"), 0);
  assert.equal(sent(session), "7:1/0");
});

test("replies go to who asked, in any order, and are acknowledged without a gap", () => {
  const session = opened();
  session.request(11, "a", LIMIT, 0);
  session.request(12, "b", LIMIT, 0);
  assert.equal(sent(session), "7:1/0 7:2/0");
  session.replied(reply(2, "B"), 0);
  session.request(13, "c", LIMIT, 0);
  const { frames, results: done } = session.drain();
  assert.deepEqual(done, [{ id: 12, payload: "B", error: null }]);
  assert.deepEqual(frames, [
    { type: "request", session: 7, serial: 3, acknowledged: 0, payload: "c" },
  ]);
  session.replied(reply(1), 0);
  session.request(14, "d", LIMIT, 0);
  assert.equal(sent(session), "7:4/2");
  assert.equal(session.size, 2);
});

test("a second reply to the same serial is dropped", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.replied(reply(1), 0);
  session.replied(reply(1), 0);
  session.replied(reply(99), 0);
  assert.equal(results(session), '1="ok"');
});

test("a new host, term or epoch gets everything pending again, in serial order", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.request(2, "b", LIMIT, 0);
  session.drain();
  session.status(status(1, 1, "h1"), 0);
  assert.equal(sent(session), "", "the same route");
  session.status(status(1, 2, "h1"), 0);
  assert.equal(sent(session), "7:1/0 7:2/0", "a new term");
  session.status(status(1, 2, null), 0);
  session.request(3, "c", LIMIT, 0);
  assert.equal(sent(session), "", "no host");
  session.status(status(1, 3, "h2"), 0);
  assert.equal(sent(session), "7:1/0 7:2/0 7:3/0", "a new host");
  session.status(status(2, 3, "h2"), 0);
  assert.equal(sent(session), "7:1/0 7:2/0 7:3/0", "a new epoch");
});

test("a new socket gets everything pending again, once its bridge has named the host", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.drain();
  session.disconnected();
  session.request(2, "b", LIMIT, 0);
  assert.equal(sent(session), "");
  session.status(status(1, 1, "h1"), 0);
  assert.equal(sent(session), "7:1/0 7:2/0");
});

test("what was to go out over a socket that is gone does not go out over the next one", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.disconnected();
  assert.equal(sent(session), "");
});

test("the session is asked for again on a new route, and after a while", () => {
  const session = new Session();
  session.status(status(1, 1, "h1"), 0);
  assert.equal(sent(session), "o");
  session.tick(REPEAT_MS - 1);
  assert.equal(sent(session), "");
  session.tick(REPEAT_MS);
  assert.equal(sent(session), "o");
  session.status(status(1, 2, "h2"), REPEAT_MS);
  assert.equal(sent(session), "o");
});

test("a request that waits for too long is repeated, the younger ones are not", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.request(2, "b", LIMIT, 1000);
  session.drain();
  session.tick(REPEAT_MS);
  assert.equal(sent(session), "7:1/0");
  session.tick(REPEAT_MS + 1000);
  assert.equal(sent(session), "7:2/0");
});

test("a second session number is not believed while there is one", () => {
  const session = opened();
  session.opened(9, 0);
  session.request(1, "a", LIMIT, 0);
  assert.equal(sent(session), "7:1/0");
});

test("session_expired fails all that were sent, once, and the next session starts", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.request(2, "b", LIMIT, 0);
  session.drain();
  session.replied(failure(1, "session_expired"), 0);
  const { frames, results: done } = session.drain();
  assert.deepEqual(
    done.map(({ id, error }) => `${id}=${error?.code}`),
    ["1=session_expired", "2=session_expired"],
  );
  assert.deepEqual(frames, [{ type: "open_session" }]);
  session.request(3, "c", LIMIT, 0);
  session.opened(7, 0);
  assert.equal(sent(session), "", "the expired session's number, late");
  session.opened(12, 0);
  assert.equal(sent(session), "12:3/2", "serials go on");
  session.replied(reply(2), 0);
  assert.equal(results(session), "", "a late reply of the expired session");
});

test("a session of another part that expired is followed by one with a lower number", () => {
  const session = new Session();
  session.status(status(1, 1, "h1"), 0);
  session.opened(17_235_972, 0);
  session.request(1, "a", LIMIT, 0);
  session.replied(failure(1, "session_expired"), 0);
  session.request(2, "b", LIMIT, 0);
  session.drain();
  session.opened(12, 0);
  assert.equal(sent(session), "12:2/1");
});

test("what was never sent survives the session that expired", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.drain();
  session.status(status(1, 1, null), 0);
  session.request(2, "b", LIMIT, 0);
  session.replied(failure(1, "session_expired"), 0);
  assert.equal(results(session), "1=session_expired");
  session.status(status(1, 2, "h2"), 0);
  session.opened(20, 0);
  assert.equal(sent(session), "o 20:2/1");
});

test("a new epoch may number its sessions lower than the one that expired", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.replied(failure(1, "session_expired"), 0);
  session.status(status(2, 1, "h1"), 0);
  session.opened(3, 0);
  session.request(2, "b", LIMIT, 0);
  assert.match(sent(session), /3:2\/1$/);
});

test("a bridge that knows no epoch yet has not begun another", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.replied({ ...reply(1, "yes"), provisional: true }, 0);
  const outcome = { type: "outcome", index: 30, serial: 1, payload: "no", error: null } as const;
  session.outcome(outcome, 0);
  session.status(status(0, 0, null), 0);
  session.request(2, "b", LIMIT, 0);
  session.replied({ ...reply(2, "yes"), provisional: true }, 0);
  session.drain();
  session.outcome({ ...outcome, serial: 2 }, 0);
  assert.deepEqual(session.drain().turned, [], "seen before, by its index");
});

test("one request too many is refused at once and takes no serial", () => {
  const session = opened();
  for (let id = 1; id <= LIMIT + 1; id++) session.request(id, id, LIMIT, 0);
  assert.equal(session.size, LIMIT);
  assert.equal(results(session), `${LIMIT + 1}=too_many_pending`);
  session.replied(reply(1), 0);
  session.request(6, "f", LIMIT, 0);
  assert.equal(sent(session), `7:${LIMIT + 1}/1`);
});

test("no request goes further than the limit beyond the oldest unanswered one", () => {
  const session = opened();
  for (let id = 1; id <= LIMIT; id++) session.request(id, id, LIMIT, 0);
  for (let id = 2; id <= LIMIT; id++) session.replied(reply(id), 0);
  assert.equal(session.size, 1);
  results(session);
  session.request(LIMIT + 1, "late", LIMIT, 0);
  assert.equal(results(session), `${LIMIT + 1}=too_many_pending`);
  session.replied(reply(1), 0);
  session.request(LIMIT + 2, "later", LIMIT, 0);
  assert.equal(session.size, 1);
});

test("what a bridge refuses twice as malformed fails, and is not sent a third time", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.refused({ code: "bad_frame", message: "?" });
  assert.equal(results(session), "");
  session.disconnected();
  session.status(status(1, 1, "h1"), 0);
  assert.equal(sent(session), "7:1/0");
  session.refused({ code: "bad_frame", message: "?" });
  assert.equal(results(session), "1=bad_frame");
  assert.equal(session.size, 0);
});

test("refusals that are not the frames' fault, or far apart, fail nothing", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.request(2, "b", LIMIT, 0);
  session.refused({ code: "rate_limited", message: "?" });
  session.refused({ code: "rate_limited", message: "?" });
  session.refused({ code: "bad_frame", message: "?" });
  session.replied(reply(1), 0);
  session.refused({ code: "bad_frame", message: "?" });
  assert.equal(session.size, 1);
});

test("another server: what was sent fails, what was not goes there", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.disconnected();
  session.request(2, "b", LIMIT, 0);
  session.reset();
  assert.equal(results(session), "1=session_expired");
  session.status(status(1, 1, "x1"), 0);
  session.opened(3, 0);
  assert.equal(sent(session), "o 3:2/1");
});

test("closing fails everything", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.request(2, "b", LIMIT, 0);
  session.close();
  session.request(3, "c", LIMIT, 0);
  assert.equal(results(session), "1=closed 2=closed 3=closed");
  assert.equal(session.size, 0);
});

test("a provisional reply that turns out otherwise is told once, with what was asked", () => {
  const session = opened();
  session.request(1, { seat: 4 }, LIMIT, 0);
  session.replied({ ...reply(1, "yours"), provisional: true }, 0);
  session.status(status(2, 1, "h1"), 0);
  const outcome = {
    type: "outcome",
    index: 30,
    serial: 1,
    payload: null,
    error: { code: "taken", message: "Taken." },
  } as const;
  session.outcome(outcome, 0);
  session.outcome(outcome, 0);
  assert.deepEqual(session.drain().turned, [
    {
      request: { seat: 4 },
      reply: null,
      error: { code: "taken", message: "Taken." },
      before: { reply: "yours", error: null },
    },
  ]);
});

test("an outcome of what was never answered is its answer", () => {
  const session = opened();
  session.request(1, "a", LIMIT, 0);
  session.outcome({ type: "outcome", index: 30, serial: 1, payload: "late", error: null }, 0);
  assert.equal(results(session), '1="late"');
  assert.equal(session.size, 0);
});

test("firm replies are not kept, and of provisional ones not all", () => {
  const session = opened();
  const last = PROVISIONAL_KEPT + 2;
  for (let serial = 1; serial <= last; serial += 1) {
    session.request(serial, serial, LIMIT, 0);
    session.replied({ ...reply(serial), provisional: serial !== last - 1 }, 0);
  }
  session.drain();
  for (const [index, serial] of [1, 2, last - 1, last].entries()) {
    session.outcome({ type: "outcome", index: 9 + index, serial, payload: "no", error: null }, 0);
  }
  assert.deepEqual(
    session.drain().turned.map(({ request }) => request),
    [2, last],
  );
});
