/**
 * The page's copy of the app's state, kept true by the change stream.
 *
 * 1. A whole `state` replaces the copy unless it is no newer than what is held (a bridge whose
 *    replica lags may send one after a reconnect).
 * 2. A `change` applies to exactly the position it names. An older one has been seen; any other
 *    gap is healed by asking for the whole state.
 * 3. Within an epoch the index grows. Another epoch is another history, whatever its number: it
 *    begins with its whole state, and positions in the one before mean nothing in it.
 *
 * The net worker follows the stream with a `Position` alone (for `hello`, and to ask for a resync
 * at once), the page holds the value in a `Replica`: a change crosses between them as its patch.
 */

import type { Change, State } from "./frames";
import type { Json } from "./json";
import { applyPatch, freeze, PatchError } from "./patch";

export interface Position {
  readonly epoch: number;
  readonly index: number;
}

export const NOWHERE: Position = { epoch: 0, index: 0 };

/** What a frame of the stream means to who stands at `at`. */
export function follow(at: Position, frame: State | Change): "apply" | "seen" | "gap" {
  const same = at.epoch === frame.epoch;
  if (same && frame.index <= at.index) return "seen";
  if (frame.type === "state") return "apply";
  return same && at.index === frame.after ? "apply" : "gap";
}

export class Replica {
  private held: Json | undefined;
  private at: Position = NOWHERE;

  /** Frozen; undefined before the first. */
  get value(): Json | undefined {
    return this.held;
  }

  get position(): Position {
    return this.at;
  }

  /** Take a frame of the stream. */
  take(frame: State | Change): "changed" | "seen" | "gap" {
    const verdict = follow(this.at, frame);
    if (verdict !== "apply") return verdict;
    if (frame.type === "state") {
      this.held = freeze(frame.value);
    } else {
      if (this.held === undefined) return "gap";
      try {
        this.held = applyPatch(this.held, frame.patch);
      } catch (error) {
        if (error instanceof PatchError) return "gap";
        throw error;
      }
    }
    this.at = { epoch: frame.epoch, index: frame.index };
    return "changed";
  }

  /** Another server's state comes next: the old one's position says nothing about it. */
  reset(): void {
    this.at = NOWHERE;
  }
}
