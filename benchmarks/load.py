"""Load: a lecture hall votes within one second; the host is a tab in Chromium.

N Python clients on another host of the LAN (one process) join, wait until told who hosts, and cast
one vote each at a random moment of the same second. Every vote must be acknowledged, and the tally
must hold every voter once. The bridge's memory is read while all are connected.

Baseline: as many bare WebSockets send a text of a vote's size to a Starlette echo route, on the
same hosts, spread in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it comes without
from _common import finish, machine, say, summary

from tests.e2e.classroom import VOTING, Classroom, classroom
from tests.lan.lan import Host

ECHO_PORT = 9009
VOTE_BYTES = 170
"""A ``request`` frame with a vote in it."""

POLL = {"type": "create_poll", "kind": "single", "question": "Load?", "options": ["A", "B", "C"]}


async def run_clients(host: Host, **options: Any) -> dict[str, Any]:
    script = Path(__file__).with_name("_clients.py")
    said = await asyncio.to_thread(
        host.run, sys.executable, script, json.dumps(options), timeout=180.0
    )
    got: dict[str, Any] = json.loads(said)
    return got


async def watch_memory(pid: int, peak: list[float]) -> None:
    """The most that the bridge's process held, in MB, asked every 50 ms."""
    process = psutil.Process(pid)
    while True:
        peak[0] = max(peak[0], process.memory_info().rss / 1e6)
        await asyncio.sleep(0.05)


async def baseline(made: Classroom, clients: int) -> dict[str, Any]:
    laptop, crowd = made.bridge.host, made.lan.host("crowd")
    server = laptop.popen(
        sys.executable, Path(__file__).with_name("_echo.py"), laptop.address, str(ECHO_PORT)
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    (await asyncio.to_thread(crowd.connect, laptop.address, ECHO_PORT)).close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        url = f"ws://{laptop.address}:{ECHO_PORT}/"
        return await run_clients(
            crowd, kind="echo", url=url, count=clients, text="v" * VOTE_BYTES, seed=1
        )
    finally:
        server.kill()
        server.wait()


async def measure(clients: int) -> tuple[dict[str, Any], bool]:
    before = machine()
    # One phone beside the laptop, so that a vote is committed by three voters, one over the LAN.
    async with classroom(VOTING, phones=1) as made:
        assert made.bridge.process is not None
        pid = made.bridge.process.pid
        idle = psutil.Process(pid).memory_info().rss / 1e6
        peak = [idle]
        watcher = asyncio.create_task(watch_memory(pid, peak))
        created = await made.script(POLL, presenter=True)
        poll_id = created["replies"][0]["poll_id"]
        say(f"{clients} clients join")
        crowd = made.lan.host("crowd")
        started = time.perf_counter()
        voted = await run_clients(
            crowd, kind="ftweb", url=made.bridge.join_url, count=clients, poll_id=poll_id, seed=1
        )
        say(f"voted, {time.perf_counter() - started:.1f} s in all")
        joined = await made.script({"type": "tally", "poll_id": poll_id})
        watcher.cancel()
        problems = made.problems()
        hosting = (await made.presenter.status())["hosting"]
        say("baseline")
        echoed = await baseline(made, clients)
    tally = joined["replies"][0]
    votes, echo = summary(voted["latencies"]), summary(echoed["latencies"])
    result = {
        "benchmark": "load",
        "clients": clients,
        "vote_ms": votes,
        "acknowledged": len(voted["latencies"]),
        "failed": voted["failed"],
        "voters_in_tally": tally["voters"],
        "votes_in_tally": sum(tally["counts"].values()),
        "joined_seconds": voted["connected_seconds"],
        "bridge_idle_mb": round(idle, 1),
        "bridge_peak_mb": round(peak[0], 1),
        "baseline_echo_ms": echo,
        "ratio": round(votes["median"] / echo["median"], 1),
        "host_unchanged": hosting,
        "page_problems": problems,
        "machine": before,
    }
    complete = (
        len(voted["latencies"]) == tally["voters"] == sum(tally["counts"].values()) == clients
    )
    return result, complete and not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    arguments = parser.parse_args()
    result, ok = asyncio.run(measure(arguments.clients))
    finish(result, ok=ok)
