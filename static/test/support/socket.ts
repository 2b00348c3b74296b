/** A socket that the test plays. */

import type { Socket } from "../../src/targets";
import { WELCOME } from "./bridge";

export class PlayedSocket implements Socket {
  readonly bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event?: { code: number }) => void) | null = null;
  readonly sent: { type: string }[] = [];
  closed = false;
  send(text: string): void {
    this.sent.push(JSON.parse(text) as { type: string });
  }
  close(): void {
    this.closed = true;
  }
  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  welcome(): void {
    this.onopen?.();
    this.say(WELCOME);
  }
  /** Answer the last ping. */
  pong(): void {
    this.say({ type: "pong", n: this.pings });
  }
  get pings(): number {
    return this.sent.filter(({ type }) => type === "ping").length;
  }
}
