/**
 * The node worker: loads Pyodide from the bridge, then hands over to Python (pyodide_app.boot).
 *
 * It knows nothing of what passes between the net worker and Python, but for the first message.
 * The compiled standard library halves the boot; should it fail to start (it must fit Pyodide to
 * the byte), the stock one is tried.
 */

import type { PyodideAPI, PyodideConfig } from "pyodide";
import type { PyBuffer, PyCallable } from "pyodide/ffi";

import type { NetToNode, NodeToNet } from "./channels";
import { PING, PONG } from "./ping";

type Start = Extract<NetToNode, { kind: "start" }>;
type Receive = (text: string) => void;

/** pyodide_app.boot: `start` gives what takes messages, or nothing if it has told why it failed. */
interface Boot {
  start(
    options: string,
    post: (text: string) => void,
    sendBytes: (socket: WebSocket, bytes: PyBuffer) => void,
  ): Promise<PyCallable | undefined>;
}

const PACKAGE = "ftweb";
const STDLIBS = ["python_stdlib.zip", "python_stdlib_stock.zip"] as const;

function tell(message: NodeToNet): void {
  self.postMessage(JSON.stringify(message));
}

/**
 * Sends bytes from where they lie in Python's memory. The socket copies them before `send` returns;
 * a copy of our own for each message was a third of what a download costs a tab.
 */
function sendBytes(socket: WebSocket, bytes: PyBuffer): void {
  const view = bytes.getBuffer("u8");
  try {
    socket.send(view.data as Uint8Array<ArrayBuffer>); // no threads here, so no SharedArrayBuffer
  } finally {
    view.release();
  }
}

async function loadPython(folder: string): Promise<PyodideAPI> {
  const module = (await import(`${folder}pyodide.mjs`)) as {
    loadPyodide(config: PyodideConfig & { stdLibURL: string }): Promise<PyodideAPI>;
  };
  const load = (stdlib: string): Promise<PyodideAPI> =>
    module.loadPyodide({
      indexURL: folder,
      lockFileURL: `${folder}ftweb-lock.json`,
      stdLibURL: folder + stdlib,
      packages: [PACKAGE],
    });
  const [compiled, stock] = STDLIBS;
  try {
    return await load(compiled);
  } catch (error) {
    console.warn(`ftweb: ${compiled} does not start (${String(error)}); trying ${stock}.`);
    return load(stock);
  }
}

async function boot(options: Start): Promise<Receive | undefined> {
  performance.mark("ftweb:start");
  let python: PyodideAPI;
  try {
    python = await loadPython(`${options.runtime}pyodide/`);
  } catch (error) {
    tell({ kind: "failed", stage: "pyodide", message: String(error) });
    return undefined;
  }
  performance.mark("ftweb:python");
  try {
    const module = python.pyimport("pyodide_app.boot") as unknown as Boot;
    const receive = await module.start(
      JSON.stringify(options),
      (text) => self.postMessage(text),
      sendBytes,
    );
    performance.mark("ftweb:booted");
    return receive === undefined ? undefined : (text) => void receive(text);
  } catch (error) {
    tell({ kind: "failed", stage: "boot", message: String(error) });
    return undefined;
  }
}

let receive: Receive | undefined;
const early: string[] = [];
let starting = false;

self.onmessage = (event: MessageEvent<string>) => {
  if (event.data === PING) {
    self.postMessage(PONG);
    return;
  }
  if (receive !== undefined) {
    receive(event.data);
    return;
  }
  if (starting) {
    early.push(event.data);
    return;
  }
  starting = true;
  void start(JSON.parse(event.data) as Start);
};

async function start(options: Start): Promise<void> {
  receive = await boot(options);
  for (const text of early.splice(0)) receive?.(text);
}
