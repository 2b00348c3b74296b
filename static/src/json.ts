/**
 * JSON values, and the check of what an app wants to send.
 *
 * The check keeps to what the bridge's codec accepts (ftweb/codec.py), so that a payload which
 * passes here is never a reason for the bridge to close the connection.
 */

import { RequestError } from "./errors";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

export interface PayloadLimits {
  readonly payload_bytes: number;
  readonly json_depth: number;
  readonly json_key_chars: number;
}

/** Half a surrogate pair: JavaScript strings may hold one, UTF-8 cannot. */
const LONE_SURROGATE = /\p{Surrogate}/u;

export function isContainer(value: Json): value is readonly Json[] | JsonObject {
  return typeof value === "object" && value !== null;
}

export function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/**
 * Turns what an app passed into a JSON value of its own, or says why that cannot be.
 *
 * `undefined` counts as `null`; dates, `toJSON` and the like follow `JSON.stringify`.
 */
export function toPayload(value: unknown, limits: PayloadLimits): Json {
  let text: string | undefined;
  try {
    text = value === undefined ? "null" : JSON.stringify(value);
  } catch (error) {
    throw new RequestError("bad_reply", `The payload is not JSON: ${String(error)}.`);
  }
  if (text === undefined) {
    throw new RequestError("bad_reply", `The payload is not JSON but a ${typeof value}.`);
  }
  // Cheap first: no UTF-8 text has fewer bytes than a JavaScript string has units.
  const size =
    text.length > limits.payload_bytes ? text.length : new TextEncoder().encode(text).length;
  if (size > limits.payload_bytes) {
    throw new RequestError(
      "too_large",
      `The payload has ${size} bytes as JSON; at most ${limits.payload_bytes} may travel.`,
    );
  }
  const payload = JSON.parse(text) as Json;
  checkNesting(payload, limits, limits.json_depth);
  return payload;
}

function checkNesting(value: Json, limits: PayloadLimits, depth: number): void {
  if (typeof value === "string") {
    checkText(value);
  } else if (isContainer(value)) {
    if (depth === 0) {
      throw new RequestError(
        "too_deep",
        `The payload is nested deeper than ${limits.json_depth} levels.`,
      );
    }
    if (isArray(value)) {
      for (const item of value) checkNesting(item, limits, depth - 1);
      return;
    }
    for (const [key, item] of Object.entries(value)) {
      // The bridge counts code points, of which there are never more than units.
      if (key.length > limits.json_key_chars && Array.from(key).length > limits.json_key_chars) {
        throw new RequestError(
          "too_deep",
          `A key of the payload is longer than ${limits.json_key_chars} characters.`,
        );
      }
      checkText(key);
      checkNesting(item, limits, depth - 1);
    }
  }
}

function checkText(text: string): void {
  if (LONE_SURROGATE.test(text)) {
    throw new RequestError("bad_reply", "The payload holds half a character (a lone surrogate).");
  }
}
