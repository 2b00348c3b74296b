/** QR codes as SVG elements. A script of its own, so that voters' phones do not load it. */

import { encode } from "uqr";

const NAMESPACE = "http://www.w3.org/2000/svg";

/** Modules of light around the code: the standard asks for four. */
const QUIET_ZONE = 4;

/**
 * Draw a QR code.
 *
 * It is an image to assistive technology, named by `label`. It needs no style: dark on light in
 * any colour scheme, sharp at any size (set a size with CSS).
 */
export function drawQr(text: string, label: string): SVGSVGElement {
  const { data, size } = encode(text, { ecc: "M", border: QUIET_ZONE });
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("shape-rendering", "crispEdges");
  const title = document.createElementNS(NAMESPACE, "title");
  title.textContent = label;
  const light = document.createElementNS(NAMESPACE, "rect");
  light.setAttribute("width", String(size));
  light.setAttribute("height", String(size));
  light.setAttribute("fill", "#fff");
  const dark = document.createElementNS(NAMESPACE, "path");
  dark.setAttribute("fill", "#000");
  dark.setAttribute("d", outline(data));
  svg.append(title, light, dark);
  return svg;
}

/** One path for all dark modules, a run of them as one bar. */
export function outline(rows: readonly (readonly boolean[])[]): string {
  let path = "";
  rows.forEach((row, y) => {
    let from = -1;
    for (let x = 0; x <= row.length; x++) {
      const dark = row[x] === true;
      if (dark && from < 0) from = x;
      if (!dark && from >= 0) {
        path += `M${from} ${y}h${x - from}v1h-${x - from}z`;
        from = -1;
      }
    }
  });
  return path;
}
