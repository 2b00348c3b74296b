"""The interface: what drivers call, and what they are told when they call it wrongly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ftweb.core.messages import AppendEntries
from ftweb.core.node import Node
from ftweb.core.settings import Settings
from ftweb.core.snapshot import build, is_intact
from ftweb.core.types import Configuration, Entry, HardState, NodeId, PeerInfo, Role
from ftweb.errors import NotLeaderError

if TYPE_CHECKING:
    from tests.core.conftest import Cluster

A, B = NodeId("a"), NodeId("b")
QUIET = Settings(upkeep=False)


def observer() -> Node:
    return Node(node_id=A, settings=QUIET, jitter=lambda: 0.0, now=0.0)


def test_a_node_that_knows_nobody_only_listens() -> None:
    node = observer()
    assert node.role is Role.OBSERVER
    assert node.configuration == Configuration(voters=())
    node.tick(node.next_deadline())
    assert node.next_deadline() == math.inf
    ready = node.ready()
    assert ready is None or ready.messages == ()


def test_a_first_node_leads_at_once(first_entry: Callable[..., Entry]) -> None:
    node = Node(node_id=A, settings=QUIET, jitter=lambda: 0.0, now=5.0, entries=[first_entry([A])])
    assert node.next_deadline() == 5.0
    node.tick(5.0)
    assert (node.role, node.leader_id, node.quorum_active) == (Role.LEADER, A, True)
    while node.ready() is not None:
        pass
    assert node.propose({"vote": 1}, 6.0) == 3
    while node.ready() is not None:
        pass
    assert (node.applied_index, node.commit_index, node.last_index) == (3, 3, 3)


def test_proposing_elsewhere_names_the_leader(make_cluster: type[Cluster]) -> None:
    cluster = make_cluster(QUIET).start(["a", "b", "c"])
    cluster.advance_until(lambda: cluster.leader() is not None)
    leader = cluster.leader()
    assert leader is not None
    other = next(member for member in cluster.live() if member is not leader)
    with pytest.raises(NotLeaderError, match=f"ask {leader.id}"):
        other.node.propose("x", cluster.now)


def test_what_is_not_json_is_refused_before_it_is_appended(
    first_entry: Callable[..., Entry],
) -> None:
    node = Node(node_id=A, settings=QUIET, jitter=lambda: 0.0, now=0.0, entries=[first_entry([A])])
    node.tick(0.0)
    before = node.last_index
    with pytest.raises(TypeError):
        node.propose(object(), 1.0)
    assert node.last_index == before


def test_a_contradictory_configuration_is_refused(first_entry: Callable[..., Entry]) -> None:
    with pytest.raises(ValueError, match="listed twice"):
        observer().change_configuration(Configuration(voters=(A, A)), 0.0)


def test_messages_for_others_are_ignored() -> None:
    node = observer()
    message = AppendEntries(
        sender=A,
        to=B,
        term=9,
        prev_log_index=0,
        prev_log_term=0,
        entries=(),
        commit_index=0,
        sent_at=0.0,
        election_timeout=1500.0,
    )
    node.step(message, 1.0)
    assert node.term == 0


def test_time_never_goes_back(first_entry: Callable[..., Entry]) -> None:
    node = Node(
        node_id=A, settings=QUIET, jitter=lambda: 0.0, now=1000.0, entries=[first_entry([A, B])]
    )
    deadline = node.next_deadline()
    node.tick(5.0)
    assert node.next_deadline() == deadline
    node.tick(deadline)
    assert node.role is Role.CANDIDATE


class TestCompaction:
    def test_gives_the_snapshot_to_be_saved(self, make_cluster: type[Cluster]) -> None:
        cluster = make_cluster(Settings(upkeep=False, trailing_entries=2)).start(["a"])
        cluster.advance(10.0)
        for number in range(6):
            cluster.node("a").propose(number, cluster.now)
        cluster.stabilize()
        node = cluster.node("a")
        snapshot = node.compact(8, "state")
        assert (snapshot.last_index, snapshot.last_term, snapshot.data) == (8, node.term, "state")
        assert snapshot.configuration == node.configuration
        assert is_intact(snapshot)
        assert node.compact(7, "older") is snapshot

    def test_of_what_is_not_applied_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not applied yet"):
            observer().compact(1, "state")

    def test_restart_from_a_snapshot_and_the_entries_after_it(self) -> None:
        snapshot = build(
            last_index=7, last_term=3, configuration=Configuration(voters=(A,)), data="state"
        )
        node = Node(
            node_id=A,
            settings=QUIET,
            jitter=lambda: 0.0,
            now=0.0,
            hard_state=HardState(term=4, vote=A),
            snapshot=snapshot,
        )
        assert (node.applied_index, node.commit_index, node.last_index) == (7, 7, 7)
        assert (node.role, node.term) == (Role.FOLLOWER, 4)
        node.tick(0.0)
        assert (node.role, node.term) == (Role.LEADER, 5)


class TestRestart:
    def test_the_same_node_from_what_it_saved(self, make_cluster: type[Cluster]) -> None:
        cluster = make_cluster(Settings(upkeep=False, trailing_entries=0)).start(["a", "b", "c"])
        cluster.advance_until(lambda: cluster.leader() is not None)
        for number in range(30):
            leader = cluster.leader()
            assert leader is not None
            leader.node.propose(number, cluster.now)
            cluster.advance(20.0)
            if number % 10 == 9:
                leader.compact()
                for member in cluster.live():
                    term, last = member.node.term, member.node.last_index
                    member.restart()
                    assert (member.node.term, member.node.last_index) == (term, last)
                cluster.advance_until(lambda: cluster.leader() is not None)
        cluster.advance(3000.0)
        assert all(member.applied == list(range(30)) for member in cluster.live())


class TestHints:
    def test_about_itself_or_strangers_change_nothing(self, make_cluster: type[Cluster]) -> None:
        cluster = make_cluster(QUIET).start(["a", "b", "c"])
        cluster.advance_until(lambda: cluster.leader() is not None)
        before = [(m.node.role, m.node.term, m.node.leader_id) for m in cluster.live()]
        for member in cluster.live():
            member.node.lost(member.id, cluster.now)
            member.node.lost(NodeId("stranger"), cluster.now)
        cluster.advance(500.0)
        after = [(m.node.role, m.node.term, m.node.leader_id) for m in cluster.live()]
        assert before == after

    def test_two_losses_in_a_row_bring_the_third_forward(self, make_cluster: type[Cluster]) -> None:
        cluster = make_cluster(QUIET).start(["a", "b", "c", "d", "e"])
        cluster.advance_until(lambda: cluster.node("a").role is Role.LEADER)
        began = cluster.now
        for gone in ("a", "b"):
            cluster.members[gone].alive = False
        cluster.lost("a")
        cluster.lost("b")
        cluster.stabilize()
        assert cluster.node("c").role is Role.LEADER
        assert cluster.now == began

    def test_the_directory_may_be_told_to_anybody(self) -> None:
        node = observer()
        node.peers([], 1.0)
        info = PeerInfo.__struct_fields__
        assert {"since", "visible", "ready"} <= set(info)
        assert node.role is Role.OBSERVER
