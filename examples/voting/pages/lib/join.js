/**
 * How to join: a QR code and the address. There is one of it, and it moves: big on the screen
 * while there is nothing to vote on, beside the poll afterwards, over everything on demand.
 *
 * @module
 */

import { qrSvg } from "/ftweb/client.js";
import { h, setAttribute, setChildren, setText } from "./dom.js";

const HOW = "In the same Wi-Fi, scan the code with the camera, or type the whole address:";
const CLOSED = "Nobody new can join at the moment.";

/**
 * @returns {{element: HTMLElement, update: (joinUrl: string, open?: boolean) => void}}
 */
export function createJoin() {
  const code = h("div", { class: "qr", "data-testid": "join-qr" });
  const host = h("span", { class: "host" });
  const rest = h("span", { class: "rest" });
  const address = h("p", { class: "address", "data-testid": "join-url" }, host, rest);
  const how = h("p", { class: "soft" });
  const element = h(
    "section",
    { class: "join panel", "aria-labelledby": "join-title" },
    code,
    h(
      "div",
      { class: "join-words" },
      h("h2", { id: "join-title" }, "Join the vote"),
      how,
    ),
    address,
  );
  let drawn = "";

  /** @param {string} joinUrl */
  async function draw(joinUrl) {
    try {
      const picture = await qrSvg(joinUrl, "QR code of the address to join");
      if (drawn === joinUrl) setChildren(code, [picture]);
    } catch {
      // Its script could not be loaded just now; the next status tries again.
      drawn = "";
    }
  }

  return {
    element,
    /** Where nobody can join (not `open`), no code leads anybody astray. */
    update(joinUrl, open = true) {
      setAttribute(element, "hidden", joinUrl === "");
      setAttribute(code, "hidden", !open);
      setAttribute(address, "hidden", !open);
      setText(how, open ? HOW : CLOSED);
      if (joinUrl === drawn || joinUrl === "") return;
      drawn = joinUrl;
      const at = joinUrl.indexOf("#");
      setText(host, at < 0 ? joinUrl : joinUrl.slice(0, at));
      setText(rest, at < 0 ? "" : joinUrl.slice(at));
      void draw(joinUrl);
    },
  };
}
