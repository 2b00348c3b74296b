"""What a driver may rely on when it drains a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ftweb.core.ready import Ready
from ftweb.core.settings import Settings
from ftweb.core.types import EntryKind, Role

if TYPE_CHECKING:
    from tests.core.conftest import Cluster

QUIET = Settings(upkeep=False)


def test_the_fields_stand_in_the_order_of_the_work() -> None:
    names = [field.name for field in msgspec.structs.fields(Ready)]
    assert names == ["hard_state", "snapshot", "entries", "messages", "committed", "changed"]


def test_a_drain_swaps_and_returns(make_cluster: type[Cluster]) -> None:
    node = make_cluster(QUIET).start(["a"]).node("a")
    node.tick(1000.0)
    first = node.ready()
    assert first is not None
    assert [entry.kind for entry in first.entries] == [EntryKind.NOOP]
    assert first.committed == ()  # nothing counts before it was handed out to be saved
    assert first.changed
    second = node.ready()
    assert second is not None
    assert [entry.index for entry in second.committed] == [1, 2]
    assert (second.entries, second.hard_state, second.changed) == ((), None, False)
    assert node.ready() is None


def test_committed_entries_are_saved_in_the_same_batch_or_before(
    make_cluster: type[Cluster],
) -> None:
    cluster = make_cluster(QUIET).start(["a", "b", "c"])
    cluster.advance_until(lambda: cluster.leader() is not None)
    leader = cluster.leader()
    assert leader is not None
    for number in range(20):
        leader.node.propose(number, cluster.now)
        cluster.advance(1.0)
    for member in cluster.live():
        saved = 1
        for ready in member.readies:
            saved = max([saved, *(entry.index for entry in ready.entries)])
            assert all(entry.index <= saved for entry in ready.committed)
        assert member.applied == list(range(20))


def test_changed_says_when_the_view_differs(make_cluster: type[Cluster]) -> None:
    cluster = make_cluster(QUIET).start(["a", "b", "c"])
    cluster.advance_until(lambda: cluster.leader() is not None)
    cluster.advance(1000.0)
    leader = cluster.leader()
    assert leader is not None
    for member in cluster.live():
        member.readies.clear()
    cluster.advance(1000.0)
    assert not any(ready.changed for member in cluster.live() for ready in member.readies)
    leader.node.transfer_leadership(next(m.id for m in cluster.live() if m is not leader), 9e9)
    assert leader.node.role is Role.FOLLOWER  # the leap of the clock made it one
    ready = leader.node.ready()
    assert ready is not None
    assert ready.changed
