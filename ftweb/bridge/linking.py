"""Links to other bridges over WebSockets: ``/ftweb/link`` here, and the sockets opened to others.

Rules:

1. Both sides prove that they know the presenter token before anything else is said
   (:mod:`ftweb.relay.handshake`), within HELLO_SECONDS.
2. Every bridge that was heard of is linked with directly, as far as it can be reached: those given
   at the start, those that linked bridges tell of, those found by mDNS. Of two bridges that learn
   of one another at once the lower id goes first.
3. A link that ended is opened again, with full jitter and at most RETRY_MOST seconds apart; a
   bridge that refuses us is asked again only every REFUSED_SECONDS.
4. Frames and bytes are bounded as everywhere; a link that breaks the protocol is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.protocol import State

from ftweb import codec, frames
from ftweb.bridge.security import Receive, Scope, Send
from ftweb.bridge.wire import EXTENSION
from ftweb.errors import ConnectError, FrameError
from ftweb.limits import (
    CLOSE_SECONDS,
    FRAME_BYTES,
    HELLO_SECONDS,
    ID_CHARS,
    LINK_FRAMES_PER_SECOND,
    LINKED_BRIDGES,
    RATE_BURST_SECONDS,
)
from ftweb.relay.bucket import TokenBucket
from ftweb.relay.connection import SILENT, Registry, fail
from ftweb.relay.handshake import Answering, Asking, Me, Peer
from ftweb.relay.links import Link, Links
from ftweb.relay.wire import Prepared, Wire

_log = logging.getLogger(__name__)

LINK_PATH: Final = "/ftweb/link"

DIAL_SECONDS: Final = 3.0
"""How long a bridge may take to accept a socket: on a LAN it does so at once, or is not there."""

RETRY_FIRST: Final = 0.1
RETRY_MOST: Final = 4.0
"""The n-th attempt waits a random part of FIRST * 2**n seconds, at most MOST."""

REFUSED_SECONDS: Final = 15.0
"""Who belongs to another server now will still do so in a moment."""

YIELD_SECONDS: Final = 0.5
"""How long the higher id leaves the first attempt to the lower (rule 2)."""

SAID_CHARS: Final = 300
"""Of what the other side says of its refusal."""

_YIELD_EVERY: Final = 64
"""Frames of one link handled in a row before others get their turn."""


# --- being asked ------------------------------------------------------------------------------


class LinkEndpoint:
    """ASGI application for the ``websocket`` scopes of LINK_PATH.

    Args:
        registry: counts sockets.
        links: where links go.
        me: makes what this bridge says of itself, with a fresh nonce.
        welcome: makes what a newcomer is told.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        links: Links,
        me: Callable[[], Me],
        welcome: Callable[[], frames.LinkWelcome],
    ) -> None:
        self._registry = registry
        self._links = links
        self._me = me
        self._welcome = welcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3: the life of one link."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        wire: Wire = scope["extensions"][EXTENSION]
        address = str((scope["client"] or ("", 0))[0])
        if not self._registry.admit(address):
            fail(wire, "too_many_connections", "This bridge has no room for more connections.")
            return

        async def read() -> str | None:
            message = await receive()
            if message["type"] != "websocket.receive":
                return None
            text: str | None = message.get("text")
            if text is None:
                raise FrameError("The protocol has no binary frames; send JSON text.")
            return text

        try:
            await self._serve(wire, read)
        except _RefusedError as refused:
            _log.info("A bridge that wanted to link gave up (%r).", refused.code)
            wire.close(1000)
        except FrameError as error:
            _log.info("A link was refused or broke the protocol: %a", error.message)
            fail(wire, error.code, error.message)
        finally:
            self._registry.release(address)

    async def _serve(self, wire: Wire, read: _Read) -> None:
        answering = Answering(self._me())
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = await _expect(read, frames.LinkHello)
                _write(wire, answering.asked(hello))
                peer = answering.proved(await _expect(read, frames.LinkProof))
        except TimeoutError:
            fail(wire, "hello_timeout", f"No proof came within {HELLO_SECONDS:g} seconds.")
            return
        except _EndedError:
            return
        _write(wire, self._welcome())
        await _carry(self._links, peer, wire, read)


