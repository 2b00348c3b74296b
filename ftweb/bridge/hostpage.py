"""``/ftweb/host``: the page of a tab that serves an app which has no pages of its own.

An ASGI application answers every address, so some page must be there to hold the tab that runs it:
this one. Every tab that has it open can take over.
"""

from __future__ import annotations

from typing import Final

PATH: Final = "/ftweb/host"

FILES: Final[dict[str, str]] = {
    "host.html": """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This tab serves</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/ftweb/host.css">
<script type="module" src="/ftweb/host.js"></script>
</head>
<body>
<main>
<h1 id="name">Connecting…</h1>
<p id="role" role="status" aria-live="polite"></p>
<p>Open it at <a id="address" href="/">this address</a> on any device of this network.
Keep this tab open: while it is, it can answer for the others.</p>
<div id="code"></div>
<p><ftweb-status></ftweb-status></p>
</main>
</body>
</html>
""",
    "host.js": """import { connect, qrSvg } from "/ftweb/client.js";

const element = (id) => document.getElementById(id);
let shown = "";
async function show(address) {
  if (address === shown) return;
  shown = address;
  element("address").textContent = element("address").href = address;
  const code = await qrSvg(address, "QR code of that address");
  if (address === shown) element("code").replaceChildren(code);
}
try {
  const connection = await connect();
  element("name").textContent = document.title = connection.name;
  connection.onStatus((status) => {
    // On the presenter's own machine this page is at an address that only that machine can open.
    void show(new URL("/", connection.joinUrl || location.href).href);
    element("role").textContent = status.hosting
      ? "This tab is serving now."
      : status.ready
        ? "This tab is ready to take over."
        : "This tab is getting ready.";
  });
} catch (error) {
  element("name").textContent = "Not connected";
  element("role").textContent = error.message;
}
""",
    "host.css": """:root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif; }
main { max-width: 36rem; margin: min(10vh, 5rem) auto; padding: 0 1.5rem; }
h1 { overflow-wrap: anywhere; }
#role { font-size: 1.3rem; }
#address { overflow-wrap: anywhere; }
#code { width: min(16rem, 100%); }
#code svg { display: block; width: 100%; height: auto; background: #fff; border-radius: 8px; }
""",
}
"""Name → content, below ``/ftweb/``."""
