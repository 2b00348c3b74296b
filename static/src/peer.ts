/**
 * One data channel to another tab. No I/O of its own: a pipe and the time are given.
 *
 * 1. A message is one letter and a text. Capitals mean that more of the text follows.
 *
 *    | letter | text | from → to |
 *    |---|---|---|
 *    | `b` | a beat: {@link Beat} as JSON | tab ↔ tab |
 *    | `a` | the number of the beat that is answered | tab ↔ tab |
 *    | `q` | nothing: this tab goes | tab ↔ tab |
 *    | `n` | a `raft` frame | node ↔ node |
 *    | `o` | nothing: may this tab join at yours? | client → relay |
 *    | `u` | a frame of the wire protocol | client → relay |
 *    | `d` | the same | relay → client |
 *    | `x` | a close code: joining has ended | both ways |
 *
 * 2. It counts as open from the first beat on. Browsers take 7 to 17 seconds to notice a loss; here
 *    a channel is dead after BEATS_MISSED of the other side's beats without a word.
 * 3. Pieces are put together up to the size of a frame; only who relays for us may send more. Who
 *    does not take what our relay has for it is cut off, as at a bridge: it would miss messages.
 * 4. Where our own timer was late it was us who stalled, and the other side gets one more beat.
 */

import * as v from "valibot";

import type { Source } from "./frames";
import type { Pipe } from "./pipe";
import {
  BEAT_MS,
  BEATS_MISSED,
  CHANNEL_BACKLOG_BYTES,
  FRAME_CHARS,
  PIECE_CHARS,
  PIECES_CHARS,
} from "./timing";

export type Letter = "n" | "o" | "u" | "d" | "x";
const LETTERS: ReadonlySet<string> = new Set("nouxd");

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const Beat = v.object({
  /** Its number; answered. */
  n: count,
  /** Milliseconds until the next. */
  every: v.pipe(v.number(), v.minValue(50), v.maxValue(10_000)),
  /** The node in that tab. */
  node: v.nullable(v.string()),
  /** (epoch, term) in which it hosts. */
  hosts: v.nullable(v.tuple([count, count])),
});

export type Beat = v.InferOutput<typeof Beat>;
export type Hosts = Beat["hosts"];

export interface PeerEvents {
  /** The first beat, or one that tells of another node or of hosting. */
  news(peer: Peer, before: { node: string | null; open: boolean }): void;
  received(peer: Peer, letter: Letter, text: string): void;
  /** It said goodbye, or broke the rules. */
  gone(peer: Peer): void;
}

export class Peer {
  open = false;
  node: string | null;
  hosts: Hosts = null;
  rtt = 0;
  /** We have joined there: whole states may come. */
  serves = false;
  heardAt: number;
  private theirs = 0;
  private beats = 0;
  private beatAt = -Infinity;
  private readonly pieces = new Map<string, string>();

  constructor(
    readonly link: string,
    /** Who it is, as the relay vouches that passed on the signals. */
    readonly source: Source,
    node: string | null,
    private readonly pipe: Pipe,
    private readonly now: () => number,
    private readonly events: PeerEvents,
  ) {
    this.node = node;
    this.heardAt = now();
    pipe.onmessage = (text) => this.receive(text);
  }

  /** Bytes that have not been sent yet. */
  get backlog(): number {
    return this.pipe.backlog;
  }

  /** To be called often. Gives whether it is alive still (rule 2). */
  tick(beat: Omit<Beat, "n">, late: boolean): boolean {
    const now = this.now();
    if (late) this.heardAt = Math.max(this.heardAt, now - beat.every);
    if (this.pipe.ready && now - this.beatAt >= (this.open ? beat.every : BEAT_MS)) {
      this.beat(beat);
    }
    return !this.open || now - this.heardAt < BEATS_MISSED * Math.max(this.theirs, beat.every);
  }

  beat(beat: Omit<Beat, "n">): void {
    this.beatAt = this.now();
    this.beats += 1;
    this.write("b", JSON.stringify({ n: this.beats, ...beat }));
  }

  send(letter: Letter, text: string): void {
    this.write(letter, text);
  }

  /** End it; with a word, if there is time for one. */
  close(): void {
    this.write("q", "");
    this.pipe.onmessage = undefined;
    this.pipe.close();
  }

  private write(letter: string, text: string): void {
    if (this.pipe.backlog > CHANNEL_BACKLOG_BYTES) {
      if (letter === "d") this.events.gone(this);
      return;
    }
    let rest = text;
    while (rest.length > PIECE_CHARS) {
      // Not between the two halves of a character.
      const half = rest.charCodeAt(PIECE_CHARS - 1);
      const cut = half >= 0xd800 && half < 0xdc00 ? PIECE_CHARS - 1 : PIECE_CHARS;
      this.pipe.send(letter.toUpperCase() + rest.slice(0, cut));
      rest = rest.slice(cut);
    }
    this.pipe.send(letter + rest);
  }

  private receive(message: string): void {
    this.heardAt = this.now();
    const first = message.charAt(0);
    const letter = first.toLowerCase();
    let text = message.slice(1);
    if (LETTERS.has(letter)) {
      text = (this.pieces.get(letter) ?? "") + text;
      const most = letter === "d" && this.serves ? PIECES_CHARS : FRAME_CHARS;
      if (text.length > most) {
        this.events.gone(this);
        return;
      }
      if (letter !== first) {
        this.pieces.set(letter, text);
        return;
      }
      this.pieces.delete(letter);
      if (this.open) this.events.received(this, letter as Letter, text);
      return;
    }
    if (first === "b") this.heardBeat(text);
    else if (first === "a" && Number(text) === this.beats) {
      const rtt = this.heardAt - this.beatAt;
      this.rtt = this.rtt === 0 ? rtt : this.rtt + (rtt - this.rtt) / 8;
    } else if (first === "q") this.events.gone(this);
  }

  private heardBeat(text: string): void {
    const result = v.safeParse(Beat, parse(text));
    if (!result.success) return;
    const beat = result.output;
    const before = { node: this.node, open: this.open };
    const same = beat.node === this.node && String(beat.hosts) === String(this.hosts);
    this.open = true;
    this.theirs = beat.every;
    this.node = beat.node;
    this.hosts = beat.hosts;
    this.write("a", String(beat.n));
    if (!before.open || !same) this.events.news(this, before);
  }
}

/** What a text says as JSON; undefined if it is none. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
