"""What the benchmarks of a host's loss share: takeover, bridge_lost, no_bridge.

Phones cast a numbered vote every 100 ms (``--interval``), and something is lost. All times are in
milliseconds since then, on the clock that all processes of this machine share. Rules:

1. A run counts only with its ledger: each acknowledged vote exactly once, and nothing else. One
   that fails is kept with its error, the next begins with a class made anew, and the result is
   not ok.
2. A series may be taken in slices: ``--append FILE`` keeps the raw values of each run in FILE as
   soon as it is done, and the result is about all runs that are there.
3. ``--timeline`` says on stderr what each phone's status was, and when it changed.

Baseline: the median time to acknowledge a vote in the same runs while nothing went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import finish, machine, say, summary

from tests.e2e.classroom import Classroom, Tab
from tests.e2e.ledger import Outcome, voting

BAD = ("lost", "doubled", "invented", "unanswered")

RUN_SECONDS = 180.0
"""A run that takes longer than that has failed."""

WATCH = """() => {
    const watching = globalThis.seen !== undefined;
    globalThis.seen = [];
    if (watching) return;
    connection.onStatus(s => {
        const now = performance.timeOrigin + performance.now();
        const {state, bridge, hostId, hosting, term, quorum, channels} = s;
        seen.push([now, {state, bridge, hostId, hosting, term, quorum, channels}]);
    });
}"""
"""Has a page record what its status was when."""

FORGET = "Object.assign(votes, {next: 1, acknowledged: [], refused: []})"

type Run = dict[str, Any]
"""``times``: name to milliseconds; ``quiet``: how long votes took before; counts, ``problems``."""

type Scene = Callable[
    [argparse.Namespace], contextlib.AbstractAsyncContextManager[Callable[[], Awaitable[Run]]]
]
"""Of the command's options: a class in which runs can be made, one after the other."""


async def votes_while(
    made: Classroom,
    lose: Callable[[], Awaitable[float]],
    *,
    interval: int,
    reader: Tab | None = None,
    phones: Sequence[Tab] | None = None,
) -> tuple[Outcome, float]:
    """Phones vote, ``lose`` strikes and says when, each of them gets a later vote through.

    Args:
        phones: who votes; all that the class has if not given.

    Returns:
        what became of the votes, and when it struck (ms since 1970).
    """
    phones = made.phone_tabs if phones is None else phones
    for tab in phones:
        await tab.evaluate(FORGET)
        await tab.evaluate(WATCH)
    outcome: Outcome
    async with voting(made, phones, interval=interval, reader=reader) as outcome:
        for tab in phones:
            await tab.until("votes.acknowledged.length >= 20")
        gone = await lose()
        for tab in phones:
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone)
    return outcome, gone


async def kill_laptop(made: Classroom) -> float:
    """SIGKILL for everything that runs on the laptop, as by a power cut; gives when (ms)."""
    pids = await asyncio.to_thread(made.bridge.host.pids)
    gone = time.time() * 1000
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await made.kill_browser(made.presenter)  # it is, but the class has to know
    return gone


def run_of(outcome: Outcome, gone: float, times: Mapping[str, float], problems: list[str]) -> Run:
    """The raw values of one run."""
    votes = [vote for report in outcome.reports for vote in report.acknowledged]
    return {
        "times": {name: round(value, 1) for name, value in times.items()},
        "quiet": [round(vote.done - vote.sent, 1) for vote in votes if vote.done < gone],
        "votes": sum(report.cast for report in outcome.reports),
        "lost": len(outcome.lost),
        "doubled": len(outcome.doubled),
        "invented": len(outcome.invented),
        "unanswered": sum(r.cast - len(r.acknowledged) for r in outcome.reports),
        "problems": problems,
    }


async def timeline(phones: Sequence[Tab], gone: float) -> list[str]:
    """One line for each change of each phone's status after the loss."""
    lines: list[tuple[float, str]] = []
    for tab in phones:
        before: dict[str, Any] = {}
        for moment, status in await tab.evaluate("seen"):
            changed = {key: value for key, value in status.items() if before.get(key) != value}
            before = status
            if changed and moment >= gone:
                words = ", ".join(f"{key} {value}" for key, value in changed.items())
                lines.append((moment - gone, f"{tab.device.name}: {words}"))
    return [f"  {moment:7.0f} ms  {text}" for moment, text in sorted(lines)]


def result_of(runs: Sequence[Run]) -> dict[str, Any]:
    """The figures of all runs; the ratio is that of the first time."""
    done = [run for run in runs if "error" not in run]
    result: dict[str, Any] = {"runs": len(done)}
    if done:
        for name in done[0]["times"]:
            result[f"{name}_ms"] = summary([run["times"][name] for run in done])
        quiet = summary([value for run in done for value in run["quiet"]])
        result["baseline_vote_ms"] = quiet
        first = result[f"{next(iter(done[0]['times']))}_ms"]
        result["ratio"] = round(first["median"] / quiet["median"], 1)
    for key in ("votes", *BAD):
        result[key] = sum(run[key] for run in done)
    result["page_problems"] = [problem for run in done for problem in run["problems"]]
    result["failed_runs"] = [run["error"] for run in runs if "error" in run]
    return result


async def series(scene: Scene, options: argparse.Namespace, keep: Callable[[Run], None]) -> None:
    """So many runs, in one class while all goes well."""
    done, runs = 0, options.runs
    while done < runs:
        try:
            async with scene(options) as one_run:
                while done < runs:
                    async with asyncio.timeout(RUN_SECONDS):
                        run = await one_run()
                    done += 1
                    times = ", ".join(f"{name} {ms:.0f}" for name, ms in run["times"].items())
                    say(f"run {done}/{runs}: {times} ms, {run['votes']} votes")
                    keep(run)
        except Exception as error:
            done += 1
            notes = "; ".join(getattr(error, "__notes__", ()))
            say(f"run {done}/{runs} failed: {error!r} {notes}")
            keep({"error": f"{type(error).__name__}: {error} {notes}".strip()})


def main(
    benchmark: str,
    description: str | None,
    scene: Scene,
    *,
    modes: Sequence[str],
    **numbers: int,
) -> None:
    """The command: options, runs, one JSON object.

    Args:
        modes: of ``--mode``, the default first.
        numbers: further options, with their defaults.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--mode", choices=modes, default=modes[0])
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--append", type=Path, metavar="FILE", help="keep all runs in FILE")
    parser.add_argument("--timeline", action="store_true", help="say what each page showed when")
    options = parser.parse_args()
    before = machine()
    kept: list[Run] = []
    if options.append is not None and options.append.exists():
        kept = json.loads(options.append.read_text())

    def keep(run: Run) -> None:
        for line in run.pop("timeline", ()):
            if options.timeline:
                say(line)
        kept.append(run)
        if options.append is not None:
            options.append.write_text(json.dumps(kept))

    asyncio.run(series(scene, options, keep))
    found = result_of(kept)
    bad = any(found[key] for key in (*BAD, "page_problems", "failed_runs"))
    asked = {name: getattr(options, name) for name in ("mode", *numbers)}
    finish(
        {"benchmark": benchmark, **asked, **found, "machine": before},
        ok=bool(found["runs"]) and not bad,
    )
