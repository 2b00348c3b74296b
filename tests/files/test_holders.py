"""Whom to ask: the busiest last, the failed after a pause, any number, back when back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.files import Holders
from ftweb.limits import FILE_PAUSE_SECONDS, FILE_PAUSE_SECONDS_MOST

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "holders.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    holders = Holders(vector["holders"])
    for step in vector["steps"]:
        match step:
            case ["pick", now, besides, expected]:
                assert holders.pick(now, besides=besides) == expected, step
            case ["wait", now, expected]:
                assert holders.wait(now) == expected, step
            case ["asked" | "served" | "returned" as what, name]:
                getattr(holders, what)(name)
            case ["failed" | "distrust" as what, name, now]:
                getattr(holders, what)(name, now)
            case ["update", names]:
                holders.update(names)
            case _:
                raise AssertionError(step)


NAMES = ["a", "b", "c", "d"]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["asked", "served", "failed", "returned", "update", "later"]),
        st.sampled_from(NAMES),
        st.sets(st.sampled_from(NAMES)),
        st.floats(0, 3),
    ),
    max_size=40,
)


@given(st.sets(st.sampled_from(NAMES)), _STEPS)
def test_rules_hold_after_anything(names: set[str], steps: list[Any]) -> None:
    holders, now = Holders(sorted(names)), 0.0
    busy = dict.fromkeys(NAMES, 0)
    for what, name, others, seconds in steps:
        match what:
            case "later":
                now += seconds
            case "update":
                holders.update(sorted(others))
                busy = {one: busy[one] if one in others else 0 for one in NAMES}
            case "failed":
                holders.failed(name, now)
            case _:
                getattr(holders, what)(name)
        if name in holders.names and what in ("asked", "served", "failed"):
            busy[name] = max(0, busy[name] + (1 if what == "asked" else -1))
        picked, wait = holders.pick(now), holders.wait(now)
        if not holders.names:
            assert picked is None
            assert wait is None
            continue
        # Nobody is given up: at the latest after the longest pause somebody is asked.
        assert wait is not None
        assert 0 <= wait <= FILE_PAUSE_SECONDS_MOST
        assert (picked is None) == (wait > 0)
        assert holders.pick(now + FILE_PAUSE_SECONDS_MOST) is not None
        if picked is not None:
            free = [one for one in holders.names if _free(holders, one, now)]
            assert busy[picked] == min(busy[one] for one in free)


def _free(holders: Holders, name: str, now: float) -> bool:
    others = [other for other in holders.names if other != name]
    alone = Holders()
    alone._all = {name: holders._all[name]}
    return alone.pick(now) == name or not [*others, name]


@given(st.integers(1, 6), st.integers(0, 40))
def test_everybody_has_a_turn(count: int, requests: int) -> None:
    """One request at a time: nobody is asked twice before all have been asked."""
    names = [f"h{number}" for number in range(count)]
    holders = Holders(names)
    asked = []
    for now in range(requests):
        picked = holders.pick(now)
        assert picked is not None
        holders.asked(picked)
        holders.served(picked)
        asked.append(picked)
    for at in range(len(asked)):
        window = asked[at : at + count]
        assert len(set(window)) == len(window)


@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=60))
def test_requests_that_last_are_spread_evenly(count: int, ends: list[int]) -> None:
    """As many at each but for one, as long as those end that began first."""
    holders = Holders([f"h{number}" for number in range(count)])
    under_way: list[str] = []
    for now, ending in enumerate(ends):
        picked = holders.pick(now)
        assert picked is not None
        holders.asked(picked)
        under_way.append(picked)
        for _ in range(min(ending, len(under_way))):
            holders.served(under_way.pop(0))
        busy = [under_way.count(name) for name in holders.names]
        assert max(busy) - min(busy) <= 1


def test_who_is_new_is_asked_at_once() -> None:
    holders = Holders(["old"])
    for _ in range(3):
        holders.asked("old")
        holders.served("old")
    holders.update(["old", "new"])
    assert holders.pick(0) == "new"


def test_pauses_double_up_to_a_bound_and_success_forgets_them() -> None:
    holders = Holders(["a"])
    now, pauses = 0.0, []
    for _ in range(8):
        holders.failed("a", now)
        wait = holders.wait(now)
        assert wait is not None
        pauses.append(wait)
        now += wait
    assert pauses == [
        min(FILE_PAUSE_SECONDS * 2**number, FILE_PAUSE_SECONDS_MOST) for number in range(8)
    ]
    holders.asked("a")
    holders.served("a")
    holders.failed("a", now)
    assert holders.wait(now) == FILE_PAUSE_SECONDS
