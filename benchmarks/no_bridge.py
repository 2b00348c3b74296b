"""No bridge left: how long phones wait when the laptop goes with its bridge and its hosting tab.

A class on the namespace LAN: laptop with bridge and hosting tab, three phones that cast a numbered
vote every 100 ms each (``--interval``), no second bridge. In each run the laptop is killed (SIGKILL
of bridge and browser, ``--mode kill``) or its cable is taken out, so that nobody is told anything
(``--mode cut``). The time is taken until the first vote is acknowledged that was cast after that:
by a phone, elected over data channels, at which the others have joined. The ledger is then read on
a phone, since nobody new can join: every acknowledged vote must be there exactly once. Then the
laptop's processes are started anew for the next run.

Baseline: the median time to acknowledge a vote in the same run while nothing went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from _common import finish, machine, say, summary

from tests.e2e.classroom import APPS, Classroom, classroom
from tests.e2e.ledger import Outcome, voting

BAD = ("lost", "doubled", "invented", "unanswered")


async def one_run(made: Classroom, mode: str, interval: int) -> dict[str, Any]:
    """The laptop goes once; what that did to the votes."""
    await made.restore()
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    await made.script({"type": "clear"})
    for tab in made.phone_tabs:
        await tab.evaluate("Object.assign(votes, {next: 1, acknowledged: [], refused: []})")
    laptop = made.laptop.host
    outcome: Outcome
    async with voting(
        made, made.phone_tabs, interval=interval, reader=made.phone_tabs[0]
    ) as outcome:
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.length >= 20")
        if mode == "kill":
            gone = time.time() * 1000
            made.bridge.kill()
            await made.kill_browser(made.presenter)
        else:
            laptop.unplug()
            gone = time.time() * 1000
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone)
    if mode == "cut":
        made.bridge.kill()
        await made.kill_browser(made.presenter)
        laptop.plug()
    votes = [vote for report in outcome.reports for vote in report.acknowledged]
    firsts = outcome.firsts_sent_after(gone)
    return {
        "first": min(firsts) - gone,
        "every": max(firsts) - gone,
        "quiet": [vote.done - vote.sent for vote in votes if vote.done < gone],
        "votes": sum(report.cast for report in outcome.reports),
        "lost": len(outcome.lost),
        "doubled": len(outcome.doubled),
        "invented": len(outcome.invented),
        "unanswered": sum(r.cast - len(r.acknowledged) for r in outcome.reports),
    }


async def measure(runs: int, mode: str, interval: int) -> tuple[dict[str, Any], bool]:
    before = machine()
    done: list[dict[str, Any]] = []
    async with classroom(APPS / "ledger") as made:
        for number in range(1, runs + 1):
            done.append(await one_run(made, mode, interval))
            say(f"run {number}/{runs}: {done[-1]['first']:.0f} ms, {done[-1]['votes']} votes")
        problems = made.problems()
    quiet = summary([value for run in done for value in run["quiet"]])
    first = summary([run["first"] for run in done])
    bad = {key: sum(run[key] for run in done) for key in BAD}
    result = {
        "benchmark": "no_bridge",
        "mode": mode,
        "runs": runs,
        "votes_each_ms": interval,
        "first_acknowledged_vote_ms": first,
        "every_phone_served_ms": summary([run["every"] for run in done]),
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
    parser.add_argument("--mode", choices=("kill", "cut"), default="kill")
    parser.add_argument("--interval", type=int, default=100, help="ms between a phone's votes")
    arguments = parser.parse_args()
    result, ok = asyncio.run(measure(arguments.runs, arguments.mode, arguments.interval))
    finish(result, ok=ok)
