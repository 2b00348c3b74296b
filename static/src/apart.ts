/**
 * A group that goes on without a bridge, and a bridge that has begun another history meanwhile.
 *
 * 1. A member does not leave its history for HOLD_MS after the group was seen to go on, whatever a
 *    bridge says: what was acknowledged would be lost. The host sees it all the time; the others may
 *    be about to elect the next one.
 * 2. Such a bridge learns our history from `node_up`, and comes over. It is given MEET_MS; until
 *    then nothing that it says of its own history counts here. If it stays, the host
 *    comes over, and what was acknowledged here is run again there: its node is asked for it, or hands
 *    it in and ends (nodes.ts).
 */

import type { Clock } from "./clock";
import type { Payload } from "./connection";
import type { Status } from "./frames";
import { HOLD_MS, MEET_MS } from "./timing";

/** What is used of our node (nodes.ts). */
export interface Node {
  readonly epoch: number;
  readonly member: boolean;
  readonly livesOn: boolean;
}

export class Apart {
  private seen = { epoch: 0, at: -Infinity };
  private meeting: { readonly since: number; readonly status: Status | undefined } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly node: Node,
  ) {}

  /** The group is seen to go on without a bridge. */
  goesOn(): void {
    this.seen = { epoch: this.node.epoch, at: this.clock.now() };
  }

  /** Our node stays in its history, whatever a bridge says (rule 1). */
  get holds(): boolean {
    const { epoch, member } = this.node;
    const lately = this.clock.now() - this.seen.at < HOLD_MS;
    return member && epoch > 0 && epoch === this.seen.epoch && lately;
  }

  /** Whether a bridge at which we have just arrived speaks of another history (rule 2). */
  isForeign(frame: Payload): boolean {
    if (!this.holds || !this.node.livesOn) {
      this.over();
      return false;
    }
    if (!("epoch" in frame)) return frame.type !== "signal" && this.meeting !== undefined;
    if (frame.epoch === 0 || frame.epoch === this.node.epoch) {
      this.over();
      return false;
    }
    const { since, status } = this.meeting ?? { since: this.clock.now(), status: undefined };
    this.meeting = { since, status: frame.type === "status" ? frame : status };
    return true;
  }

  /** We are in one history, or not at that bridge any more. */
  over(): void {
    this.meeting = undefined;
  }

  /**
   * What the bridge has said last, if it was asked for long enough: it counts from now on. Asked often.
   */
  givesUp(): Status | undefined {
    const { since = Infinity, status } = this.meeting ?? {};
    if (status === undefined || this.clock.now() - since < MEET_MS) return undefined;
    this.over();
    this.seen = { epoch: 0, at: -Infinity };
    return status;
  }
}
