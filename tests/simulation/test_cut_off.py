"""A bridge that is cut off while tabs go on without it: schedules, and planted bugs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ftweb.app.lineage import Rest
from ftweb.relay.recalling import Recalling
from ftweb.simulation.cut_off import Tab, draw_cut_off, run_cut_off

SCHEDULES = 100
CHUNK = 25


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


COUNTED: Counter[str] = Counter()


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_every_vote_acknowledged_at_the_bridge_or_among_the_tabs_counts_once(first: int) -> None:
    for seed in range(first, first + CHUNK):
        result = run_cut_off(draw_cut_off(seed))
        assert result.violation is None, f"seed {seed}: {result.violation}"
        COUNTED.update(result.counts)


def test_the_schedules_say_something() -> None:
    if not COUNTED:  # this test alone
        for seed in range(CHUNK):
            COUNTED.update(run_cut_off(draw_cut_off(seed)).counts)
    for kind in ("cut off", "tab stands in", "epochs begun", "bridge of another epoch met"):
        assert COUNTED[kind] >= CHUNK // 3, kind


def test_a_seed_is_one_story() -> None:
    assert run_cut_off(draw_cut_off(3)).digest == run_cut_off(draw_cut_off(3)).digest


FOUND = {
    "tabs that had lost their quorum as well followed the bridge's epoch, and forgot their own": (
        138,
        231,
        901,
    ),
    "of their log, entries of a later term were taken for the bridge's own": (1009,),
    "a node that came after all, once it had been told that it could not, was known to nobody": (
        1041,
    ),
    "two tabs that relayed were at one another's relay, and nobody looked for the bridge": (1325,),
}
"""What schedules have found, and the seeds of those that did."""


@pytest.mark.parametrize("seed", [seed for seeds in FOUND.values() for seed in seeds])
def test_what_was_found_once_stays_away(seed: int) -> None:
    assert run_cut_off(draw_cut_off(seed)).violation is None


def test_a_bridge_killed_in_its_own_epoch_comes_back_to_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its tabs went on in its epoch, without it. What they acknowledged then they hand in when they
    come over in the end; nobody could ask them later."""
    plan = draw_cut_off(188)
    assert run_cut_off(plan).violation is None
    monkeypatch.setattr("ftweb.replica.hand_in", lambda position, own: iter(()))
    violation = run_cut_off(plan).violation
    assert violation is not None
    assert violation.invariant == "exactly once"


@pytest.mark.parametrize("seed", [138, 222, 901, 1009])
def test_without_asking_them_it_is_lost(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recalling, "note", lambda self, connection, left: None)
    violation = run_cut_off(draw_cut_off(seed)).violation
    assert violation is not None
    assert violation.invariant == "exactly once"


type Plant = Callable[[pytest.MonkeyPatch], None]


def _nobody_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rest, "lives", property(lambda self: False))


def _bridges_neither_come_over_nor_ask(patch: pytest.MonkeyPatch) -> None:
    """Either one of them alone loses nothing, in these."""
    patch.setattr(Tab, "_history", lambda self: None)
    patch.setattr(Recalling, "note", lambda self, connection, left: None)


PLANTED: dict[str, tuple[Plant, int]] = {
    "nobody is waited for": (_nobody_is_waited_for, 5),
    "bridges neither come over nor ask": (_bridges_neither_come_over_nor_ask, 5),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    plant, within = PLANTED[name]
    plant(monkeypatch)
    for seed in range(within):
        violation = run_cut_off(draw_cut_off(seed)).violation
        if violation is not None:
            record_property("schedules", seed + 1)
            record_property("invariant", violation.invariant)
            return
    pytest.fail(f"not caught within {within} schedules")
