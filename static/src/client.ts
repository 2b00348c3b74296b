/**
 * `/ftweb/client.js`, the module that pages import; docs/javascript-api.md describes it.
 *
 * Importing it connects nothing: it offers `globalThis.ftweb.status()` and `<ftweb-status>`, which
 * then speak of a page that has not joined.
 */

import type { FromRtc, FtwebStatus, NetToPage, PageToNet, ToRtc } from "./channels";
import { ANSWER, ASK, Crashes } from "./crashes";
import { ConnectError, RequestError } from "./errors";
import { defineStatusElement } from "./element";
import {
  deviceKey,
  findTokens,
  forgetToken,
  keepJoinToken,
  randomKey,
  withoutPresenter,
  type Place,
} from "./keys";
import { joining, type Connection, type Outcome, type Unsubscribe } from "./page";
import type * as Qr from "./qr";
import type * as Rtc from "./rtc";
import { NOTHING_KNOWN, toStatus } from "./status";

export { ConnectError, RequestError };
export type { Connection, FtwebStatus, Outcome };

/** Put in by the build: the folder of this build's workers. */
declare const FTWEB_BUILD: string;
const RUNTIME = new URL(`runtime/${FTWEB_BUILD}/`, new URL("/ftweb/", import.meta.url));

export interface ConnectOptions {
  /** The join token, if it is not in the page's address. */
  readonly token?: string;
  /** The presenter token, which implies it. */
  readonly presenterToken?: string;
}

/**
 * How long a page that is about to be frozen (hidden for long, or on its way into the back/forward
 * cache) is held back. Its workers are frozen with it, and one that had not read the message by
 * then would keep its socket, silent, for long.
 */
const LEAVING_MS = 30;

let status: FtwebStatus = toStatus(NOTHING_KNOWN, "offline");
const watchers = new Set<(status: FtwebStatus) => void>();
let joined: Promise<Connection> | undefined;

function watchStatus(watcher: (status: FtwebStatus) => void): Unsubscribe {
  watchers.add(watcher);
  watcher(status);
  return () => void watchers.delete(watcher);
}

/**
 * Join the server that published this page.
 *
 * A page has one connection: a second call gives the same, until it was refused or closed.
 *
 * @param _name the server's name, for who reads the page's source: its address decides.
 * @throws ConnectError - the token was refused, or page and bridge are of different versions.
 */
export function connect(_name?: string, options: ConnectOptions = {}): Promise<Connection> {
  joined ??= join(options);
  return joined;
}

/** The next `connect` joins anew. */
function ended(): void {
  joined = undefined;
}

function join(options: ConnectOptions): Promise<Connection> {
  const place: Place = {
    fragment: location.hash,
    path: location.pathname,
    stores: [store(() => sessionStorage), store(() => localStorage)].flatMap((found) =>
      found === undefined ? [] : [found],
    ),
  };
  const tokens = findTokens(place, { join: options.token, presenter: options.presenterToken });
  const token = tokens.presenter ?? tokens.join ?? "";
  const bare = withoutPresenter(location.hash);
  if (bare !== location.hash && location.hash.includes("presenter=")) {
    history.replaceState(history.state, "", location.pathname + location.search + bare);
  }

  const worker = new Worker(new URL("net-worker.js", RUNTIME), {
    type: "module",
    name: "ftweb-net",
  });
  const crashes = watchCrashes(randomKey());
  const post = (message: PageToNet): void => {
    if (message.kind === "close") {
      crashes.show(false);
      ended();
    }
    worker.postMessage(message);
  };
  const page = joining({ postMessage: post }, status);
  let alive = false;
  const direct = peerConnections((message, transfer) => worker.postMessage(message, transfer));
  const hear = (message: NetToPage): void => {
    alive = true;
    if (message.kind === "rtc") {
      direct.obey(message);
      return;
    }
    if (message.kind === "welcome") {
      performance.mark("ftweb:welcome");
      keepJoinToken(place, message.welcome.join_url);
    }
    if (message.kind === "barred") crashes.failed();
    if (message.kind === "bridges") rememberBridges(message.bridges);
    if (message.kind === "refused") {
      ended();
      if (message.code === "bad_token") forgetToken(place, token);
    }
    if (message.kind === "status") {
      if (message.status.ready && !status.ready) performance.mark("ftweb:ready");
      status = message.status;
      for (const watcher of watchers) watcher(status);
    }
    page.hear(message);
  };
  worker.onmessage = (event: MessageEvent<NetToPage>) => hear(event.data);
  worker.onerror = () => {
    // Once it runs, an error in it is in the console and has not ended it.
    if (alive) return;
    const code = "connect_failed";
    const message = "The page's worker could not be loaded; reload the page.";
    hear({ kind: "status", status: { ...status, text: message, error: { code, message } } });
    hear({ kind: "refused", code, message });
  };
  const socketUrl = new URL("/ftweb/socket", RUNTIME);
  socketUrl.protocol = socketUrl.protocol.replace("http", "ws");
  post({
    kind: "start",
    socketUrl: socketUrl.href,
    clientKey: randomKey(),
    deviceKey: deviceKey(store(() => localStorage)),
    token,
    visible: isVisible(),
    runtime: RUNTIME.href,
    bridges: store(() => sessionStorage)?.getItem(BRIDGES) ?? "",
    rtc: typeof RTCPeerConnection === "function",
  });
  followPage((message) => {
    if (message.kind === "leave") direct.endAll();
    post(message);
  }, crashes);
  return page.joined;
}

