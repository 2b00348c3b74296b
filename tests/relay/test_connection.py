"""The registry of connections; slow readers over real sockets are in test_sockets.py."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ftweb import frames
from ftweb.errors import CODES
from ftweb.relay import connection as module
from ftweb.relay.connection import CLOSE_CODES, Connection, NodeHere, Registry
from ftweb.relay.wire import Prepared, Wire


class Paper:
    """A wire that writes down what is done to it."""

    def __init__(self, backlog: int = 0) -> None:
        self.backlog = backlog
        self.closing = False
        self.written: list[Prepared] = []
        self.closed: int | None = None

    def write(self, prepared: Prepared) -> None:
        self.written.append(prepared)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = code


def connection(client: str, device: str = "device", wire: Paper | None = None) -> Connection:
    return Connection(
        wire=cast(Wire, wire or Paper()),
        client_id=client,
        device_id=device,
        presenter=False,
        local=False,
        last_heard=0.0,
    )


def node(node_id: str) -> NodeHere:
    return NodeHere(node_id=node_id, visible=True, since=0.0)


def test_every_close_code_belongs_to_a_documented_error() -> None:
    assert set(CLOSE_CODES) <= set(CODES)
    for code, number in CLOSE_CODES.items():
        if str(number) in CODES[code]:
            continue
        assert number in (1013, 4400), code


def test_participants_are_devices() -> None:
    registry = Registry()
    first, second, third = connection("a", "x"), connection("b", "x"), connection("c", "y")
    for one in (first, second, third):
        registry.add(one)
    assert (len(registry), registry.participants) == (3, 2)
    registry.remove(first)
    assert registry.participants == 2
    registry.remove(second)
    assert registry.participants == 1
    assert not registry.remove(second), "once is enough"
    assert registry.participants == 1


def test_a_client_that_comes_again_takes_its_node_along() -> None:
    registry = Registry()
    old, new = connection("a"), connection("a")
    registry.add(old)
    registry.add_node(old, node("n"))
    assert registry.add(new) is old
    assert registry.with_node("n") is new
    assert (old.node, new.node) == (None, node("n"))
    assert not registry.remove(old)
    assert registry.client("a") is new
    assert registry.participants == 1


def test_a_node_id_belongs_to_one_connection() -> None:
    registry = Registry()
    mine, thief = connection("a"), connection("b")
    registry.add(mine)
    registry.add(thief)
    assert registry.add_node(mine, node("n"))
    assert not registry.add_node(thief, node("n"))
    assert registry.with_node("n") is mine
    assert registry.add_node(mine, node("m"))
    assert registry.with_node("n") is None
    assert registry.add_node(thief, node("n"))
    registry.remove_node(thief)
    assert thief.node is None
    assert [one.node and one.node.node_id for one in registry.nodes()] == ["m"]
    assert registry.with_node(None) is None


def test_what_left_still_knows_its_node() -> None:
    registry = Registry()
    one = connection("a")
    registry.add(one)
    registry.add_node(one, node("n"))
    assert registry.remove(one)
    assert registry.with_node("n") is None
    assert one.node == node("n")


def test_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 3)
    monkeypatch.setattr(module, "CONNECTIONS_PER_ADDRESS", 2)
    registry = Registry()
    assert [registry.admit(a) for a in ("x", "x", "x", "y", "z")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    registry.release("x")
    assert registry.admit("z")
    for address in ("x", "y", "z"):
        registry.release(address)
    assert registry.admit("x")


def test_a_full_buffer_closes_and_an_empty_one_takes_anything(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "SLOW_READER_BYTES", 100)
    empty, filling, full = Paper(), Paper(backlog=50), Paper(backlog=51)
    for wire in (empty, filling, full):
        connection("a", wire=wire).send_prepared(
            Prepared("x" * (50 if wire is not empty else 1000))
        )
    assert (empty.closed, filling.closed, full.closed) == (None, None, 1013)
    assert (len(empty.written), len(filling.written), len(full.written)) == (1, 1, 0)


def test_a_failure_is_named_before_the_close() -> None:
    wire = Paper()
    connection("a", wire=wire).fail("rate_limited", "Too fast.")
    assert '"code":"rate_limited"' in wire.written[0].text
    assert wire.closed == 4429


def test_iterating_allows_removal() -> None:
    registry = Registry()
    for client in "abc":
        registry.add(connection(client))
    for one in registry:
        registry.remove(one)
    assert len(registry) == 0


def test_sending_encodes_one_text_message() -> None:
    wire = Paper()
    connection("a", wire=wire).send(frames.Pong(n=5))
    assert [prepared.text for prepared in wire.written] == ['{"type":"pong","n":5}']
