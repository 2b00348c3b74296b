/**
 * The poll on the presenter's screen: what the class looks at. Bars move in place, rows never
 * change their order while people vote, numerals are wide enough not to jump.
 *
 * @module
 */

import { h, setAttribute, setChildren, setText } from "./dom.js";
import { KIND_NAMES, mean, percent, plural, rows, voters } from "./polls.js";

/** Free answers on the screen: more cannot be read from the back row. */
const ANSWERS_LISTED = 40;

/**
 * @typedef {import("./polls.js").Poll} Poll
 *
 * @typedef {object} Stage
 * @property {HTMLElement} element
 * @property {(poll: Poll, online: number, busy: boolean) => void} update
 */

/**
 * @param {string} id
 * @param {Poll} poll
 * @param {(type: string) => void} send sends a message about this poll
 * @returns {Stage}
 */
export function createStage(id, poll, send) {
  const chip = h("span", { class: "chip" });
  const count = h("p", { class: "turnout" });
  const body = poll.kind === "text" ? createAnswers() : createBars(poll);
  let covered = false;
  const cover = h("button", {
    type: "button",
    class: "plain",
    "data-testid": "cover",
    "aria-pressed": "false",
    onclick() {
      covered = !covered;
      showCover();
    },
  }, "Cover the result here");
  const covering = h("p", { class: "covering", hidden: true }, "The result is covered for now.");
  const open = h("button", { type: "button", class: "primary", "data-testid": "close-poll", onclick: () => send(open.value) });
  const show = h("button", { type: "button", class: "plain", "data-testid": "show-results", onclick: () => send(show.value) });
  const remove = createRemove(() => send("delete_poll"));

  function showCover() {
    setAttribute(body.element, "data-covered", covered);
    setAttribute(body.element, "aria-hidden", covered ? "true" : null);
    setAttribute(covering, "hidden", !covered);
    setAttribute(cover, "aria-pressed", covered ? "true" : "false");
    setText(cover, covered ? "Uncover the result" : "Cover the result here");
  }

  const element = h(
    "article",
    { class: "poll", "data-kind": poll.kind, "data-poll-id": id, "data-rows": size(poll.options.length) },
    h("p", { class: "kicker" }, h("span", {}, KIND_NAMES[poll.kind]), chip),
    h("h1", { class: "question", "data-testid": "poll-question", dir: "auto" }, poll.question),
    h("div", { class: "result" }, body.element, covering),
    count,
    h("div", { class: "controls", role: "group", "aria-label": "This question" }, open, show, cover, remove),
  );

  return {
    element,
    update(now, online, busy) {
      setText(chip, { ready: "Not started", open: "Open", closed: "Closed" }[now.status]);
      setAttribute(chip, "data-status", now.status);
      body.update(now);
      setText(count, turnout(now, online));
      const isOpen = now.status === "open";
      open.value = isOpen ? "close_poll" : "reopen_poll";
      setText(open, isOpen ? "Close voting" : now.status === "ready" ? "Start voting" : "Reopen voting");
      setAttribute(open, "data-testid", isOpen ? "close-poll" : "reopen-poll");
      show.value = now.shown ? "hide_results" : "show_results";
      setText(show, now.shown ? "Hide results on phones" : "Show results on phones");
      setAttribute(show, "data-testid", now.shown ? "hide-results" : "show-results");
      for (const button of [open, show]) setAttribute(button, "aria-disabled", busy ? "true" : null);
    },
  };
}

/**
 * How many options there are, as far as the type size is concerned.
 *
 * @param {number} options
 */
function size(options) {
  return options <= 4 ? "few" : options <= 6 ? "some" : "many";
}

/**
 * @param {Poll} poll
 * @param {number} online
 */
function turnout(poll, online) {
  const words = [plural(voters(poll), "vote")];
  if (poll.status === "open") words.push(`${online} online`);
  const average = poll.kind === "rating" ? mean(poll) : null;
  if (average !== null) words.push(`average ${average.toFixed(1)}`);
  return words.join(" · ");
}

/** Deleting takes two clicks, since the ballots go too. @param {() => void} act */
function createRemove(act) {
  const ask = h("button", { type: "button", class: "quiet", "data-testid": "delete-poll" }, "Delete");
  const yes = h("button", { type: "button", class: "quiet danger", "data-testid": "confirm-delete", onclick: act }, "Delete with all votes");
  const no = h("button", { type: "button", class: "quiet" }, "Keep");
  const sure = h("span", { hidden: true }, yes, no);
  ask.addEventListener("click", () => {
    ask.hidden = true;
    sure.hidden = false;
    no.focus();
  });
  no.addEventListener("click", () => {
    sure.hidden = true;
    ask.hidden = false;
    ask.focus();
  });
  return h("span", { class: "remove-poll" }, ask, sure);
}

// --- bars ---------------------------------------------------------------------------------

/** @param {Poll} poll */
function createBars(poll) {
  const bars = rows(poll).map((row) => {
    const votes = h("span", { class: "votes" });
    const share = h("span", { class: "percent" });
    const element = h(
      "li",
      { class: "tally", "data-testid": "tally", "data-option-id": row.id },
      h("span", { class: "mark" }, row.mark),
      h("span", { class: "text", dir: "auto" }, row.label),
      h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill" })),
      votes,
      share,
    );
    return { element, votes, share };
  });
  return {
    element: h("ol", { class: "bars" }, ...bars.map((bar) => bar.element)),
    /** @param {Poll} now */
    update(now) {
      const all = voters(now);
      rows(now).forEach((row, index) => {
        const bar = bars[index];
        if (!bar) return;
        setAttribute(bar.element, "data-votes", row.votes);
        bar.element.style.setProperty("--share", String(all === 0 ? 0 : row.votes / all));
        setText(bar.votes, row.votes);
        setText(bar.share, `${percent(row.votes, all)} %`);
      });
    },
  };
}

// --- free answers ---------------------------------------------------------------------------

function createAnswers() {
  const list = h("ol", { class: "answers" });
  const more = h("p", { class: "soft", hidden: true });
  const empty = h("p", { class: "soft" }, "Answers appear here.");
  /** @type {Map<string, {element: HTMLElement, votes: HTMLElement}>} */
  let made = new Map();
  return {
    element: h("div", { class: "free" }, empty, list, more),
    /** @param {Poll} now */
    update(now) {
      const all = rows(now);
      const most = all[0]?.votes ?? 1;
      const kept = new Map();
      for (const row of all.slice(0, ANSWERS_LISTED)) {
        const one = made.get(row.id) ?? createAnswer(row.id);
        setAttribute(one.element, "data-votes", row.votes);
        one.element.style.setProperty("--weight", String(most > 1 ? (row.votes - 1) / (most - 1) : 0));
        setText(one.votes, row.votes);
        kept.set(row.id, one);
      }
      made = kept;
      setChildren(list, [...made.values()].map((one) => one.element));
      setAttribute(empty, "hidden", all.length > 0);
      setAttribute(more, "hidden", all.length <= ANSWERS_LISTED);
      setText(more, `and ${plural(all.length - ANSWERS_LISTED, "more answer")}`);
    },
  };
}

/** @param {string} answer */
function createAnswer(answer) {
  const votes = h("span", { class: "votes" });
  const element = h(
    "li",
    { class: "tally", "data-testid": "tally", "data-option-id": answer },
    h("span", { class: "text", dir: "auto" }, answer),
    votes,
  );
  return { element, votes };
}
