"""The WebSocket endpoint: joining, limits, and the loop that reads.

The life of a socket::

    open ──admit──▶ hello ──token, version──▶ joined ──frames──▶ closed
      │4503          │4400 4401 4408 4409        │4400 4429 1013 1001

Rules:

1. Nothing is heard before a valid ``hello``, and that must come within HELLO_SECONDS.
2. Each socket has a token bucket. It is small; it grows when the tab behind it runs a replica.
3. A socket from which nothing came for SILENCE_SECONDS is closed.
4. What breaks the protocol is answered with an ``error`` frame that names it, and the socket is
   closed. The others do not notice.
5. What is read is handled at once and never waits, so no peer can hold up another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ftweb import codec, frames
from ftweb.bridge.config import Identity
from ftweb.bridge.security import Receive, Scope, Send, check_token, client_id, device_id
from ftweb.bridge.wire import EXTENSION
from ftweb.errors import FrameError
from ftweb.limits import (
    CLIENT_FRAMES_PER_SECOND,
    HELLO_SECONDS,
    ID_CHARS,
    LATE_SECONDS,
    RATE_BURST_SECONDS,
    REPLICA_FRAMES_PER_SECOND,
    SILENCE_SECONDS,
)
from ftweb.relay.bucket import TokenBucket
from ftweb.relay.connection import GOING_AWAY, REPLACED, SILENT, Connection, Registry, fail
from ftweb.relay.wire import Wire

_log = logging.getLogger(__name__)

_YIELD_EVERY = 64
"""Frames of one socket handled in a row before the others get their turn: reading a queue that
is not empty never waits by itself."""


class Router(Protocol):
    """Who decides where frames go (:class:`ftweb.relay.relay.Relay`)."""

    def joined(self, connection: Connection, hello: frames.Hello) -> None:
        """A client has joined and is in the registry."""

    def received(self, connection: Connection, frame: frames.Frame, text: str) -> None:
        """A joined client sent a frame.

        Raises:
            FrameError: the client may not send that.
        """

    def left(self, connection: Connection) -> None:
        """A joined client's socket has ended; it is out of the registry."""


