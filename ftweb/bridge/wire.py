"""A WebSocket as the bridge needs it: uvicorn's, with what ASGI does not offer.

ASGI's ``send`` waits while a peer does not read, so each of 500 clients would need a task and a
queue of its own, the same change would be framed 500 times, and a peer that never reads could
not be got rid of. Here instead:

1. :class:`SocketWire` writes to the transport directly. The transport's own buffer is the outgoing
   queue: :attr:`SocketWire.backlog` says how full it is, the caller sets the bound.
2. :func:`framed` frames a text once for any number of clients. That is right because no
   extension is negotiated and frames from a server are not masked.
3. Every close has a deadline: whoever does not read is cut off.

Reading stays ASGI's, with its back pressure, but where a protocol has its own
(:meth:`SocketWire.deliver`). Connections that never get as far as a request, and
control frames, which ASGI never shows, are bounded here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from ftweb import codec, frames
from ftweb.limits import (
    CLOSE_SECONDS,
    FRAGMENT_BYTES,
    HELLO_SECONDS,
    HTTP_CONCURRENCY,
    HTTP_FRAME_BYTES,
    HTTP_HEADER_BYTES,
    HTTP_STALL_SECONDS,
    MESSAGE_FRAGMENTS,
    RATE_BURST_SECONDS,
    REPLICA_FRAMES_PER_SECOND,
)
from ftweb.relay.bucket import TokenBucket
from ftweb.relay.wire import Prepared

EXTENSION = "ftweb.wire"
"""Where the ASGI scope's ``extensions`` hold the :class:`SocketWire`."""

ABORT = "ftweb.abort"
"""Where an HTTP scope's ``extensions`` hold what ends the connection within a response."""


def framed(prepared: Prepared) -> bytes:
    """A text as one unmasked WebSocket message: made once, written to any number of clients."""
    if prepared.framed is None:
        prepared.framed = Frame(Opcode.TEXT, prepared.text.encode()).serialize(mask=False)
    return prepared.framed


class SocketWire:
    """The sending side of one accepted WebSocket: a :class:`ftweb.relay.wire.Wire`."""

    def __init__(self, protocol: BoundedWebSocket) -> None:
        self._protocol = protocol

    @property
    def backlog(self) -> int:
        """Bytes written but not yet taken by the network."""
        return self._protocol.transport.get_write_buffer_size()

    @property
    def closing(self) -> bool:
        """Nothing more can be sent."""
        protocol = self._protocol
        return protocol.close_sent or protocol.disconnected or protocol.transport.is_closing()

    def write(self, prepared: Prepared) -> None:
        """Queue a prepared frame. Never blocks; dropped when the socket is closing."""
        if not self.closing:
            self._protocol.transport.write(framed(prepared))

    def write_binary(self, data: bytes) -> None:
        """Queue a binary message. Never blocks; dropped when the socket is closing."""
        if not self.closing:
            self._protocol.transport.write(Frame(Opcode.BINARY, data).serialize(mask=False))

    def deliver(self, sink: Callable[[bytes], None]) -> None:
        """Give every further binary message to ``sink`` as soon as it is there, and not to ASGI's
        ``receive``: for peers whose sending is bounded by credit, since reading never pauses. They
        may be of HTTP_FRAME_BYTES."""
        self._protocol.sink = sink
        self._protocol.conn.max_message_size = HTTP_FRAME_BYTES

    def close(self, code: int, reason: str = "") -> None:
        """Start closing: the reader gets its disconnect, a peer that does not answer is cut."""
        self._protocol.start_closing(code, reason)


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol, with a :class:`SocketWire` in the scope and the rules above."""

    sink: Callable[[bytes], None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._control = TokenBucket(
            rate=REPLICA_FRAMES_PER_SECOND,
            burst=REPLICA_FRAMES_PER_SECOND * RATE_BURST_SECONDS,
            now=self.loop.time(),
        )

    async def run_asgi(self) -> None:
        scope = cast(dict[str, Any], self.scope)
        scope["extensions"][EXTENSION] = SocketWire(self)
        await super().run_asgi()

    def start_closing(self, code: int, reason: str) -> None:
        """Send a close frame and end within CLOSE_SECONDS whatever the peer does."""
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.conn.state is State.OPEN:  # else the peer's close came along, and has its answer
            self.conn.send_close(code, reason)
        self._end()

    def _end(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def handle_parser_exception(self) -> None:
        """The peer broke WebSocket itself (too large, bad UTF-8, bad framing).

        The rest of what it sends is read and dropped: closing with unread data would reset the
        connection, and the peer would never learn why.
        """
        close = self.conn.close_sent
        if self.close_sent or close is None:
            return
        # On the app's own sockets ours is no message.
        if close.code == 1009 and self.scope["path"].startswith("/ftweb/"):
            most = self.conn.max_message_size
            error = frames.Error(
                code="too_large",
                message=f"A frame may have {most} bytes at most; send less at once.",
            )
            self.transport.write(framed(Prepared(codec.encode(error))))
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self._end()
        self.transport.write_eof()  # its answer is not looked for any more

    def send_receive_event_to_app(self) -> None:
        if self.sink is not None and self.curr_msg_data_type == "bytes":
            data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
            self.frames = []
            if not self.close_sent:
                self.sink(data)
            return
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:  # here, since uvicorn would log a traceback each time
                self.frames = []
                if not self.close_sent:
                    self.conn.fail(1007)
                    self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MESSAGE_FRAGMENTS:
            self.start_closing(1008, "too many fragments")
            return
        # Fragments with something in them are bounded by the message's size; a tab that sends a
        # download has thousands a second.
        if len(event.data) >= FRAGMENT_BYTES or self._within_rate():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self._within_rate():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._within_rate():
            super().handle_pong(event)

    def _within_rate(self) -> bool:
        if self._control.take(self.loop.time()):
            return True
        self.start_closing(4429, "rate_limited")
        return False


class BoundedHttp(H11Protocol):
    """Uvicorn's HTTP protocol, with an end to connections that never make a request, and to
    downloads that nobody takes."""

    _stalled: asyncio.TimerHandle | None = None

    _waiting: asyncio.TimerHandle | None = None
    _upgraded = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app = self.app

        async def with_extensions(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[ABORT] = self.end_early
            await app(scope, receive, send)

        self.app = with_extensions

    def end_early(self) -> None:
        """End the connection within the response that is under way, so that the client sees that
        something is missing; what was written before still goes out."""
        cycle = self.cycle
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.scope["http_version"] == "1.1":
            self.transport.close()
        else:  # there the end of the connection may be the end of the body
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what is no HTTP; 431 to a head that is too long (RFC 6585)."""
        unread, _ = self.conn.trailing_data
        if len(unread) < HTTP_HEADER_BYTES:
            super().send_400_response(msg)
            return
        body = b"head_too_large: The request line and headers are too long.\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=431, headers=headers)
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > HTTP_CONCURRENCY:
            transport.abort()
            return
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._busy:
            self._stop_waiting()
        else:
            self._expect_request()  # a request has begun, or not even that: it must end soon

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._moves_again()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(HTTP_STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._moves_again()
        super().resume_writing()

    def _moves_again(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def handle_websocket_upgrade(self, event: Any) -> None:
        super().handle_websocket_upgrade(event)
        self._upgraded = True
        self._stop_waiting()

    def _expect_request(self) -> None:
        if self._waiting is None and not self._upgraded:
            self._waiting = self.loop.call_later(HELLO_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self._busy:
            self.transport.abort()

    @property
    def _busy(self) -> bool:
        """A whole request is here and being answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first one
        return cycle is not None and not cycle.response_complete
