"""The simulator finds what it is there to find: each planted bug, within so many schedules."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from ftweb.simulation.plan import draw_plan
from ftweb.simulation.schedule import run
from tests.simulation.planted.bugs import Bug
from tests.simulation.planted.leaders import BUGS


def schedules_until_caught(bug: Bug) -> tuple[int, str]:
    """How many schedules it took, and which invariant noticed."""
    for seed in range(bug.within):
        plan = draw_plan(seed)
        violation = run(plan if bug.aim is None else bug.aim(plan)).violation
        if violation is not None:
            return seed + 1, violation.invariant
    pytest.fail(f"not caught within {bug.within} schedules")


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    logging.disable(logging.CRITICAL)
    try:
        BUGS[name].plant(monkeypatch)
        schedules, invariant = schedules_until_caught(BUGS[name])
    finally:
        logging.disable(logging.NOTSET)
    record_property("schedules", schedules)
    assert invariant in BUGS[name].caught_by


@pytest.mark.parametrize("name", [name for name, bug in BUGS.items() if bug.aim is not None])
def test_without_the_bug_the_same_schedules_show_nothing(name: str) -> None:
    """What is caught is the bug, not the aim."""
    aim = BUGS[name].aim
    assert aim is not None
    for seed in range(3):
        assert run(aim(draw_plan(seed))).violation is None


def test_there_are_enough() -> None:
    assert len(BUGS) >= 30