class Sockets:
    """ASGI application for ``websocket`` scopes.

    Args:
        registry: of all sockets.
        router: see :class:`Router`.
        identity: holds the tokens.
        each_second: called every second: has bridges share clients evenly.
        owns_ip: whether an address is this machine's own.
        own_addresses: by which other devices reach this machine, best first.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        router: Router,
        identity: Identity,
        owns_ip: Callable[[str], bool],
        each_second: Callable[[], None] = lambda: None,
        own_addresses: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._registry = registry
        self._router = router
        self._identity = identity
        self._owns_ip = owns_ip
        self._each_second = each_second
        self._own_addresses = own_addresses
        self._wires: set[Wire] = set()
        self._stopping = False
        self._empty = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3: the life of one socket."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        wire: Wire = scope["extensions"][EXTENSION]
        if self._stopping:
            wire.close(GOING_AWAY, "the bridge is stopping")
            return
        address = str((scope["client"] or ("", 0))[0])
        if not self._registry.admit(address):
            fail(
                wire,
                "too_many_connections",
                "This bridge has no room for more connections; close some, or try again later.",
            )
            return
        self._wires.add(wire)
        try:
            joined = await self._join(wire, address, receive)
            if joined is not None:
                await self._stay(*joined, receive)
        finally:
            self._wires.discard(wire)
            if not self._wires:
                self._empty.set()
            self._registry.release(address)

    # --- joining ----------------------------------------------------------------------------

    async def _join(
        self, wire: Wire, address: str, receive: Receive
    ) -> tuple[Connection, frames.Hello] | None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                message = await receive()
        except TimeoutError:
            fail(wire, "hello_timeout", f"No hello came within {HELLO_SECONDS:g} seconds.")
            return None
        if message["type"] != "websocket.receive":
            return None
        try:
            hello = _read_hello(message.get("text"))
        except FrameError as error:
            fail(wire, error.code, error.message)
            return None
        joins, presenter = check_token(hello.token, self._identity)
        if not joins:
            fail(
                wire,
                "bad_token",
                "The join token is missing or wrong. Scan the QR code again, or open the full"
                " address that the presenter shows.",
            )
            return None
        local = self._owns_ip(address)
        connection = Connection(
            wire=wire,
            client_id=client_id(hello.client_key),
            device_id=device_id(hello.device_key),
            presenter=presenter,
            local=local,
            last_heard=_now(),
            addresses=tuple(self._own_addresses()) if local else (address,),
        )
        return connection, hello

    async def _stay(self, connection: Connection, hello: frames.Hello, receive: Receive) -> None:
        older = self._registry.add(connection)
        if older is not None:
            older.wire.close(REPLACED, "replaced by a newer connection")
        try:
            self._router.joined(connection, hello)
            await self._read(connection, receive)
        finally:
            if self._registry.remove(connection):
                self._router.left(connection)

    # --- reading ----------------------------------------------------------------------------

    async def _read(self, connection: Connection, receive: Receive) -> None:
        wire = connection.wire
        bucket = TokenBucket(
            rate=CLIENT_FRAMES_PER_SECOND,
            burst=CLIENT_FRAMES_PER_SECOND * RATE_BURST_SECONDS,
            now=_now(),
        )
        replica = False
        handled = 0
        while True:
            message = await receive()
            if message["type"] != "websocket.receive" or wire.closing:
                return
            now = connection.last_heard = _now()
            if replica is not (connection.node is not None):
                replica = not replica
                rate = REPLICA_FRAMES_PER_SECOND if replica else CLIENT_FRAMES_PER_SECOND
                bucket.change(rate=rate, burst=rate * RATE_BURST_SECONDS)
            if not bucket.take(now):
                connection.fail(
                    "rate_limited", "Too many frames a second; wait before connecting again."
                )
                return
            try:
                text = _text(message.get("text"))
                self._router.received(connection, codec.decode(text), text)
            except FrameError as error:
                _log.debug("Closed the socket of client %s: %s", connection.client_id, error)
                connection.fail(error.code, error.message)
                return
            handled += 1
            if handled % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    # --- ending -----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Close silent sockets, and have bridges share clients evenly, until cancelled (rule 3)."""
        while True:
            due = _now() + 1
            await asyncio.sleep(1)
            now = _now()
            if now - due < LATE_SECONDS:  # else what came while we stood still is yet to be read
                self._close_silent(now - SILENCE_SECONDS)
            self._each_second()

    def _close_silent(self, deadline: float) -> None:
        for connection in self._registry:
            if connection.last_heard < deadline:
                connection.wire.close(SILENT, "nothing heard")

    async def close(self) -> None:
        """Close every socket with 1001 and let the closes go out; new ones get the same."""
        self._stopping = True
        for wire in list(self._wires):
            wire.close(GOING_AWAY, "the bridge is stopping")
        if self._wires:
            self._empty.clear()
            await self._empty.wait()


def _read_hello(text: str | None) -> frames.Hello:
    """Check the first frame of a socket.

    Raises:
        FrameError: with the code that tells the client what to do.
    """
    checked = _text(text)
    try:
        frame = codec.decode(checked)
    except FrameError:
        # A hello of another version need not look like ours; its version does.
        if _claimed_version(checked) not in (None, frames.PROTOCOL_VERSION):
            raise _wrong_version() from None
        raise
    if not isinstance(frame, frames.Hello):
        raise FrameError("The first frame must be a hello.")
    if frame.version != frames.PROTOCOL_VERSION:
        raise _wrong_version()
    for key in (frame.client_key, frame.device_key):
        if not 16 <= len(key) <= ID_CHARS:
            raise FrameError("client_key and device_key must be 32 random hex digits each.")
    return frame


class _AnyHello(msgspec.Struct, tag_field="type", tag="hello"):
    version: int


def _claimed_version(text: str) -> int | None:
    try:
        return msgspec.json.decode(text, type=_AnyHello).version
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _wrong_version() -> FrameError:
    return FrameError(
        f"This bridge speaks version {frames.PROTOCOL_VERSION} of the protocol; reload the page.",
        code="version_mismatch",
    )


def _text(text: str | None) -> str:
    if text is None:
        raise FrameError("The protocol has no binary frames; send JSON text.")
    return text


def _now() -> float:
    return asyncio.get_running_loop().time()
