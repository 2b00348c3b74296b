/**
 * The page: the list of files, sharing, downloading, keeping.
 *
 * 1. A file is told to the class as soon as it has been read; its bytes follow.
 * 2. ftweb sees to it that two devices and the bridges keep each file. The page only says which files
 *    there are (`keep`), and notes in the state what this device holds (`onHeld`), for all to see.
 * 3. A download of a file that was replaced meanwhile begins anew, and says so.
 *
 * @module
 */

import { connect, qrSvg } from "/ftweb/client.js";
import { download, keep, onHeld, save, share } from "/ftweb/files.js";
import { arrange, byId, say, set } from "./lib/dom.js";
import { createRow } from "./lib/row.js";
import { advice, connection as inWords } from "./lib/words.js";

/**
 * @typedef {import("./lib/row.js").SharedFile} SharedFile
 * @typedef {import("./lib/row.js").FileProgress} FileProgress
 * @typedef {{everybody: boolean, added: number, files: Record<string, SharedFile>}} State
 * @typedef {{sha256: string, task: {pause(): void, resume(): void, cancel(): void} | null,
 *   progress: FileProgress | null, blob: Blob | null, note: string}} Local
 */

/** Larger ones that this device shared are not copied: another tab of it may have the original. */
const COPIED_BYTES = 256 * 1024 * 1024;

/** @type {import("/ftweb/client.js").Connection | null} */
let connection = null;
/** @type {State | null} */
let state = null;
/** @type {Map<string, Local>} */
const locals = new Map();
/** @type {Map<string, ReturnType<typeof createRow>>} */
const rows = new Map();
/** SHA-256 of the files that this tab holds as a whole. @type {Set<string>} */
let here = new Set();
/** Whether that is known already. */
let looked = false;
/** What has been said of them, as `hold f1 SHA-256`. @type {Set<string>} */
const said = new Set();
/** @type {string | null} */
let replacing = null;

// --- drawing --------------------------------------------------------------------------------

function render() {
  if (!state || !connection) return;
  const entries = Object.entries(state.files).sort(([a], [b]) => Number(b.slice(1)) - Number(a.slice(1)));
  for (const key of [...rows.keys()]) if (!(key in state.files)) rows.delete(key);
  const elements = [];
  for (const [key, file] of entries) {
    const row = rows.get(key) ?? createRow(key, (act) => void perform(key, act));
    rows.set(key, row);
    const local = localOf(key);
    row.update(file, {
      mine: isMine(key),
      held: here.has(file.manifest.sha256),
      progress: local.progress,
      note: local.note,
    });
    elements.push(row.element);
  }
  arrange(byId("files"), elements);
  const may = state.everybody || connection.presenter;
  set(byId("add"), "hidden", !may);
  set(byId("empty"), "hidden", elements.length > 0);
  say(byId("empty-title"), "No files yet.");
  say(byId("empty-text"), may ? "What anybody shares appears here at once." : "What the presenter shares appears here at once.");
}

/**
 * @param {string} key
 * @returns {Local}
 */
function localOf(key) {
  let local = locals.get(key);
  if (!local) {
    local = { sha256: "", task: null, progress: null, blob: null, note: "" };
    locals.set(key, local);
  }
  return local;
}

/**
 * Whether this page may change it.
 *
 * @param {string} key
 */
function isMine(key) {
  return connection?.presenter || state?.files[key]?.by === connection?.deviceId;
}

/**
 * The key of a file that is shared once more: it may have been left half-way.
 *
 * @param {import("./lib/row.js").Manifest} manifest
 * @returns {string | null}
 */
function find({ name, sha256 }) {
  const same = Object.entries(state?.files ?? {}).find(
    ([, file]) => file.manifest.name === name && file.manifest.sha256 === sha256,
  );
  return same?.[0] ?? null;
}

/** @param {string} text */
function aloud(text) {
  say(byId("aloud"), text);
}

