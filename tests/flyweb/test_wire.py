"""Frames of HTTP: what is refused, and the vectors shared with TypeScript."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.wire import Kind

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "http-frames.json").read_text(encoding="utf-8")
)


def only(text: str) -> wire.Frame:
    (frame,) = wire.split(bytes.fromhex(text))
    return frame


def test_what_a_page_sends_is_read() -> None:
    sent = {name: only(text) for name, text in VECTORS["from_page"].items()}
    head = wire.decode_part(sent["head"], wire.Head)
    assert head == wire.Head(status=201, headers=[(b"x-name", "Zoë".encode("latin-1"))])
    accepts = [wire.decode_part(sent[name], wire.Accept) for name in ("accept", "accept_nothing")]
    assert [accept.subprotocol for accept in accepts] == ["chat", None]
    assert wire.decode_part(sent["close"], wire.Close) == wire.Close(code=3001, reason="bye")
    assert wire.decode_part(sent["reset"], wire.Reset).why == "failed"
    data = sent["data"]
    assert (data.kind, data.flags, data.stream) == (Kind.DATA, wire.END | wire.TEXT, 7)
    assert data.payload == b"\x01\x02"
    assert wire.decode_credit(sent["credit"]) == 70_000


def test_what_the_bridge_sends_is_what_the_page_reads() -> None:
    opened = wire.decode_part(only(VECTORS["open"]), wire.Open)
    assert (opened.raw_path, opened.window, opened.asks) == (b"/%C3%BC", 70_000, True)
    assert wire.encode_part(Kind.OPEN, 7, opened, wire.END).hex() == VECTORS["open"]


@pytest.mark.parametrize("cut", [1, 9, 11])
def test_half_a_frame_is_refused(cut: int) -> None:
    whole = wire.encode(Kind.DATA, 1, b"abc")
    with pytest.raises(FrameError):
        list(wire.split(whole + whole[:cut]))


def test_a_payload_of_another_kind_is_refused() -> None:
    with pytest.raises(FrameError):
        wire.decode_part(only(VECTORS["close"]), wire.Open)
    with pytest.raises(FrameError):
        wire.decode_credit(wire.Frame(Kind.CREDIT, 0, 1, b"abc"))
    with pytest.raises(FrameError):
        wire.decode_hello("{}")
