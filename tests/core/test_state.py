from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ftweb.core.settings import Settings
from ftweb.core.state import State
from ftweb.core.types import Entry, HardState, NodeId, Role


@pytest.fixture
def make(first_entry: Callable[..., Entry]) -> Callable[[str], State]:
    def made(node_id: str) -> State:
        return State(
            node_id=NodeId(node_id),
            settings=Settings(),
            jitter=lambda: 0.0,
            now=0.0,
            hard_state=HardState(term=3, vote=None),
            snapshot=None,
            entries=[first_entry(["v"], ["l"])],
        )

    return made


def test_standing_follows_from_the_configuration(make: Callable[[str], State]) -> None:
    standings = [make(node).standing() for node in ("v", "l", "x")]
    assert standings == [Role.FOLLOWER, Role.LEARNER, Role.OBSERVER]


@pytest.mark.parametrize(
    "told, adopted",
    [(0.0, 1500.0), (2000.0, 2000.0), (1e12, 15_000.0), (math.inf, 1500.0), (math.nan, 1500.0)],
)
def test_no_message_can_switch_elections_off_or_make_them_storm(
    make: Callable[[str], State], told: float, adopted: float
) -> None:
    state = make("v")
    state.adopt_election_timeout(told)
    assert state.election_timeout == adopted


def test_the_stagger_grows_with_the_election_timeout(make: Callable[[str], State]) -> None:
    state = make("v")
    state.adopt_election_timeout(3000.0)
    assert state.stagger == 300.0


def test_a_term_in_the_log_is_never_entered_again(first_entry: Callable[..., Entry]) -> None:
    """Without a saved hard state: the log shows that the term was reached."""
    state = State(
        node_id=NodeId("v"),
        settings=Settings(),
        jitter=lambda: 0.0,
        now=0.0,
        hard_state=None,
        snapshot=None,
        entries=[first_entry(["v"], term=4)],
    )
    assert state.term == 4
