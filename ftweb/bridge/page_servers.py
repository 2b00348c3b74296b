"""Servers that pages publish by JavaScript: ``navigator.publishServer`` of ``/ftweb/flyweb.js``.

A page holds a WebSocket ``/ftweb/publish`` for each server. Its first message, JSON text, says what
to publish; the answer is JSON text too; from then on it carries the frames of
:mod:`ftweb.flyweb.wire`, as a tab's socket for HTTP does.

1. The page must bear the join token, and a person has agreed in it.
2. Each server has a port of its own, and thus an origin of its own: it cannot read what pages of
   other servers keep. The checks of ``Host`` and ``Origin`` are those of the bridge.
3. It is announced as ``_flyweb._tcp`` with ``path`` in TXT, and answered for as ``published`` when
   that is done.
4. A name that is published on this bridge already is refused, as is one server too many.
5. When the socket ends (the page has gone), so do the announcement, the port and every connection.
6. A page is asked whether it is still there (``ping``, which it answers itself: a frozen page still
   answers WebSocket's own). If nothing comes for PAGE_SILENCE_SECONDS it has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from ftweb.app.server import check_name
from ftweb.bridge.channels import Channel, Stream
from ftweb.bridge.config import Identity
from ftweb.bridge.forwarding import Forwarder
from ftweb.bridge.publishing import Publisher, Record, host_name
from ftweb.bridge.security import AllowedHosts, App, Guard, Receive, Scope, Send, check_token
from ftweb.bridge.wire import EXTENSION, SocketWire
from ftweb.errors import FrameError
from ftweb.limits import (
    HELLO_SECONDS,
    ID_CHARS,
    PAGE_PING_SECONDS,
    PAGE_SERVERS,
    PAGE_SILENCE_SECONDS,
)
from ftweb.relay.connection import CLOSE_CODES, GOING_AWAY, SILENT
from ftweb.relay.wire import Prepared

_log = logging.getLogger(__name__)

ANNOUNCE_SECONDS: Final = 3.0
"""How long a page waits for the announcement; where mDNS does not work the address still does."""

REFUSED: Final = 4403

type Serve = Callable[[App, socket.socket], AbstractAsyncContextManager[None]]
"""Serves an application on a listening socket while the context lasts."""


class Publish(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a page says first."""

    token: Annotated[str, msgspec.Meta(max_length=ID_CHARS)]
    name: Annotated[str, msgspec.Meta(max_length=255)]
    ui_url: Annotated[str, msgspec.Meta(max_length=1024)] = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRecord(Record):
    """TXT of a page's server: FlyWeb's, nothing of ours."""

    def properties(self) -> dict[str | bytes, str | bytes | None]:
        """As zeroconf wants it."""
        return {"path": self.path}


