/**
 * The form in which a poll is written. Made for a teacher who types while the class waits:
 * Enter goes on to the next option, a new empty one is always there, a pasted list becomes
 * options.
 *
 * @module
 */

import { h, setAttribute, setChildren, setText } from "./dom.js";
import { letter } from "./polls.js";

/** As in `app.py`. */
const OPTIONS = 20;
const OPTION_CHARS = 120;
const QUESTION_CHARS = 300;

/** @type {{kind: import("./polls.js").Kind, name: string}[]} */
const KINDS = [
  { kind: "single", name: "Single" },
  { kind: "multiple", name: "Several" },
  { kind: "rating", name: "Rating" },
  { kind: "text", name: "Text" },
];

const READY_MADE = [
  { name: "Yes / No", options: ["Yes", "No"] },
  { name: "True / False", options: ["True", "False"] },
  { name: "A–D", options: ["A", "B", "C", "D"] },
];

/**
 * @typedef {object} NewPoll
 * @property {import("./polls.js").Kind} kind
 * @property {string} question
 * @property {string[]} options
 * @property {boolean} open
 */

/**
 * Fills the form and calls `create` with what was written. The form is cleared once the poll
 * exists, so that nothing is lost when it is refused.
 *
 * @param {HTMLElement} form
 * @param {(poll: NewPoll) => Promise<boolean>} create
 */
