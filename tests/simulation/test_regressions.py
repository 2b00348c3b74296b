"""Schedules that once showed a violation, kept as they were made smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftweb.core.progress import Progress
from ftweb.simulation import shrink
from ftweb.simulation.pages import Page
from ftweb.simulation.plan import Plan, draw_plan
from ftweb.simulation.schedule import run

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def plan_in(path: Path) -> Plan:
    return shrink.from_json(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_it_shows_nothing_any_more(path: Path) -> None:
    assert run(plan_in(path)).violation is None


def test_a_bridge_that_is_not_told_of_its_leader_stays_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dropped as silent, a bridge heard nothing of the leader, so it sent it no directory, and the
    leader took back nobody who was not in one: until pages said that their node leads."""
    monkeypatch.setattr(Page, "_claim", lambda self: (0, None, None))
    (path,) = [path for path in KEPT if path.stem.startswith("bridge_dropped")]
    violation = run(plan_in(path)).violation
    assert violation is not None
    assert violation.invariant == "convergence"


@pytest.mark.parametrize("seed", [166, 873, 1157, 1214])
def test_a_leader_that_stays_deaf_after_the_laptop_slept(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """It had seen one round trip, during which the laptop slept. When the first one counted as the
    estimate, the election timeout was six times as long from then on, with nobody to correct it."""
    plan = replace(draw_plan(3721), seed=seed)
    assert run(plan).violation is None

    def heard(self: Progress, sent_at: float, now: float) -> None:
        first = self.rtt == 0.0 and sent_at > self.answered_at
        told(self, sent_at, now)
        if first:
            self.rtt, self.rtt_variation = now - sent_at, (now - sent_at) / 2

    told = Progress.heard
    monkeypatch.setattr(Progress, "heard", heard)
    violation = run(plan).violation
    assert violation is not None
    assert violation.invariant == "convergence"
