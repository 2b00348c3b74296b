/**
 * One file in the list: what it is, who has it, and what this page does with it.
 *
 * @module
 */

import { h, say, set } from "./dom.js";
import * as words from "./words.js";

/**
 * @typedef {import("/ftweb/files.js").Manifest} Manifest
 * @typedef {import("/ftweb/files.js").FileProgress} FileProgress
 * @typedef {{manifest: Manifest, by: string, by_presenter: boolean, version: number,
 *   complete: boolean, holders: Record<string, true>}} SharedFile
 * @typedef {"get" | "pause" | "resume" | "remove" | "replace"} Act
 */

/**
 * @param {string} key
 * @param {(act: Act) => void} act
 */
export function createRow(key, act) {
  const badge = h("span", { class: "badge", "aria-hidden": "true" });
  const name = h("span", { class: "name" });
  const facts = h("span", { class: "facts soft" });
  const bar = h("progress", { max: "1" });
  const state = h("span", { class: "state", "data-testid": "progress-text" });
  const line = h("p", { class: "line", hidden: true }, bar, state);
  /** @type {Record<string, HTMLButtonElement>} */
  const buttons = {};
  for (const [one, text] of /** @type {[Act, string][]} */ ([
    ["get", "Download"], ["pause", "Pause"], ["resume", "Go on"], ["replace", "Replace"],
    ["remove", "Remove"],
  ])) {
    buttons[one] = h("button", {
      type: "button",
      class: one === "resume" ? "primary" : one === "remove" || one === "replace" ? "quiet" : "plain",
      "data-testid": one,
      onclick: () => act(one),
    }, text);
  }
  const element = h(
    "li",
    { class: "file", "data-testid": "file", "data-key": key },
    badge,
    h("div", { class: "what" }, name, facts),
    h("div", { class: "acts" }, ...Object.values(buttons)),
    line,
  );

  /**
   * @param {SharedFile} file
   * @param {{mine: boolean, held: boolean, progress: FileProgress | null, note: string}} local
   */
  function update(file, { mine, held, progress, note }) {
    const { manifest } = file;
    say(badge, words.kind(manifest.name));
    say(name, manifest.name);
    const devices = Object.keys(file.holders).length;
    const again = file.version > 1 ? ` · version ${file.version}` : "";
    say(facts, `${words.size(manifest.size)} · ${words.holders(devices, file.complete)}${again}`);
    const phase = progress?.phase ?? null;
    set(element, "data-phase", phase ?? (held ? "held" : "idle"));
    const busy = phase !== null && phase !== "done";
    const sending = phase === "sending" || phase === "hashing";
    // One button for both: a copy may arrive unasked at the moment in which a finger comes down.
    show("get", !busy);
    show("pause", busy && phase !== "paused");
    show("resume", phase === "paused");
    show("remove", mine && !busy);
    show("replace", mine && !busy);
    for (const [one, button] of Object.entries(buttons)) {
      if (one === "get") {
        say(button, held ? "Save" : "Download");
        set(button, "class", held ? "plain" : "primary");
      }
      set(button, "aria-label", `${button.textContent ?? one}: ${manifest.name}`);
    }
    set(bar, "aria-label", `Progress: ${manifest.name}`);
    set(line, "hidden", !busy && note === "");
    set(bar, "hidden", !busy);
    if (progress && busy) bar.value = progress.size === 0 ? 1 : progress.bytes / progress.size;
    if (phase === "waiting" && progress && progress.bytes === 0 && sending) bar.removeAttribute("value");
    say(state, busy && progress ? inWords(progress) : note);
  }

  /** @param {string} one @param {boolean} shown */
  function show(one, shown) {
    const button = buttons[one];
    if (!button) return;
    const focused = document.activeElement === button;
    set(button, "hidden", !shown);
    if (focused && !shown) {
      // The button that takes its place: nobody loses their place in the list.
      Object.values(buttons).find((other) => !other.hidden)?.focus();
    }
  }

  return { element, update };
}

/**
 * @param {FileProgress} progress
 * @returns {string}
 */
function inWords({ phase, bytes, size, from }) {
  const done = `${words.size(bytes)} of ${words.size(size)}`;
  switch (phase) {
    case "hashing":
      return `Reading, ${done}`;
    case "sending":
      return `Sharing, ${done}`;
    case "fetching":
      return from.length > 1 ? `${done}, from ${from.length} places` : done;
    case "waiting":
      return bytes > 0 ? `${done}. Waiting for somebody who has the rest` : "Waiting for somebody who has it";
    case "paused":
      return `Paused at ${done}`;
    case "done":
      return "";
  }
}