export function createComposer(form, create) {
  /** @type {import("./polls.js").Kind} */
  let kind = "single";

  const question = h("textarea", {
    id: "new-question",
    "data-testid": "new-question",
    rows: 2,
    maxlength: QUESTION_CHARS,
    dir: "auto",
    "aria-describedby": "composer-problem",
    onkeydown(/** @type {KeyboardEvent} */ event) {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) void submit(true);
      else inputs()[0]?.focus();
    },
  });

  const kinds = h(
    "fieldset",
    { class: "kinds" },
    h("legend", { class: "unseen" }, "Kind of question"),
    ...KINDS.map((one) =>
      h(
        "label",
        { "data-testid": "kind", "data-kind": one.kind },
        h("input", {
          type: "radio",
          name: "kind",
          value: one.kind,
          checked: one.kind === kind,
          onchange() {
            kind = one.kind;
            arrange();
          },
        }),
        h("span", {}, one.name),
      ),
    ),
  );

  const options = h("ol", { class: "new-options" });
  const add = h("button", { type: "button", class: "quiet", "data-testid": "add-option", onclick: () => addOption()?.focus() }, "Add option");
  const readyMade = READY_MADE.map((set) =>
    h("button", { type: "button", class: "quiet", onclick: () => fill(set.options) }, set.name),
  );
  const choosing = h("div", { class: "choosing" }, options, h("div", { class: "row ready-made" }, add, ...readyMade));

  const low = h("input", { type: "text", maxlength: OPTION_CHARS, dir: "auto", "data-testid": "label-low", placeholder: "not at all" });
  const high = h("input", { type: "text", maxlength: OPTION_CHARS, dir: "auto", "data-testid": "label-high", placeholder: "completely" });
  const scale = h(
    "div",
    { class: "scale", hidden: true },
    h("label", {}, h("span", {}, "1 means (optional)"), low),
    h("label", {}, h("span", {}, "5 means (optional)"), high),
  );
  const free = h("p", { class: "soft", hidden: true }, "Everybody writes up to 200 characters. Equal answers are counted together.");

  const problem = h("p", { class: "problem", id: "composer-problem", role: "alert" });
  const start = h("button", { type: "submit", class: "primary", "data-testid": "create-poll" }, "Start voting");
  const keep = h("button", { type: "button", class: "plain", "data-testid": "save-poll", onclick: () => void submit(false) }, "Save for later");

  setChildren(form, [
    h("h2", {}, h("label", { for: "new-question" }, "New question")),
    question,
    kinds,
    choosing,
    scale,
    free,
    problem,
    h("div", { class: "row" }, start, keep),
  ]);
  arrange();

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void submit(true);
  });

  /** @returns {HTMLInputElement[]} */
  function inputs() {
    return [...options.querySelectorAll("input")];
  }

  /** @param {string} text */
  function append(text) {
    const input = h("input", {
      type: "text",
      "data-testid": "new-option",
      maxlength: OPTION_CHARS,
      dir: "auto",
      enterkeyhint: "next",
      oninput: arrange,
      onkeydown: (/** @type {KeyboardEvent} */ event) => key(event, input),
      onpaste: (/** @type {ClipboardEvent} */ event) => paste(event, input),
    });
    input.value = text;
    const remove = h("button", { type: "button", class: "remove", onclick: () => removeOption(input) }, "×");
    options.append(h("li", {}, h("span", { class: "mark", "aria-hidden": "true" }), input, remove));
  }

  /** The empty option at the end, made if need be. @returns {HTMLInputElement | undefined} */
  function addOption() {
    arrange();
    const all = inputs();
    return all.find((input) => input.value === "") ?? all[all.length - 1];
  }

  /** @param {HTMLInputElement} input */
  function removeOption(input) {
    const at = inputs().indexOf(input);
    input.closest("li")?.remove();
    arrange();
    inputs()[Math.max(0, at - 1)]?.focus();
  }

  /** @param {KeyboardEvent} event @param {HTMLInputElement} input */
  function key(event, input) {
    const all = inputs();
    const at = all.indexOf(input);
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) void submit(true);
      else (all[at + 1] ?? addOption())?.focus();
    } else if (event.key === "Backspace" && input.value === "" && all.length > 2) {
      event.preventDefault();
      removeOption(input);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      all[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    }
  }

  /** @param {ClipboardEvent} event @param {HTMLInputElement} input */
  function paste(event, input) {
    const lines = (event.clipboardData?.getData("text") ?? "").split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
    if (lines.length < 2) return;
    event.preventDefault();
    const at = inputs().indexOf(input);
    const texts = inputs().map((one) => one.value);
    texts.splice(at, 1, ...lines);
    fill(texts.filter((text, index) => text !== "" || index < at));
  }

  /** @param {string[]} texts */
  function fill(texts) {
    setChildren(options, []);
    for (const text of texts.slice(0, OPTIONS)) append(text.slice(0, OPTION_CHARS));
    arrange();
  }

  /** Shows what the kind needs, names the options, and keeps an empty one at the end. */
  function arrange() {
    const choice = kind === "single" || kind === "multiple";
    setAttribute(choosing, "hidden", !choice);
    setAttribute(scale, "hidden", kind !== "rating");
    setAttribute(free, "hidden", kind !== "text");
    while (inputs().length < 2) append("");
    const before = inputs();
    if (before.length < OPTIONS && before[before.length - 1]?.value !== "") append("");
    const all = inputs();
    all.forEach((input, index) => {
      setAttribute(input, "aria-label", `Option ${letter(index)}`);
      setAttribute(input, "placeholder", index < 2 ? `Option ${letter(index)}` : "Another option");
      const item = input.closest("li");
      const mark = item?.querySelector(".mark");
      const remove = item?.querySelector(".remove");
      if (mark) setText(mark, letter(index));
      if (remove) {
        setAttribute(remove, "aria-label", `Remove option ${letter(index)}`);
        // The empty one at the end would come back at once.
        setAttribute(remove, "disabled", all.length <= 2 || (index === all.length - 1 && input.value === ""));
      }
    });
    setAttribute(add, "disabled", all.length >= OPTIONS && all.every((input) => input.value !== ""));
  }

  /** @returns {string[]} */
  function written() {
    if (kind === "text") return [];
    if (kind === "rating") {
      const ends = [low.value.trim(), high.value.trim()];
      return ends[0] === "" && ends[1] === "" ? [] : [ends[0] || "1", ends[1] || "5"];
    }
    return inputs().map((input) => input.value.trim()).filter((text) => text !== "");
  }

  /** @param {boolean} open */
  async function submit(open) {
    if (start.disabled) return;
    const poll = { kind, question: question.value.trim(), options: written(), open };
    setText(problem, "");
    if (poll.question === "") return complain("Write the question first.", question);
    if ((kind === "single" || kind === "multiple") && poll.options.length < 2) {
      const empty = inputs().find((input) => input.value.trim() === "");
      return complain("Give at least two options.", empty ?? question);
    }
    start.disabled = keep.disabled = true;
    try {
      if (await create(poll)) clear();
    } finally {
      start.disabled = keep.disabled = false;
    }
  }

  /** @param {string} text @param {HTMLElement} field */
  function complain(text, field) {
    setText(problem, text);
    field.focus();
  }

  function clear() {
    question.value = low.value = high.value = "";
    fill([]);
  }

  return {
    /** @param {string} text a refusal, put where the form is looked at */
    refuse(text) {
      setText(problem, text);
    },
  };
}
