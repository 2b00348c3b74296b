from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftweb.core.quorum import Outcome, holds, majority, reached, tally
from ftweb.core.types import NodeId

VOTERS = [NodeId(name) for name in "abcde"]


def test_majorities() -> None:
    assert [majority(count) for count in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


def test_any_two_majorities_overlap_also_across_one_change() -> None:
    for count in range(1, 8):
        assert 2 * majority(count) > count
        assert majority(count) + majority(count + 1) > count + 1


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_reached_is_the_greatest_value_that_a_majority_has(values: list[int]) -> None:
    found = reached(values)
    assert sum(value >= found for value in values) >= majority(len(values))
    assert sum(value > found for value in values) < majority(len(values))


def test_reached_compares_numbers() -> None:
    assert reached([9, 10, 2]) == 9


@given(st.integers(1, 5), st.dictionaries(st.sampled_from([*VOTERS, NodeId("x")]), st.booleans()))
def test_tally(count: int, votes: dict[NodeId, bool]) -> None:
    voters = VOTERS[:count]
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    expected = Outcome.PENDING
    if granted > count / 2:
        expected = Outcome.WON
    elif refused >= count / 2:
        expected = Outcome.LOST
    assert tally(voters, votes) is expected


def test_nobody_wins_without_voters() -> None:
    assert tally([], {NodeId("a"): True}) is not Outcome.WON


def test_holds() -> None:
    assert holds(VOTERS[:3], set(VOTERS[:2]))
    assert not holds(VOTERS[:4], set(VOTERS[:2]) | {NodeId("x"), NodeId("y")})
