"""Streams of numbered votes from phones, and the check that each counted exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.classroom import PATIENCE, Classroom, Tab


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one page cast and what became of it. Times are ms since 1970 on this machine."""

    client_id: str
    cast: int
    acknowledged: list[tuple[int, float, float]]
    """(number, when sent, when acknowledged)."""
    refused: list[tuple[int, str, str]]


@dataclass(kw_only=True)
class Outcome:
    """Filled in when the streams have ended."""

    reports: list[Report] = field(default_factory=list)
    lost: list[tuple[str, int]] = field(default_factory=list)
    """Acknowledged, but not counted."""
    doubled: list[tuple[str, int]] = field(default_factory=list)
    invented: list[tuple[str, int]] = field(default_factory=list)
    """Counted, but never cast."""

    def demand_exactly_once(self) -> None:
        assert not self.lost
        assert not self.doubled
        assert not self.invented
        for report in self.reports:
            assert not report.refused
            assert len(report.acknowledged) == report.cast  # each got its answer in the end
            assert report.cast > 0

    def acknowledged_after(self, moment: float) -> float:
        """When the first vote that was *sent* after a moment had been acknowledged.

        Counting votes sent before would also count replies that were already on their way.
        """
        return min(
            acknowledged
            for report in self.reports
            for _, sent, acknowledged in report.acknowledged
            if sent > moment
        )


async def report_of(tab: Tab) -> Report:
    """Stop a page's stream, wait for its last answers, and read it."""
    await tab.page.evaluate("votes.stop()")
    async with asyncio.timeout(PATIENCE):
        await tab.page.evaluate("votes.settled()")
    got: dict[str, Any] = await tab.page.evaluate("votes.report()")
    return Report(
        client_id=got["clientId"],
        cast=got["cast"],
        acknowledged=[(n, sent, done) for n, sent, done in got["acknowledged"]],
        refused=[(n, code, text) for n, code, text in got["refused"]],
    )


def compare(reports: Sequence[Report], counted: dict[str, dict[str, int]]) -> Outcome:
    """Hold the pages' own records against the replicated ledger."""
    outcome = Outcome(reports=list(reports))
    for voter, numbers in counted.items():
        doubled = [(voter, int(number)) for number, times in numbers.items() if times != 1]
        outcome.doubled += doubled
    for report in reports:
        mine = counted.get(report.client_id, {})
        for number, _, _ in report.acknowledged:
            if str(number) not in mine:
                outcome.lost.append((report.client_id, number))
        never_cast = {int(number) for number in mine} - set(range(1, report.cast + 1))
        outcome.invented += [(report.client_id, number) for number in sorted(never_cast)]
    return outcome


@contextlib.asynccontextmanager
async def voting(
    classroom: Classroom, tabs: Sequence[Tab], *, interval: int = 25
) -> AsyncIterator[Outcome]:
    """Phones cast votes all the time inside the block; its outcome is known after it.

    A tab that is closed or killed inside takes its record with it: its votes are only checked
    for doubles.
    """
    for tab in tabs:
        await tab.page.evaluate("interval => votes.start(interval)", interval)
    for tab in tabs:
        await tab.until("votes.acknowledged.length > 0")
    outcome = Outcome()
    yield outcome
    left = [tab for tab in tabs if tab in classroom.tabs.values()]
    reports = await asyncio.gather(*(report_of(tab) for tab in left))
    joined = await classroom.script()
    found = compare(reports, joined["state"]["counted"])
    outcome.reports, outcome.lost = found.reports, found.lost
    outcome.doubled, outcome.invented = found.doubled, found.invented
