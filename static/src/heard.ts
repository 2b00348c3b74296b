/** Which messages of a history have been handled: each once, also when they are sent again. */

import type { Message } from "./frames";

export class Heard {
  /** The last message handled. */
  private index = 0;
  private position = -1;
  /** Index of the first state: messages up to it were sent before we came. */
  private floor = 0;

  /** What to tell a bridge, so that it sends what came since; 0 for nothing. */
  get since(): number {
    // One index back: the socket may have closed between two messages of one index.
    return Math.max(this.index - 1, this.floor);
  }

  /** A state has come. */
  begin(index: number): void {
    if (this.floor === 0) this.floor = index;
  }

  /** Note a message; false for one that was handled before. */
  note({ index, position }: Message): boolean {
    if (index < this.index || (index === this.index && position <= this.position)) return false;
    this.index = index;
    this.position = position;
    return true;
  }

  /** Another history: its indexes say nothing about those seen before. */
  forget(): void {
    this.index = this.floor = 0;
    this.position = -1;
  }
}
