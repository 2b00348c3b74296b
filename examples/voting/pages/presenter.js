/**
 * The presenter's page: writes and runs the polls, shows them to the room, tells who hosts.
 *
 * @module
 */

import { connect } from "/ftweb/client.js";
import { createComposer } from "./lib/composer.js";
import { download, toCsv } from "./lib/csv.js";
import { byId, h, setAttribute, setChildren, setText } from "./lib/dom.js";
import { createJoin } from "./lib/join.js";
import { newestFirst, plural, rows, voters } from "./lib/polls.js";
import { createStage } from "./lib/stage.js";
import { adviceInWords, errorInWords, outcomeInWords, stateInWords } from "./lib/words.js";

/** @type {import("/ftweb/client.js").Connection | null} */
let connection = null;
/** @type {import("./lib/polls.js").State | null} */
let state = null;
let online = 0;
let busy = false;
/** @type {{id: string, key: string, stage: ReturnType<typeof createStage>} | null} */
let shown = null;

const join = createJoin();
const lobby = h(
  "div",
  { class: "lobby" },
  h("h1", { class: "question" }, "Join the vote"),
  h("div", { class: "join-here" }),
  h("p", { class: "turnout", id: "lobby-count" }),
);
const composer = createComposer(byId("composer"), async (poll) => {
  try {
    await request({ type: "create_poll", ...poll });
    tell(poll.open ? "Voting has started." : "Saved for later.");
    return true;
  } catch (error) {
    composer.refuse(errorInWords(error));
    return false;
  }
});

// --- requests -----------------------------------------------------------------------------

/** @param {Record<string, unknown>} message */
async function request(message) {
  if (!connection) throw new Error("Not connected yet.");
  return connection.send(message);
}

/**
 * Sends a message about a poll. One at a time: a second click on "Close" must not arrive as a
 * click on the "Reopen" that took its place.
 *
 * @param {string} type
 * @param {string} id
 */
async function act(type, id) {
  if (busy) return;
  busy = true;
  render();
  try {
    await request({ type, poll_id: id });
  } catch (error) {
    warn(errorInWords(error));
  } finally {
    busy = false;
    render();
  }
}

/** @param {string} text spoken by screen readers */
function tell(text) {
  setText(byId("aloud"), text);
}

/** @param {string} text */
function warn(text) {
  setText(byId("notice-text"), text);
  setAttribute(byId("notice"), "hidden", false);
}

// --- what is shown ------------------------------------------------------------------------

function render() {
  if (!state || !connection?.presenter) return;
  renderStage(state);
  renderList(state);
  placeJoin();
  setAttribute(byId("export-csv"), "disabled", Object.keys(state.polls).length === 0);
}

/** @param {import("./lib/polls.js").State} now */
function renderStage(now) {
  const id = now.current;
  const poll = id === null ? undefined : now.polls[id];
  if (id === null || !poll) {
    shown = null;
    setChildren(byId("stage"), [lobby]);
    setText(byId("lobby-count"), online <= 1 ? "Waiting for the first phone…" : `${online} devices are here`);
    return;
  }
  const key = JSON.stringify([id, poll.kind, poll.question, poll.options]);
  if (shown?.key !== key) {
    const stage = createStage(id, poll, (type) => void act(type, id));
    shown = { id, key, stage };
    setChildren(byId("stage"), [stage.element]);
  }
  shown.stage.update(poll, online, busy);
}

/** @param {import("./lib/polls.js").State} now */
function renderList(now) {
  const list = byId("polls");
  const old = new Map([...list.children].map((one) => [one.getAttribute("data-poll-id"), one]));
  setChildren(
    list,
    newestFirst(now).map((id) => {
      const poll = now.polls[id];
      const item = old.get(id) ?? listItem(id);
      const button = item.querySelector("button");
      const [question, standing] = item.querySelectorAll("span");
      if (!poll || !button || !question || !standing) return item;
      setText(question, poll.question);
      const words = { ready: "Not started", open: "Open", closed: "Closed" }[poll.status];
      setText(standing, poll.status === "ready" ? words : `${words} · ${plural(voters(poll), "vote")}`);
      setAttribute(item, "data-status", poll.status);
      setAttribute(button, "aria-current", id === now.current ? "true" : null);
      return item;
    }),
  );
  setAttribute(byId("no-polls"), "hidden", list.children.length > 0);
}

/** @param {string} id */
function listItem(id) {
  return h(
    "li",
    { "data-poll-id": id },
    h(
      "button",
      { type: "button", "data-testid": "select-poll", onclick: () => void act("select_poll", id) },
      h("span", { class: "text", dir: "auto" }),
      h("span", { class: "standing" }),
    ),
  );
}

/** Puts the one join panel where it is wanted now. */
function placeJoin() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("join-dialog"));
  const lobbyPlace = lobby.querySelector(".join-here");
  const place = dialog.open ? byId("join-large") : shown === null && lobbyPlace ? lobbyPlace : byId("join-home");
  if (join.element.parentElement !== place) place.append(join.element);
}

