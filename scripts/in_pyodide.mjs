// Runs a Python script inside Pyodide under Node, with the work tree mounted where it is:
//
//     node scripts/in_pyodide.mjs SCRIPT.py ARGUMENTS…
//
// For what must run on Pyodide's own Python version, above all compiling to .pyc: the host's
// Python is another minor version more often than not. Paths are relative to the work tree.

import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { loadPyodide } from "pyodide";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [script, ...args] = process.argv.slice(2);
if (script === undefined) {
  console.error("usage: node scripts/in_pyodide.mjs SCRIPT.py ARGUMENTS…");
  process.exit(2);
}

const pyodide = await loadPyodide();
pyodide.mountNodeFS("/tree", root);
pyodide.FS.chdir("/tree");
const run = pyodide.runPython(`
def run(script, args):
    import runpy, sys
    sys.argv = [script, *args]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as exit:
        return exit.code or 0
    return 0
run
`);
try {
  process.exitCode = run(resolve("/tree", script).replace(/^.*?\/tree\//, "/tree/"), pyodide.toPy(args));
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
}
