"""Signals on their way from tab to tab; through a real bridge: tests/bridge/test_relay.py."""

from __future__ import annotations

from typing import Any, cast

from ftweb import codec, frames
from ftweb.limits import SIGNAL_CANDIDATES, SIGNAL_CHARS
from ftweb.relay.connection import Connection, NodeHere, Registry
from ftweb.relay.signaling import route, with_addresses
from ftweb.relay.wire import Prepared, Wire

NAME = "4af1c9c2-8b1b-4f0a-b6a6-0a3a56b7a2a1.local"


def candidate(address: str, transport: str = "udp") -> str:
    return f"a=candidate:1 1 {transport} 2113937151 {address} 54321 typ host generation 0"


def described(*lines: str) -> str:
    return "\r\n".join(["v=0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", *lines, ""])


def test_a_hidden_address_is_joined_by_what_the_relay_sees() -> None:
    sdp = described(candidate(NAME))
    assert with_addresses(sdp, ["192.0.2.7"]) == described(candidate("192.0.2.7"), candidate(NAME))


def test_a_machine_with_several_addresses_gets_a_candidate_for_each() -> None:
    filled = with_addresses(described(candidate(NAME)), ["192.0.2.7", "2001:db8::7"])
    assert filled == described(candidate("192.0.2.7"), candidate("2001:db8::7"), candidate(NAME))


def test_what_is_no_hidden_udp_candidate_stays_as_it_is() -> None:
    sdp = described(candidate("192.0.2.9"), candidate(NAME, "tcp"), "a=candidate:", "a=mid:0")
    assert with_addresses(sdp, ["192.0.2.7"]) == sdp
    assert with_addresses(described(candidate(NAME)), []) == described(candidate(NAME))


def test_a_description_does_not_grow_beyond_its_bound() -> None:
    many = described(*[candidate(NAME)] * (SIGNAL_CANDIDATES + 5))
    assert with_addresses(many, ["192.0.2.7"]).count("192.0.2.7") == SIGNAL_CANDIDATES
    long = described(candidate(NAME), "a=" + "x" * (SIGNAL_CHARS - 200))
    assert with_addresses(long, ["192.0.2.7"]) == long


class Paper:
    """A wire that keeps the frames written to it."""

    backlog = 0
    closing = False

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def write(self, prepared: Prepared) -> None:
        self.frames.append(codec.decode(prepared.text))


def joined(registry: Registry, name: str, *, node: str | None = None) -> tuple[Connection, Paper]:
    paper = Paper()
    connection = Connection(
        wire=cast(Wire, paper),
        client_id=name,
        device_id=f"device-{name}",
        presenter=name == "teacher",
        local=False,
        last_heard=0.0,
        addresses=("192.0.2.7",),
    )
    registry.add(connection)
    if node is not None:
        registry.add_node(connection, NodeHere(node_id=node, visible=True, since=0.0))
    return connection, paper


def test_an_offer_goes_to_a_node_and_its_answer_to_the_client() -> None:
    registry = Registry()
    teacher, teachers = joined(registry, "teacher")
    phone, phones = joined(registry, "phone", node="node")
    offer = frames.Signal(to="node", link="l", kind="offer", sdp=described(candidate(NAME)))
    route(offer, teacher, registry)
    (got,) = phones.frames
    assert got.source == frames.Source(
        client_id="teacher", device_id="device-teacher", presenter=True
    )
    assert (got.node_id, got.link, got.kind) == (None, "l", "offer")
    assert "192.0.2.7" in got.sdp
    route(frames.Signal(to=got.source.client_id, link="l", kind="answer"), phone, registry)
    (answer,) = teachers.frames
    assert (answer.kind, answer.node_id) == ("answer", "node")


def test_nobody_can_speak_as_another_and_an_offer_to_nobody_is_refused() -> None:
    registry = Registry()
    _, teachers = joined(registry, "teacher")
    phone, phones = joined(registry, "phone")
    told = frames.Signal(to="phone", link="l", kind="refuse")
    forged = frames.Source(client_id="teacher", device_id="x", presenter=True)
    for to in ("teacher", "phone", "nobody"):
        route(
            frames.Signal(to=to, link="l", kind="offer", source=forged, node_id="forged"),
            phone,
            registry,
        )
    (got,) = teachers.frames
    assert got.source == frames.Source(client_id="phone", device_id="device-phone")
    assert got.node_id is None
    assert phones.frames == [told, told], "no way to itself, nor to nobody"
    route(frames.Signal(to="nobody", link="l", kind="answer"), phone, registry)
    assert len(phones.frames) == 2
