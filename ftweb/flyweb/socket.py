"""One WebSocket in the tab: ASGI's ``receive`` and ``send`` over a stream of frames.

Like :mod:`ftweb.flyweb.exchange`, it does what uvicorn does: connect, accept (with a subprotocol)
or no (403, or a response of the app's own), messages with back-pressure both ways, close codes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, Final

from ftweb.flyweb import wire
from ftweb.flyweb.exchange import ASGI, App, Message, Scope
from ftweb.flyweb.streams import Credit, Inbox, Receipts, Sender
from ftweb.flyweb.wire import Kind
from ftweb.limits import HTTP_UPLOAD_WINDOW

_log = logging.getLogger(__name__)


REASON_BYTES: Final = 123
"""What a close frame has room for (RFC 6455, section 5.5)."""

_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
"""Those below 3000 that may be sent (RFC 6455, section 7.4, and the IANA's registry)."""

_header_value = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch


class ClientDisconnected(OSError):  # noqa: N818 - the name that servers give it
    """The app sent on a WebSocket that has ended (ASGI asks for an OSError)."""


def websocket_scope(opened: wire.Open, state: dict[str, Any]) -> Scope:
    """The scope of a WebSocket; see :func:`ftweb.flyweb.exchange.http_scope`."""
    return {
        "type": "websocket",
        "asgi": {**ASGI, "spec_version": "2.4"},
        "http_version": opened.http_version,
        "scheme": opened.scheme,
        "server": opened.server,
        "client": opened.client,
        "root_path": "",
        "path": opened.path,
        "raw_path": opened.raw_path,
        "query_string": opened.query_string,
        "headers": list(opened.headers),
        "subprotocols": list(opened.subprotocols),
        "state": dict(state),
        "extensions": {"websocket.http.response": {}},
    }


class WebSocketExchange:
    """A WebSocket's life.

    Args:
        stream: number of the stream.
        opened: the request's head.
        sender: sends frames.
    """

    def __init__(self, *, stream: int, opened: wire.Open, sender: Sender) -> None:
        self._stream = stream
        self._opened = opened
        self._sender = sender
        self._credit = Credit(opened.window)
        self._receipts = Receipts(stream, HTTP_UPLOAD_WINDOW, sender.send)
        self._events: Inbox[tuple[Message, int]] = Inbox()
        """With the bytes that each counts."""
        self._events.put(({"type": "websocket.connect"}, 0))
        self._pieces: list[bytes] = []
        self._accepted = False
        self._refusing = False
        """A response of the app's own is under way instead of an acceptance."""
        self._ended = False
        self._ended_by_app = False
        """It said its last word: whatever it says after that is its error, not the client's."""

    # --- from the bridge --------------------------------------------------------------------

    def take(self, frame: wire.Frame) -> None:
        """Take a frame of this stream."""
        match frame.kind:
            case Kind.DATA:
                self._pieces.append(frame.payload)
                if frame.flags & wire.END:
                    self._message(text=bool(frame.flags & wire.TEXT))
            case Kind.CREDIT:
                self._credit.grant(wire.decode_credit(frame))
            case Kind.CLOSE:
                close = wire.decode_part(frame, wire.Close)
                self._end(close.code, close.reason)
            case Kind.RESET:
                self.cancel()

    def cancel(self) -> None:
        """The client is gone, without a word."""
        self._end(1006, "")

    def _message(self, *, text: bool) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        message: Message = {"type": "websocket.receive"}
        message["text" if text else "bytes"] = data.decode() if text else data
        self._events.put((message, len(data)))

    def _end(self, code: int, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        message = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._events.put((message, 0))
        self._credit.grant(1 << 40)  # whoever waits for it goes on, and is told

    # --- the app ----------------------------------------------------------------------------

    async def run(self, app: App, state: dict[str, Any]) -> None:
        """Serve the WebSocket by an app; never raises but when cancelled."""
        try:
            await app(websocket_scope(self._opened, state), self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:
            _log.exception("The app failed on the WebSocket %s.", self._opened.path)
            self._finish()
        else:
            if not self._accepted and not self._ended:
                _log.error("The app neither took nor refused a WebSocket %s.", self._opened.path)
            self._finish()

    def _finish(self) -> None:
        """The app is done with it. Before an acceptance that is a 500, after it an end without a
        close frame, as under uvicorn."""
        if self._ended:
            return
        self._ended = True
        if self._accepted or self._refusing:
            reset = wire.Reset(why="failed")
            self._sender.send(wire.encode_part(Kind.RESET, self._stream, reset), now=True)
            return
        head = wire.Head(status=500, headers=[])
        self._sender.send(wire.encode_part(Kind.HEAD, self._stream, head))
        body = wire.encode(Kind.DATA, self._stream, b"Internal Server Error", wire.END)
        self._sender.send(body, now=True)

    async def receive(self) -> Message:
        """ASGI's."""
        message, size = await self._events.get()
        if size:
            self._receipts.took(size)
        return message

    async def send(self, message: Message) -> None:
        """ASGI's."""
        kind = message["type"]
        if self._ended_by_app:
            raise RuntimeError(
                f"Unexpected ASGI message '{kind}', after sending 'websocket.close'."
            )
        if self._ended:
            raise ClientDisconnected
        if self._refusing:
            await self._refuse(message)
        elif not self._accepted:
            self._answer(message)
        elif kind == "websocket.send":
            await self._send(message)
        elif kind == "websocket.close":
            code, reason = int(message.get("code", 1000)), str(message.get("reason") or "")
            check_close(code, reason)
            self._close(code, reason)
        else:
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'."
            )
        await asyncio.sleep(0)

    async def _send(self, message: Message) -> None:
        data = message.get("bytes")
        flags = wire.END
        if data is None:
            text = message.get("text")
            if text is None:
                return  # nothing, and not an empty text
            data = str(text).encode()
            flags |= wire.TEXT
        await self._sender.send_data(self._stream, data, self._credit, flags)
        if self._ended:
            raise ClientDisconnected

    def _answer(self, message: Message) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        match message["type"]:
            case "websocket.accept":
                for name, value in headers:
                    if not _header_value(value):
                        raise ValueError(f"The header {name!r} cannot have the value {value!r}.")
                self._accepted = True
                accept = wire.Accept(subprotocol=message.get("subprotocol"), headers=headers)
                self._sender.send(wire.encode_part(Kind.ACCEPT, self._stream, accept), now=True)
            case "websocket.close":
                self._close(1006, "")
            case "websocket.http.response.start":
                status = int(message["status"])
                if not 100 <= status < 600:
                    raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
                self._refusing = True
                head = wire.Head(status=status, headers=headers)
                self._sender.send(wire.encode_part(Kind.HEAD, self._stream, head))
            case kind:
                raise RuntimeError(
                    "Expected ASGI message 'websocket.accept', 'websocket.close' or "
                    f"'websocket.http.response.start' but got '{kind}'."
                )

    async def _refuse(self, message: Message) -> None:
        if message["type"] != "websocket.http.response.body":
            raise RuntimeError(
                f"Expected ASGI message 'websocket.http.response.body' but got '{message['type']}'."
            )
        more = bool(message.get("more_body", False))
        await self._sender.send_data(
            self._stream, message.get("body", b""), self._credit, 0 if more else wire.END
        )
        if not more:
            self._ended_by_app = True
            self._end(1006, "")

    def _close(self, code: int, reason: str) -> None:
        close = wire.Close(code=code, reason=reason)
        self._sender.send(wire.encode_part(Kind.CLOSE, self._stream, close), now=True)
        self._ended_by_app = True
        self._end(code, reason)


def check_close(code: int, reason: str) -> None:
    """See that a close frame can be made of these, here, where the app still hears of it.

    Raises:
        ValueError: it cannot.
    """
    if code not in _CLOSE_CODES and not 3000 <= code < 5000:
        raise ValueError(f"A WebSocket cannot be closed with the code {code}.")
    if len(reason.encode()) > REASON_BYTES:
        raise ValueError(f"The reason of a close has more than {REASON_BYTES} bytes.")
