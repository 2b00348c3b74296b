/**
 * One question on a phone: real inputs in a fieldset, a receipt that says what was recorded,
 * and results in places that are kept free for them, so that nothing moves under a finger.
 *
 * @module
 */

import { h, setAttribute, setChildren, setText } from "./dom.js";
import {
  KIND_NAMES,
  describe,
  mean,
  optionIds,
  percent,
  letter,
  plural,
  rows,
  sameChoice,
  stepLabel,
  voters,
} from "./polls.js";

/** As in `app.py`. */
const ANSWER_CHARS = 200;
/** Free answers listed on a phone. */
const ANSWERS_LISTED = 30;

/**
 * @typedef {import("./polls.js").Poll} Poll
 * @typedef {import("./polls.js").Choice} Choice
 * @typedef {{recorded: Choice | null, sending: Choice | null, problem: string}} Mine
 *
 * @typedef {object} Ballot
 * @property {HTMLElement} element
 * @property {(poll: Poll, mine: Mine) => void} update
 * @property {(index: number) => void} press as if the option of that index had been clicked
 * @property {() => boolean} halfDone something was entered that has not been sent
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

// --- choosing -----------------------------------------------------------------------------

/**
 * @typedef {object} Body
 * @property {HTMLElement} element
 * @property {HTMLButtonElement | null} submit
 * @property {(poll: Poll, mine: Mine, open: boolean) => void} update
 * @property {(index: number) => void} press
 * @property {() => boolean} halfDone
 */

/**
 * Single choice and rating are sent when chosen; several choices with a button.
 *
 * @param {string} id
 * @param {Poll} poll
 * @param {(choice: Choice) => void} cast
 * @returns {Body}
 */
function createOptions(id, poll, cast) {
  const several = poll.kind === "multiple";
  const options = optionIds(poll).map((name, index) => createOption(id, poll, name, index));
  const inputs = options.map((option) => option.input);
  const chosen = () => inputs.filter((input) => input.checked).map((input) => input.value);
  const submit = several
    ? h("button", { type: "button", class: "primary", "data-testid": "submit-vote", onclick: send }, "Send vote")
    : null;
  let touched = false;
  /** @type {Choice | null} */
  let standing = null;

  function send() {
    const choice = chosen();
    if (choice.length === 0) return;
    touched = false;
    cast(choice);
  }

  const element = h(
    "fieldset",
    { class: "options", "aria-labelledby": `${id}-question`, onkeydown: walk, onchange: change },
    ...options.map((option) => option.element),
  );

  function change() {
    if (several) {
      touched = !sameChoice(chosen(), standing);
      showSubmit();
    } else {
      const [choice] = chosen();
      if (choice !== undefined) cast(choice);
    }
  }

  /**
   * In a group of radio buttons the arrow keys would vote for everything they pass. Here they
   * only move; Space and Enter vote.
   *
   * @param {KeyboardEvent} event
   */
  function walk(event) {
    const at = inputs.indexOf(/** @type {HTMLInputElement} */ (event.target));
    if (at < 0) return;
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step !== undefined && !several) {
      event.preventDefault();
      inputs[(at + step + inputs.length) % inputs.length]?.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      inputs[at]?.click();
    }
  }

  function showSubmit() {
    if (!submit) return;
    const same = sameChoice(chosen(), standing);
    submit.disabled = element.disabled || chosen().length === 0 || same;
    setText(submit, standing === null ? "Send vote" : "Change vote");
  }

  return {
    element,
    submit,
    press(index) {
      const input = inputs[index];
      if (!input || element.disabled) return;
      input.focus();
      input.click();
    },
    halfDone: () => touched,
    update(now, mine, open) {
      element.disabled = !open;
      standing = mine.sending ?? mine.recorded;
      // What a person has ticked but not sent (or could not send) stays while states come and go.
      const keep = several && open && (touched || mine.problem !== "");
      if (!keep) {
        const marked = standing === null ? [] : Array.isArray(standing) ? standing : [standing];
        for (const input of inputs) input.checked = marked.includes(input.value);
        touched = false;
      }
      const recorded = Array.isArray(mine.recorded) ? mine.recorded : [mine.recorded];
      const results = rows(now);
      const all = voters(now);
      options.forEach((option, index) => {
        option.update({
          votes: now.shown ? (results[index]?.votes ?? 0) : null,
          all,
          recorded: mine.sending === null && recorded.includes(option.input.value),
        });
      });
      showSubmit();
    },
  };
}

/**
 * @param {string} id
 * @param {Poll} poll
 * @param {string} name
 * @param {number} index
 */
