/**
 * What the pages say about the connection and about errors: plain words for people who have
 * never heard of a host or a quorum.
 *
 * @module
 */

/** @type {Record<string, string>} */
const STATES = {
  connected: "Connected",
  provisional: "Part of the class is cut off",
  "taking-over": "Switching host — your vote is kept",
  offline: "You are offline — trying again",
  "no-quorum": "Waiting for the others",
  "no-bridge": "Going on without the laptop",
};

/** @type {Record<string, string>} */
const PRESENTER_STATES = {
  ...STATES,
  "taking-over": "Switching host — votes are kept",
};

/** @type {Record<string, string>} */
const ERRORS = {
  poll_closed: "This question was closed just before your answer came.",
  unknown_poll: "This question has been removed.",
  session_expired: "This page slept for too long. Reload it to vote; your earlier vote is kept.",
  handler_timeout: "That took too long and was not counted. Please try again.",
  handler_failed: "Something went wrong in the app, and nothing was changed.",
  state_too_large: "The class has reached its limit. Delete old questions first.",
  too_large: "That is too long.",
  too_many_pending: "Too many answers at once. Wait a moment.",
  bad_token: "To join, scan the code on the board, or type the whole address below it.",
  version_mismatch: "This page is out of date. Reload it.",
  too_many_connections: "The room is full: no more phones can join at the moment.",
  closed: "The connection was closed before the answer was confirmed.",
};

/** The connection has ended for good: no "trying again". */
const FINAL = new Set(["bad_token", "version_mismatch", "connect_failed"]);

/**
 * The connection's state in words.
 *
 * @param {import("/ftweb/client.js").FtwebStatus} status
 * @param {boolean} [presenter]
 * @returns {string}
 */
export function stateInWords(status, presenter = false) {
  if (status.error && FINAL.has(status.error.code)) return errorInWords(status.error);
  // Nobody has hosted yet: there is nothing to be switched.
  if (status.state === "taking-over" && status.term <= 1) return "Getting ready…";
  return (presenter ? PRESENTER_STATES : STATES)[status.state] ?? "Connecting…";
}

/**
 * What somebody in the room can do about it; nothing where it passes by itself.
 *
 * @param {import("/ftweb/client.js").FtwebStatus} status
 * @returns {string}
 */
export function adviceInWords(status) {
  return status.state === "no-bridge" ? status.text : "";
}

/**
 * What has become of a request whose first answer did not last: the class had been in two parts,
 * each went on by itself, and now they have met.
 *
 * @param {import("/ftweb/client.js").Outcome} outcome
 * @param {string} what was asked for, as it may begin a sentence
 * @returns {string}
 */
export function outcomeInWords({ error, before }, what) {
  const met = "The class was in two parts and is together again.";
  if (error) return `${met} ${what} does not count after all: ${errorInWords(error)}`;
  return before.error ? `${met} ${what} counts now.` : `${met} ${what} was answered anew.`;
}

/**
 * An error in words: the app's own refusals already are sentences.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function errorInWords(error) {
  const { code, message } = /** @type {{code?: string, message?: string}} */ (error ?? {});
  return (code && ERRORS[code]) || message || "That did not work. Please try again.";
}
