"""The frames of HTTP between a bridge and a tab: binary, many to a message.

They have a WebSocket of their own (``/ftweb/http``), so that a download never stands in the way of
consensus. Its first message is a text, the :class:`Hello` of the tab; all others are binary::

    message = frame, frame, …
    frame   = kind (1 byte), flags (1), stream (4), length of the payload (4), payload

==========  =============  =========================================================================
kind        who → whom     what for
==========  =============  =========================================================================
OPEN        bridge → tab   a request or WebSocket begins: :class:`Open`
HEAD        tab → bridge   status and headers of the response: :class:`Head`
ACCEPT      tab → bridge   the WebSocket is accepted: :class:`Accept`
DATA        both           a piece of a body, or of a WebSocket message; END: the last one
CREDIT      both           the receiver has taken so many bytes: so many more may follow
CLOSE       both           the WebSocket ends, with a code: :class:`Close`
RESET       both           this stream ends here, unfinished: :class:`Reset`
==========  =============  =========================================================================

Rules:

1. Only a bridge opens streams; their numbers rise and are never used twice on one socket.
2. DATA counts against the receiver's credit, payload bytes only. Each side begins with the other's
   window: what the OPEN grants for the response, :data:`ftweb.limits.HTTP_UPLOAD_WINDOW` for the
   request; none for a request that waits to be asked (``Expect: 100-continue``), until a CREDIT.
3. A stream is over when both sides have sent END, or either CLOSE or RESET. What comes for a stream
   that is over, or was never opened, is dropped: the two sides end at different times.
4. ``refused`` in a RESET means that the app never saw the request, so it may go elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Annotated, Final, Literal

import msgspec

from ftweb.errors import FrameError
from ftweb.frames import Id, Secret
from ftweb.limits import HTTP_FRAME_BYTES, ID_CHARS

_HEADER: Final = struct.Struct(">BBII")
_COUNT: Final = struct.Struct(">I")

END: Final = 1
"""Flag of DATA: nothing follows in this body, or in this WebSocket message. Of OPEN: no body."""
TEXT: Final = 2
"""Flag of DATA on a WebSocket: the message is text (UTF-8)."""

PIECE_BYTES: Final = HTTP_FRAME_BYTES // 2
"""Largest payload of a DATA frame, and where a message is full: a bridge's limit for one WebSocket
message is twice that."""


class Kind(IntEnum):
    """What a frame is."""

    OPEN = 1
    HEAD = 2
    ACCEPT = 3
    DATA = 4
    CREDIT = 5
    CLOSE = 6
    RESET = 7


type Headers = list[tuple[bytes, bytes]]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first message, JSON text: which node this is, and the proof that it may say so."""

    node_id: Id
    client_key: Secret
    """The key of the client behind whose main socket the node runs."""
    token: Annotated[str, msgspec.Meta(max_length=ID_CHARS)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Base of the payloads that are not plain bytes: msgpack, fields in order."""


class Open(_Part, frozen=True):
    """A request as the bridge's HTTP server understood it: the fields of an ASGI scope."""

    kind: Literal["http", "websocket"]
    http_version: str
    scheme: str
    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: Headers
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    subprotocols: list[str]
    window: int
    """Bytes of the response that may be sent before the first CREDIT."""
    asks: bool
    """The client waits for ``100 Continue``: it is asked by the first CREDIT."""


class Head(_Part, frozen=True):
    """The start of a response."""

    status: int
    headers: Headers


class Accept(_Part, frozen=True):
    """The tab's yes to a WebSocket."""

    subprotocol: str | None
    headers: Headers


class Close(_Part, frozen=True):
    """The end of a WebSocket; before ACCEPT it is the tab's no."""

    code: int
    reason: str


class Reset(_Part, frozen=True):
    """The end of a stream that is not finished."""

    why: Literal["refused", "failed", "gone"]
    """refused: never begun; failed: the app broke off; gone: the client did."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(kind: Kind, stream: int, payload: bytes | memoryview = b"", flags: int = 0) -> bytes:
    """One frame."""
    return b"".join((encode_header(kind, stream, len(payload), flags), payload))


def encode_header(kind: Kind, stream: int, length: int, flags: int = 0) -> bytes:
    """What stands before a payload of so many bytes."""
    return _HEADER.pack(kind, flags, stream, length)


def encode_part(kind: Kind, stream: int, part: _Part, flags: int = 0) -> bytes:
    """One frame whose payload is a struct of this module."""
    return encode(kind, stream, _ENCODER.encode(part), flags)


def encode_credit(stream: int, count: int) -> bytes:
    """A CREDIT frame."""
    return encode(Kind.CREDIT, stream, _COUNT.pack(count))


def split(message: bytes) -> Iterator[Frame]:
    """The frames of one message.

    Raises:
        FrameError: it does not consist of whole frames.
    """
    position, size = 0, len(message)
    while position < size:
        start = position + _HEADER.size
        if start > size:
            raise FrameError("A message of HTTP frames ends within a frame.")
        kind, flags, stream, length = _HEADER.unpack_from(message, position)
        position = start + length
        if position > size:
            raise FrameError("A message of HTTP frames ends within a frame.")
        yield Frame(kind, flags, stream, message[start:position])


def decode_part[P: _Part](frame: Frame, kind: type[P]) -> P:
    """The struct that a frame carries.

    Raises:
        FrameError: it carries something else.
    """
    try:
        return msgspec.msgpack.decode(frame.payload, type=kind)
    except msgspec.MsgspecError as error:
        raise FrameError(f"An HTTP frame is not a valid {kind.__name__}: {error}") from None


def decode_credit(frame: Frame) -> int:
    """The count of a CREDIT frame.

    Raises:
        FrameError: it has none.
    """
    if len(frame.payload) != _COUNT.size:
        raise FrameError("A CREDIT frame has no count.")
    count: int = _COUNT.unpack(frame.payload)[0]
    return count


def encode_hello(hello: Hello) -> str:
    """The first message of a socket."""
    return msgspec.json.encode(hello).decode()


def decode_hello(text: str) -> Hello:
    """What a tab said first.

    Raises:
        FrameError: it is no hello.
    """
    try:
        return msgspec.json.decode(text, type=Hello)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise FrameError(f"The first message is no hello: {error}") from None
