/**
 * Reading the replicated state: which polls there are, how they stand, what a choice is called.
 * Nothing here touches the page, and nothing changes the state.
 *
 * @module
 *
 * @typedef {"single" | "multiple" | "rating" | "text"} Kind
 * @typedef {string | string[]} Choice
 * @typedef {object} Poll
 * @property {Kind} kind
 * @property {string} question
 * @property {string[]} options for a rating: labels of its ends (two) or of each step (five)
 * @property {"ready" | "open" | "closed"} status
 * @property {boolean} shown phones display the results
 * @property {Record<string, Choice>} ballots by device id
 * @typedef {object} State
 * @property {number} created
 * @property {string | null} current
 * @property {Record<string, Poll>} polls
 * @typedef {{id: string, label: string, mark: string, votes: number}} Row
 */

export const STEPS = ["1", "2", "3", "4", "5"];

/** @type {Record<Kind, string>} */
export const KIND_NAMES = {
  single: "Choose one",
  multiple: "Choose any number",
  rating: "Rate from 1 to 5",
  text: "Write a short answer",
};

/**
 * Poll ids, newest first.
 *
 * @param {State} state
 * @returns {string[]}
 */
export function newestFirst(state) {
  return Object.keys(state.polls).sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
}

/**
 * What may be voted on now, newest first.
 *
 * @param {State} state
 * @returns {string[]}
 */
export function openPolls(state) {
  return newestFirst(state).filter((id) => state.polls[id]?.status === "open");
}

/**
 * What a phone shows: what its owner picked while that is open, else the poll on the
 * presenter's screen, else the newest open one.
 *
 * @param {State} state
 * @param {string | null} picked
 * @returns {string | null}
 */
export function pollForVoter(state, picked) {
  const open = openPolls(state);
  if (picked !== null && open.includes(picked)) return picked;
  const current = state.current === null ? undefined : state.polls[state.current];
  if (current && current.status !== "ready") return state.current;
  return open[0] ?? null;
}

/**
 * The name by which a class calls an option: "A", "B", …; a step of a rating is its number.
 *
 * @param {number} index
 * @returns {string}
 */
export function letter(index) {
  return String.fromCharCode(65 + index);
}

/**
 * What a step of a rating is called, or "".
 *
 * @param {Poll} poll
 * @param {string} step
 * @returns {string}
 */
export function stepLabel(poll, step) {
  const index = STEPS.indexOf(step);
  const label =
    poll.options.length === 5
      ? poll.options[index]
      : poll.options.length === 2 && (index === 0 || index === 4)
        ? poll.options[index === 0 ? 0 : 1]
        : undefined;
  return label === undefined || label === step ? "" : label;
}

/**
 * Every option with its votes. Free answers are grouped by their letters alone, most frequent
 * first, under their most frequent spelling; `app.py` counts in the same way.
 *
 * @param {Poll} poll
 * @returns {Row[]}
 */
export function rows(poll) {
  const choices = Object.values(poll.ballots);
  if (poll.kind === "text") return answerRows(/** @type {string[]} */ (choices));
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const choice of choices) {
    for (const id of Array.isArray(choice) ? choice : [choice]) {
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
  }
  return optionIds(poll).map((id, index) => ({
    id,
    label: poll.kind === "rating" ? stepLabel(poll, id) : (poll.options[index] ?? ""),
    mark: poll.kind === "rating" ? id : letter(index),
    votes: counts.get(id) ?? 0,
  }));
}

/**
 * The names that messages use for a poll's options.
 *
 * @param {Poll} poll
 * @returns {string[]}
 */
export function optionIds(poll) {
  if (poll.kind === "rating") return STEPS;
  return poll.options.map((_, index) => String(index));
}

/**
 * @param {string[]} answers
 * @returns {Row[]}
 */
function answerRows(answers) {
  /** @type {Map<string, Map<string, number>>} */
  const groups = new Map();
  for (const answer of answers) {
    const key = answer.toLowerCase();
    const spellings = groups.get(key) ?? new Map();
    spellings.set(answer, (spellings.get(answer) ?? 0) + 1);
    groups.set(key, spellings);
  }
  return [...groups.values()]
    .map((spellings) => {
      const votes = [...spellings.values()].reduce((sum, n) => sum + n, 0);
      const [first] = [...spellings].sort((a, b) => b[1] - a[1] || order(a[0], b[0]));
      const spelling = first?.[0] ?? "";
      return { id: spelling, label: spelling, mark: "", votes };
    })
    .sort((a, b) => b.votes - a.votes || order(a.id, b.id));
}

/**
 * @param {string} a
 * @param {string} b
 */
function order(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Devices that have voted.
 *
 * @param {Poll} poll
 * @returns {number}
 */
export function voters(poll) {
  return Object.keys(poll.ballots).length;
}

/**
 * The mean of a rating, or null without votes.
 *
 * @param {Poll} poll
 * @returns {number | null}
 */
export function mean(poll) {
  const steps = Object.values(poll.ballots).map(Number);
  return steps.length === 0 ? null : steps.reduce((sum, step) => sum + step, 0) / steps.length;
}

/**
 * A choice in words: "B · Mars", "4 · sure", "A · 2, C · 7", "photosynthesis".
 *
 * @param {Poll} poll
 * @param {Choice} choice
 * @returns {string}
 */
export function describe(poll, choice) {
  if (poll.kind === "text") return String(choice);
  if (poll.kind === "rating") {
    const label = stepLabel(poll, String(choice));
    return label ? `${choice} · ${label}` : String(choice);
  }
  const ids = Array.isArray(choice) ? choice : [choice];
  return ids.map((id) => `${letter(Number(id))} · ${poll.options[Number(id)] ?? ""}`).join(", ");
}

/**
 * Whether two choices are the same one.
 *
 * @param {Choice | null | undefined} a
 * @param {Choice | null | undefined} b
 * @returns {boolean}
 */
export function sameChoice(a, b) {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}

/**
 * "1 vote", "12 votes".
 *
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 * @returns {string}
 */
export function plural(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

/**
 * A share in whole percent.
 *
 * @param {number} votes
 * @param {number} all
 * @returns {number}
 */
export function percent(votes, all) {
  return all === 0 ? 0 : Math.round((100 * votes) / all);
}
