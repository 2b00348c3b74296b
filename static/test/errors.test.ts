/** Every code that the runtime gives is documented, and Python knows it. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { ConnectError, FrameError, RequestError } from "../src/errors";

declare const FTWEB_ROOT: string;

test("the codes in the source are among those of ftweb/errors.py", () => {
  const python = readFileSync(`${FTWEB_ROOT}/ftweb/errors.py`, "utf8");
  const known = new Set(Array.from(python.matchAll(/^ {4}"([a-z_]+)": "/gm), ([, code]) => code));
  assert.ok(known.size > 20);
  const folder = `${FTWEB_ROOT}/static/src`;
  const used = readdirSync(folder).flatMap((name) => {
    const source = readFileSync(`${folder}/${name}`, "utf8");
    return Array.from(
      source.matchAll(/(?:code: |code = |code === |Error\(\s*)"([a-z_]+)"/g),
      ([, code]) => code,
    );
  });
  assert.ok(used.length > 8);
  for (const code of used) assert.ok(known.has(code), code);
});

test("errors have a name, a code and a message", () => {
  const errors = [new RequestError("x", "m"), new ConnectError("x", "m")];
  for (const error of errors) assert.deepEqual([error.code, error.message], ["x", "m"]);
  assert.deepEqual(
    [...errors, new FrameError("m")].map(({ name }) => name),
    ["RequestError", "ConnectError", "FrameError"],
  );
});