# --- asking -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcomed:
    """A bridge that has let us in."""

    peer: Peer
    welcome: frames.LinkWelcome


class Dialed:
    """A socket opened to another bridge: an async context manager.

    Args:
        origin: ``http://ADDRESS:PORT``.
        me: what to say of ourselves.

    Raises (on entering):
        ConnectError: ``connect_failed``: nobody answers there; else the code of a refusal.
    """

    def __init__(self, origin: str, me: Me) -> None:
        self._origin = origin
        self._asking = Asking(me)
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> Dialed:
        url = "ws" + self._origin.removeprefix("http") + LINK_PATH
        try:
            self._socket = socket = await connect(
                url,
                max_size=FRAME_BYTES,
                open_timeout=DIAL_SECONDS,
                close_timeout=1.0,
                compression=None,
                proxy=None,
                ping_interval=None,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise ConnectError(
                f"No bridge answers at {self._origin} ({_reason(error)}). Is `ftweb run` running"
                " there, and are both laptops on the same network?"
            ) from error
        self.wire = DialedWire(socket)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                self.welcomed = await self._shake_hands()
        except (FrameError, _EndedError, TimeoutError) as error:
            socket.transport.abort()
            if isinstance(error, FrameError):
                raise ConnectError(error.message, code=error.code) from None
            raise ConnectError(f"The bridge at {self._origin} did not link up.") from None
        except BaseException:
            socket.transport.abort()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._socket is not None
        await self._socket.close()

    async def _shake_hands(self) -> Welcomed:
        _write(self.wire, self._asking.hello)
        challenge = await _expect(self.read, frames.LinkChallenge)
        proof, peer = self._asking.challenged(challenge)
        _write(self.wire, proof)
        return Welcomed(peer=peer, welcome=await _expect(self.read, frames.LinkWelcome))

    async def read(self) -> str | None:
        """The next frame's text; None when the socket has ended."""
        assert self._socket is not None
        try:
            data = await self._socket.recv()
        except ConnectionClosed:
            return None
        if isinstance(data, bytes):
            raise FrameError("The protocol has no binary frames.")
        return data


class DialedWire:
    """A :class:`~ftweb.relay.wire.Wire` over a socket that we opened."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @property
    def backlog(self) -> int:
        """See :class:`~ftweb.relay.wire.Wire`."""
        return self._socket.transport.get_write_buffer_size()

    @property
    def closing(self) -> bool:
        """See :class:`~ftweb.relay.wire.Wire`."""
        socket = self._socket
        return socket.protocol.state is not State.OPEN or socket.transport.is_closing()

    def write(self, prepared: Prepared) -> None:
        """See :class:`~ftweb.relay.wire.Wire`."""
        if not self.closing:
            self._socket.protocol.send_text(prepared.text.encode())
            self._socket.send_data()

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`~ftweb.relay.wire.Wire`."""
        if self.closing:
            return
        transport = self._socket.transport
        if code == SILENT:
            transport.abort()  # nobody there would answer
            return
        self._socket.protocol.send_close(code, reason)
        self._socket.send_data()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)


@dataclass(kw_only=True, slots=True, eq=False)
class _Target:
    origins: list[str]
    bridge: str | None = None
    """Its id, once it is known."""
    task: asyncio.Task[None] | None = None


