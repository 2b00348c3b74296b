"""Elections in which all that are left are needed, and notice the loss one after the other.

Laptop and host leave a class of five voters. The three others lose their channels to the host at
times of their own, up to half a second apart when a link goes down without a word.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from ftweb.core.settings import Settings
from ftweb.core.types import Entry, EntryKind, NodeId

if TYPE_CHECKING:
    from tests.core.conftest import Cluster

GAPS = range(0, 450, 45)


class Left:
    """Three of five voters, after the others have gone."""

    def __init__(self, make_cluster: type[Cluster], delay: float, *gone: str) -> None:
        draw = random.Random(1)
        cluster = self.cluster = make_cluster(
            Settings(upkeep=False), jitter=draw.random, policy=lambda message: (delay,)
        ).start(["h", "bridge", "p", "q", "r"], successors=["h", "p", "q", "r", "bridge"])
        cluster.advance_until(lambda: cluster.leader() is not None)
        leader = cluster.leader()
        assert leader is not None
        leader.node.transfer_leadership(NodeId("h"), cluster.now)
        cluster.advance_until(lambda: cluster.node("h").term_start is not None)
        cluster.advance(1_000.0)
        for node in gone:
            cluster.crash(node)
        self.gone = gone

    def notices(self, node: str) -> None:
        for gone in self.gone:
            self.cluster.node(node).lost(NodeId(gone), self.cluster.now)
        self.cluster.send(self.cluster.members[node])

    def elect(self) -> float:
        """Milliseconds until one of them leads."""
        return self.cluster.advance_until(lambda: self.cluster.leader() is not None)


@pytest.mark.parametrize("delay", [2.0, 12.0])
@pytest.mark.parametrize("order", ["pqr", "prq", "qpr", "qrp", "rpq", "rqp"])
def test_it_is_over_three_round_trips_after_the_last_has_noticed(
    make_cluster: type[Cluster], order: str, delay: float
) -> None:
    slow = {}
    for first, second in itertools.product(GAPS, GAPS):
        left = Left(make_cluster, delay, "bridge", "h")
        for node, gap in zip(order, (0, first, second), strict=True):
            left.cluster.advance(gap)
            left.notices(node)
        took = left.elect()
        if took > 3 * 2 * delay:
            slow[first, second] = took
    assert not slow


def test_the_longest_log_goes_first(make_cluster: type[Cluster]) -> None:
    """The last in succession has an entry more: the others' votes would be in vain."""
    left = Left(make_cluster, 2.0, "bridge", "h")
    index = left.cluster.node("r").last_index + 1
    term = left.cluster.node("r").term
    entry = Entry(index=index, term=term, kind=EntryKind.COMMAND, data="x")
    member = left.cluster.members["r"]
    member.entries[index] = entry
    member.restart()
    for node in "pqr":
        left.notices(node)
        left.cluster.advance(100.0)
    left.elect()
    leader = left.cluster.leader()
    assert leader is not None
    assert leader.id == "r"


def test_the_best_that_hears_nobody_is_not_waited_for_long(make_cluster: type[Cluster]) -> None:
    left = Left(make_cluster, 2.0, "h")
    left.cluster.cut = {(other, "p") for other in ("q", "r", "bridge")}
    for node in ("p", "q", "r", "bridge"):
        left.notices(node)
    assert left.elect() <= 2 * left.cluster.settings.election_timeout
    leader = left.cluster.leader()
    assert leader is not None
    assert leader.id != "p"


def test_who_seeks_votes_in_vain_for_long_still_gives_way(make_cluster: type[Cluster]) -> None:
    """Two of five wait for a third: when it is back, they do not take each other's votes."""
    slow = {}
    for delay, wait in itertools.product((2.0, 12.0), range(1_000, 9_000, 160)):
        left = Left(make_cluster, delay, "bridge", "h", "r")
        for node in "pq":
            left.notices(node)
        left.cluster.advance(float(wait))
        left.cluster.members["r"].restart()
        took = left.elect()
        if took > left.cluster.settings.election_timeout / 2:
            slow[delay, wait] = took
    assert not slow