const BRIDGES = "ftweb.bridges";

/** Should this tab be loaded again, from some cache, it then knows where to go. */
function rememberBridges(bridges: string): void {
  try {
    sessionStorage.setItem(BRIDGES, bridges);
  } catch {
    // No storage, or none left: the home bridge is known anyway.
  }
}

/** What makes data channels to other tabs; its script is loaded when the first is wanted. */
function peerConnections(tell: (message: FromRtc, transfer: Transferable[]) => void): {
  obey(order: ToRtc): void;
  endAll(): void;
} {
  let made: Rtc.PeerConnections | undefined;
  let loading: Promise<Rtc.PeerConnections> | undefined;
  const load = async (): Promise<Rtc.PeerConnections> => {
    const module = (await import(new URL("rtc.js", RUNTIME).href)) as typeof Rtc;
    made = new module.PeerConnections(tell);
    return made;
  };
  return {
    obey(order) {
      loading ??= load();
      loading.then(
        (loaded) => loaded.obey(order),
        () => {
          loading = undefined;
          tell({ kind: "undone", link: order.link }, []);
        },
      );
    },
    endAll: () => made?.endAll(),
  };
}

/** Tell the net worker what happens to the page. */
function followPage(post: (message: PageToNet) => void, crashes: Crashes): void {
  let gone = false;
  const leave = (frozen: boolean): void => {
    if (gone) return;
    gone = true;
    crashes.show(false);
    post({ kind: "leave" });
    if (frozen) holdOn(LEAVING_MS);
  };
  const back = (): void => {
    if (gone) post({ kind: "return", visible: isVisible() });
    gone = false;
    crashes.show(isVisible());
  };
  afterPaint(async () => {
    const may = await crashes.judge();
    crashes.show(isVisible() && !gone);
    post({ kind: may ? "painted" : "barred" });
  });
  document.addEventListener("visibilitychange", () => {
    crashes.show(isVisible() && !gone);
    post({ kind: "visible", visible: isVisible() });
  });
  // A page in the back/forward cache, or a frozen one, would keep its socket open and never answer.
  window.addEventListener("pagehide", (event) => leave(event.persisted));
  document.addEventListener("freeze", () => leave(true));
  window.addEventListener("pageshow", back);
  document.addEventListener("resume", back);
  window.addEventListener("online", () => post({ kind: "probe" }));
}

/** Time for another tab to say that it lives. */
const ANSWER_MS = 300;

function watchCrashes(id: string): Crashes {
  const [session, local] = [store(() => sessionStorage), store(() => localStorage)];
  const say = (key: string, value: string): void => {
    try {
      local?.setItem(key, value);
    } catch {
      // Nobody hears it: then a copied mark counts as a crash.
    }
  };
  // The event comes to the other tabs only. The time makes it a change each time.
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key === ASK && newValue?.split(" ")[0] === id) say(ANSWER, `${id} ${Date.now()}`);
  });
  const lives = (asked: string): Promise<boolean> =>
    new Promise((resolve) => {
      const hear = ({ key, newValue }: StorageEvent): void => {
        if (key === ANSWER && newValue?.split(" ")[0] === asked) end(true);
      };
      const end = (answered: boolean): void => {
        window.removeEventListener("storage", hear);
        resolve(answered);
      };
      window.addEventListener("storage", hear);
      setTimeout(() => end(false), ANSWER_MS);
      say(ASK, `${asked} ${Date.now()}`);
    });
  return new Crashes({ session, local, now: () => Date.now(), lives }, id);
}

/** Give the worker's thread a moment: nothing that waits would still come back to this one. */
function holdOn(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

/** Once the page has been shown. A hidden one is never painted and has nothing to wait for. */
function afterPaint(run: () => Promise<void>): void {
  if (!isVisible()) {
    setTimeout(() => void run());
    return;
  }
  const once = (): void => {
    clearTimeout(late);
    late = undefined;
    void run();
  };
  // Hidden meanwhile, or covered: frames may not come.
  let late: ReturnType<typeof setTimeout> | undefined = setTimeout(once, 1000);
  requestAnimationFrame(() =>
    setTimeout(() => {
      if (late !== undefined) once();
    }),
  );
}

function isVisible(): boolean {
  return document.visibilityState === "visible";
}

/** Storage that is switched off throws when it is touched. */
function store(open: () => Storage): Storage | undefined {
  try {
    return open();
  } catch {
    return undefined;
  }
}

/**
 * A QR code as an SVG element, an image named by `label`. Size it with CSS.
 *
 * Its script is loaded at the first call, from this server.
 */
export async function qrSvg(text: string, label = "QR code"): Promise<SVGSVGElement> {
  const { drawQr } = (await import(new URL("qr.js", RUNTIME).href)) as Pick<typeof Qr, "drawQr">;
  return drawQr(text, label);
}

Object.assign(globalThis, { ftweb: Object.freeze({ status: (): FtwebStatus => status }) });
defineStatusElement(watchStatus);
