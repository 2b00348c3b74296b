"""Takeover: how long phones wait when the host goes, and whether a vote is lost or doubled.

A class on the namespace LAN: laptop with bridge and hosting tab, three phones that cast a numbered
vote every 100 ms each (``--interval``). In each run the host's browser gets SIGKILL (or its tab is
closed) and the time is taken until the first vote is acknowledged in the term of the next host.
Kill and pages read the clock of the same machine. Given besides: until every phone has had one, and
until a vote was acknowledged that was cast when the old host was certainly gone. Then the ledger is
read by a newcomer: every acknowledged vote must be there exactly once. The laptop's tab comes back
(failback) before the next run.

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
    """One takeover, and what it did to the votes."""
    await made.restore()
    cleared = await made.script({"type": "clear"})
    assert cleared["replies"] == [{"cleared": True}]
    for tab in made.phone_tabs:
        await tab.page.evaluate("Object.assign(votes, {next: 1, acknowledged: [], refused: []})")
    outcome: Outcome
    async with voting(made, made.phone_tabs, interval=interval) as outcome:
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.length >= 20")
        host = made.presenter
        term = (await host.status())["term"]
        gone = await (made.kill_browser(host) if mode == "kill" else made.close_tab(host))
        if mode == "kill":
            assert host.device.process is not None
            await asyncio.to_thread(host.device.process.wait)
        certainly = time.time() * 1000
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=certainly)
    votes = [vote for report in outcome.reports for vote in report.acknowledged]
    firsts = outcome.firsts(above_term=term)
    return {
        "first": min(firsts) - gone,
        "every": max(firsts) - gone,
        "sent_after": min(outcome.firsts_sent_after(certainly)) - gone,
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
        "benchmark": "takeover",
        "mode": mode,
        "runs": runs,
        "votes_each_ms": interval,
        "first_acknowledged_vote_ms": first,
        "every_phone_served_ms": summary([run["every"] for run in done]),
        "cast_after_and_acknowledged_ms": summary([run["sent_after"] for run in done]),
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
    parser.add_argument("--mode", choices=("kill", "close"), default="kill")
    parser.add_argument("--interval", type=int, default=100, help="ms between a phone's votes")
    arguments = parser.parse_args()
    result, ok = asyncio.run(measure(arguments.runs, arguments.mode, arguments.interval))
    finish(result, ok=ok)
