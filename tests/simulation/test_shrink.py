"""A failing schedule is made smaller, and still fails."""

from __future__ import annotations

import pytest

from ftweb.app.sessions import Sessions, Standing
from ftweb.simulation.plan import draw_plan
from ftweb.simulation.schedule import run
from ftweb.simulation.shrink import from_json, shrink, to_json


def test_the_smallest_plan_still_shows_the_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Sessions.look

    def look(self: Sessions, client_id: str, session: int, serial: int, *, at: int | None = None):  # type: ignore[no-untyped-def]
        standing = original(self, client_id, session, serial, at=at)
        return Standing.NEW if standing is Standing.REPLIED else standing

    monkeypatch.setattr(Sessions, "look", look)
    plan = draw_plan(0)
    found = run(plan).violation
    assert found is not None
    smaller = shrink(plan, found.invariant, budget=80)
    again = run(smaller).violation
    assert again is not None
    assert again.invariant == found.invariant
    assert len(smaller.faults) < len(plan.faults)
    assert smaller.requests < plan.requests


def test_a_plan_is_kept_as_text() -> None:
    plan = draw_plan(11)
    assert from_json(to_json(plan)) == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"faults": [{"when": 1}]}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(text)
