"""Takeover: how long phones wait when the host goes, and whether a vote is lost or doubled.

A class on the namespace LAN: laptop with bridge and hosting tab, three phones that cast a numbered
vote every 100 ms each (``--interval``). In each run the host's browser gets SIGKILL (or its tab is
closed) and the time is taken until the first vote is acknowledged in the term of the next host.
Kill and pages read the clock of the same machine. Given besides: until every phone has had one, and
until a vote was acknowledged that was cast when the old host was certainly gone. Then the ledger is
read by a newcomer: every acknowledged vote must be there exactly once. The laptop's tab comes back
(failback) before the next run.

How slices and timelines are had, and the baseline: see ``_losses.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from _losses import Run, main, run_of, timeline, votes_while

from tests.e2e.classroom import APPS, Classroom, classroom


async def one_run(made: Classroom, mode: str, interval: int) -> Run:
    """One takeover, and what it did to the votes."""
    await made.restore()
    cleared = await made.script({"type": "clear"})
    assert cleared["replies"] == [{"cleared": True}]
    host = made.presenter
    term, began = 0, 0.0

    async def lose() -> float:
        nonlocal term, began
        term = (await host.status())["term"]
        began = await (made.kill_browser(host) if mode == "kill" else made.close_tab(host))
        if mode == "kill":
            assert host.device.process is not None
            await asyncio.to_thread(host.device.process.wait)
        return time.time() * 1000  # the host is certainly gone by now

    outcome, certainly = await votes_while(made, lose, interval=interval)
    firsts = outcome.firsts(above_term=term)
    times = {
        "first_acknowledged_vote": min(firsts) - began,
        "every_phone_served": max(firsts) - began,
        "cast_after_and_acknowledged": min(outcome.firsts_sent_after(certainly)) - began,
    }
    run = run_of(outcome, began, times, made.problems())
    return {**run, "timeline": await timeline(made.phone_tabs, began)}


@contextlib.asynccontextmanager
async def scene(options: argparse.Namespace) -> AsyncIterator[Callable[[], Awaitable[Run]]]:
    """One class, restored before each run."""
    async with classroom(APPS / "ledger") as made:
        yield lambda: one_run(made, options.mode, options.interval)


if __name__ == "__main__":
    main("takeover", __doc__, scene, modes=("kill", "close"), interval=100)
