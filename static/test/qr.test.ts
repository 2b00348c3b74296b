/** The outline of a code covers exactly its dark modules. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode } from "uqr";

import { outline } from "../src/qr";

function drawn(path: string, size: number): boolean[][] {
  const rows = Array.from({ length: size }, () => Array<boolean>(size).fill(false));
  for (const [, x, y, width, back] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-(\d+)z/g)) {
    assert.equal(width, back);
    const row = rows[Number(y)];
    assert.ok(row);
    row.fill(true, Number(x), Number(x) + Number(width));
  }
  return rows;
}

test("every dark module is drawn, and no other", () => {
  const { data, size } = encode("http://192.0.2.7:8765/#join=0123456789abcdef", { border: 4 });
  assert.deepEqual(drawn(outline(data), size), data);
});

test("runs at either end of a row", () => {
  assert.equal(outline([[true, true, false, true]]), "M0 0h2v1h-2zM3 0h1v1h-1z");
  assert.equal(outline([[false], [true]]), "M0 1h1v1h-1z");
  assert.equal(outline([]), "");
});
