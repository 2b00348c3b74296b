/**
 * The page on every phone: shows the question, sends the ballot, says what was recorded.
 *
 * What is "recorded" is only ever what the class has acknowledged: the reply to a vote, or the
 * replicated state, which also brings a ballot back after a reload.
 *
 * @module
 */

import { connect } from "/ftweb/client.js";
import { createBallot } from "./lib/ballot.js";
import { byId, h, setAttribute, setChildren, setText } from "./lib/dom.js";
import { describe, openPolls, pollForVoter, rows, sameChoice } from "./lib/polls.js";
import { adviceInWords, errorInWords, outcomeInWords, stateInWords } from "./lib/words.js";

/**
 * How long a reply is believed over a state that does not show it yet. State frames are
 * coalesced, so they may trail the reply by a few of them; after that another tab of the same
 * device may have changed the vote.
 */
const REPLY_LEADS_MS = 3000;

/**
 * What this page knows about its own votes beyond the state, by poll.
 *
 * @typedef {object} Vote
 * @property {import("./lib/polls.js").Choice | null} sending not acknowledged yet
 * @property {number} attempt counts the votes sent: only the last one's outcome matters
 * @property {import("./lib/polls.js").Choice | null} acknowledged
 * @property {number} acknowledgedAt
 * @property {string} problem
 */

/** @type {Map<string, Vote>} */
const votes = new Map();
/** @type {import("./lib/polls.js").State | null} */
let state = null;
/** @type {import("/ftweb/client.js").Connection | null} */
let connection = null;
/** @type {string | null} */
let picked = null;
/** @type {{id: string, key: string, ballot: ReturnType<typeof createBallot>} | null} */
let shown = null;
/** @type {string} */
let spoken = "";

/** @param {string} id @returns {Vote} */
function voteOn(id) {
  let vote = votes.get(id);
  if (!vote) {
    vote = { sending: null, attempt: 0, acknowledged: null, acknowledgedAt: 0, problem: "" };
    votes.set(id, vote);
  }
  return vote;
}

/**
 * This device's ballot as far as it has been acknowledged.
 *
 * @param {string} id
 * @returns {import("./lib/polls.js").Choice | null}
 */
function recordedOn(id) {
  const inState = state?.polls[id]?.ballots[connection?.deviceId ?? ""] ?? null;
  const vote = votes.get(id);
  if (!vote || vote.acknowledged === null) return inState;
  if (sameChoice(inState, vote.acknowledged) || Date.now() - vote.acknowledgedAt > REPLY_LEADS_MS) {
    vote.acknowledged = null;
    return inState;
  }
  return vote.acknowledged;
}

/**
 * @param {string} id
 * @param {import("./lib/polls.js").Choice} choice
 */
async function cast(id, choice) {
  if (!connection) return;
  const vote = voteOn(id);
  const attempt = ++vote.attempt;
  vote.sending = choice;
  vote.problem = "";
  render();
  try {
    await connection.send({ type: "vote", poll_id: id, choice });
    if (attempt === vote.attempt) {
      vote.sending = null;
      vote.acknowledged = choice;
      vote.acknowledgedAt = Date.now();
      setTimeout(render, REPLY_LEADS_MS + 100);
      const poll = state?.polls[id];
      if (poll) say(`Recorded: ${describe(poll, choice)}`);
    }
  } catch (error) {
    if (attempt === vote.attempt) {
      vote.sending = null;
      vote.problem = errorInWords(error);
      say(vote.problem);
    }
  }
  render();
}

/** @param {string} text spoken by screen readers */
function say(text) {
  // The same words twice are still two events: a no-break space makes them differ.
  spoken = text === spoken ? `${text}\u00A0` : text;
  setText(byId("aloud"), spoken);
}

function render() {
  if (!state || !connection) return;
  const id = pollForVoter(state, picked);
  const poll = id === null ? undefined : state.polls[id];
  renderOthers(state, id);
  setAttribute(byId("waiting"), "hidden", poll !== undefined);
  if (id === null || !poll) {
    shown = null;
    setChildren(byId("place"), []);
    setText(byId("waiting-title"), "You’re in.");
    setText(byId("waiting-text"), "The next question will appear here by itself.");
    setAttribute(byId("keys"), "hidden", true);
    return;
  }
  // Polls never change their text, but a server that was started afresh may reuse an id.
  const key = JSON.stringify([id, poll.kind, poll.question, poll.options]);
  if (shown?.key !== key) {
    const earlier = shown;
    shown = { id, key, ballot: createBallot(id, poll, (choice) => void cast(id, choice)) };
    setChildren(byId("place"), [shown.ballot.element]);
    if (earlier) window.scrollTo({ top: 0 });
    say(`Question: ${poll.question}`);
  }
  const vote = votes.get(id);
  shown.ballot.update(poll, {
    recorded: recordedOn(id),
    sending: vote?.sending ?? null,
    problem: vote?.problem ?? "",
    provisional: connection.status().provisional,
  });
  setAttribute(byId("keys"), "hidden", poll.kind === "text");
}