/** @param {import("/ftweb/client.js").FtwebStatus} status */
function onStatus(status) {
  const pill = document.querySelector("[data-testid=status]");
  if (pill) setAttribute(pill, "data-state", status.state);
  setText(byId("status-text"), stateInWords(status, true));
  setText(byId("advice"), adviceInWords(status));
  online = status.participants;
  setText(byId("participants"), online);
  setText(byId("participants-word"), online === 1 ? "device online" : "devices online");
  setText(byId("hosting"), hostInWords(status));
  if (connection) join.update(connection.joinUrl, status.state !== "no-bridge" && status.state !== "offline");
  // A device that cannot hold a replica takes part all the same.
  if (status.error && status.error.code !== "node_failed" && !state) gate("Not joined", errorInWords(status.error), false);
  render();
}

/**
 * Who hosts, and who could take over.
 *
 * @param {import("/ftweb/client.js").FtwebStatus} status
 */
function hostInWords(status) {
  // Who can be heard is not known then, or too few to take over from anybody.
  if (status.state === "offline" || status.state === "no-quorum") return "";
  // Bridges keep copies too, but run no handlers: they cannot take over for long.
  const tabs = status.successors.filter((id) => !status.bridges.includes(id));
  const standby = tabs.filter((id) => id !== status.hostId).length;
  const host = status.hosting
    ? "Hosted by this tab"
    : status.hostId === null
      ? status.ready
        ? "No host yet"
        : "Starting up…"
      : "Hosted by another tab";
  const others = standby === 0 ? "nobody else can take over yet" : `${standby} more can take over`;
  return status.hostId === null ? host : `${host} · ${others}`;
}

/** @param {import("./lib/polls.js").State} next */
function onState(next) {
  const before = state;
  state = next;
  render();
  const id = next.current;
  const poll = id === null ? undefined : next.polls[id];
  const was = id === null ? undefined : before?.polls[id];
  if (poll && was?.status === "open" && poll.status === "closed") {
    tell(`Voting is closed. ${rows(poll).map((row) => `${row.mark} ${row.label}: ${row.votes}`).join("; ")}`);
  }
}

function save() {
  if (!state) return;
  download(toCsv(state), `classroom-vote-${new Date().toISOString().slice(0, 10)}.csv`);
  tell("Results saved.");
}

// --- the page itself ------------------------------------------------------------------------

/**
 * What somebody sees who is not the presenter.
 *
 * @param {string} title
 * @param {string} text
 * @param {boolean} how tell where the presenter's link is
 */
function gate(title, text, how) {
  setText(byId("gate-title"), title);
  setText(byId("gate-text"), text);
  setText(
    byId("gate-how"),
    how
      ? "Open the presenter link that was printed in the terminal where the class was started with ftweb run. It ends in #presenter= and a long code. On that computer the page has usually opened by itself."
      : "",
  );
  setAttribute(byId("gate-link"), "hidden", !how);
  setAttribute(byId("gate"), "hidden", false);
  setAttribute(byId("main"), "hidden", true);
  setAttribute(byId("tools"), "hidden", true);
}

function wire() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("join-dialog"));
  byId("show-join").addEventListener("click", () => {
    dialog.showModal();
    placeJoin();
  });
  byId("close-join").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", placeJoin);
  byId("export-csv").addEventListener("click", save);
  byId("notice-close").addEventListener("click", () => setAttribute(byId("notice"), "hidden", true));
  byId("full-screen").addEventListener("click", () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => toggleStageOnly(true));
  });
  document.addEventListener("fullscreenchange", () => toggleStageOnly(document.fullscreenElement !== null));
}

/** On the projector only the question and the join code are of interest. @param {boolean} on */
function toggleStageOnly(on) {
  setAttribute(document.body, "data-stage-only", on);
  setAttribute(byId("full-screen"), "aria-pressed", on ? "true" : "false");
  setText(byId("full-screen"), on ? "Leave full screen" : "Full screen");
}

wire();
gate("Connecting…", "", false);
try {
  connection = await connect("classroom-vote");
  if (connection.presenter) {
    setAttribute(byId("gate"), "hidden", true);
    setAttribute(byId("main"), "hidden", false);
    setAttribute(byId("tools"), "hidden", false);
    join.update(connection.joinUrl);
  } else {
    gate("This is the presenter’s page", "It needs the presenter’s link; this tab has joined the class as a voter.", true);
  }
  connection.onOutcome((outcome) => {
    const type = /** @type {{type?: string}} */ (outcome.request).type ?? "";
    warn(outcomeInWords(outcome, `What this page asked for (${type.replaceAll("_", " ")})`));
  });
  connection.onStatus(onStatus);
  connection.onState((value) => onState(/** @type {import("./lib/polls.js").State} */ (value)));
} catch (error) {
  setText(byId("status-text"), "Not connected");
  const noToken = /** @type {{code?: string}} */ (error).code === "bad_token";
  gate("This is the presenter’s page", noToken ? "It needs the presenter’s link." : errorInWords(error), true);
}