function createOption(id, poll, name, index) {
  const rating = poll.kind === "rating";
  const label = rating ? stepLabel(poll, name) : (poll.options[index] ?? "");
  const mark = h("span", { class: "mark", "aria-hidden": rating ? null : "true" }, rating ? name : letter(index));
  const place = h("span", { class: "place" });
  const input = h("input", {
    type: poll.kind === "multiple" ? "checkbox" : "radio",
    name: `${id}-choice`,
    value: name,
  });
  const element = h(
    "label",
    { class: "option", "data-testid": "option", "data-option-id": name },
    input,
    mark,
    h("span", { class: "text", dir: "auto" }, label),
    place,
  );
  const votesText = h("span", { class: "tally", "data-testid": "tally", "data-option-id": name });
  return {
    element,
    input,
    /** @param {{votes: number | null, all: number, recorded: boolean}} now */
    update({ votes, all, recorded }) {
      setAttribute(element, "data-recorded", recorded);
      setAttribute(element, "data-shown", votes !== null);
      element.style.setProperty("--share", String(votes === null || all === 0 ? 0 : votes / all));
      setChildren(place, votes === null ? [] : [votesText]);
      if (votes === null) return;
      setAttribute(votesText, "data-votes", votes);
      setText(votesText, votes);
      setAttribute(votesText, "aria-label", `${plural(votes, "vote")}, ${percent(votes, all)} percent`);
    },
  };
}

// --- writing ------------------------------------------------------------------------------

/**
 * @param {string} id
 * @param {(choice: Choice) => void} cast
 * @returns {Body}
 */
function createAnswer(id, cast) {
  const field = h("textarea", {
    "data-testid": "text-answer",
    "aria-labelledby": `${id}-question`,
    "aria-describedby": `${id}-left`,
    rows: 3,
    maxlength: ANSWER_CHARS,
    dir: "auto",
    enterkeyhint: "send",
    autocomplete: "off",
    placeholder: "Your answer",
    oninput: change,
    onkeydown(/** @type {KeyboardEvent} */ event) {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    },
  });
  const left = h("p", { class: "left", id: `${id}-left` });
  const submit = h("button", { type: "button", class: "primary", "data-testid": "submit-vote", onclick: send }, "Send answer");
  const answers = h("ol", { class: "answers", "aria-label": "Answers so far" });
  const more = h("p", { class: "more", hidden: true });
  let touched = false;
  let first = true;
  /** @type {Choice | null} */
  let standing = null;

  const written = () => field.value.trim().replace(/\s+/g, " ");

  function change() {
    touched = written() !== (standing ?? "");
    showSubmit();
  }

  function send() {
    const answer = written();
    if (submit.disabled || answer === "") return;
    touched = false;
    cast(answer);
  }

  function showSubmit() {
    submit.disabled = field.disabled || written() === "" || written() === standing;
    setText(submit, standing === null ? "Send answer" : "Change answer");
    setText(left, `${[...field.value].length} of ${ANSWER_CHARS} characters`);
  }

  return {
    element: h("div", { class: "writing" }, field, left, answers, more),
    submit,
    press() {},
    halfDone: () => touched && written() !== "",
    update(now, mine, open) {
      field.disabled = !open;
      standing = mine.sending ?? mine.recorded;
      // After a reload the recorded answer is put back to be changed, never over new words.
      if ((first && standing !== null && field.value === "") || !open) {
        field.value = standing === null ? "" : String(standing);
        touched = false;
      }
      if (standing !== null) first = false;
      showSubmit();
      const results = now.shown ? rows(now) : [];
      setChildren(answers, results.slice(0, ANSWERS_LISTED).map((row) => answerRow(row)));
      setAttribute(more, "hidden", results.length <= ANSWERS_LISTED);
      setText(more, `and ${plural(results.length - ANSWERS_LISTED, "more answer")}`);
    },
  };
}

/** @param {import("./polls.js").Row} row */
function answerRow(row) {
  return h(
    "li",
    {},
    h("span", { class: "text", dir: "auto" }, row.label),
    h("span", { class: "tally", "data-testid": "tally", "data-option-id": row.id, "data-votes": row.votes }, row.votes),
  );
}

// --- the receipt --------------------------------------------------------------------------

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
  if (!open) return mine.recorded === null ? "Voting is closed. You did not vote." : "Voting is closed.";
  const atOnce = poll.kind === "single" || poll.kind === "rating";
  if (mine.recorded === null) return atOnce ? "Tap an answer to vote." : "Nothing sent yet.";
  return atOnce ? "You can change it until voting closes." : "You can still change it.";
}
