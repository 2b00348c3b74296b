"""One HTTP request in the tab: ASGI's ``receive`` and ``send`` over a stream of frames.

It does what uvicorn does for an app behind a plain socket, with the same words when the app breaks
the rules of ASGI, so that an app cannot tell where it runs:

1. ``receive`` gives the body as it comes, then waits until the client is gone or the response is
   complete, and says ``http.disconnect``. The first call asks a client that waits to be asked.
2. ``send`` waits for the client to take what was sent, and gives the event loop a turn when much
   was: a download must not stand in the way of consensus, which runs in the same thread.
3. A response to HEAD has no body, whatever the app sends.
4. A body that is longer or shorter than its ``content-length`` is the app's error, and the client
   sees a broken connection, never a wrong length.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Literal

from ftweb.flyweb import wire
from ftweb.flyweb.streams import Credit, Inbox, Receipts, Sender
from ftweb.flyweb.wire import Kind
from ftweb.limits import HTTP_UPLOAD_WINDOW

_log = logging.getLogger(__name__)

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Elsewhere(Exception):  # noqa: N818 - says where to go
    """This node cannot do it, and has not done it: another host should be asked."""


ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


def http_scope(opened: wire.Open, state: dict[str, Any]) -> Scope:
    """The scope of a request.

    Args:
        opened: what the bridge said of it.
        state: what the app put into its lifespan's state; each request gets a copy.
    """
    return {
        "type": "http",
        "asgi": dict(ASGI),
        "http_version": opened.http_version,
        "server": opened.server,
        "client": opened.client,
        "scheme": opened.scheme,
        "method": opened.method,
        "root_path": "",
        "path": opened.path,
        "raw_path": opened.raw_path,
        "query_string": opened.query_string,
        "headers": list(opened.headers),
        "state": dict(state),
    }


class HttpExchange:
    """A request and its response.

    Args:
        stream: number of the stream.
        opened: the request's head.
        ended: it has no body.
        sender: sends frames.
    """

    def __init__(self, *, stream: int, opened: wire.Open, ended: bool, sender: Sender) -> None:
        self._stream = stream
        self._opened = opened
        self._sender = sender
        self._credit = Credit(opened.window)
        self._receipts = Receipts(stream, HTTP_UPLOAD_WINDOW, sender.send)
        self._body: Inbox[bytes] = Inbox()
        self._body_ended = ended
        self._asked = not opened.asks
        self._told_empty = False
        self._over = asyncio.Event()
        """The client is gone, or the response is complete."""
        self._gone = False
        self._started = False
        self._complete = False
        self._left: int | None = None
        """Bytes of the response still to come, if it has said how many there are."""

    # --- from the bridge --------------------------------------------------------------------

    def take(self, frame: wire.Frame) -> None:
        """Take a frame of this stream."""
        match frame.kind:
            case Kind.DATA:
                if frame.payload:
                    self._body.put(frame.payload)
                if frame.flags & wire.END:
                    self._body_ended = True
                    self._body.put(b"")
            case Kind.CREDIT:
                self._credit.grant(wire.decode_credit(frame))
            case Kind.RESET:
                self.cancel()

    def cancel(self) -> None:
        """The client is gone."""
        self._gone = True
        self._over.set()
        self._body.put(b"")
        self._credit.grant(1 << 40)  # whoever waits for it goes on, and what it sends is dropped

    # --- the app ----------------------------------------------------------------------------

    async def run(self, app: App, state: dict[str, Any]) -> None:
        """Answer the request by an app; never raises but when cancelled."""
        try:
            await app(http_scope(self._opened, state), self.receive, self.send)
        except Elsewhere:
            self._complete = True
            self._reset("refused")
        except Exception:
            _log.exception("The app failed on %s %s.", self._opened.method, self._opened.path)
            await self._fail()
        else:
            if not self._started and not self._gone:
                _log.error("The app ended %s without a response.", self._opened.path)
                await self._fail()
            elif not self._complete and not self._gone:
                _log.error("The app ended %s within its response.", self._opened.path)
                await self._fail()

    async def _fail(self) -> None:
        if self._gone or self._complete:
            return
        if self._started:
            self._complete = True
            self._reset("failed")
            return
        await self.send(
            {
                "type": "http.response.start",
                "status": 500,
                "headers": [
                    (b"content-type", b"text/plain; charset=utf-8"),
                    (b"connection", b"close"),
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    async def receive(self) -> Message:
        """ASGI's: the next piece of the body, or that nobody listens any more."""
        if not self._asked:
            self._asked = True
            self._sender.send(wire.encode_credit(self._stream, HTTP_UPLOAD_WINDOW), now=True)
        if self._told_empty:
            await self._over.wait()
        if self._over.is_set():
            return {"type": "http.disconnect"}
        pieces = []
        if not self._body_ended:
            pieces.append(await self._body.get())
        while (piece := self._body.get_nowait()) is not None:
            pieces.append(piece)
        if self._gone:
            return {"type": "http.disconnect"}
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._receipts.took(len(body))
        self._told_empty = self._body_ended
        return {"type": "http.request", "body": body, "more_body": not self._body_ended}

    async def send(self, message: Message) -> None:
        """ASGI's: the start of the response, or a piece of its body."""
        if self._gone:
            await asyncio.sleep(0)
            return
        kind = message["type"]
        if not self._started:
            if kind != "http.response.start":
                raise RuntimeError(
                    f"Expected ASGI message 'http.response.start', but got '{kind}'."
                )
            self._started = True
            self._start(message)
            return
        if self._complete:
            raise RuntimeError(
                f"Unexpected ASGI message '{kind}' sent, after response already completed."
            )
        if kind != "http.response.body":
            raise RuntimeError(f"Expected ASGI message 'http.response.body', but got '{kind}'.")
        more = bool(message.get("more_body", False))
        body = b"" if self._opened.method == "HEAD" else message.get("body", b"")
        short = self._check_length(len(body), more=more)
        flags = 0 if more or short else wire.END
        await self._sender.send_data(self._stream, body, self._credit, flags)
        if short:
            raise RuntimeError("Response content shorter than Content-Length")
        if not more:
            self._complete = True
            self._over.set()
        if self._sender.full:
            await asyncio.sleep(0)

    def _start(self, message: Message) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        status = int(message["status"])
        bodiless = self._opened.method == "HEAD" or status in (204, 304) or status < 200
        lengths = [value for name, value in headers if name.lower() == b"content-length"]
        coded = any(name.lower() == b"transfer-encoding" for name, _ in headers)
        if not bodiless and not coded and len(lengths) == 1 and lengths[0].isdigit():
            self._left = int(lengths[0])
        head = wire.Head(status=status, headers=headers)
        self._sender.send(wire.encode_part(Kind.HEAD, self._stream, head))

    def _check_length(self, size: int, *, more: bool) -> bool:
        """Count a piece of the body; True if it is the last and something is missing."""
        if self._left is None:
            return False
        self._left -= size
        if self._left < 0:
            raise RuntimeError("Response content longer than Content-Length")
        return not more and self._left > 0

    def _reset(self, why: Literal["refused", "failed"]) -> None:
        part = wire.Reset(why=why)
        self._sender.send(wire.encode_part(Kind.RESET, self._stream, part), now=True)
        self._over.set()
