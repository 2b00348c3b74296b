/** Tokens and keys: where they come from, where they are kept, what happens without storage. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  deviceKey,
  findTokens,
  forgetToken,
  keepJoinToken,
  randomKey,
  withoutPresenter,
  type Place,
  type Store,
} from "../src/keys";

class MemoryStore implements Store {
  readonly items = new Map<string, string>();
  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.items.set(key, value);
  }
  removeItem(key: string): void {
    this.items.delete(key);
  }
}

/** As browsers do where storage is forbidden. */
const forbidden: Store = {
  getItem: () => {
    throw new Error("SecurityError");
  },
  setItem: () => {
    throw new Error("QuotaExceededError");
  },
  removeItem: () => {
    throw new Error("SecurityError");
  },
};

function place(fragment: string, stores: readonly Store[], path = "/"): Place {
  return { fragment, path, stores };
}

test("keys are 32 hex digits, and no two the same", () => {
  const keys = Array.from({ length: 100 }, randomKey);
  for (const key of keys) assert.match(key, /^[0-9a-f]{32}$/);
  assert.equal(new Set(keys).size, keys.length);
});

test("the device key is kept, and replaced if it was tampered with", () => {
  const store = new MemoryStore();
  const key = deviceKey(store);
  assert.equal(deviceKey(store), key);
  store.setItem("ftweb.device", "<script>");
  assert.match(deviceKey(store), /^[0-9a-f]{32}$/);
});

test("without storage there are keys and tokens all the same", () => {
  assert.match(deviceKey(undefined), /^[0-9a-f]{32}$/);
  assert.match(deviceKey(forbidden), /^[0-9a-f]{32}$/);
  assert.equal(findTokens(place("#join=abc", [forbidden]), {}).join, "abc");
  assert.equal(findTokens(place("", [forbidden]), {}).join, undefined);
  forgetToken(place("", [forbidden]), "abc");
});

test("a token in the address is kept for the bare address", () => {
  const stores = [new MemoryStore(), new MemoryStore()];
  assert.deepEqual(findTokens(place("#join=abc", stores), {}), {
    join: "abc",
    presenter: undefined,
  });
  assert.equal(findTokens(place("", stores), {}).join, "abc");
  assert.equal(findTokens(place("", stores.slice(1)), {}).join, "abc", "in a new tab");
});

test("the app's token wins over the address, the address over what was kept", () => {
  const stores = [new MemoryStore()];
  findTokens(place("#join=old", stores), {});
  assert.equal(findTokens(place("#join=new", stores), {}).join, "new");
  assert.equal(findTokens(place("#join=new", stores), { join: "given" }).join, "given");
  assert.equal(findTokens(place("", stores), {}).join, "given");
});

test("a presenter token stays on its page", () => {
  const stores = [new MemoryStore()];
  const presenter = findTokens(place("#presenter=p", stores, "/presenter.html"), {});
  assert.equal(presenter.presenter, "p");
  assert.equal(findTokens(place("", stores, "/presenter.html"), {}).presenter, "p");
  assert.equal(findTokens(place("", stores, "/"), {}).presenter, undefined);
});

test("the presenter's join address lets the voters' page in", () => {
  const stores = [new MemoryStore()];
  keepJoinToken(place("", stores, "/presenter.html"), "http://192.0.2.7:8765/#join=abc");
  assert.equal(findTokens(place("", stores, "/"), {}).join, "abc");
  keepJoinToken(place("", stores), "");
  assert.equal(findTokens(place("", stores), {}).join, "abc");
});

test("a refused token is forgotten everywhere, others are not", () => {
  const stores = [new MemoryStore(), new MemoryStore()];
  findTokens(place("#join=abc&presenter=p", stores), {});
  forgetToken(place("", stores), "p");
  assert.deepEqual(findTokens(place("", stores), {}), { join: "abc", presenter: undefined });
  forgetToken(place("", stores), "abc");
  assert.deepEqual(findTokens(place("", stores), {}), { join: undefined, presenter: undefined });
});

test("tokens with signs of their own survive the address", () => {
  const token = "a-b_c.d~e";
  assert.equal(findTokens(place(`#join=${token}`, []), {}).join, token);
});

test("the presenter token leaves the address bar, the rest stays", () => {
  assert.equal(withoutPresenter("#presenter=p"), "");
  assert.equal(withoutPresenter("#join=a&presenter=p"), "#join=a");
  assert.equal(withoutPresenter("#join=a"), "#join=a");
});
