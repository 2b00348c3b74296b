/**
 * The secrets that a page holds: its own key, its device's key, and the token that let it in.
 *
 * 1. The client key is this page load's, in memory only: a duplicated tab copies sessionStorage,
 *    and two pages must never share a key.
 * 2. The device key is the browser profile's, in localStorage: it is what makes one ballot per
 *    device.
 * 3. The join token comes in the address's fragment, which is never sent to a server. It is kept
 *    for the origin, so that a reload, or the bare address, works. A presenter token is kept for
 *    its own page only, so that the voters' page in the same browser stays a voter's.
 * 4. Storage may be missing or full (private windows, policies): then all this lasts for the page.
 */

const HEX_DIGITS = 32;

/** 128 random bits. `crypto.randomUUID` does not exist on an insecure origin. */
export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(HEX_DIGITS / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What is used of sessionStorage and localStorage. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export interface Place {
  readonly fragment: string;
  readonly path: string;
  /** In the order in which they are asked. */
  readonly stores: readonly Store[];
}

export interface Tokens {
  readonly join?: string | undefined;
  readonly presenter?: string | undefined;
}

export function deviceKey(store: Store | undefined): string {
  return keptKey(store, "ftweb.device");
}

/** By which bridges tell browsers apart that keep files. It opens nothing, unlike the others. */
export function browserKey(store: Store | undefined): string {
  return keptKey(store, "ftweb.browser");
}

function keptKey(store: Store | undefined, name: string): string {
  const known = read(store, name);
  if (known !== null && new RegExp(`^[0-9a-f]{${HEX_DIGITS}}$`).test(known)) return known;
  const fresh = randomKey();
  write(store, name, fresh);
  return fresh;
}

/** The tokens that this page may use: from the app, else the address, else what was kept. */
export function findTokens(place: Place, given: Tokens): Tokens {
  const fragment = new URLSearchParams(place.fragment.replace(/^#/, ""));
  const find = (name: "join" | "presenter"): string | undefined => {
    const fresh = given[name] ?? fragment.get(name) ?? "";
    if (fresh !== "") {
      for (const store of place.stores) write(store, storedAs(name, place), fresh);
      return fresh;
    }
    for (const store of place.stores) {
      const kept = read(store, storedAs(name, place));
      if (kept !== null) return kept;
    }
    return undefined;
  };
  return { join: find("join"), presenter: find("presenter") };
}

/** A token was refused: it must not be tried again by the next page. */
export function forgetToken(place: Place, token: string): void {
  for (const name of ["join", "presenter"] as const) {
    const key = storedAs(name, place);
    for (const store of place.stores) {
      if (read(store, key) === token) attempt(() => store.removeItem(key));
    }
  }
}

/** The presenter's page learns the join address: the voters' page in this browser may join, too. */
export function keepJoinToken(place: Place, joinUrl: string): void {
  const token = new URLSearchParams(joinUrl.split("#")[1] ?? "").get("join");
  if (token === null) return;
  for (const store of place.stores) write(store, "ftweb.join", token);
}

/** The fragment without the presenter's token, which is not for a projector's address bar. */
export function withoutPresenter(fragment: string): string {
  const parameters = new URLSearchParams(fragment.replace(/^#/, ""));
  parameters.delete("presenter");
  const rest = parameters.toString();
  return rest === "" ? "" : `#${rest}`;
}

function storedAs(name: "join" | "presenter", place: Place): string {
  return name === "join" ? "ftweb.join" : `ftweb.presenter:${place.path}`;
}

function read(store: Store | undefined, key: string): string | null {
  return attempt(() => store?.getItem(key) ?? null) ?? null;
}

function write(store: Store | undefined, key: string, value: string): void {
  attempt(() => store?.setItem(key, value));
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
