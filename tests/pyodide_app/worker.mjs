// A node worker without a browser: boots static/dist/pyodide under Node just as the tab's worker
// does and joins pyodide_app to stdin and stdout, one message a line.
//
//     node worker.mjs DIST OPTIONS_JSON [stock]
//
// With "stock" the standard library is the one that the worker falls back to.

import { createInterface } from "node:readline";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, options, stdlib] = process.argv.slice(2);
const dist = resolve(folder);
const { loadPyodide } = await import(pathToFileURL(`${dist}/pyodide.mjs`).href);
const pyodide = await loadPyodide({
  indexURL: dist,
  lockFileURL: `${dist}/ftweb-lock.json`,
  stdLibURL: `${dist}/python_stdlib${stdlib === "stock" ? "_stock" : ""}.zip`,
  packages: ["ftweb"],
  stdout: (line) => console.error(line),
});
const boot = pyodide.pyimport("pyodide_app.boot");
const receive = await boot.start(
  options,
  (text) => process.stdout.write(`${text}\n`),
  (socket, bytes) => {
    const view = bytes.getBuffer("u8");
    socket.send(view.data);
    view.release();
  },
);
if (receive === undefined) {
  process.exit(3);
}
createInterface({ input: process.stdin })
  .on("line", (line) => receive(line))
  .on("close", () => process.exit(0));
