"""Streams of numbered votes from phones, and the check that each counted exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from playwright.async_api import TimeoutError as PlaywrightTimeout

from tests.e2e.classroom import PATIENCE, Classroom, Tab


class Acknowledged(NamedTuple):
    """One vote that counted, by the page's own record."""

    number: int
    sent: float
    done: float
    """When: ms since 1970 on this machine."""
    term: int
    """Whose term the page knew of when the acknowledgement came. A status comes before the
    replies of a new host, so a higher one means that a new host had taken over."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one page cast and what became of it."""

    client_id: str
    cast: int
    acknowledged: list[Acknowledged]
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

    def firsts(self, *, above_term: int) -> list[float]:
        """For each page, when a vote of it was first acknowledged in a later term than that."""
        return [
            min(vote.done for vote in report.acknowledged if vote.term > above_term)
            for report in self.reports
        ]

    def firsts_sent_after(self, moment: float) -> list[float]:
        """The same, for votes that were cast after a moment: when no host was there to hear."""
        return [
            min(vote.done for vote in report.acknowledged if vote.sent > moment)
            for report in self.reports
        ]


async def report_of(tab: Tab) -> Report:
    """Stop a page's stream, wait for its last answers, and read it."""
    await tab.evaluate("votes.stop()")
    async with asyncio.timeout(PATIENCE):
        await tab.evaluate("votes.settled()")
    got: dict[str, Any] = await tab.evaluate("votes.report()")
    return Report(
        client_id=got["clientId"],
        cast=got["cast"],
        acknowledged=[Acknowledged(*vote) for vote in got["acknowledged"]],
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
        for vote in report.acknowledged:
            if str(vote.number) not in mine:
                outcome.lost.append((report.client_id, vote.number))
        never_cast = {int(number) for number in mine} - set(range(1, report.cast + 1))
        outcome.invented += [(report.client_id, number) for number in sorted(never_cast)]
    return outcome


async def _settled_state(reader: Tab, reports: Sequence[Report]) -> dict[str, Any]:
    """What a page holds once it has all that was acknowledged; what is missing is found later."""
    wanted = {report.client_id: len(report.acknowledged) for report in reports}
    with contextlib.suppress(PlaywrightTimeout):
        await reader.until(
            "Object.entries(x).every(([voter, votes]) =>"
            " Object.keys(connection.state.counted[voter] ?? {}).length >= votes)",
            5.0,
            wanted,
        )
    state: dict[str, Any] = await reader.evaluate("connection.state")
    return state


@contextlib.asynccontextmanager
async def voting(
    classroom: Classroom,
    tabs: Sequence[Tab],
    *,
    interval: int = 25,
    reader: Tab | None = None,
) -> AsyncIterator[Outcome]:
    """Phones cast votes all the time inside the block; its outcome is known after it.

    A tab that is closed or killed inside takes its record with it: its votes are only checked
    for doubles. The ledger is read by a newcomer, or by ``reader`` where none can join.
    """
    for tab in tabs:
        await tab.evaluate("interval => votes.start(interval)", interval)
    for tab in tabs:
        await tab.until("votes.acknowledged.length > 0")
    outcome = Outcome()
    yield outcome
    left = [tab for tab in tabs if tab in classroom.tabs.values()]
    reports = await asyncio.gather(*(report_of(tab) for tab in left))
    if reader is None:
        state = (await classroom.script())["state"]
    else:
        state = await _settled_state(reader, reports)
    found = compare(reports, state["counted"])
    outcome.reports, outcome.lost = found.reports, found.lost
    outcome.doubled, outcome.invented = found.doubled, found.invented
