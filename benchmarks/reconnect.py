"""A bridge with many clients is killed with its laptop: until all are back at another one.

A class on the namespace LAN: laptop with bridge and hosting tab (Chromium), two phones, a second
laptop with ``ftweb bridge``, and ``--clients`` Python clients (``ftweb.connect``) at the first. In
each run, a class of its own, everything on the first laptop gets SIGKILL. For each client the time
is taken until the second bridge has told it of a host. Then each casts a vote, all at once, and a
newcomer reads the ledger.

How slices are had: see ``_losses.py``. Baseline: a vote of each client, all at once, before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from _common import percentile
from _losses import Run, kill_laptop, main

from tests.e2e.classroom import APPS, Classroom, two_laptops

SAID_SECONDS = 90.0


class Crowd:
    """Python clients at the first bridge, on a host of their own."""

    def __init__(self, made: Classroom, count: int) -> None:
        self.out = made.lan.directory / "crowd"
        with self.out.open("w") as out:
            self.process = made.lan.host("crowd").popen(
                *(sys.executable, Path(__file__).with_name("_crowd.py")),
                *(made.bridge.join_url, str(count)),
                stdout=out.fileno(),
            )

    async def said(self, line: int) -> Any:
        """That line of its output, once it is there."""
        async with asyncio.timeout(SAID_SECONDS):
            while True:
                text = await asyncio.to_thread(self.out.read_text)
                lines = [each for each in text.splitlines(keepends=True) if each.endswith("\n")]
                if len(lines) > line:
                    return json.loads(lines[line])
                if self.process.poll() is not None:
                    raise RuntimeError("the crowd's process has ended")
                await asyncio.sleep(0.05)  # a file is read: there is no event to wait for


async def one_run(clients: int) -> Run:
    """One bridge lost."""
    async with two_laptops(APPS / "ledger", phones=2) as (made, second):
        crowd = Crowd(made, clients)
        quiet = await crowd.said(0)
        gone = await kill_laptop(made)
        made.bridge = second
        back = [moment - gone for moment in await crowd.said(1)]
        acknowledged: dict[str, list[int]] = await crowd.said(2)
        counted: dict[str, dict[str, int]] = (await made.script())["state"]["counted"]
        mine = [(numbers, counted.get(voter, {})) for voter, numbers in acknowledged.items()]
        return {
            "times": {
                "last_back": round(max(back), 1),
                "median_back": round(statistics.median(back), 1),
                "p95_back": round(percentile(back, 95), 1),
            },
            "quiet": [round(value, 1) for value in quiet],
            "votes": 2 * clients,
            "lost": sum(str(number) not in got for numbers, got in mine for number in numbers),
            "doubled": sum(times != 1 for _, got in mine for times in got.values()),
            "invented": sum(int(number) not in (1, 2) for _, got in mine for number in got),
            "unanswered": 2 * clients - sum(len(numbers) for numbers, _ in mine),
            "problems": made.problems(),
        }


@contextlib.asynccontextmanager
async def scene(options: argparse.Namespace) -> AsyncIterator[Callable[[], Awaitable[Run]]]:
    """A laptop that is gone is gone: each run makes its own class."""
    yield lambda: one_run(options.clients)


if __name__ == "__main__":
    main("reconnect", __doc__, scene, modes=("kill",), clients=200)
