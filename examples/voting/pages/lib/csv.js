/**
 * Results as a CSV file that spreadsheets open as it is meant: UTF-8 with a byte order mark
 * (or Excel guesses another encoding), RFC 4180 quoting and line ends, and no cell that a
 * spreadsheet would run as a formula.
 *
 * @module
 */

import { percent, rows, voters } from "./polls.js";

const HEADER = ["Poll", "Question", "Kind", "Status", "Option", "Answer", "Votes", "Percent", "Voters"];

/**
 * One row per option of every poll, oldest poll first.
 *
 * @param {import("./polls.js").State} state
 * @returns {string}
 */
export function toCsv(state) {
  /** @type {(string | number)[][]} */
  const lines = [HEADER];
  const ids = Object.keys(state.polls).sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  for (const id of ids) {
    const poll = state.polls[id];
    if (!poll) continue;
    const all = voters(poll);
    for (const row of rows(poll)) {
      lines.push([
        id.slice(1),
        poll.question,
        poll.kind,
        poll.status,
        row.mark,
        row.label,
        row.votes,
        percent(row.votes, all),
        all,
      ]);
    }
    if (poll.kind === "text" && all === 0) {
      lines.push([id.slice(1), poll.question, poll.kind, poll.status, "", "", 0, 0, 0]);
    }
  }
  return `\uFEFF${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

/**
 * One cell. A text that begins like a formula gets an apostrophe in front, which spreadsheets
 * take as "this is text": anybody in the room can write an answer, and the teacher opens it.
 *
 * @param {string | number} value
 * @returns {string}
 */
export function cell(value) {
  if (typeof value === "number") return String(value);
  const safe = /^[\s\u0000]*[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/u.test(value) ? `'${value}` : value;
  return /[",\r\n;\t]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/**
 * Hands the file to the browser's downloads.
 *
 * @param {string} text
 * @param {string} name
 */
export function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads the file after this turn; a minute is far more than it needs.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
