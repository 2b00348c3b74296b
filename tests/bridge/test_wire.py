"""Framing for many clients at once; closing and bounds over real sockets: test_sockets.py."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from ftweb.bridge.wire import framed
from ftweb.relay.wire import Prepared


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_a_prepared_text_is_one_message(size: int) -> None:
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    text = ("ä" + "x" * size)[:size] if size else ""
    client.receive_data(framed(Prepared(text)))
    (frame,) = client.events_received()
    assert isinstance(frame, Frame)
    assert frame.opcode is Opcode.TEXT
    assert frame.fin
    assert bytes(frame.data).decode() == text
