/**
 * Options to choose from: single choice and rating are sent when chosen, several choices with a
 * button.
 *
 * @module
 *
 * @typedef {import("./polls.js").Poll} Poll
 * @typedef {import("./polls.js").Choice} Choice
 */

import { h, setAttribute, setChildren, setText } from "./dom.js";
import { letter, optionIds, percent, plural, rows, sameChoice, stepLabel, voters } from "./polls.js";

/**
 * @param {string} id
 * @param {Poll} poll
 * @param {(choice: Choice) => void} cast
 * @returns {import("./ballot.js").Body}
 */
export function createOptions(id, poll, cast) {
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
