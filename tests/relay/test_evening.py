"""Who is asked to move, and that it ends."""

from __future__ import annotations

from typing import cast

from ftweb.relay.connection import Connection, NodeHere, Registry
from ftweb.relay.evening import MOVES, movers
from ftweb.relay.wire import Wire


class Closed:
    closing = False


def clients(count: int, *, nodes: int = 0, local: int = 0) -> Registry:
    registry = Registry()
    for number in range(count):
        connection = Connection(
            wire=cast(Wire, Closed()),
            client_id=f"client{number}",
            device_id=f"device{number}",
            presenter=False,
            local=number < local,
            last_heard=0.0,
        )
        registry.add(connection)
        if number < nodes:
            registry.add_node(
                connection, NodeHere(node_id=f"node{number}", visible=True, since=0.0)
            )
    return registry


def asked(registry: Registry, others: dict[str, int], *members: str, own: str = "b") -> list[str]:
    found = movers(registry, own=own, others=others, members=members)
    return [connection.client_id for connection in found]


def test_a_difference_of_two_or_more_is_evened_out() -> None:
    assert asked(clients(5), {}) == [], "nowhere to go"
    assert asked(clients(5), {"c": 5}) == []
    assert asked(clients(5), {"c": 4}) == []
    assert len(asked(clients(5), {"c": 3})) == 1
    assert len(asked(clients(10), {"c": 0})) == 5
    assert len(asked(clients(100), {"c": 0})) == MOVES
    assert asked(clients(3), {"c": 5}) == [], "the other one has to ask"


def test_only_one_bridge_asks_at_a_time() -> None:
    assert len(asked(clients(9), {"a": 9, "c": 1}, own="b")) == 0
    assert len(asked(clients(9), {"b": 9, "c": 1}, own="a")) == 4


def test_those_whose_going_costs_least() -> None:
    registry = clients(6, nodes=4, local=1)
    assert asked(registry, {"c": 0}, "node1", "node2") == ["client4", "client5", "client3"]
    assert asked(clients(4, nodes=4), {"c": 0}, "node0", "node1", "node2", "node3") == []


def test_it_ends_and_does_not_swing() -> None:
    counts = {"a": 57, "b": 3, "c": 11}
    for _ in range(40):
        moves = {
            own: len(
                asked(
                    clients(count),
                    {other: each for other, each in counts.items() if other != own},
                    own=own,
                )
            )
            for own, count in counts.items()
        }
        assert sum(each > 0 for each in moves.values()) <= 1
        for own, each in moves.items():
            if each:
                fewest = min((o for o in counts if o != own), key=lambda other: counts[other])
                counts[own] -= each
                counts[fewest] += each
    assert max(counts.values()) - min(counts.values()) < 2
    assert sum(counts.values()) == 71
