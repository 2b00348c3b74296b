"""Boot: how long until a newcomer's tab is able to take over, beside a stock Pyodide.

Two bridges on the namespace LAN serve the same app, page and runtime. One has ``static/dist`` as
it is built; the other one's Python is stock: the same Pyodide with its standard library and all
wheels as source, as npm and PyPI have them. In each run a phone that has never been there (new
browser profile: no HTTP cache, no compiled code) opens the page by its LAN address, once from
each bridge. Nothing else runs meanwhile.

- ``boot_ms``: from the start of the node worker until the node is up: Pyodide loaded, the app
  bundle verified and imported. The ratio is of its medians.
- ``ready_ms``: from the start of the navigation until ``ftweb.status().ready``. It contains what
  is the same for both: page, socket, first paint.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _common import ROOT, finish, machine, say, summary
from playwright.async_api import Playwright, async_playwright

from tests.e2e.classroom import VOTING, Bridge, Tab
from tests.lan.browsers import PHONE, Device
from tests.lan.lan import Lan

sys.path.insert(0, str(ROOT / "scripts"))
import build_pyodide

READY = """() => new Promise((resolve) => {
  const look = () => {
    const s = globalThis.ftweb?.status?.();
    if (s?.ready && s.bootMilliseconds !== null) {
      resolve({ ready: performance.now(), boot: s.bootMilliseconds, secure: isSecureContext });
    } else setTimeout(look, 4);
  };
  look();
})"""


def stock_tree(folder: Path) -> None:
    """A copy of the package beside a ``static/dist`` in which only Python is another."""
    shutil.copytree(ROOT / "ftweb", folder / "ftweb", ignore=shutil.ignore_patterns("__pycache__"))
    dist = folder / "static" / "dist"
    left_out = shutil.ignore_patterns("pyodide")
    shutil.copytree(ROOT / "static" / "dist", dist, ignore=left_out)
    build_pyodide.build_stock(dist / "pyodide")


@contextmanager
def python_path(folder: Path | None) -> Iterator[None]:
    """Programs started meanwhile import from that folder first."""
    if folder is not None:
        os.environ["PYTHONPATH"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)


async def boot(lan: Lan, playwright: Playwright, bridge: Bridge) -> tuple[dict[str, Any], str]:
    """One newcomer: its times, and what went wrong in its page."""
    device = Device(lan.host("phone"), "phone", PHONE)
    await device.start(playwright)
    try:
        tab = Tab(device, await device.open(bridge.join_url))
        times: dict[str, Any] = await tab.page.evaluate(READY)
        return times, "; ".join(device.problems)
    finally:
        await device.stop()
        shutil.rmtree(device.profile, ignore_errors=True)


async def measure(runs: int) -> tuple[dict[str, Any], bool]:
    before = machine()
    problems = []
    times: dict[str, list[dict[str, Any]]] = {"stock": [], "ftweb": []}
    with Lan() as lan:
        stock = lan.directory / "stock"
        stock_tree(stock)
        bridges = {}
        for name, folder in (("stock", stock), ("ftweb", None)):
            bridges[name] = Bridge(lan.host(f"laptop-{name}"), VOTING, options=["--no-mdns"])
            with python_path(folder):
                await bridges[name].start()
        async with async_playwright() as playwright:
            for number in range(runs + 1):
                for name, bridge in bridges.items():
                    got, problem = await boot(lan, playwright, bridge)
                    if problem:
                        problems.append(problem)
                    if got["secure"]:
                        problems.append("The origin counts as secure: phones' origins do not.")
                    say(f"{number}/{runs} {name}: {got['boot']} ms")
                    if number > 0:  # the first fills the machine's file cache
                        times[name].append(got)
        for bridge in bridges.values():
            await bridge.stop()

    def figures(key: str) -> dict[str, Any]:
        values = {name: [got[key] for got in each] for name, each in times.items()}
        medians = {name: summary(each)["median"] for name, each in values.items()}
        return {
            **{name: summary(each) for name, each in values.items()},
            "ratio": round(medians["ftweb"] / medians["stock"], 3),
        }

    result = {
        "benchmark": "pyodide_boot",
        "runs": runs,
        "boot_ms": figures("boot"),
        "ready_ms": figures("ready"),
        "page_problems": problems,
        "machine": before,
    }
    return result, not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9)
    result, ok = asyncio.run(measure(parser.parse_args().runs))
    finish(result, ok=ok)
