/**
 * One question on a phone: real inputs in a fieldset, a receipt that says what was recorded,
 * and results in places that are kept free for them, so that nothing moves under a finger.
 *
 * @module
 */

import { createAnswer } from "./answer.js";
import { h, setAttribute, setChildren, setText } from "./dom.js";
import { createOptions } from "./options.js";
import { KIND_NAMES, describe, mean, plural, voters } from "./polls.js";

/**
 * @typedef {import("./polls.js").Poll} Poll
 * @typedef {import("./polls.js").Choice} Choice
 * @typedef {{recorded: Choice | null, sending: Choice | null, problem: string, provisional: boolean}} Mine
 *
 * @typedef {object} Ballot
 * @property {HTMLElement} element
 * @property {(poll: Poll, mine: Mine) => void} update
 * @property {(index: number) => void} press as if the option of that index had been clicked
 * @property {() => boolean} halfDone something was entered that has not been sent
 *
 * What is between question and receipt:
 * @typedef {object} Body
 * @property {HTMLElement} element
 * @property {HTMLButtonElement | null} submit
 * @property {(poll: Poll, mine: Mine, open: boolean) => void} update
 * @property {(index: number) => void} press
 * @property {() => boolean} halfDone
 */

/**
 * @param {string} id
 * @param {Poll} poll
 * @param {(choice: Choice) => void} cast
 * @returns {Ballot}
 */
export function createBallot(id, poll, cast) {
  const body = poll.kind === "text" ? createAnswer(id, cast) : createOptions(id, poll, cast);
  const kind = h("span", {}, KIND_NAMES[poll.kind]);
  const closed = h("span", { class: "chip", hidden: true }, "Closed");
  const count = h("p", { class: "count" });
  const receipt = createReceipt(body.submit);
  const element = h(
    "article",
    { class: "ballot", "data-kind": poll.kind },
    h("p", { class: "kicker" }, kind, closed),
    h("h1", { class: "question", id: `${id}-question`, "data-testid": "poll-question", dir: "auto" }, poll.question),
    body.element,
    count,
    receipt.element,
  );
  return {
    element,
    press: body.press,
    halfDone: body.halfDone,
    update(now, mine) {
      const open = now.status === "open";
      setAttribute(closed, "hidden", open);
      setAttribute(element, "data-closed", !open);
      body.update(now, mine, open);
      receipt.update(now, mine, open);
      setText(count, countInWords(now));
    },
  };
}

/**
 * @param {Poll} poll
 * @returns {string}
 */
function countInWords(poll) {
  const all = voters(poll);
  if (!poll.shown) return all === 0 ? "No votes yet" : `${plural(all, "vote")} so far`;
  const average = poll.kind === "rating" ? mean(poll) : null;
  return average === null ? plural(all, "vote") : `${plural(all, "vote")} · average ${average.toFixed(1)}`;
}

/**
 * @param {HTMLButtonElement | null} submit
 */
function createReceipt(submit) {
  const recorded = h("span", { class: "recorded", "data-testid": "my-vote" });
  const sending = h("span", { class: "sending", "data-testid": "sending" }, "Sending…");
  const problem = h("span", { class: "problem", role: "alert" });
  const hint = h("span", { class: "hint" });
  const words = h("p", { class: "words" });
  const element = h("div", { class: "receipt" }, h("span", { class: "stamp", "aria-hidden": "true" }), words, submit);
  return {
    element,
    /** @param {Poll} poll @param {Mine} mine @param {boolean} open */
    update(poll, mine, open) {
      /** @type {Node[]} */
      const parts = [];
      if (mine.recorded !== null && mine.sending === null) {
        setText(recorded, `Recorded: ${describe(poll, mine.recorded)}`);
        parts.push(recorded);
      }
      if (mine.sending !== null) parts.push(sending);
      if (mine.problem) {
        setText(problem, mine.problem);
        parts.push(problem);
      } else if (mine.sending === null) {
        setText(hint, hintFor(poll, mine, open));
        parts.push(hint);
      }
      setChildren(words, parts);
      const step = mine.sending !== null ? "sending" : mine.recorded !== null ? "recorded" : "none";
      setAttribute(element, "data-step", mine.problem ? "problem" : step);
    },
  };
}

/** @param {Poll} poll @param {Mine} mine @param {boolean} open */
function hintFor(poll, mine, open) {
  if (mine.provisional && mine.recorded !== null) {
    return "Part of the class is cut off. Should your answer not count there, this page will say so.";
  }
  if (!open) return mine.recorded === null ? "Voting is closed. You did not vote." : "Voting is closed.";
  const atOnce = poll.kind === "single" || poll.kind === "rating";
  if (mine.recorded === null) return atOnce ? "Tap an answer to vote." : "Nothing sent yet.";
  return atOnce ? "You can change it until voting closes." : "You can still change it.";
}
