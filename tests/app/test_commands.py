"""Commands are made and read by one module; nothing else passes."""

from __future__ import annotations

from typing import Any

import pytest

from ftweb import codec
from ftweb.app import commands
from ftweb.core.messages import AppendEntries
from ftweb.core.types import Entry, EntryKind, NodeId
from ftweb.errors import FrameError, LimitError
from ftweb.frames import Failure
from ftweb.limits import COMMAND_BYTES, FRAME_BYTES

REQUEST: dict[str, Any] = {"client_id": "ada", "session": 2, "serial": 1, "acknowledged": 0}


def test_what_is_made_can_be_read() -> None:
    genesis = commands.genesis(guid="g", name="n", bundle="b", state={"a": (1,)}, at=5.7)
    assert genesis == {
        "kind": "genesis", "guid": "g", "name": "n", "bundle": "b", "state": {"a": [1]}, "at": 5
    }  # fmt: skip
    assert isinstance(commands.parse(genesis), commands.Genesis)
    opened = commands.open_session(client_id="ada", at=6)
    assert opened == {"kind": "open", "client_id": "ada", "at": 6}
    assert commands.parse(opened) == commands.Open(client_id="ada", at=6)
    request = commands.request(
        **REQUEST,
        at=7,
        request={"q": 1},
        change=[{"op": "add", "path": "/a", "value": None}],
        outbox=[commands.Outgoing(to=["bo"], payload=1), commands.Outgoing(to=None, payload=2)],
        reply=[True],
    )
    read = commands.parse(request)
    assert isinstance(read, commands.Request)
    assert read.change == [{"op": "add", "path": "/a", "value": None}]
    assert [message.to for message in read.outbox] == [["bo"], None]
    assert (read.reply, read.error, read.request) == ([True], None, {"q": 1})


def test_errors_and_empty_replies_survive() -> None:
    error = Failure(code="x", message="y")
    read = commands.parse(commands.request(**REQUEST, at=1, error=error))
    assert isinstance(read, commands.Request)
    assert (read.reply, read.error) == (None, error)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"kind": "other", "at": 1},
        {"kind": "open", "at": 1},
        {"kind": "open", "client_id": "", "at": 1},
        {"kind": "open", "client_id": "a", "at": -1},
        {"kind": "open", "client_id": "a", "at": 1, "more": 1},
        {"kind": "open", "client_id": "a" * 65, "at": 1},
        {"kind": "request", **REQUEST},
        {"kind": "request", "at": 1, **REQUEST, "serial": "1"},
        {"kind": "request", "at": 1, **REQUEST, "serial": 0},
        {"kind": "request", "at": 1, **REQUEST, "change": {"op": "add"}},
        {"kind": "request", "at": 1, **REQUEST, "change": [{"op": "copy", "from": "", "path": ""}]},
        {"kind": "request", "at": 1, **REQUEST, "outbox": [{"payload": 1}]},
        {"kind": "request", "at": 1, **REQUEST, "error": {"code": "x"}},
    ],
)
def test_anything_else_is_a_defect(data: Any) -> None:
    with pytest.raises(FrameError) as caught:
        commands.parse(data)
    assert caught.value.code == "bad_frame"


def test_a_command_fits_in_a_frame() -> None:
    big = "x" * (COMMAND_BYTES - 300)
    command = commands.request(**REQUEST, at=1, reply=big)
    with pytest.raises(LimitError):
        commands.request(**REQUEST, at=1, reply=big + "x" * 300)
    with pytest.raises(LimitError):
        commands.genesis(guid="g", name="n", bundle="b", state="x" * COMMAND_BYTES, at=1)
    entry = Entry(index=2**50, term=2**50, kind=EntryKind.COMMAND, data=command)
    message = AppendEntries(
        sender=NodeId("f" * 32), to=NodeId("e" * 32), term=2**50, prev_log_index=2**50,
        prev_log_term=2**50, entries=(entry,), commit_index=2**50, sent_at=1e12,
        election_timeout=1e4,
    )  # fmt: skip
    assert len(codec.encode(codec.encode_message(message, epoch=2**50))) < FRAME_BYTES
