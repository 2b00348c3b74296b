"""Whose word about an epoch that it has left is known, wanted, and told to whom."""

from __future__ import annotations

import pytest

from ftweb.app.lineage import Rest
from ftweb.frames import Left
from ftweb.limits import LEAVERS
from ftweb.relay.leavers import Leavers


def left(node: str, epoch: int, index: int = 5) -> Left:
    return Left(node=node, epoch=epoch, term=2, index=index, voters=["a", "b", "c"])


@pytest.fixture
def leavers() -> Leavers:
    """At a bridge whose epoch wants to hear of epoch 7."""
    return Leavers(wants=lambda one: one.epoch == 7, elsewhere=lambda: [left("c", 7)])


def test_each_epoch_that_a_node_has_left_counts(leavers: Leavers) -> None:
    """A bridge may have crashed that was told of one of them alone."""
    assert not leavers.note("a", [left("a", 6)])
    assert leavers.note("a", [left("a", 6), left("a", 7), left("a", 9)])
    assert leavers.told() == [left("a", 7)]
    assert leavers.wanted() == [left("a", 7), left("c", 7)]


def test_a_word_about_somebody_else_counts_for_nothing(leavers: Leavers) -> None:
    assert not leavers.note("a", [left("b", 7)])
    assert leavers.told() == []


def test_the_latest_word_counts(leavers: Leavers) -> None:
    leavers.note("a", [left("a", 7, index=5)])
    leavers.note("a", [left("a", 7, index=6)])
    assert leavers.told() == [left("a", 7, index=6)]


def test_only_so_many_are_kept(leavers: Leavers) -> None:
    for number in range(LEAVERS + 3):
        leavers.note(f"n{number}", [left(f"n{number}", 7)])
    told = leavers.told()
    assert len(told) == LEAVERS
    assert told[0].node == "n3"


def test_nodes_that_this_bridge_was_before_have_left_too(leavers: Leavers) -> None:
    leavers.ended(["old"], Rest(epoch=7, term=3, index=8, voters=["old", "a", "b"]))
    (word,) = leavers.told()
    assert (word.node, word.term, word.index) == ("old", 3, 8)
