"""The judge itself: a lost, a doubled and an invented vote are each found."""

from __future__ import annotations

import pytest

from tests.e2e.ledger import Acknowledged, Outcome, Report, compare

VOTES = [
    Acknowledged(1, 0.0, 5.0, 3),
    Acknowledged(2, 10.0, 90.0, 4),
    Acknowledged(3, 50.0, 91.0, 4),
]
REPORT = Report(client_id="a", cast=3, acknowledged=VOTES, refused=[])


def judge(counted: dict[str, int]) -> Outcome:
    return compare([REPORT], {"a": counted, "somebody whose tab is gone": {"1": 1}})


def test_what_was_acknowledged_and_counted_once_is_fine() -> None:
    judge({"1": 1, "2": 1, "3": 1}).demand_exactly_once()


@pytest.mark.parametrize(
    "counted",
    [
        pytest.param({"1": 1, "3": 1}, id="lost"),
        pytest.param({"1": 1, "2": 2, "3": 1}, id="doubled"),
        pytest.param({"1": 1, "2": 1, "3": 1, "4": 1}, id="invented"),
    ],
)
def test_every_kind_of_wrong_is_found(counted: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        judge(counted).demand_exactly_once()


def test_a_vote_of_a_tab_that_is_gone_must_not_be_doubled_either() -> None:
    outcome = compare([REPORT], {"a": {"1": 1, "2": 1, "3": 1}, "gone": {"7": 2}})
    assert outcome.doubled == [("gone", 7)]


def test_an_unanswered_vote_is_not_overlooked() -> None:
    report = Report(client_id="a", cast=2, acknowledged=VOTES[:1], refused=[])
    with pytest.raises(AssertionError):
        compare([report], {"a": {"1": 1}}).demand_exactly_once()


def test_the_time_of_a_takeover_is_that_of_the_new_host() -> None:
    outcome = judge({"1": 1, "2": 1, "3": 1})
    assert outcome.firsts(above_term=3) == [90.0]
    assert outcome.firsts_sent_after(20.0) == [91.0]
