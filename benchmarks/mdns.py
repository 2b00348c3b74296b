"""mDNS: how soon ``ftweb browse`` on another host shows who hosts after a takeover.

In each run the host's browser gets SIGKILL. From that moment on ``ftweb browse --json`` is run
again and again on another host of the LAN, each time as a new process with an empty cache, until
it prints the new term; the time is taken when the line comes.

Baseline: how long the same command takes to print the service while nothing changes. What is
above it is the takeover and the announcement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from _common import finish, machine, say, summary

from tests.e2e.classroom import VOTING, Classroom, classroom, ftweb_command

BROWSE_SECONDS = 0.5
GIVE_UP_SECONDS = 20.0


async def browse(made: Classroom) -> tuple[float, int] | None:
    """One ``ftweb browse``: (seconds until its line came, the term in it)."""
    host = made.lan.host("watcher")
    command = [*ftweb_command(), "browse", "--json", "--timeout", str(BROWSE_SECONDS)]
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *host.argv(*command), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    found = None
    async for line in process.stdout:
        service = json.loads(line)
        if found is None and service.get("guid") == made.bridge.info["guid"]:
            found = (time.perf_counter() - started, int(service["term"]))
    await process.wait()
    return found


async def one_run(made: Classroom) -> dict[str, float]:
    await made.restore()
    quiet = await browse(made)
    assert quiet is not None, "ftweb browse does not find the service at all"
    before = (await made.presenter.status())["term"]
    assert quiet[1] == before, f"browse shows term {quiet[1]}, the pages {before}"
    killed = time.perf_counter()
    await made.kill_browser(made.presenter)
    while True:
        began = time.perf_counter()
        seen = await browse(made)
        if seen is not None and seen[1] > before:
            return {"quiet": quiet[0] * 1000, "shown": (began + seen[0] - killed) * 1000}
        if time.perf_counter() - killed > GIVE_UP_SECONDS:
            raise TimeoutError(f"after {GIVE_UP_SECONDS} s browse still shows {seen}")


async def measure(runs: int) -> tuple[dict[str, Any], bool]:
    before = machine()
    done = []
    async with classroom(VOTING, phones=2) as made:
        for number in range(1, runs + 1):
            done.append(await one_run(made))
            say(f"run {number}/{runs}: {done[-1]['shown']:.0f} ms")
        problems = made.problems()
    shown = summary([run["shown"] for run in done])
    quiet = summary([run["quiet"] for run in done])
    result = {
        "benchmark": "mdns",
        "runs": runs,
        "new_term_shown_ms": shown,
        "baseline_browse_ms": quiet,
        "ratio": round(shown["median"] / quiet["median"], 1),
        "page_problems": problems,
        "machine": before,
    }
    return result, not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    result, ok = asyncio.run(measure(parser.parse_args().runs))
    finish(result, ok=ok)
