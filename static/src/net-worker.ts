/** The net worker: what of `Runtime` needs the worker's globals. */

import type { PageToNet } from "./channels";
import { realClock } from "./clock";
import { Runtime } from "./runtime";

/** Time for the goodbye to go out. */
const LAST_WORDS_MS = 1000;

let runtime: Runtime | undefined;

self.onmessage = (event: MessageEvent<PageToNet>) => {
  const message = event.data;
  if (message.kind !== "start") {
    runtime?.hear(message);
    if (message.kind === "close") setTimeout(() => self.close(), LAST_WORDS_MS);
    return;
  }
  runtime ??= new Runtime(
    {
      clock: realClock,
      openSocket: (url) => new WebSocket(url),
      spawnNode: (url) => new Worker(url, { type: "module", name: "ftweb-node" }),
      tell: (news) => self.postMessage(news),
    },
    message,
  );
};
