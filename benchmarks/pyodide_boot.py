"""How long a tab takes to boot Python: ftweb's runtime beside a stock one. Prints JSON.

    python benchmarks/pyodide_boot.py [--runs 9]

Both boots run in a module worker of a fresh Chromium each time (cold: no HTTP cache, no compiled
code), from an origin that the browser holds for insecure, as a phone sees a bridge, with
everything sent by gzip, and alternate. Measured from the start of the worker's script until
``pyodide_app.boot`` and all that it needs is imported. The stock one is the same Pyodide and the
same wheels, with Python source as it comes from npm and PyPI.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import shutil
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import build_pyodide  # noqa: E402

HOST = "boot.test"
"""Mapped to the loopback address for Chromium. Unlike ``localhost`` and ``127.0.0.1`` it is no
trustworthy origin, so what phones lack is lacking here too."""

WORKER = """
const started = performance.now();
const { loadPyodide } = await import("./pyodide.mjs");
const pyodide = await loadPyodide({
  lockFileURL: new URL("ftweb-lock.json", import.meta.url).href,
  packages: ["ftweb"],
});
const loaded = performance.now();
pyodide.runPython("import pyodide_app.boot");
const imported = performance.now();
postMessage({ load: loaded - started, total: imported - started });
"""

PAGE = """<!doctype html><title>boot</title>"""

RUN = """
(folder) => new Promise((resolve, reject) => {
  const worker = new Worker(`/${folder}/worker.mjs`, { type: "module" });
  worker.onmessage = (event) => resolve({ ...event.data, secure: isSecureContext });
  worker.onerror = (event) => reject(new Error(event.message));
})
"""

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
]

TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


def site(folders: dict[str, Path]) -> Starlette:
    """Serves the folders, compressed beforehand, so that no run pays for it."""
    packed: dict[tuple[str, str], tuple[bytes, str]] = {}
    for key, folder in folders.items():
        for path in folder.iterdir():
            if path.suffix != ".gz":
                content = gzip.compress(path.read_bytes(), compresslevel=9)
                packed[key, path.name] = (content, TYPES.get(path.suffix, "application/zip"))
        packed[key, "worker.mjs"] = (gzip.compress(WORKER.encode()), TYPES[".mjs"])

    async def file(request: Request) -> Response:
        found = packed.get((request.path_params["folder"], request.path_params["name"]))
        if found is None:
            return Response(status_code=404)
        content, kind = found
        return Response(content, media_type=kind, headers={"content-encoding": "gzip"})

    async def page(_request: Request) -> Response:
        return Response(PAGE, media_type="text/html")

    return Starlette(routes=[Route("/", page), Route("/{folder}/{name}", file)])


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[int]:
    """Serve on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def measure(folders: dict[str, Path], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each run, by folder."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    times: dict[str, list[float]] = {name: [] for name in folders}
    async with serve(site(folders)) as port, async_playwright() as playwright:
        for _ in range(runs):
            for name in folders:
                browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
                page = await browser.new_page()
                await page.goto(f"http://{HOST}:{port}/")
                result = await page.evaluate(RUN, name)
                if result["secure"]:
                    raise SystemExit("The origin counts as secure: this is not what phones see.")
                times[name].append(round(result["total"], 1))
                print(f"{name}: {result['total']:.0f} ms", file=sys.stderr)
                await browser.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="Cold boot of Python in a tab.")
    parser.add_argument("--runs", type=int, default=9, help="boots of each kind (default 9)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        stock = Path(temporary) / "stock"
        build_pyodide.build_stock(stock)
        folders = {"stock": stock, "ftweb": ROOT / "static" / "dist" / "pyodide"}
        times = asyncio.run(measure(folders, runs))
    medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    result = {
        "benchmark": "pyodide_boot",
        "unit": "ms",
        "runs": times,
        "median": medians,
        "ratio": round(medians["ftweb"] / medians["stock"], 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
