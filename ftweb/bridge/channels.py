"""The tabs' sockets for HTTP, and the streams on them: the bridge's side of ``/ftweb/http``.

1. A socket belongs to a node that is here: its hello must bear the key of the client behind whose
   main socket that node runs. Nothing is sent to any other.
2. A node has one; a newer one replaces it.
3. What a tab sends is bounded by the credit that it was given. More than that is a broken protocol:
   the socket is closed, and the tab opens a new one. Credit counts bytes; so small pieces are
   joined while they wait, and a stream on which more than HTTP_STREAM_FRAMES wait is ended.
4. Reading never waits for a client: what came lies in its stream's inbox, and credit is given back
   when the client has taken it. So messages are taken as they come, without ASGI's queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ftweb.bridge.config import Identity
from ftweb.bridge.security import Receive, Scope, Send, check_token, client_id
from ftweb.bridge.wire import EXTENSION, SocketWire
from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.streams import Credit, Inbox, Receipts, Sender
from ftweb.flyweb.wire import Kind
from ftweb.limits import HELLO_SECONDS, HTTP_STREAM_FRAMES, HTTP_UPLOAD_WINDOW
from ftweb.relay.connection import CLOSE_CODES, GOING_AWAY, REPLACED, Registry

_log = logging.getLogger(__name__)

NOT_HERE: Final = 4404
"""No such node behind that client: its main socket may not be there yet."""

JOINED_BYTES: Final = 1024
"""Up to here pieces of a body are joined while they wait."""

TOGETHER_BYTES: Final = 256 * 1024
"""Pieces of a response that wait go on together, up to this size."""

LOST: Final = wire.Frame(kind=0, flags=0, stream=0, payload=b"")
"""In a stream's inbox: the tab is gone."""


class Stream:
    """One request or WebSocket on its way to a tab.

    Attributes:
        channel: the tab's socket.
        inbox: frames from the tab, :data:`LOST` as the last if it went away.
        credit: what may be sent to it.
        receipts: counts what the client has taken.
    """

    def __init__(self, channel: Channel, number: int, opened: wire.Open) -> None:
        self.channel = channel
        self.number = number
        self.inbox: Inbox[wire.Frame] = Inbox()
        self.credit = Credit(0 if opened.asks else HTTP_UPLOAD_WINDOW)
        self.receipts = Receipts(number, opened.window, channel.sender.send)
        self._room = opened.window

    def came(self, frame: wire.Frame) -> None:
        """The tab sent a frame of this stream.

        Raises:
            FrameError: it may not.
        """
        if frame.kind == Kind.CREDIT:
            self.credit.grant(wire.decode_credit(frame))
            return
        if frame.kind == Kind.DATA:
            self._room -= len(frame.payload)
            if self._room < 0:
                raise FrameError("A tab sent more of a response than it may.")
            last = self.inbox.last
            if (
                last is not None
                and last.kind == Kind.DATA
                and not last.flags & wire.END
                and len(last.payload) + len(frame.payload) <= JOINED_BYTES
            ):
                payload = last.payload + frame.payload
                joined = wire.Frame(Kind.DATA, frame.flags, frame.stream, payload)
                self.inbox.replace_last(joined)
                return
        if len(self.inbox) >= HTTP_STREAM_FRAMES:
            self.end()
            self.send_part(Kind.RESET, wire.Reset(why="gone"))
            self.inbox.clear()
            failed = wire.encode_part(Kind.RESET, self.number, wire.Reset(why="failed"))
            frame = next(wire.split(failed))
        self.inbox.put(frame)

    def joined(self, first: wire.Frame) -> tuple[bytes, bool]:
        """A DATA frame with those after it that are there already, and whether that is the end.

        What comes while the client's side is busy goes on at once: each piece costs the HTTP server
        as much as a hundred kilobytes.
        """
        end = bool(first.flags & wire.END)
        pieces, size = [first.payload], len(first.payload)
        while not end and size < TOGETHER_BYTES:
            frame = self.inbox.peek()
            if frame is None or frame.kind != Kind.DATA:
                break
            self.inbox.get_nowait()
            end = bool(frame.flags & wire.END)
            pieces.append(frame.payload)
            size += len(frame.payload)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), end

    def took(self, count: int) -> None:
        """The client has taken so many bytes of the response."""
        self._room += count
        self.receipts.took(count)

    async def send_data(self, data: bytes, flags: int = 0) -> None:
        """Send a piece to the tab, as it takes it."""
        await self.channel.sender.send_data(self.number, data, self.credit, flags)

    def send_part(self, kind: Kind, part: wire.Close | wire.Reset) -> None:
        """Send a CLOSE or a RESET."""
        self.channel.sender.send(wire.encode_part(kind, self.number, part), now=True)

    def end(self) -> None:
        """Nothing more is wanted of it."""
        self.channel.forget(self.number)


