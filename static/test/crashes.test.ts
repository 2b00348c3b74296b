/** What a tab remembers of its crashes, and when it goes without a replica. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Crashes, CRASHES_KEPT_MS } from "../src/crashes";
import type { Store } from "../src/keys";

class Memory implements Store {
  readonly held = new Map<string, string>();
  getItem(key: string): string | null {
    return this.held.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.held.set(key, value);
  }
  removeItem(key: string): void {
    this.held.delete(key);
  }
}

/** A tab in a browser; `load` is a page load in it. */
class Tab {
  session: Memory = new Memory();
  readonly living = new Set<string>();
  time = 1_800_000_000_000;
  private loads = 0;

  constructor(readonly local: Store | undefined) {}

  load(): Crashes {
    this.loads += 1;
    return new Crashes(
      {
        session: this.session,
        local: this.local,
        now: () => this.time,
        lives: (id) => Promise.resolve(this.living.has(id)),
      },
      `page${this.loads}`,
    );
  }

  /** Load a page that is looked at, and have it crash. Gives whether it ran a replica. */
  async crash(): Promise<boolean> {
    const page = this.load();
    const may = await page.judge();
    page.show(true);
    return may;
  }
}

test("one crash is forgiven, two are not, an hour later all is forgotten", async () => {
  const tab = new Tab(new Memory());
  assert.equal(await tab.crash(), true);
  assert.equal(await tab.crash(), true);
  assert.equal(await tab.crash(), false);
  assert.equal(await tab.load().judge(), false, "reloading does not help");
  tab.time += CRASHES_KEPT_MS;
  assert.equal(await tab.load().judge(), true);
});

test("a page without a replica bears no mark: whatever ends it is not the replica", async () => {
  const tab = new Tab(new Memory());
  for (let count = 0; count < 3; count += 1) await tab.crash();
  assert.equal(tab.session.held.size, 0);
});

test("leaving properly, or ending while hidden, is no crash", async () => {
  const tab = new Tab(new Memory());
  for (let count = 0; count < 5; count += 1) {
    const page = tab.load();
    assert.equal(await page.judge(), true);
    page.show(true);
    page.show(false);
  }
});

test("another tab of the device is told, too", async () => {
  const tab = new Tab(new Memory());
  await tab.crash();
  await tab.crash();
  await tab.load().judge();
  const other = new Tab(tab.local);
  assert.equal(await other.load().judge(), false);
});

test("a duplicated tab has a copy of the mark, and nothing has crashed", async () => {
  const tab = new Tab(new Memory());
  for (let count = 0; count < 5; count += 1) {
    const page = tab.load();
    assert.equal(await page.judge(), true);
    page.show(true);
    tab.living.add(`page${count + 1}`);
  }
});

test("a replica that cannot be kept running is not tried again by the next page", async () => {
  const tab = new Tab(new Memory());
  const page = tab.load();
  assert.equal(await page.judge(), true);
  page.failed();
  assert.equal(await tab.load().judge(), false);
});

test("no storage, or nonsense in it: each page tries", async () => {
  const without = new Tab(undefined);
  for (let count = 0; count < 3; count += 1) assert.equal(await without.crash(), true);
  const nonsense = new Memory();
  nonsense.setItem("ftweb.crashes", "x -1 9e99 NaN");
  assert.equal(await new Tab(nonsense).load().judge(), true);
});

test("a clock that was set back does not bar for ever", async () => {
  const tab = new Tab(new Memory());
  await tab.crash();
  await tab.crash();
  assert.equal(await tab.load().judge(), false);
  tab.time -= 10 * CRASHES_KEPT_MS;
  assert.equal(await tab.load().judge(), true);
});
