"""The whole laptop is lost: bridge and hosting tab in one moment, another laptop's bridge is there.

Three phones, all at the first laptop's bridge, cast a numbered vote every 100 ms. In each run a new
class begins; then bridge and browser get SIGKILL (``--mode kill``), or the laptop's link goes down:
the laptop has no carrier, the others are told nothing, frames just vanish (``--mode down``). The
time is taken until each phone has had a vote acknowledged that it cast after that. It has then
found the other bridge, there is a new host, and both are in it. The ledger is read by a newcomer at
the second bridge.

How slices and timelines are had, and the baseline: see ``_losses.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from _losses import Run, kill_laptop, main, run_of, timeline, votes_while

from tests.e2e.classroom import APPS, two_laptops


async def one_run(mode: str, interval: int) -> Run:
    """One loss, and what it did to the votes."""
    async with two_laptops(APPS / "ledger") as (made, second):
        await asyncio.sleep(2)  # browsers that have just booted are not at rest
        phones = made.phone_tabs

        async def lose() -> float:
            if mode == "kill":
                gone = await kill_laptop(made)
            else:
                gone = time.time() * 1000
                made.bridge.host.link_down()
                del made.tabs["laptop"]
            made.bridge = second
            return gone

        outcome, gone = await votes_while(made, lose, interval=interval)
        firsts = [first - gone for first in outcome.firsts_sent_after(gone)]
        times = {
            "first_acknowledged_vote": min(firsts),
            "a_phones_first": statistics.median(firsts),
            "every_phone_served": max(firsts),
        }
        run = run_of(outcome, gone, times, made.problems())
        return {**run, "timeline": await timeline(phones, gone)}


@contextlib.asynccontextmanager
async def scene(options: argparse.Namespace) -> AsyncIterator[Callable[[], Awaitable[Run]]]:
    """A laptop that is gone is gone: each run makes its own class."""
    yield lambda: one_run(options.mode, options.interval)


if __name__ == "__main__":
    main("bridge_lost", __doc__, scene, modes=("kill", "down"), interval=100)
