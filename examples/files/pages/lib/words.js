/**
 * What people read: sizes, kinds, states.
 *
 * @module
 */

/**
 * @param {number} bytes
 * @returns {string} such as `1.4 MB`
 */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = "B";
  for (const next of ["kB", "MB", "GB"]) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/**
 * @param {string} name
 * @returns {string} the ending in capitals, short enough for a badge
 */
export function kind(name) {
  const ending = /\.([^.\s]{1,4})$/u.exec(name)?.[1];
  return ending ? ending.toUpperCase() : "FILE";
}

/**
 * @param {number} devices
 * @param {boolean} complete
 * @returns {string} who has a file
 */
export function holders(devices, complete) {
  if (!complete && devices === 0) return "on its way";
  const bridge = complete ? "the bridge" : "";
  const people = devices === 0 ? "" : devices === 1 ? "1 device" : `${devices} devices`;
  return `kept by ${[bridge, people].filter(Boolean).join(" and ")}`;
}

/** @type {Record<string, string>} */
const STATES = {
  connected: "Connected",
  "taking-over": "Switching host, downloads go on",
  offline: "You are offline, trying again",
  "no-quorum": "Waiting for the others",
  provisional: "Part of the class cannot be heard",
  "no-bridge": "Going on without the laptop",
};

/**
 * @param {{state: string, text: string}} status
 * @returns {string} what somebody in the room can do about it
 */
export function advice(status) {
  return status.state === "no-bridge" ? status.text : "";
}

/**
 * @param {{state: string, term: number, error: {message: string} | null}} status
 * @returns {string}
 */
export function connection(status) {
  if (status.error) return status.error.message;
  if (status.state === "taking-over" && status.term <= 1) return "Getting ready…";
  return STATES[status.state] ?? "Connecting…";
}