class _OnePage:
    """A page is its own host, while it is there (:class:`ftweb.bridge.opening.Hosts`)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def elsewhere(self) -> str | None:
        return None

    async def host(self, seconds: float) -> Channel | None:
        return None if self._channel.closed else self._channel

    def is_host(self, stream: Stream) -> bool:
        return not self._channel.closed

    async def changes(self) -> None:
        await asyncio.sleep(0)


class _Refused(Exception):  # noqa: N818 - carries what the page is told
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PageServers:
    """ASGI application for the WebSocket ``/ftweb/publish``.

    Args:
        identity: holds the tokens.
        listen: opens a listening socket on a port of the system's choice.
        serve: see :data:`Serve`.
        mdns: whether to announce.
        interfaces: addresses to announce on; None for those of the LAN.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        listen: Callable[[], AbstractContextManager[socket.socket]],
        serve: Serve,
        mdns: bool,
        interfaces: tuple[str, ...] | None,
    ) -> None:
        self._identity = identity
        self._listen = listen
        self._serve = serve
        self._mdns = mdns
        self._interfaces = interfaces
        self._names: dict[str, SocketWire] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3: the life of one published server."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        wire: SocketWire = scope["extensions"][EXTENSION]
        try:
            wanted = await self._hello(receive)
        except _Refused as refused:
            await _say(wire, {"type": "refused", "code": refused.code, "message": refused.message})
            wire.close(REFUSED, refused.code)
            while (await receive())["type"] == "websocket.receive":
                pass
            return
        if wanted is None:
            return
        self._names[wanted.name] = wire
        try:
            async with self._published(wanted, Channel(wanted.name, wire)) as (channel, port):
                await _say(wire, {"type": "published", "name": wanted.name, "port": port})
                try:
                    await self._carry(channel, wire, receive)
                finally:  # before all that ends: a page that is loaded again publishes at once
                    self._free(wanted.name, wire)
        finally:
            self._free(wanted.name, wire)

    def _free(self, name: str, wire: SocketWire) -> None:
        if self._names.get(name) is wire:
            del self._names[name]

    def close(self) -> None:
        """The bridge is stopping."""
        for wire in list(self._names.values()):
            wire.close(GOING_AWAY, "the bridge is stopping")

    async def _hello(self, receive: Receive) -> Publish | None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                message = await receive()
        except TimeoutError:
            raise _Refused("hello_timeout", "Nothing was said.") from None
        if message["type"] != "websocket.receive":
            return None
        try:
            wanted = msgspec.json.decode(message.get("text") or "", type=Publish)
            name = check_name(wanted.name)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            raise _Refused("bad_frame", str(error)) from None
        if not check_token(wanted.token, self._identity)[0]:
            raise _Refused("bad_token", "This page has not joined: its token is missing or wrong.")
        if name in self._names:
            raise _Refused("name_taken", f"A server called {name!r} is published already.")
        if len(self._names) >= PAGE_SERVERS:
            raise _Refused("too_many_servers", f"At most {PAGE_SERVERS} servers may be published.")
        return msgspec.structs.replace(wanted, name=name)

    @contextlib.asynccontextmanager
    async def _published(
        self, wanted: Publish, channel: Channel
    ) -> AsyncIterator[tuple[Channel, int]]:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(channel.close)
            listener = stack.enter_context(self._listen())
            port: int = listener.getsockname()[1]
            hosts = AllowedHosts(port=port, names=[host_name(wanted.name).rstrip(".")])
            app = Guard(Forwarder(_OnePage(channel)), hosts)
            await stack.enter_async_context(self._serve(app, listener))
            if self._mdns:
                await stack.enter_async_context(self._announced(wanted, port, hosts))
            yield channel, port

    @contextlib.asynccontextmanager
    async def _announced(
        self, wanted: Publish, port: int, hosts: AllowedHosts
    ) -> AsyncIterator[None]:
        done = asyncio.Event()

        def named(name: str) -> None:
            hosts.add_name(name)
            done.set()

        record = PageRecord(guid="", epoch=0, term=0, node="", path=wanted.ui_url or "/")
        async with Publisher(
            name=wanted.name,
            port=port,
            record=record,
            interfaces=self._interfaces,
            on_host_name=named,
        ):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_SECONDS):
                    await done.wait()
            yield

    async def _carry(self, channel: Channel, wire: SocketWire, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        asking: asyncio.TimerHandle
        ping = Prepared(msgspec.json.encode({"type": "ping"}).decode())

        def ask() -> None:
            nonlocal asking
            if loop.time() - heard_at >= PAGE_SILENCE_SECONDS:
                wire.close(SILENT, "nothing heard")  # gives the reader its disconnect
                return
            wire.write(ping)
            asking = loop.call_later(PAGE_PING_SECONDS, ask)

        asking = loop.call_later(PAGE_PING_SECONDS, ask)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                heard_at = loop.time()
                channel.received(message.get("bytes") or b"")
        except FrameError as error:
            _log.warning("Closed the server of a page: %s", error)
            channel.socket.close(CLOSE_CODES["bad_frame"], "bad_frame")
        finally:
            asking.cancel()


async def _say(wire: SocketWire, message: dict[str, Any]) -> None:
    wire.write(Prepared(msgspec.json.encode(message).decode()))