class Channel:
    """One tab's socket."""

    def __init__(self, node_id: str, socket: SocketWire) -> None:
        self.node_id = node_id
        self.socket = socket
        self.sender = Sender(socket.write_binary)
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self.closed = False

    def open(self, opened: wire.Open, *, ended: bool) -> Stream:
        """Open a stream.

        Args:
            opened: the request.
            ended: it has no body.
        """
        self._last += 1
        stream = self._streams[self._last] = Stream(self, self._last, opened)
        self.sender.send(
            wire.encode_part(Kind.OPEN, self._last, opened, wire.END if ended else 0), now=True
        )
        if self.closed:
            stream.inbox.put(LOST)
        return stream

    def forget(self, number: int) -> None:
        """Drop a stream; what still comes for it is dropped too."""
        self._streams.pop(number, None)

    def received(self, message: bytes) -> None:
        """Take a message of the tab.

        Raises:
            FrameError: it breaks the protocol.
        """
        for frame in wire.split(message):
            stream = self._streams.get(frame.stream)
            if stream is not None:
                stream.came(frame)

    def close(self) -> None:
        """The tab is gone."""
        self.closed = True
        for stream in self._streams.values():
            stream.inbox.put(LOST)
        self._streams.clear()


class Channels:
    """ASGI application for the WebSocket ``/ftweb/http``; finds the tab that hosts.

    Args:
        registry: knows which node is behind which client.
        identity: holds the tokens.
        host: the node that hosts, as the relay sees it; None if there is none.
        elsewhere: the origin of the bridge behind which that node is, if it is not this one.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        identity: Identity,
        host: Callable[[], str | None],
        elsewhere: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._identity = identity
        self._host = host
        self.elsewhere = elsewhere
        self._channels: dict[str, Channel] = {}
        self._changed = asyncio.Event()
        self.ever = False
        """A tab has offered to serve HTTP: so this app does."""

    # --- finding the host -------------------------------------------------------------------

    def hosting(self) -> Channel | None:
        """The channel to the tab that hosts, if it is there."""
        node_id = self._host()
        return None if node_id is None else self._channels.get(node_id)

    async def host(self, seconds: float) -> Channel | None:
        """Wait for the host's channel; None if there is none in time, or it is elsewhere."""
        try:
            async with asyncio.timeout(seconds):
                while (channel := self.hosting()) is None and self.elsewhere() is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return channel

    def is_host(self, stream: Stream) -> bool:
        """Whether a stream leads to the tab that hosts now."""
        return stream.channel is self.hosting()

    async def changes(self) -> None:
        """Wait until another tab may host."""
        self._changed.clear()
        await self._changed.wait()

    def hosting_changed(self) -> None:
        """There is another host, or none. Whose main socket is gone is gone here too."""
        for channel in list(self._channels.values()):
            if self._registry.with_node(channel.node_id) is None:
                channel.socket.close(GOING_AWAY, "its node is gone")
                channel.close()
        self._changed.set()

    # --- the sockets ------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3: the life of one socket."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        socket: SocketWire = scope["extensions"][EXTENSION]
        channel = await self._hello(socket, receive)
        if channel is None:
            return
        older = self._channels.get(channel.node_id)
        self._channels[channel.node_id] = channel
        if older is not None:
            older.socket.close(REPLACED, "replaced by a newer connection")
            older.close()
        self.ever = True
        self._changed.set()

        def take(message: bytes) -> None:
            try:
                channel.received(message)
            except FrameError as error:
                _log.warning("Closed a tab's socket for HTTP: %s", error)
                socket.close(CLOSE_CODES["bad_frame"], "bad_frame")

        socket.deliver(take)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                take(message.get("bytes") or b"")  # what came before, or a text
        finally:
            channel.close()
            if self._channels.get(channel.node_id) is channel:
                del self._channels[channel.node_id]
            self._changed.set()

    async def _hello(self, socket: SocketWire, receive: Receive) -> Channel | None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                message = await receive()
        except TimeoutError:
            await _refuse(socket, receive, CLOSE_CODES["hello_timeout"], "hello_timeout")
            return None
        if message["type"] != "websocket.receive":
            return None
        try:
            hello = wire.decode_hello(message.get("text") or "")
        except FrameError:
            await _refuse(socket, receive, CLOSE_CODES["bad_frame"], "bad_frame")
            return None
        joins, _ = check_token(hello.token, self._identity)
        if not joins:
            await _refuse(socket, receive, CLOSE_CODES["bad_token"], "bad_token")
            return None
        connection = self._registry.with_node(hello.node_id)
        if connection is None or connection.client_id != client_id(hello.client_key):
            await _refuse(socket, receive, NOT_HERE, "node_not_here")
            return None
        return Channel(hello.node_id, socket)

    def close(self) -> None:
        """Close every socket: the bridge is stopping."""
        for channel in list(self._channels.values()):
            channel.socket.close(GOING_AWAY, "the bridge is stopping")


async def _refuse(socket: SocketWire, receive: Receive, code: int, reason: str) -> None:
    """Close, and read until that is done: returning at once would cut off the close frame."""
    socket.close(code, reason)
    while (await receive())["type"] == "websocket.receive":
        pass
