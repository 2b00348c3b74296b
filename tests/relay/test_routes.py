"""Shortest paths, two-way checks, claims of nodes."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec

from ftweb import codec, frames
from ftweb.limits import LINKED_BRIDGES
from ftweb.relay.routes import HOP_COST, Routes


def node(node_id: str, since: float = 5.0) -> frames.NodeInfo:
    return frames.NodeInfo(
        node_id=node_id,
        device_id=f"device-{node_id}",
        kind="tab",
        local=False,
        visible=True,
        since=since,
        rtt=2.0,
    )


def state(
    bridge: str,
    neighbours: Mapping[str, float],
    *nodes: str,
    seq: int = 1,
    start: int = 1,
    now: float = 0.0,
) -> frames.LinkState:
    return frames.LinkState(
        bridge=bridge,
        start=start,
        seq=seq,
        node_id=f"node-{bridge}",
        epoch=1,
        now=now,
        neighbours=[frames.Neighbour(bridge=b, rtt=rtt) for b, rtt in neighbours.items()],
        nodes=[node(each) for each in nodes],
        urls=[],
    )


def test_the_less_costly_way_is_taken() -> None:
    routes = Routes("a")
    routes.links({"b": 100.0, "c": 1.0})
    assert routes.told(state("b", {"a": 100.0, "c": 1.0}, "tab"), 0.0)
    assert routes.next_hop("b") == "b"
    assert routes.told(state("c", {"a": 1.0, "b": 1.0}), 0.0)
    assert routes.next_hop("b") == routes.next_hop("tab") == "c", "by way of c it is nearer"
    remote = routes.node("tab")
    assert remote is not None
    assert remote.bridge == "b"
    assert remote.info.rtt == 2.0 + 2 * (1.0 + HOP_COST)
    assert [each.bridge for each in routes.bridges] == ["c", "b"]
    routes.links({"b": 100.0})
    assert routes.next_hop("tab") == "b"
    routes.links({})
    assert routes.next_hop("tab") is None
    assert routes.node("tab") is None
    assert len(routes.ever) == 2, "what they told is kept"


def test_a_link_counts_only_if_both_ends_tell_of_it() -> None:
    routes = Routes("a")
    routes.links({"b": 1.0})
    routes.told(state("b", {"a": 1.0, "c": 1.0}), 0.0)
    routes.told(state("c", {}, "tab"), 0.0)
    assert routes.node("tab") is None
    routes.told(state("c", {"b": 1.0}, "tab", seq=2), 0.0)
    assert routes.next_hop("tab") == "b"


def test_older_word_and_word_of_ourselves_is_not_heard() -> None:
    routes = Routes("a")
    routes.links({"b": 1.0})
    assert routes.told(state("b", {"a": 1.0}, "new", seq=5, start=2), 0.0)
    assert not routes.told(state("b", {"a": 1.0}, "old", seq=4, start=2), 0.0)
    assert not routes.told(state("b", {"a": 1.0}, "old", seq=9, start=1), 0.0), "an earlier start"
    assert not routes.told(state("a", {"b": 1.0}, "old", seq=9), 0.0)
    assert set(routes.nodes) == {"new"}
    assert routes.told(state("b", {"a": 1.0}, "newer", seq=1, start=3), 0.0)
    assert set(routes.nodes) == {"newer"}


def test_a_node_belongs_to_the_latest_to_claim_it() -> None:
    routes = Routes("a")
    routes.links({"b": 1.0, "c": 1.0})
    routes.told(state("b", {"a": 1.0}, "tab"), 0.0)
    routes.told(state("c", {"a": 1.0}, "tab"), 0.0)
    assert routes.next_hop("tab") == "c"
    routes.told(state("b", {"a": 1.0}, "tab", "another", seq=2), 0.0)
    assert routes.next_hop("tab") == "c", "b has not missed it yet: that is no new claim"
    routes.told(state("c", {"a": 1.0}, seq=2), 0.0)
    assert routes.next_hop("tab") == "b"
    routes.claimed_here("tab")
    assert routes.node("tab") is None, "it is ours now"
    routes.told(state("b", {"a": 1.0}, "tab", "third", seq=3), 0.0)
    assert routes.node("tab") is None, "b has still not missed it"
    routes.told(state("b", {"a": 1.0}, seq=4), 0.0)
    routes.told(state("b", {"a": 1.0}, "tab", seq=5), 0.0)
    assert routes.next_hop("tab") == "b", "and back again"
    routes.claimed_here("tab")
    routes.released_here("tab")
    assert routes.next_hop("tab") == "b"


def test_times_are_in_our_clock_and_steady() -> None:
    routes = Routes("a")
    routes.links({"b": 1.0})
    routes.told(state("b", {"a": 1.0}, "tab", now=1_000.0), 9_000.0)
    first = routes.nodes["tab"].info.since
    assert first == 8_005.0
    routes.told(state("b", {"a": 1.0}, "tab", "x", now=2_000.0, seq=2), 10_123.0)
    assert routes.nodes["tab"].info.since == first, "or it would look like a new connection"
    routes.told(state("b", {"a": 1.0}, "tab", now=0.0, start=2), 20_000.0)
    assert routes.nodes["tab"].info.since == 20_005.0


def test_no_more_bridges_than_allowed_but_the_gone_make_room() -> None:
    routes = Routes("a")
    for number in range(LINKED_BRIDGES):
        assert routes.told(state(f"b{number}", {"a": 1.0}), 0.0)
    routes.links({f"b{number}": 1.0 for number in range(LINKED_BRIDGES)})
    assert not routes.told(state("one too many", {}), 0.0)
    routes.links({"b0": 1.0})
    assert routes.told(state("one too many", {}), 0.0)
    assert len(routes.ever) == LINKED_BRIDGES


def test_paths_against_plain_search() -> None:
    """Random nets: as costly as what trying all paths finds, and no node without a path."""
    chance = random.Random(4)
    for _ in range(60):
        names = [f"b{number}" for number in range(chance.randrange(2, 7))]
        cost: dict[tuple[str, str], float] = {}
        for one in names:
            for other in names:
                if one < other and chance.random() < 0.5:
                    cost[one, other] = cost[other, one] = float(chance.randrange(1, 20))
        routes = Routes("b0")
        routes.links({other: cost["b0", other] for other in names if ("b0", other) in cost})
        for name in chance.sample(names, len(names)):
            there = {other: cost[name, other] for other in names if (name, other) in cost}
            routes.told(state(name, there, f"tab-{name}"), 0.0)
        best = {"b0": 0.0}
        for _ in names:
            for (one, other), price in cost.items():
                if one in best:
                    further = best[one] + price + HOP_COST
                    best[other] = min(best.get(other, further), further)
        found = {
            each.bridge: routes.nodes[f"tab-{each.bridge}"].info.rtt for each in routes.bridges
        }
        assert found == {name: total + 2.0 for name, total in best.items() if name != "b0"}


def test_what_a_phone_says_of_its_round_trip_can_always_be_passed_on() -> None:
    routes = Routes("a")
    routes.links({"b": 1.0})
    said = msgspec.structs.replace(node("phone"), rtt=frames.DURATION_MOST)
    routes.told(msgspec.structs.replace(state("b", {"a": 1.0}), nodes=[said]), 0.0)
    directory = frames.Directory(nodes=routes.known_in(1), epoch=1)
    assert codec.decode(codec.encode(directory)) == directory