class Dialer:
    """Keeps this bridge linked with all others that it knows (rules 2 and 3).

    Use as an async context manager.

    Args:
        links: where links go.
        me: makes what this bridge says of itself, with a fresh nonce.
        own: the origins of this bridge itself.
    """

    def __init__(self, *, links: Links, me: Callable[[], Me], own: Iterable[str]) -> None:
        self._links = links
        self._me = me
        self._own = frozenset(own)
        self._targets: list[_Target] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Dialer:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, origins: Iterable[str], *, bridge: str | None = None) -> None:
        """Another bridge, or another address of one; returns at once."""
        wanted = [origin for origin in origins if origin not in self._own]
        if not wanted or bridge == self._links.bridge:
            return
        for target in self._targets:
            if bridge is not None and target.bridge == bridge:
                target.origins = wanted
                return
            if bridge is None and set(wanted) <= set(target.origins):
                return
        if len(self._targets) >= 2 * LINKED_BRIDGES:
            return
        target = _Target(origins=wanted, bridge=bridge)
        self._targets.append(target)
        target.task = asyncio.create_task(self._keep(target), name="link")
        self._tasks.add(target.task)
        target.task.add_done_callback(self._tasks.discard)

    def learn(self) -> None:
        """Look for bridges that linked ones tell of."""
        for state in self._links.routes.ever:
            self.add(state.urls, bridge=state.bridge)

    async def _keep(self, target: _Target) -> None:
        if target.bridge is not None and target.bridge < self._links.bridge:
            await asyncio.sleep(YIELD_SECONDS)
        failures = 0
        while True:
            if target.bridge is not None and self._links.linked(target.bridge):
                failures = 0
                await asyncio.sleep(YIELD_SECONDS)
                continue
            pause = 0.0
            for origin in target.origins:
                try:
                    await self._dial(target, origin)
                    failures = 0
                    break
                except ConnectError as error:
                    _log.debug("No link with %s: %s", origin, error)
                    if error.code == "same_bridge":
                        self._targets.remove(target)
                        return
                    if error.code != "connect_failed":
                        pause = REFUSED_SECONDS
            wait = random.uniform(0, min(RETRY_MOST, RETRY_FIRST * 2**failures))
            failures = min(failures + 1, 16)
            await asyncio.sleep(max(pause, wait))

    async def _dial(self, target: _Target, origin: str) -> None:
        async with Dialed(origin, self._me()) as dialed:
            peer = dialed.welcomed.peer
            target.bridge = peer.bridge
            with contextlib.suppress(FrameError):
                await _carry(self._links, peer, dialed.wire, dialed.read)


def new_nonce() -> str:
    """32 random hex digits."""
    return secrets.token_hex(16)


# --- both ---------------------------------------------------------------------------------------

type _Read = Callable[[], Awaitable[str | None]]


class _RefusedError(FrameError):
    """The other side has sent an error: its words, not ours."""


class _EndedError(Exception):
    """The socket ended before the handshake did."""


def _reason(error: Exception) -> str:
    """Why nobody answers, without the words of the operating system's interface."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or "no answer in time"


def _write(wire: Wire, frame: frames.Frame) -> None:
    wire.write(Prepared(codec.encode(frame)))


async def _expect[F](read: _Read, kind: type[F]) -> F:
    """The next frame, which has to be of a kind.

    Raises:
        FrameError: it is another; an ``error`` frame gives its own code and message.
    """
    text = await read()
    if text is None:
        raise _EndedError
    frame = codec.decode(text)
    if isinstance(frame, frames.Error):
        # Not proven yet: it may say anything, and a terminal may show it.
        said = "".join(each for each in frame.message if each.isprintable())
        raise _RefusedError(said[:SAID_CHARS], code=frame.code[:ID_CHARS])
    if not isinstance(frame, kind):
        raise FrameError(f"A {kind.__name__} was expected at this point of the handshake.")
    return frame


async def _carry(links: Links, peer: Peer, wire: Wire, read: _Read) -> None:
    """Read a link until it ends.

    Raises:
        FrameError: the peer sent what no link carries.
    """
    link = links.up(peer, wire)
    if link is None:
        await read()  # its close
        return
    try:
        await _read_link(links, link, wire, read)
    finally:
        links.down(link)


async def _read_link(links: Links, link: Link, wire: Wire, read: _Read) -> None:
    clock = asyncio.get_running_loop().time
    bucket = TokenBucket(
        rate=LINK_FRAMES_PER_SECOND,
        burst=LINK_FRAMES_PER_SECOND * RATE_BURST_SECONDS,
        now=clock(),
    )
    handled = 0
    while (text := await read()) is not None:
        if wire.closing:
            return
        if not bucket.take(clock()):
            raise FrameError("Too many frames a second over a link.", code="rate_limited")
        links.received(link, codec.decode(text), text)
        handled += 1
        if handled % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