/**
 * The other questions that are open, if there are several.
 *
 * @param {import("./lib/polls.js").State} now
 * @param {string | null} id
 */
function renderOthers(now, id) {
  const list = byId("others");
  const open = openPolls(now);
  const several = open.length > 1 || (open.length === 1 && open[0] !== id);
  setAttribute(list, "hidden", !several);
  if (!several) return setChildren(list, []);
  const old = new Map([...list.children].map((one) => [one.getAttribute("data-poll-id"), one]));
  setChildren(
    list,
    open.map((other) => {
      const button = old.get(other) ?? h("button", { type: "button", "data-poll-id": other, onclick: () => pick(other) });
      setText(button, now.polls[other]?.question ?? "");
      setAttribute(button, "aria-current", other === id ? "true" : null);
      setAttribute(button, "data-done", recordedOn(other) !== null);
      return button;
    }),
  );
}

/** @param {string} id */
function pick(id) {
  picked = id;
  render();
}

/** @param {import("./lib/polls.js").State} next */
function onState(next) {
  const before = state;
  state = next;
  // A new question on the presenter's screen takes the phones along, unless that would tear
  // somebody away from an answer that is half written: then it waits in the list above.
  if (before && next.current !== before.current) {
    picked = shown?.ballot.halfDone() && next.polls[shown.id]?.status === "open" ? shown.id : null;
  }
  render();
  const id = shown?.id;
  const was = id === undefined ? undefined : before?.polls[id];
  const is = id === undefined ? undefined : next.polls[id];
  if (!was || !is) return;
  const closed = was.status === "open" && is.status === "closed";
  if (closed || (is.shown && !was.shown)) {
    const results = rows(is).map((row) => `${row.mark} ${row.label}: ${row.votes}`);
    say(`${closed ? "Voting is closed." : ""} ${is.shown ? `Results. ${results.join("; ")}` : ""}`.trim());
  }
}

/** @param {import("/ftweb/client.js").FtwebStatus} status */
function onStatus(status) {
  const pill = document.querySelector("[data-testid=status]");
  if (pill) setAttribute(pill, "data-state", status.state);
  setText(byId("status-text"), stateInWords(status));
  setText(byId("advice"), adviceInWords(status));
  // A device that cannot hold a replica takes part all the same.
  if (status.error && status.error.code !== "node_failed" && !state) fail(status.error);
  render();
}

/** @param {unknown} error */
function fail(error) {
  setText(byId("status-text"), "Not connected");
  setText(byId("waiting-title"), "Not joined");
  setText(byId("waiting-text"), errorInWords(error));
}

/**
 * An answer that counted at first, but not in the class as a whole: said plainly, until dismissed.
 *
 * @param {import("/ftweb/client.js").Outcome} outcome
 */
function onOutcome(outcome) {
  const asked = /** @type {{poll_id?: string, choice?: import("./lib/polls.js").Choice}} */ (outcome.request);
  const poll = state?.polls[asked.poll_id ?? ""];
  const choice = poll && asked.choice !== undefined ? `“${describe(poll, asked.choice)}”` : "Your answer";
  const what = poll ? `Your answer ${choice} to “${poll.question}”` : choice;
  if (asked.poll_id !== undefined) voteOn(asked.poll_id).acknowledged = null;
  setText(byId("notice-text"), outcomeInWords(outcome, what));
  setAttribute(byId("notice"), "hidden", false);
  render();
}

/** Number keys choose, for people at a keyboard; they can be turned off (WCAG 2.1.4). */
function watchKeys() {
  const KEPT = "voting-number-keys";
  let on = true;
  try {
    on = localStorage.getItem(KEPT) !== "off";
  } catch {
    // Storage may be blocked: then the choice lasts as long as the page.
  }
  const tell = () => {
    setText(byId("keys-text"), on ? "Keys 1–9 choose an answer." : "Number keys are off.");
    setText(byId("keys-toggle"), on ? "Turn off" : "Turn on");
  };
  byId("keys-toggle").addEventListener("click", () => {
    on = !on;
    try {
      localStorage.setItem(KEPT, on ? "on" : "off");
    } catch {
      // As above.
    }
    tell();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLTextAreaElement;
    if (!on || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (/^[1-9]$/.test(event.key)) shown?.ballot.press(Number(event.key) - 1);
  });
  tell();
}

/** After this long without a welcome, it is worth looking at the Wi-Fi. */
const SLOW_JOIN_MS = 6000;

watchKeys();
byId("notice-close").addEventListener("click", () => setAttribute(byId("notice"), "hidden", true));
const slow = setTimeout(() => {
  setText(byId("waiting-title"), "Still joining…");
  setText(byId("waiting-text"), "Is this device in the same Wi-Fi as the class? The page goes on trying.");
}, SLOW_JOIN_MS);
try {
  connection = await connect("classroom-vote");
  connection.onOutcome(onOutcome);
  connection.onStatus(onStatus);
  connection.onState((value) => onState(/** @type {import("./lib/polls.js").State} */ (value)));
} catch (error) {
  fail(error);
} finally {
  clearTimeout(slow);
}
