"""The whole laptop is lost: bridge and hosting tab in one moment, another laptop's bridge is there.

Three phones, all at the first laptop's bridge, cast a numbered vote every 100 ms. In each run a new
class begins; then bridge and browser get SIGKILL (``--mode kill``), or the laptop's cable is
pulled, so that frames just vanish (``--mode down``). The time is taken until each phone has had a
vote acknowledged that it cast after that. It has then found the other bridge, there is a new host,
and both are in it. The ledger is read by a newcomer at the second bridge.

Baseline: the median time to acknowledge a vote in the same run while nothing went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

from _common import finish, machine, say, summary

from tests.e2e.classroom import APPS, two_laptops
from tests.e2e.ledger import Outcome, voting

BAD = ("lost", "doubled", "invented", "unanswered")


async def one_run(mode: str, interval: int) -> dict[str, Any]:
    """One loss, and what it did to the votes."""
    outcome: Outcome
    async with two_laptops(APPS / "ledger") as (made, second):
        await asyncio.sleep(2)  # browsers that have just booted are not at rest
        phones = made.phone_tabs
        async with voting(made, phones, interval=interval) as outcome:
            for tab in phones:
                await tab.until("votes.acknowledged.length >= 20")
            gone = time.time() * 1000
            if mode == "kill":
                await made.kill_browser(made.presenter)
                made.bridge.kill()
            else:
                made.bridge.host.unplug()
                del made.tabs["laptop"]
            made.bridge = second
            for tab in phones:
                await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone)
        votes = [vote for report in outcome.reports for vote in report.acknowledged]
        firsts = [first - gone for first in outcome.firsts_sent_after(gone)]
        return {
            "firsts": firsts,
            "quiet": [vote.done - vote.sent for vote in votes if vote.done < gone],
            "votes": sum(report.cast for report in outcome.reports),
            "lost": len(outcome.lost),
            "doubled": len(outcome.doubled),
            "invented": len(outcome.invented),
            "unanswered": sum(r.cast - len(r.acknowledged) for r in outcome.reports),
            "problems": made.problems(),
        }


async def measure(runs: int, mode: str, interval: int) -> tuple[dict[str, Any], bool]:
    before = machine()
    done: list[dict[str, Any]] = []
    for number in range(1, runs + 1):
        done.append(await one_run(mode, interval))
        say(f"run {number}/{runs}: {', '.join(f'{ms:.0f}' for ms in done[-1]['firsts'])} ms")
    quiet = summary([value for run in done for value in run["quiet"]])
    first = summary([min(run["firsts"]) for run in done])
    bad = {key: sum(run[key] for run in done) for key in BAD}
    problems = [problem for run in done for problem in run["problems"]]
    result = {
        "benchmark": "bridge_lost",
        "mode": mode,
        "runs": runs,
        "votes_each_ms": interval,
        "first_acknowledged_vote_ms": first,
        "a_phones_first_ms": summary([statistics.median(run["firsts"]) for run in done]),
        "every_phone_served_ms": summary([max(run["firsts"]) for run in done]),
        "baseline_vote_ms": quiet,
        "ratio": round(first["median"] / quiet["median"], 1),
        "votes": sum(run["votes"] for run in done),
        **bad,
        "page_problems": problems,
        "machine": before,
    }
    return result, not any(bad.values()) and not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--mode", choices=("kill", "down"), default="kill")
    parser.add_argument("--interval", type=int, default=100, help="ms between a phone's votes")
    arguments = parser.parse_args()
    result, ok = asyncio.run(measure(arguments.runs, arguments.mode, arguments.interval))
    finish(result, ok=ok)
