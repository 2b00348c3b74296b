"""Upkeep at work: over time, with what bridges report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ftweb.core.settings import Settings
from ftweb.core.types import NodeId, NodeKind, Role

if TYPE_CHECKING:
    from tests.core.conftest import Cluster

SETTINGS = Settings()


@pytest.fixture
def classroom(make_cluster: type[Cluster], request: pytest.FixtureRequest) -> Cluster:
    """A bridge b, its tab t, phones p, q and r: five voters, led by t."""
    from collections.abc import Callable
    from typing import Any

    first_entry: Callable[..., Any] = request.getfixturevalue("first_entry")
    cluster = make_cluster(SETTINGS)
    cluster.add("b", [first_entry(["b"])])
    cluster.info("b", "laptop", kind=NodeKind.BRIDGE, local=True)
    cluster.directory()
    cluster.advance(100.0)
    for node, device in (("t", "laptop"), ("p", "p"), ("q", "q"), ("r", "r")):
        cluster.add(node)
        cluster.info(node, device, local=device == "laptop")
        cluster.directory()
        cluster.advance(400.0)
    leader = cluster.leader()
    assert leader is not None
    assert leader.id == "t"
    assert set(leader.node.configuration.voters) == {"b", "t", "p", "q", "r"}
    return cluster


def voters(cluster: Cluster) -> set[str]:
    leader = cluster.leader()
    assert leader is not None
    return set(leader.node.configuration.voters)


def members(cluster: Cluster) -> set[str]:
    leader = cluster.leader()
    assert leader is not None
    return set(leader.node.configuration.members)


def test_the_first_successor_leads_without_time_passing(classroom: Cluster) -> None:
    began = classroom.now
    classroom.crash("t")
    classroom.lost("t")
    classroom.stabilize()
    assert classroom.node("p").role is Role.LEADER
    assert classroom.now == began


def test_a_lost_member_keeps_its_place_for_the_grace(classroom: Cluster) -> None:
    classroom.crash("q")
    classroom.lost("q")
    classroom.advance(SETTINGS.lost_grace - SETTINGS.heartbeat)
    assert "q" in members(classroom)
    classroom.advance(3 * SETTINGS.heartbeat)
    assert "q" not in members(classroom)
    assert len(voters(classroom)) == 3


def test_a_member_that_comes_back_within_it_stays(classroom: Cluster) -> None:
    classroom.lost("q")
    classroom.advance(300.0)
    classroom.directory()
    classroom.advance(5000.0)
    assert voters(classroom) == {"b", "t", "p", "q", "r"}


def test_a_frozen_tab_is_dropped_and_comes_back_when_it_thaws(classroom: Cluster) -> None:
    """Its socket is open, so the directory lists it all the time."""
    classroom.members["q"].paused = True
    classroom.directory()
    classroom.advance(SETTINGS.silence + 600.0)
    assert "q" not in members(classroom)
    for _ in range(5):
        classroom.directory()
        classroom.advance(2000.0)
        assert "q" not in members(classroom)
    classroom.members["q"].paused = False
    took = classroom.advance_until(lambda: "q" in voters(classroom))
    assert took <= 2 * SETTINGS.election_timeout
    assert classroom.members["q"].applied == classroom.members["t"].applied


def test_a_frozen_host_is_replaced_and_follows_when_it_thaws(classroom: Cluster) -> None:
    classroom.members["t"].paused = True
    took = classroom.advance_until(lambda: classroom.node("p").role is Role.LEADER)
    assert took <= SETTINGS.election_timeout + 2 * SETTINGS.stagger
    classroom.directory()
    classroom.advance(6000.0)
    assert "t" not in members(classroom)
    classroom.members["t"].paused = False
    classroom.advance_until(lambda: classroom.node("t").role is Role.LEADER)
    classroom.advance(1000.0)
    assert voters(classroom) == {"b", "t", "p", "q", "r"}


def test_failback_waits_for_the_settling_time(classroom: Cluster) -> None:
    classroom.crash("t")
    classroom.lost("t")
    classroom.directory()
    classroom.advance(2000.0)
    classroom.add("t2")
    classroom.info("t2", "laptop", local=True)
    classroom.directory()
    took = classroom.advance_until(lambda: classroom.node("t2").role is Role.LEADER)
    assert SETTINGS.settle <= took <= SETTINGS.settle + 2 * SETTINGS.heartbeat


def test_a_hosting_phone_that_is_hidden_hands_over_at_once(classroom: Cluster) -> None:
    classroom.crash("t")
    classroom.lost("t")
    classroom.directory()
    classroom.advance(2000.0)
    assert classroom.node("p").role is Role.LEADER
    began = classroom.now
    classroom.info("p", "p", visible=False)
    classroom.directory()
    classroom.stabilize()
    assert classroom.node("q").role is Role.LEADER
    assert classroom.now == began
    classroom.directory()
    classroom.advance(1000.0)
    assert "p" in members(classroom)
    assert "p" not in voters(classroom)


def test_writes_go_on_while_phones_come_and_go(classroom: Cluster) -> None:
    sent = 0
    for number in range(8):
        classroom.crash(["p", "q", "r", "s0", "s1", "s2", "s3", "s4"][number])
        classroom.lost(["p", "q", "r", "s0", "s1", "s2", "s3", "s4"][number])
        classroom.add(f"s{number}")
        classroom.info(f"s{number}", f"s{number}")
        classroom.directory()
        for _ in range(20):
            classroom.node("t").propose(sent, classroom.now)
            sent += 1
            classroom.advance(75.0)
    assert classroom.node("t").role is Role.LEADER
    assert classroom.members["b"].applied == list(range(sent))
    assert voters(classroom) == {"b", "t", "s5", "s6", "s7"}


def test_upkeep_rests_when_all_is_well(classroom: Cluster) -> None:
    last = classroom.node("t").last_index
    for _ in range(20):
        classroom.directory()
        classroom.advance(500.0)
    assert classroom.node("t").last_index == last


def test_only_what_answers_the_roll_call_is_staked_on(classroom: Cluster) -> None:
    """q dies unnoticed. Hiding p would make four voters of five: not while q does not answer."""
    classroom.advance(1010.0)  # between two heartbeats
    classroom.crash("q")
    classroom.info("q", "q")  # still listed: nobody has noticed
    classroom.info("p", "p", visible=False)
    classroom.directory()
    classroom.advance(1000.0)
    assert voters(classroom) == {"b", "t", "p", "q", "r"}
    classroom.advance(SETTINGS.silence + 1000.0)
    assert voters(classroom) == {"b", "t", "r"}


def test_a_minority_changes_nothing(classroom: Cluster) -> None:
    for one in ("t", "b"):
        for other in ("p", "q", "r"):
            classroom.cut |= {(one, other), (other, one)}
    classroom.advance(SETTINGS.silence + 3000.0)
    assert set(classroom.node("t").configuration.voters) == {"b", "t", "p", "q", "r"}
    assert classroom.node("t").role is not Role.LEADER
    leader = classroom.leader()
    assert leader is not None
    assert leader.id in {"p", "q", "r"}
    assert NodeId("b") not in leader.node.configuration.voters
    classroom.cut.clear()
    classroom.advance_until(lambda: len(voters(classroom)) == 5, 15_000.0)
    classroom.check_logs()
