"""The Content-Security-Policies in a real browser: what the runtime needs works, the rest does not.

The page and the worker of this test try everything themselves and write down what came of it: the
browser's developer tools are not bound by a page's policy.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from ftweb.bridge import BridgeConfig
from tests.lan.browsers import FLAGS, find_chromium

from .conftest import PATIENCE, Bridge

pytestmark = pytest.mark.browser

ATTEMPTS = """
export async function attempts() {
  const found = {};
  const attempt = async (name, run) => {
    try { found[name] = (await run()) ?? "works"; } catch (error) { found[name] = "blocked"; }
  };
  // The smallest WebAssembly module: its magic number and version.
  await attempt("wasm", async () => { await WebAssembly.compile(
    new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])); });
  await attempt("eval", () => { (0, eval)("1"); });
  await attempt("function", () => { new Function("return 1")(); });
  await attempt("own fetch", async () => { await fetch("/healthz"); });
  await attempt("foreign fetch", async () => {
    await fetch("http://127.0.0.1:9/", { mode: "no-cors" }); });
  await attempt("own socket", () => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/ftweb/socket`);
    socket.onopen = () => resolve("works");
    socket.onerror = reject;
  }));
  await attempt("module", async () => { await import("/ftweb/client.js"); });
  await attempt("data module", async () => { await import("data:text/javascript,1"); });
  return found;
}
"""

WORKER = (
    ATTEMPTS
    + """
attempts().then((found) => postMessage(found));
"""
)

PAGE = """<!doctype html><title>csp</title><link rel="stylesheet" href="/style.css">
<script>document.documentElement.dataset.inline = "works";</script>
<body><p style="color: rgb(1, 2, 3)">styled</p>
<script type="module" src="/page.js"></script></body>
"""

SCRIPT = (
    ATTEMPTS
    + """
const found = { page: await attempts() };
found.page.inline = document.documentElement.dataset.inline ?? "blocked";
found.page["inline style"] =
  getComputedStyle(document.querySelector("p")).color === "rgb(1, 2, 3)" ? "works" : "blocked";
found.page["style sheet"] =
  getComputedStyle(document.body).marginTop === "7px" ? "works" : "blocked";
found.page["foreign frame"] = await new Promise((resolve) => {
  document.addEventListener("securitypolicyviolation", (event) => {
    if (event.effectiveDirective === "frame-src") resolve("blocked");
  });
  const frame = document.createElement("iframe");
  frame.src = "http://127.0.0.1:9/";
  document.body.append(frame);
});
const worker = new Worker("/ftweb/runtime/testbuild/net-worker.js", { type: "module" });
found.worker = await new Promise((resolve, reject) => {
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = reject;
});
const result = document.createElement("output");
result.textContent = JSON.stringify(found);
document.body.append(result);
"""
)

EVERYWHERE = {
    "wasm": "works",
    "eval": "blocked",
    "function": "blocked",
    "own fetch": "works",
    "foreign fetch": "blocked",
    "own socket": "works",
    "module": "works",
    "data module": "blocked",
}


@pytest.fixture
def config(config: BridgeConfig, app_dir: Path, runtime_dir: Path) -> BridgeConfig:
    (app_dir / "pages" / "index.html").write_text(PAGE, encoding="utf-8")
    (app_dir / "pages" / "page.js").write_text(SCRIPT, encoding="utf-8")
    (app_dir / "pages" / "style.css").write_text("body { margin: 7px }", encoding="utf-8")
    (runtime_dir / "net-worker.js").write_text(WORKER, encoding="utf-8")
    return config


async def test_what_pages_and_workers_may_do(bridge: Bridge) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=[*FLAGS])
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{bridge.port}/")
        result = page.locator("output")
        await result.wait_for(timeout=3 * PATIENCE * 1000)
        found = json.loads(await result.text_content() or "null")
        await browser.close()
    assert found["worker"] == EVERYWHERE
    assert found["page"] == {
        **EVERYWHERE,
        "inline": "blocked",
        "inline style": "blocked",
        "style sheet": "works",
        "foreign frame": "blocked",
    }
