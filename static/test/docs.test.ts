/** docs/javascript-api.md cannot drift: its tables name what there is. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { NOTHING_KNOWN, toStatus } from "../src/status";

declare const FTWEB_ROOT: string;

const docs = readFileSync(`${FTWEB_ROOT}/docs/javascript-api.md`, "utf8");

/** The first column of the table that begins with this heading. */
function table(heading: string): string[] {
  const lines = docs.split("\n");
  const from = lines.findIndex((line) => line.startsWith(heading));
  assert.ok(from >= 0, heading);
  const rows = lines.slice(from + 2);
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith("|")),
    )
    .flatMap((row) => {
      const name = /^\| `([A-Za-z-]+)/.exec(row)?.[1];
      return name === undefined ? [] : [name];
    });
}

test("every field of the status is documented, in order", () => {
  assert.deepEqual(table("| field |"), Object.keys(toStatus(NOTHING_KNOWN, "offline")));
});

test("every word of the state is documented", () => {
  assert.deepEqual(table("| `state` | means |").sort(), [
    "connected",
    "no-bridge",
    "no-quorum",
    "offline",
    "provisional",
    "taking-over",
  ]);
});

test("every public member of Connection is documented", () => {
  const source = readFileSync(`${FTWEB_ROOT}/static/src/page.ts`, "utf8");
  const body = source.slice(source.indexOf("export class Connection"), source.indexOf("Joining"));
  const members = Array.from(
    body.matchAll(/^ {2}(?:get )?([a-z]\w*)\(.*\): .* \{$/gm),
    ([, name]) => name ?? "",
  ).filter((name) => !["constructor", "hear"].includes(name));
  assert.deepEqual(table("| member |").sort(), members.sort());
});

test("every export of client.js is documented", () => {
  const source = readFileSync(`${FTWEB_ROOT}/static/src/client.ts`, "utf8");
  const functions = source.matchAll(/^export (?:async )?function (\w+)/gm);
  const classes = /^export \{ ([^}]+) \};/m.exec(source)?.[1]?.split(", ") ?? [];
  const names = [...Array.from(functions, ([, name]) => name ?? ""), ...classes];
  assert.ok(names.length >= 4);
  for (const name of names) assert.ok(docs.includes(`\`${name}`), name);
});

test("every export of files.js is documented", () => {
  const source = readFileSync(`${FTWEB_ROOT}/static/src/files.ts`, "utf8");
  const text = readFileSync(`${FTWEB_ROOT}/docs/files.md`, "utf8");
  const names = Array.from(
    source.matchAll(/^export (?:function|class) (\w+)/gm),
    ([, n]) => n ?? "",
  );
  assert.ok(names.length >= 7);
  for (const name of names) assert.match(text, new RegExp(`^\\| \`${name}\\b`, "m"), name);
  const messages = readFileSync(`${FTWEB_ROOT}/static/src/file-messages.ts`, "utf8");
  const phases = messages.slice(messages.indexOf("Phase"), messages.indexOf("FileProgress"));
  const words = Array.from(phases.matchAll(/\| "(\w+)"/g), ([, word]) => word ?? "");
  assert.ok(words.length >= 6);
  for (const word of words) assert.ok(text.includes(`\`${word}\``), word);
});
