"""A whole class in one cluster: 41 tabs with Pyodide; its host is killed, then just under half.

First a class of three tabs (the laptop's and two more), in which the laptop's browser, that is the
host, gets SIGKILL ``--runs`` times. Then the same class grows to ``--tabs`` tabs, and the same is
done again. At last the host and others, just under half of all tabs, get SIGKILL in one moment. Two
phones vote all the time, every 100 ms (``--interval``). The time of a run goes until the first
acknowledgement of a vote that was cast after the kill; the ledger is read by a newcomer and must be
exact.

Who is killed together is drawn by chance (``--seed``). There are five voters, the bridge among
them, so a quorum may be among the killed; then the class begins a new epoch after
QUORUM_LOSS_SECONDS (ftweb/limits.py), and the result tells that apart (``quorum_lost``).

Baseline: the three tabs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from _common import count, finish, machine, say, summary
from _losses import BAD, Run, run_of, votes_while

from tests.e2e.classroom import APPS, Classroom, Tab, classroom, until
from tests.e2e.rooms import Room, close, fill, memory


class Cluster:
    """The class, and its rooms: those who vote and stay, and those who are killed together."""

    def __init__(self, made: Classroom, interval: int) -> None:
        self.made = made
        self.interval = interval
        self.leavers, self.stayers = Room(made, "leavers"), Room(made, "stayers")

    @property
    def rooms(self) -> tuple[Room, Room]:
        return self.leavers, self.stayers

    async def grow(self, tabs: int, chooser: random.Random) -> float:
        """Until there are so many tabs; gives the seconds that took."""
        started = time.perf_counter()
        dying = (tabs - 1) // 2 - 1 if tabs > 3 else 1
        await fill(self.rooms, (dying, tabs - 1 - dying), chooser, count)
        return time.perf_counter() - started

    async def whole(self) -> None:
        """The laptop's tab hosts, and as many voters may be lost as can be."""
        made = self.made
        if "laptop" not in made.tabs:
            await made.open(made.laptop)
        await made.presenter.until("s.ready && s.hosting && s.quorum", 60)
        spare = 2 if len(made.tabs) >= 4 else 1
        mine = (await made.presenter.status())["nodeId"]

        async def ready() -> bool:
            health = await made.bridge.healthz()
            return bool(health["host"] == mine and health["spare"] >= spare)

        await until(ready, 60)

    async def lose(self, voters: Sequence[Tab], *, half: bool) -> Run:
        """The host dies, and with it just under half of all if so wanted."""
        made = self.made
        await self.whole()
        cleared = await made.script({"type": "clear"})
        assert cleared["replies"] == [{"cleared": True}]
        before = await made.bridge.healthz()

        async def strike() -> float:
            gone = time.time() * 1000
            await made.kill_browser(made.presenter)
            if half:
                self.leavers.kill()
            return gone

        outcome, gone = await votes_while(made, strike, interval=self.interval, phones=voters)
        kept = (await made.bridge.healthz())["epoch"] == before["epoch"]
        later = outcome.firsts_sent_after(gone)
        times = {
            "first_acknowledged_vote": min(later) - gone,
            "every_voter_served": max(later) - gone,
        }
        if kept:  # also of a vote that the dead host had been sent, as takeover.py takes it
            times["first_of_the_next_host"] = min(outcome.firsts(above_term=before["term"])) - gone
        return {**run_of(outcome, gone, times, made.problems()), "quorum_kept": kept}


@contextlib.asynccontextmanager
async def cluster(interval: int) -> AsyncIterator[Cluster]:
    """The class with the laptop's tab only."""
    async with classroom(APPS / "ledger", phones=0) as made:
        found = Cluster(made, interval)
        try:
            await asyncio.gather(*(room.start() for room in found.rooms))
            yield found
        finally:
            await close(found.rooms)


async def measure(options: argparse.Namespace) -> dict[str, list[Run]]:
    """All runs, by what was lost."""
    chooser = random.Random(options.seed)
    done: dict[str, list[Run]] = {"three": [], "leader": [], "half": []}

    async def take(kind: str, voters: Sequence[Tab], *, half: bool = False) -> None:
        run = await made.lose(voters, half=half)
        done[kind].append(run)
        times = ", ".join(f"{name} {ms:.0f}" for name, ms in run["times"].items())
        say(f"{kind}: {times} ms, {run['votes']} votes, quorum kept: {run['quorum_kept']}")

    async with cluster(options.interval) as made:
        seconds = await made.grow(3, chooser)
        voters = [made.leavers.tabs[0], made.stayers.tabs[0]]
        for _ in range(options.runs):
            await take("three", voters)
        seconds = await made.grow(options.tabs, chooser)
        say(f"{options.tabs} tabs after {seconds:.0f} s, {memory(made.rooms)} MB")
        for _ in range(options.runs):
            await take("leader", voters)
        await take("half", made.stayers.tabs[:2], half=True)
        for room in made.rooms:
            done["half"][-1]["problems"] += room.device.problems
    return done


def figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Of one kind of loss."""
    found: dict[str, Any] = {"runs": len(runs), "votes": sum(run["votes"] for run in runs)}
    for name, kept in (("quorum_kept", True), ("quorum_lost", False)):
        chosen = [run["times"] for run in runs if run["quorum_kept"] is kept]
        if chosen:
            times = {f"{time}_ms": summary([one[time] for one in chosen]) for time in chosen[0]}
            found[name] = {"runs": len(chosen), **times}
    quiet = [value for run in runs for value in run["quiet"]]
    return {**found, "quiet_vote_ms": summary(quiet)} if quiet else found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tabs", type=int, default=41)
    parser.add_argument("--runs", type=int, default=3, help="hosts killed, in either class")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed together")
    parser.add_argument("--interval", type=int, default=100, help="ms between a phone's votes")
    options = parser.parse_args()
    where = machine()
    found = asyncio.run(measure(options))
    every = [run for runs in found.values() for run in runs]
    bad = {key: sum(run[key] for run in every) for key in BAD}
    problems = [problem for run in every for problem in run["problems"]]
    finish(
        {
            "benchmark": "cluster",
            "tabs": options.tabs,
            "votes_each_ms": options.interval,
            **{kind: figures(runs) for kind, runs in found.items()},
            **bad,
            "page_problems": problems,
            "machine": where,
        },
        ok=not any(bad.values()) and not problems,
    )
