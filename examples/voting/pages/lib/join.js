/**
 * How to join: a QR code and the address. There is one of it, and it moves: big on the screen
 * while there is nothing to vote on, beside the poll afterwards, over everything on demand.
 *
 * @module
 */

import { qrSvg } from "/ftweb/qr.js";
import { h, setAttribute, setChildren, setText } from "./dom.js";

/**
 * @returns {{element: HTMLElement, update: (joinUrl: string) => void}}
 */
export function createJoin() {
  const code = h("div", { class: "qr", "data-testid": "join-qr", role: "img", "aria-label": "QR code of the address to join" });
  const host = h("span", { class: "host" });
  const rest = h("span", { class: "rest" });
  const address = h("p", { class: "address", "data-testid": "join-url" }, host, rest);
  const element = h(
    "section",
    { class: "join panel", "aria-labelledby": "join-title" },
    code,
    h(
      "div",
      { class: "join-words" },
      h("h2", { id: "join-title" }, "Join the vote"),
      h("p", { class: "soft" }, "Same Wi-Fi, scan the code, or type:"),
      address,
    ),
  );
  let drawn = "";
  return {
    element,
    update(joinUrl) {
      setAttribute(element, "hidden", joinUrl === "");
      if (joinUrl === drawn || joinUrl === "") return;
      drawn = joinUrl;
      const at = joinUrl.indexOf("#");
      setText(host, at < 0 ? joinUrl : joinUrl.slice(0, at));
      setText(rest, at < 0 ? "" : joinUrl.slice(at));
      setChildren(code, [picture(joinUrl)]);
    },
  };
}

/**
 * The code as a node: the runtime may hand it over as an element or as SVG text.
 *
 * @param {string} text
 * @returns {Node}
 */
function picture(text) {
  const svg = qrSvg(text);
  if (typeof svg !== "string") return svg;
  return document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
}
