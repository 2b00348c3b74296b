"""Requests on their way; through a real bridge: tests/bridge/test_relay.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ftweb import frames
from ftweb.app import Machine, Replied
from ftweb.limits import HELD_CHARS, PAYLOAD_BYTES, PENDING_REQUESTS
from ftweb.relay.connection import Connection
from ftweb.relay.requests import Requests


class Rig:
    def __init__(self) -> None:
        self.holds = False
        self.hosts: str | None = "first"
        self.sent: list[tuple[str, frames.Forward]] = []
        self.requests = Requests(
            stream=cast(Any, SimpleNamespace()),
            machine=Machine,
            status=lambda: cast(Any, SimpleNamespace(epoch=3, term=5)),
            host=lambda: self.hosts,
            send=lambda to, frame: self.sent.append((to, cast(frames.Forward, frame))),
            holds=lambda client: self.holds,
        )


REPLAYED = frames.Forward(
    epoch=0,
    term=0,
    source=frames.Source(client_id="ada", device_id="phone"),
    session=7,
    serial=2,
    payload="hangs on the other state",
    replay=frames.Told(payload="went well"),
)


def test_a_replayed_request_that_hangs_is_not_run_by_the_next_host() -> None:
    rig = Rig()
    assert rig.requests.replay(REPLAYED)
    (to, forward), *_ = rig.sent
    assert (to, forward.epoch, forward.term, forward.refuse) == ("first", 3, 5, None)
    stuck = frames.RequestId(client_id="ada", session=7, serial=2)
    rig.requests.stuck(stuck, "first")
    rig.hosts = "second"
    assert rig.requests.replay(REPLAYED)
    to, forward = rig.sent[-1]
    assert to == "second"
    assert forward.refuse is not None
    assert forward.refuse.code == "handler_timeout"
    rig.requests.answered(Replied(client_id="ada", session=7, serial=2))
    assert len(rig.requests.inflight) == 0


def test_without_a_host_nothing_is_replayed() -> None:
    rig = Rig()
    rig.hosts = None
    assert not rig.requests.replay(REPLAYED)
    assert rig.sent == []


def test_what_is_held_back_is_bounded_and_goes_in_order() -> None:
    rig = Rig()
    rig.holds = True
    clients: dict[str, Connection] = {}
    text = "x" * PAYLOAD_BYTES
    for number in range(2 * HELD_CHARS // PAYLOAD_BYTES // PENDING_REQUESTS):
        client = clients[f"c{number}"] = Connection(
            wire=cast(Any, SimpleNamespace()),
            client_id=f"c{number}",
            device_id="phone",
            presenter=False,
            local=False,
            last_heard=0.0,
        )
        for serial in (*range(PENDING_REQUESTS + 1, 0, -1), 3, 3):
            request = frames.Request(session=2**40, serial=serial, acknowledged=0)
            rig.requests.request(client, request, text)
    rig.holds = False
    rig.requests.release(clients.get)
    assert len(rig.sent) == HELD_CHARS // PAYLOAD_BYTES
    first = [frame.serial for _, frame in rig.sent if frame.source.client_id == "c0"]
    assert first == list(range(2, PENDING_REQUESTS + 2))
