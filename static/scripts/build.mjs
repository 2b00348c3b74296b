/**
 * Builds the TypeScript part of static/dist: client.js, files.js, their workers and
 * parts, and build-id.txt.
 *
 * The build id names the folder that browsers cache for a year, so it must change with anything in
 * it: it is a hash over the built workers, and over FTWEB_RUNTIME_HASH, which stands for the
 * Pyodide folder (scripts/build_dist.py). client.js and files.js are revalidated on each load and
 * hold the id, so they are built last and are not part of it. The same inputs give the same bytes.
 */

import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = join(root, "static", "dist");

/** Module workers are the newest thing that a page needs; Pyodide needs newer browsers itself. */
/** @satisfies {import("esbuild").BuildOptions} */
const options = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  format: /** @type {const} */ ("esm"),
  target: ["es2021", "chrome90", "firefox114", "safari15"],
  charset: "utf8",
  legalComments: /** @type {const} */ ("none"),
  write: /** @type {const} */ (false),
  logLevel: /** @type {const} */ ("warning"),
};

/** @type {(name: string, define?: Record<string, string>, format?: "esm" | "iife") => Promise<{file: string, contents: Uint8Array}>} */
async function bundle(name, define = {}, format = options.format) {
  const { outputFiles } = await build({
    ...options,
    format,
    entryPoints: [join("static", "src", `${name}.ts`)],
    define,
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error(`esbuild made nothing of ${name}.ts`);
  return { file: `${name}.js`, contents: output.contents };
}

const inFolder = await Promise.all(
  ["net-worker", "node-worker", "files-worker", "qr", "rtc"].map((name) => bundle(name)),
);
const hash = createHash("sha256");
for (const { file, contents } of inFolder) {
  hash.update(`${file}\0${contents.length}\0`).update(contents);
}
hash.update(process.env["FTWEB_RUNTIME_HASH"] ?? "");
const id = hash.digest("hex").slice(0, 16);
const entries = await Promise.all([
  ...["client", "files"].map((name) => bundle(name, { FTWEB_BUILD: JSON.stringify(id) })),
  // FlyWeb's pages have it in a plain script tag, so that it is there before their own scripts run.
  bundle("flyweb", {}, "iife"),
]);

await mkdir(dist, { recursive: true });
await Promise.all(
  [...inFolder, ...entries].map(({ file, contents }) => writeFile(join(dist, file), contents)),
);
await writeFile(join(dist, "build-id.txt"), `${id}\n`);
