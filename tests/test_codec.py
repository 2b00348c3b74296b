"""The codec: what it accepts, what it refuses and how, and that nothing else escapes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb import codec, frames
from ftweb.core import messages
from ftweb.core.types import Entry, EntryKind, NodeId
from ftweb.errors import CODES, FrameError, LimitError
from ftweb.limits import FRAME_BYTES, JSON_DEPTH, JSON_KEY_CHARS, PAYLOAD_BYTES

VECTORS = Path(__file__).parent / "vectors" / "frames.json"

A, B = NodeId("a" * 32), NodeId("b" * 32)


def append(**changes: Any) -> messages.AppendEntries:
    """An ordinary AppendEntries, with changes."""
    fields: dict[str, Any] = {
        "sender": A,
        "to": B,
        "term": 3,
        "prev_log_index": 6,
        "prev_log_term": 2,
        "entries": (
            Entry(index=7, term=2, kind=EntryKind.COMMAND, data={"a": [1, None, "ü"]}),
            Entry(index=8, term=3, kind=EntryKind.NOOP),
        ),
        "commit_index": 6,
        "sent_at": 12.5,
        "election_timeout": 1500.0,
    }
    return messages.AppendEntries(**(fields | changes))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_payload_survives_the_round_trip(payload: Any) -> None:
    request = frames.Request(session=4, serial=1, acknowledged=0, payload=payload)
    assert codec.decode(codec.encode(request)) == request


def test_consensus_message_survives_the_round_trip() -> None:
    frame = codec.decode(codec.encode(codec.encode_message(append(), epoch=9)))
    assert isinstance(frame, frames.Raft)
    assert (frame.epoch, frame.sender, frame.to) == (9, A, B)
    assert codec.decode_message(frame) == append()


def test_every_message_kind_has_a_frame() -> None:
    for kind in messages.Message.__value__.__args__:
        assert kind in codec._KIND_OF


@pytest.mark.parametrize(
    "data,code",
    [
        ("", "bad_frame"),
        ("{", "bad_frame"),
        ("[]", "bad_frame"),
        ("null", "bad_frame"),
        ('{"n":1}', "bad_frame"),
        ('{"type":"nonsense"}', "bad_frame"),
        ('{"type":7}', "bad_frame"),
        ('{"type":"ping"}', "bad_frame"),
        ('{"type":"ping","n":"1"}', "bad_frame"),
        ('{"type":"ping","n":-1}', "bad_frame"),
        ('{"type":"ping","n":9007199254740992}', "bad_frame"),
        ('{"type":"ping","n":NaN}', "bad_frame"),
        ('{"type":"ping","n":1e999}', "bad_frame"),
        (b'{"type":"ping","n":1,"\xff":0}', "bad_frame"),
        ('"\ud800"', "bad_frame"),
        ('{"type":"node_up","node_id":"' + "x" * 65 + '","visible":true}', "bad_frame"),
        ("[" * 100_000, "bad_frame"),
        ('{"type":"bye","x":' + "[" * 100_000 + "]" * 100_000 + "}", "too_deep"),
        (" " * (FRAME_BYTES + 1), "too_large"),
    ],
)
def test_refuses_with_a_documented_code(data: str | bytes, code: str) -> None:
    with pytest.raises(FrameError) as caught:
        codec.decode(data)
    assert caught.value.code == code
    assert code in CODES
    assert caught.value.message.endswith((".", '"'))


def nested(depth: int) -> Any:
    """A list in a list, so many times."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_payload_may_be_nested_to_the_bound_and_no_further() -> None:
    deepest = frames.Request(session=1, serial=1, acknowledged=0, payload=nested(JSON_DEPTH))
    assert codec.decode(codec.encode(deepest)) == deepest
    for payload in (nested(JSON_DEPTH + 1), {"k": nested(JSON_DEPTH)}):
        request = frames.Request(session=1, serial=1, acknowledged=0, payload=payload)
        with pytest.raises(LimitError) as caught:
            codec.decode(codec.encode(request))
        assert caught.value.code == "too_deep"


def test_long_keys_are_refused() -> None:
    for size, fine in ((JSON_KEY_CHARS, True), (JSON_KEY_CHARS + 1, False)):
        request = frames.Request(session=1, serial=1, acknowledged=0, payload={"k" * size: 1})
        if fine:
            codec.decode(codec.encode(request))
        else:
            with pytest.raises(LimitError):
                codec.decode(codec.encode(request))


def test_check_payload_measures_and_refuses() -> None:
    assert codec.check_payload({"a": "ü"}) == len('{"a":"ü"}'.encode())
    for value in (object(), {1: 2}.keys(), b"x".__class__):
        with pytest.raises(FrameError):
            codec.check_payload(value)
    with pytest.raises(LimitError):
        codec.check_payload("x" * PAYLOAD_BYTES)
    with pytest.raises(LimitError):
        codec.check_payload(nested(JSON_DEPTH + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"term": -1},
        {"commit_index": -1},
        {"prev_log_index": 5},
        {"prev_log_term": 3},
        {"term": 2},
    ],
)
def test_messages_that_no_honest_node_sends_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        codec.decode_message(codec.encode_message(append(**changes), epoch=1))


def test_body_and_envelope_must_agree() -> None:
    frame = codec.encode_message(append(), epoch=1)
    for lie in ({"sender": B}, {"to": A}, {"kind": "timeout_now_please"}, {"kind": "request_vote"}):
        with pytest.raises(FrameError):
            codec.decode_message(msgspec.structs.replace(frame, **lie))


def test_mutated_frames_never_raise_anything_else() -> None:
    randomness = random.Random(7)
    originals = [
        codec.encode(codec.encode_message(append(), epoch=2)),
        codec.encode(frames.Request(session=1, serial=2, acknowledged=1, payload={"a": [1]})),
        codec.encode(frames.NodeDown(node_id="n", reason="stuck")),
    ]
    codes = []
    for _ in range(5_000):
        data = bytearray(randomness.choice(originals).encode())
        for _ in range(randomness.randint(1, 4)):
            data[randomness.randrange(len(data))] = randomness.randrange(256)
        try:
            frame = codec.decode(bytes(data))
            if isinstance(frame, frames.Raft):
                codec.decode_message(frame)
        except FrameError as error:
            codes.append(error.code)
    assert set(codes) <= set(CODES)
    assert len(codes) > 1_000


def test_shared_vectors() -> None:
    """The same file is read by the tests of the TypeScript codec."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert len(vectors) >= 20
    for vector in vectors:
        if vector["valid"]:
            frame = codec.decode(vector["frame"])
            again = codec.decode(codec.encode(frame))
            assert again == frame, vector["name"]
        else:
            with pytest.raises(FrameError) as caught:
                codec.decode(vector["frame"])
            assert caught.value.code == vector.get("code", "bad_frame"), vector["name"]
