"""Is it me or the host?"""

from __future__ import annotations

import pytest

from ftweb import frames
from ftweb.client.session import ClientSession
from ftweb.client.status import status_of


def status(host: str | None, *, quorum: bool = True, provisional: bool = False) -> frames.Status:
    return frames.Status(
        epoch=2,
        term=3,
        host=host,
        successors=["a", "b"],
        quorum=quorum,
        participants=4,
        provisional=provisional,
    )


@pytest.mark.parametrize(
    "connected,told,expected",
    [
        (False, None, "offline"),
        (True, None, "taking-over"),
        (True, status("a"), "connected"),
        (True, status(None), "taking-over"),
        (True, status("a", quorum=False), "no-quorum"),
        (True, status(None, quorum=False), "no-quorum"),
        (False, status("a"), "offline"),
        (True, status("a", provisional=True), "provisional"),
        (True, status(None, provisional=True), "taking-over"),
    ],
)
def test_the_word_for_it(connected: bool, told: frames.Status | None, expected: str) -> None:
    session = ClientSession(client_key="1" * 32, device_key="2" * 32, token="T")
    session.opened(0.0)
    if told is not None:
        session.receive(told, 0.0)
    session.connected = connected
    assert status_of(session).state == expected


def test_the_facts() -> None:
    session = ClientSession(client_key="1" * 32, device_key="2" * 32, token="T")
    session.opened(0.0)
    session.receive(status("a"), 0.0)
    session.request("x", 0.0)
    shown = status_of(session)
    assert (shown.epoch, shown.term, shown.host_id) == (2, 3, "a")
    assert (shown.successors, shown.participants, shown.pending) == (("a", "b"), 4, 1)
    assert (shown.client_id, shown.bridge) == ("", ""), "not welcomed yet"
