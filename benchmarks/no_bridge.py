"""No bridge left: how long phones wait when the laptop goes with its bridge and its hosting tab.

A class on the namespace LAN: laptop with bridge and hosting tab, three phones that cast a numbered
vote every 100 ms each (``--interval``), no second bridge. In each run the laptop is killed (SIGKILL
of bridge and browser, ``--mode kill``) or its link goes down: the laptop has no carrier, the phones
are told nothing (``--mode cut``). The time is taken until the first vote is acknowledged that was
cast after that: by a phone, elected over data channels, at which the others have joined. The ledger
is then read on a phone, since nobody new can join: every acknowledged vote must be there exactly
once. Then the laptop's processes are started anew for the next run.

How slices and timelines are had, and the baseline: see ``_losses.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from _losses import Run, kill_laptop, main, run_of, timeline, votes_while

from tests.e2e.classroom import APPS, Classroom, classroom


async def one_run(made: Classroom, mode: str, interval: int) -> Run:
    """The laptop goes once; what that did to the votes."""
    await made.restore()
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    await made.script({"type": "clear"})
    phones = made.phone_tabs

    async def lose() -> float:
        if mode == "kill":
            return await kill_laptop(made)
        gone = time.time() * 1000
        made.laptop.host.link_down()
        return gone

    outcome, gone = await votes_while(made, lose, interval=interval, reader=phones[0])
    seen = await timeline(phones, gone)
    if mode == "cut":
        made.bridge.kill()
        await made.kill_browser(made.presenter)
        made.laptop.host.link_up()
    firsts = [first - gone for first in outcome.firsts_sent_after(gone)]
    times = {"first_acknowledged_vote": min(firsts), "every_phone_served": max(firsts)}
    return {**run_of(outcome, gone, times, made.problems()), "timeline": seen}


@contextlib.asynccontextmanager
async def scene(options: argparse.Namespace) -> AsyncIterator[Callable[[], Awaitable[Run]]]:
    """One class, restored before each run."""
    async with classroom(APPS / "ledger") as made:
        yield lambda: one_run(made, options.mode, options.interval)


if __name__ == "__main__":
    main("no_bridge", __doc__, scene, modes=("kill", "cut"), interval=100)
