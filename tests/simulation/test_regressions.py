"""Schedules that once showed a violation, kept as they were made smaller."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.xfail(strict=True, reason="docs/evaluation.md, seed 3721")
def test_a_leader_that_stays_deaf_after_the_laptop_slept() -> None:
    """The others do not elect another one within ten election timeouts."""
    assert run(draw_plan(3721)).violation is None
