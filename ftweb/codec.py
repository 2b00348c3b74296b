"""The only encoder and decoder of frames: what comes off a wire is unknown until it was here.

Rules:

1. A frame is one JSON object in UTF-8, at most the given number of bytes, tagged by ``type``.
   Unknown fields are ignored (a newer peer may send them), unknown types are refused.
2. Types, lengths and ranges are those of :mod:`ftweb.frames`. NaN and infinities are no JSON.
3. App payloads are bounded in nesting and key length here, so that no later walk over them
   (draft, patch, digest) can run out of stack.
4. A ``raft`` frame is decoded in two steps: relays read the envelope, its addressee the body,
   and body and envelope must name the same nodes.

Everything that fails raises :class:`~ftweb.errors.FrameError` or
:class:`~ftweb.errors.LimitError` with a documented code; nothing else escapes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ftweb import frames
from ftweb.core import messages
from ftweb.errors import FrameError, LimitError
from ftweb.limits import FRAME_BYTES, JSON_DEPTH, JSON_KEY_CHARS, PAYLOAD_BYTES

_ENCODER: Final = msgspec.json.Encoder()
_FRAME_DECODER: Final[msgspec.json.Decoder[frames.Frame]] = msgspec.json.Decoder(
    frames.Frame.__value__
)

_KINDS: Final[dict[str, type[Any]]] = {
    "request_vote": messages.RequestVote,
    "request_vote_response": messages.RequestVoteResponse,
    "append_entries": messages.AppendEntries,
    "append_entries_response": messages.AppendEntriesResponse,
    "install_snapshot": messages.InstallSnapshot,
    "install_snapshot_response": messages.InstallSnapshotResponse,
    "timeout_now": messages.TimeoutNow,
}
_KIND_OF: Final = {cls: kind for kind, cls in _KINDS.items()}
_MESSAGE_DECODERS: Final = {kind: msgspec.json.Decoder(cls) for kind, cls in _KINDS.items()}

_PAYLOAD_FIELD: Final[dict[type[Any], str]] = {
    frames.Request: "payload",
    frames.Forward: "payload",
}
"""Frames from outside whose payload reaches app code."""


def encode(frame: frames.Frame) -> str:
    """Encode a frame as the text of one WebSocket message.

    Args:
        frame: one of ours, so it is within bounds but for app payloads, which the app layer
            has checked with :func:`check_payload`.
    """
    return _ENCODER.encode(frame).decode()


def decode(data: str | bytes, *, limit: int = FRAME_BYTES) -> frames.Frame:
    """Decode and check one frame.

    Args:
        data: the text of one WebSocket message.
        limit: the largest number of bytes (of characters, for text) accepted here.

    Raises:
        LimitError: ``too_large`` or ``too_deep``.
        FrameError: ``bad_frame``: no JSON, no object, an unknown type, a field missing, of the
            wrong type or out of range. The message names the field.
    """
    if len(data) > limit:
        raise LimitError(
            f"The frame has {len(data)} bytes; at most {limit} are accepted. Send less at once."
        )
    try:
        # msgspec does not look into what it skips: unknown fields, raw bodies.
        text = data if isinstance(data, str) else data.decode()
        frame = _FRAME_DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise FrameError(f"The frame is not what the protocol allows: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError) as error:
        raise FrameError(f"The frame is not JSON in UTF-8: {error}.") from None
    except RecursionError:
        raise LimitError("The frame is nested too deep.", code="too_deep") from None
    field = _PAYLOAD_FIELD.get(type(frame))
    if field is not None:
        check_nesting(getattr(frame, field))
    return frame


def check_nesting(value: Any, *, depth: int = JSON_DEPTH) -> None:
    """Refuse a JSON value that is nested too deep or has a key that is too long.

    Raises:
        LimitError: ``too_deep``.
    """
    if isinstance(value, dict):
        if depth == 0:
            raise LimitError(f"The payload is nested deeper than {JSON_DEPTH}.", code="too_deep")
        for key, item in value.items():
            if len(key) > JSON_KEY_CHARS:
                raise LimitError(
                    f"A key of the payload is longer than {JSON_KEY_CHARS} characters.",
                    code="too_deep",
                )
            if isinstance(item, (dict, list)):
                check_nesting(item, depth=depth - 1)
    elif isinstance(value, list):
        if depth == 0:
            raise LimitError(f"The payload is nested deeper than {JSON_DEPTH}.", code="too_deep")
        for item in value:
            if isinstance(item, (dict, list)):
                check_nesting(item, depth=depth - 1)


def check_payload(value: Any) -> int:
    """Check a value that an app or a script wants to send.

    Returns:
        Its size in bytes once encoded.

    Raises:
        FrameError: ``bad_reply``: not a JSON value.
        LimitError: ``too_large`` or ``too_deep``.
    """
    try:
        check_nesting(value)
        size = len(_ENCODER.encode(value))
    except (TypeError, ValueError, msgspec.EncodeError, RecursionError) as error:
        raise FrameError(f"The value is not JSON: {error}.", code="bad_reply") from None
    if size > PAYLOAD_BYTES:
        raise LimitError(f"The value has {size} bytes as JSON; at most {PAYLOAD_BYTES} may travel.")
    return size


def encode_message(message: messages.Message, *, epoch: int) -> frames.Raft:
    """Put a consensus message into the frame that carries it.

    Args:
        message: from the core.
        epoch: the sender's.
    """
    return frames.Raft(
        epoch=epoch,
        sender=message.sender,
        to=message.to,
        kind=_KIND_OF[type(message)],
        body=msgspec.Raw(_ENCODER.encode(message)),
    )


def decode_message(frame: frames.Raft) -> messages.Message:
    """Decode and check the consensus message in a frame.

    Raises:
        FrameError: ``bad_frame``: an unknown kind, a malformed body, other nodes in the body
            than on the envelope, or numbers that no honest node could send.
    """
    decoder = _MESSAGE_DECODERS.get(frame.kind)
    if decoder is None:
        raise FrameError(f"There is no consensus message of kind {frame.kind!r}.")
    try:
        message: messages.Message = decoder.decode(frame.body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"The {frame.kind} is malformed: {error}.") from None
    except RecursionError:
        raise LimitError(f"The {frame.kind} is nested too deep.", code="too_deep") from None
    if message.sender != frame.sender or message.to != frame.to:
        raise FrameError(f"The {frame.kind} names other nodes than its envelope.")
    if type(message) is messages.AppendEntries:
        _check_entries(message)
    if type(message) is messages.InstallSnapshot and (
        message.offset + len(message.data) > message.total
    ):
        raise FrameError("The chunk of a snapshot is longer than what is left of it.")
    return message


def _check_entries(message: messages.AppendEntries) -> None:
    """Entries follow one another without a gap, and terms never fall."""
    expected = message.prev_log_index + 1
    least = message.prev_log_term
    for entry in message.entries:
        if entry.index != expected or not least <= entry.term <= message.term:
            raise FrameError("The entries of the append_entries do not follow one another.")
        expected, least = entry.index + 1, entry.term
