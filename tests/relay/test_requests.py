"""Requests on their way; through a real bridge: tests/bridge/test_relay.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ftweb import frames
from ftweb.app import Machine, Replied
from ftweb.relay.requests import Requests


class Rig:
    def __init__(self) -> None:
        self.hosts: str | None = "first"
        self.sent: list[tuple[str, frames.Forward]] = []
        self.requests = Requests(
            stream=cast(Any, SimpleNamespace()),
            machine=Machine,
            status=lambda: cast(Any, SimpleNamespace(epoch=3, term=5)),
            host=lambda: self.hosts,
            send=lambda to, frame: self.sent.append((to, cast(frames.Forward, frame))),
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
