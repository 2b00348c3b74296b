/**
 * A short free answer: a field with a counter, and what the others wrote once that is shown.
 *
 * @module
 *
 * @typedef {import("./polls.js").Choice} Choice
 */

import { h, setAttribute, setChildren, setText } from "./dom.js";
import { plural, rows } from "./polls.js";

/** As in `app.py`. */
const ANSWER_CHARS = 200;
/** Free answers listed on a phone. */
const ANSWERS_LISTED = 30;

/**
 * @param {string} id
 * @param {(choice: Choice) => void} cast
 * @returns {import("./ballot.js").Body}
 */
export function createAnswer(id, cast) {
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