/** @param {unknown} error */
function complain(error) {
  const { message } = /** @type {{message?: string}} */ (error ?? {});
  say(byId("problem"), message || "That did not work. Please try again.");
  set(byId("problem"), "hidden", false);
}

// --- doing ----------------------------------------------------------------------------------

/**
 * @param {string} key
 * @param {import("./lib/row.js").Act} act
 */
async function perform(key, act) {
  const file = state?.files[key];
  if (!file || !connection) return;
  const local = localOf(key);
  set(byId("problem"), "hidden", true);
  switch (act) {
    case "get":
      return get(key);
    case "pause":
      return local.task?.pause();
    case "resume":
      return local.task?.resume();
    case "replace":
      replacing = key;
      return byId("choose").click();
    case "remove":
      try {
        await connection.send({ type: "remove", file: key });
        aloud(`${file.manifest.name} has been removed.`);
      } catch (error) {
        complain(error);
      }
  }
}

/**
 * Fetch what is missing and save it.
 *
 * @param {string} key
 */
async function get(key) {
  const file = state?.files[key];
  const local = localOf(key);
  if (!file || local.task) return;
  const { manifest } = file;
  local.sha256 = manifest.sha256;
  local.note = "";
  const task = download(manifest, {
    onProgress: (progress) => {
      local.progress = progress;
      render();
    },
  });
  local.task = task;
  render();
  try {
    const blob = await task.done;
    local.blob = blob;
    here.add(manifest.sha256);
    save(blob, manifest.name);
    local.note = "Saved.";
    aloud(`${manifest.name} has been saved.`);
  } catch (error) {
    const { code, message } = /** @type {{code?: string, message?: string}} */ (error);
    if (code !== "closed") local.note = message ?? "It could not be downloaded.";
  } finally {
    local.task = null;
    local.progress = null;
    render();
  }
}

/**
 * @param {File} file
 * @param {string | null} instead the key of the file that it replaces
 */
async function offer(file, instead) {
  if (!connection) return;
  set(byId("problem"), "hidden", true);
  /** @type {FileProgress | null} */
  let latest = null;
  let key = "";
  const task = share(file, {
    onProgress: (progress) => {
      latest = progress;
      if (key === "") return;
      localOf(key).progress = progress;
      render();
    },
  });
  try {
    const { manifest } = await task.described;
    const known = instead === null ? find(manifest) : null;
    if (known === null) {
      const message = instead === null ? { type: "add", manifest } : { type: "replace", file: instead, manifest };
      ({ file: key } = /** @type {{file: string}} */ (await connection.send(message)));
      aloud(`${manifest.name} is in the list.`);
    } else {
      key = known;
      aloud(`${manifest.name} was in the list already.`);
    }
    const local = localOf(key);
    local.sha256 = manifest.sha256;
    local.task = task;
    local.progress = latest;
    here.add(manifest.sha256);
    render();
    await task.done;
    // What has just been added is ours, also where the state does not show it yet.
    if (known === null || isMine(key)) {
      await connection.send({ type: "complete", file: key, sha256: manifest.sha256 });
    }
  } catch (error) {
    task.cancel();
    complain(error);
  } finally {
    if (key !== "") {
      localOf(key).task = null;
      localOf(key).progress = null;
    }
    render();
  }
}

// --- what happens ----------------------------------------------------------------------------

/** @param {State} next */
function onState(next) {
  state = next;
  keep(Object.values(next.files).map(({ manifest }) => manifest));
  for (const [key, local] of locals) {
    const file = next.files[key];
    const replaced = file && local.sha256 !== "" && file.manifest.sha256 !== local.sha256;
    if (!file || replaced) {
      const wasGetting = local.task !== null;
      local.task?.cancel();
      locals.delete(key);
      if (file && wasGetting) {
        const fresh = localOf(key);
        fresh.note = "The file was replaced; the download begins anew.";
        aloud(fresh.note);
        void get(key).then(() => (fresh.note = "The file was replaced. Saved the new one."), () => {}).then(render);
      }
    }
  }
  noteHeld();
  render();
}

