"""What a tab may have waiting at a bridge; through a real bridge: test_forwarding.py."""

from __future__ import annotations

from typing import cast

import pytest

from ftweb.bridge.channels import JOINED_BYTES, Channel, Stream
from ftweb.bridge.wire import SocketWire
from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.wire import Kind
from ftweb.limits import HTTP_STREAM_FRAMES, HTTP_WINDOW_MAX


class Paper:
    """A socket that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[wire.Frame] = []

    def write_binary(self, data: bytes) -> None:
        self.written += wire.split(data)


def opened() -> tuple[Channel, Stream, Paper]:
    paper = Paper()
    channel = Channel("node", cast(SocketWire, paper))
    asked = wire.Open(
        kind="http",
        http_version="1.1",
        scheme="http",
        method="GET",
        path="/",
        raw_path=b"/",
        query_string=b"",
        headers=[],
        client=None,
        server=None,
        subprotocols=[],
        window=HTTP_WINDOW_MAX,
        asks=False,
    )
    return channel, channel.open(asked, ended=True), paper


async def test_a_body_in_tiny_pieces_waits_joined() -> None:
    channel, stream, _ = opened()
    body = bytes(range(256)) * 64
    for place in range(len(body)):
        channel.received(wire.encode(Kind.DATA, stream.number, body[place : place + 1]))
        channel.received(wire.encode(Kind.DATA, stream.number))
    channel.received(wire.encode(Kind.DATA, stream.number, b"end", wire.END))
    assert len(stream.inbox) <= 2 * len(body) // JOINED_BYTES
    got = b""
    while (frame := stream.inbox.get_nowait()) is not None:
        got += frame.payload
    assert got == body + b"end"


@pytest.mark.parametrize("kind", [Kind.HEAD, Kind.DATA, Kind.CLOSE])
async def test_a_stream_on_which_too_much_waits_is_ended_alone(kind: Kind) -> None:
    channel, stream, paper = opened()
    other = channel.open(wire.decode_part(paper.written[0], wire.Open), ended=True)
    for _ in range(HTTP_STREAM_FRAMES + 10):
        channel.received(wire.encode(kind, stream.number, b"", wire.END))
    assert len(stream.inbox) == 1, "nothing is added after it has ended"
    frame = stream.inbox.get_nowait()
    assert frame is not None
    assert wire.decode_part(frame, wire.Reset).why == "failed"
    assert [each.kind for each in paper.written if each.stream == stream.number] == [
        Kind.OPEN,
        Kind.RESET,
    ]
    channel.received(wire.encode(Kind.DATA, other.number, b"still open"))
    assert len(other.inbox) == 1


async def test_more_than_was_granted_breaks_the_protocol() -> None:
    channel, stream, _ = opened()
    channel.received(wire.encode(Kind.DATA, stream.number, bytes(HTTP_WINDOW_MAX)))
    with pytest.raises(FrameError):
        channel.received(wire.encode(Kind.DATA, stream.number, b"x"))
