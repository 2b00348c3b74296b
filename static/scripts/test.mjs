/**
 * Runs the tests of static/test: each is bundled (Node 20 reads no TypeScript) into the cache folder
 * of node_modules, from where packages are found as usual, and run by Node's own test runner.
 *
 *   npm test [-- PART_OF_A_NAME]
 */

import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const tests = join(root, "static", "test");
const out = join(root, "node_modules", ".cache", "ftweb-tests");
const wanted = process.argv[2] ?? "";

const names = readdirSync(tests).filter((name) => name.endsWith(".test.ts"));
const chosen = names.filter((name) => name.includes(wanted));
if (chosen.length === 0) throw new Error(`No test has ${wanted} in its name.`);
rmSync(out, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: chosen.map((name) => join(tests, name)),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  define: { FTWEB_ROOT: JSON.stringify(root) },
  logLevel: "warning",
});
const files = chosen.map((name) => join(out, `${basename(name, ".ts")}.mjs`));
const run = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", `--test-reporter=${wanted === "" ? "dot" : "spec"}`, ...files],
  { stdio: "inherit", cwd: root },
);
process.exit(run.status ?? 1);