/** Note in the state which files this device holds, and which the browser has thrown away. */
function noteHeld() {
  if (!looked || !state || !connection) return;
  for (const [key, { manifest, holders, complete }] of Object.entries(state.files)) {
    const noted = connection.deviceId in holders;
    if (here.has(manifest.sha256)) {
      if (!noted && complete) void tell("hold", key, manifest.sha256);
    } else if (noted && manifest.size <= COPIED_BYTES) {
      void tell("let_go", key, manifest.sha256);
    }
  }
}

/**
 * Say it once, until the other has been said.
 *
 * @param {"hold" | "let_go"} type
 * @param {string} key
 * @param {string} sha256
 */
async function tell(type, key, sha256) {
  const words = `${type} ${key} ${sha256}`;
  if (said.has(words)) return;
  said.add(words);
  said.delete(`${type === "hold" ? "let_go" : "hold"} ${key} ${sha256}`);
  try {
    await connection?.send({ type, file: key, sha256 });
  } catch {
    said.delete(words); // with the next state
  }
}

/** @param {import("/ftweb/client.js").FtwebStatus} status */
function onStatus(status) {
  const pill = document.querySelector("[data-testid=status]");
  if (pill) set(pill, "data-state", status.state);
  say(byId("status-text"), inWords(status));
  say(byId("advice"), advice(status));
  const people = document.getElementById("people");
  if (people) say(people, status.participants === 1 ? "1 device" : `${status.participants} devices`);
  if (connection?.joinUrl) void drawJoin(connection.joinUrl);
}

let drawn = "";

/** @param {string} url */
async function drawJoin(url) {
  const place = document.getElementById("join");
  if (!place || url === drawn) return;
  drawn = url;
  set(place, "hidden", false);
  say(byId("join-url"), url);
  try {
    arrange(byId("qr"), [await qrSvg(url, "QR code of the address to join")]);
  } catch {
    drawn = ""; // the next status tries again
  }
}

function watchChoosing() {
  const choose = /** @type {HTMLInputElement} */ (byId("choose"));
  choose.addEventListener("change", () => {
    const instead = replacing;
    replacing = null;
    const files = [...(choose.files ?? [])];
    for (const file of instead === null ? files : files.slice(0, 1)) void offer(file, instead);
    choose.value = "";
  });
  choose.addEventListener("cancel", () => (replacing = null));
  let depth = 0;
  /** @param {DragEvent} event */
  const isFile = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (isFile(event)) set(document.body, "data-dropping", ++depth > 0);
  });
  document.addEventListener("dragleave", (event) => {
    if (isFile(event)) set(document.body, "data-dropping", --depth > 0);
  });
  document.addEventListener("dragover", (event) => {
    if (isFile(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    depth = 0;
    set(document.body, "data-dropping", false);
    if (state && (state.everybody || connection?.presenter)) {
      for (const file of event.dataTransfer?.files ?? []) void offer(file, null);
    }
  });
  const everybody = /** @type {HTMLInputElement | null} */ (document.getElementById("everybody"));
  everybody?.addEventListener("change", () => {
    connection?.send({ type: "set_sharing", everybody: everybody.checked }).catch(complain);
  });
}

watchChoosing();
try {
  connection = await connect("classroom-files");
  connection.onStatus(onStatus);
  connection.onState((value) => {
    const next = /** @type {State} */ (value);
    const everybody = /** @type {HTMLInputElement | null} */ (document.getElementById("everybody"));
    if (everybody) everybody.checked = next.everybody;
    onState(next);
  });
  onHeld((hashes) => {
    here = new Set(hashes);
    looked = true;
    noteHeld();
    render();
  });
} catch (error) {
  say(byId("empty-title"), "Not joined");
  say(byId("empty-text"), /** @type {Error} */ (error).message);
}
