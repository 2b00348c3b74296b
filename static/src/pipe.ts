/** A data channel in the worker: the channel itself, or a port behind which the page keeps it. */

import type { Channel } from "./channels";

/** What is used of either. Never blocks; what cannot be sent is lost, as on any wire. */
export interface Pipe {
  onmessage: ((text: string) => void) | undefined;
  readonly ready: boolean;
  readonly backlog: number;
  send(text: string): void;
  close(): void;
}

export function pipeOf(channel: Channel): Pipe {
  const pipe: Pipe = {
    onmessage: undefined,
    get ready() {
      // The page drops what comes before its channel is open.
      return !("readyState" in channel) || channel.readyState === "open";
    },
    get backlog() {
      return "bufferedAmount" in channel ? channel.bufferedAmount : 0;
    },
    send(text) {
      if (!("readyState" in channel)) channel.postMessage(text);
      else if (pipe.ready) channel.send(text);
    },
    close() {
      channel.onmessage = null;
      channel.close();
    },
  };
  channel.onmessage = (event: MessageEvent<unknown>) => {
    if (typeof event.data === "string") pipe.onmessage?.(event.data);
  };
  return pipe;
}
