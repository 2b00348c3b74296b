"""Page weight: the bytes that a phone needs before its first vote is possible.

A phone opens the voting page with an empty cache. Everything that it asks for is noted, then asked
for again with ``Accept-Encoding: gzip`` (all that browsers accept on plain HTTP besides deflate)
and the bodies' bytes on the wire are counted. What belongs to Pyodide and the node comes in the
background, after the page can vote, and is counted apart.

Baseline: those background bytes. The times until a vote is possible and until the tab could take
over are given beside them; the voting page is loaded by the LAN address.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import time
from typing import Any
from urllib.parse import urlsplit

from _common import finish, machine
from playwright.async_api import Request, async_playwright

from tests.e2e.classroom import VOTING, Bridge, Tab
from tests.lan.browsers import LAPTOP, PHONE, Device
from tests.lan.lan import Host, Lan

LIMIT = 100_000
"""Bytes that page, script and style may have together."""

BACKGROUND = ("/pyodide/", "/ftweb/bundle/", "node-worker", "/rtc.js")


def fetch(host: Host, url: str) -> dict[str, Any]:
    """One GET from a host of the LAN: bytes on the wire, type, coding."""
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    connection.sock = host.connect(parts.hostname, parts.port or 80)
    connection.request("GET", parts.path or "/", headers={"Accept-Encoding": "gzip, deflate"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return {
        "path": parts.path,
        "status": response.status,
        "bytes": len(body),
        "type": response.headers.get_content_type(),
        "coding": response.headers.get("Content-Encoding", "identity"),
        "background": any(word in parts.path for word in BACKGROUND),
    }


async def measure() -> tuple[dict[str, Any], bool]:
    before = machine()
    with Lan() as lan:
        bridge = Bridge(lan.host("laptop"), VOTING)
        laptop = Device(lan.host("laptop"), "laptop", LAPTOP)
        phone = Device(lan.host("phone1"), "phone1", PHONE)
        async with async_playwright() as playwright:
            await asyncio.gather(bridge.start(), laptop.start(playwright), phone.start(playwright))
            presenter = Tab(laptop, await laptop.open(bridge.presenter_url))
            await presenter.until("s.hosting", 60)
            seen: list[str] = []

            def note(request: Request) -> None:
                if request.url.startswith("http") and request.url not in seen:
                    seen.append(request.url)

            phone.context.on("request", note)
            started = time.perf_counter()
            tab = Tab(phone, await phone.open(bridge.join_url))
            await tab.until("s.state === 'connected' && s.hostId")
            usable = time.perf_counter() - started
            await tab.until("s.ready", 60)
            ready = time.perf_counter() - started
            files = [await asyncio.to_thread(fetch, phone.host, url) for url in seen]
            problems = laptop.problems + phone.problems
            await asyncio.gather(laptop.stop(), phone.stop())
            await bridge.stop()
    early = sum(file["bytes"] for file in files if not file["background"])
    late = sum(file["bytes"] for file in files if file["background"])
    fine = all(file["status"] == 200 for file in files)
    result = {
        "benchmark": "page_weight",
        "before_pyodide_bytes": early,
        "limit_bytes": LIMIT,
        "baseline_background_bytes": late,
        "ratio": round(early / late, 4) if late else None,
        "vote_possible_ms": round(usable * 1000),
        "ready_ms": round(ready * 1000),
        "files": files,
        "page_problems": problems,
        "machine": before,
    }
    return result, early <= LIMIT and fine and late > 0 and not problems


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    ).parse_args()
    result, ok = asyncio.run(measure())
    finish(result, ok=ok)
