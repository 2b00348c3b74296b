"""HTTP on its way to the tab that hosts, and what happens when that tab goes away meanwhile.

Every request that is for the app and for none of its page files comes through here. Rules:

1. Bounds are checked before a tab hears of a request: 413, 429, 503 (with ``Retry-After``).
2. Without a host a request waits for HTTP_HOST_SECONDS: a takeover is shorter. Then 503. One whose
   host is behind another bridge is sent there (307, which keeps method and body).
3. A request that the tab has not begun (it was refused there) goes to the next host, whatever
   it is.
4. A request whose host died before its response began goes to the next host if that is harmless: if
   its method is idempotent (RFC 9110, section 9.2.2) or it bears an ``Idempotency-Key``, and all of
   its body that was read is still here. If not, the client is told 503: it may have happened.
5. A download whose host died goes on from the next byte at the next host
   (:mod:`ftweb.bridge.resuming`), if the app made that possible; if not, the client's connection is
   closed before the end, so that nobody takes a part for the whole.
6. A request that was under way on HOST_DEATHS_PER_REQUEST hosts that died is not tried again: 502.
7. A tab has HTTP_HEAD_SECONDS to begin its response: 504. What breaks off without one is 502.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from ftweb.bridge.channels import LOST, Stream
from ftweb.bridge.opening import Hosts, opening
from ftweb.bridge.refusals import redirect, refuse
from ftweb.bridge.resuming import Progress
from ftweb.bridge.security import Receive, Scope, Send
from ftweb.bridge.tunnels import serve_websocket
from ftweb.bridge.upload import GONE, Upload, UploadError
from ftweb.bridge.wire import ABORT
from ftweb.flyweb import wire
from ftweb.flyweb.wire import Kind
from ftweb.limits import (
    HOST_DEATHS_PER_REQUEST,
    HTTP_BODY_BYTES,
    HTTP_BUFFER_BYTES,
    HTTP_HEAD_SECONDS,
    HTTP_HOST_SECONDS,
    HTTP_MOVED_SECONDS,
    HTTP_STREAMS,
    HTTP_STREAMS_PER_ADDRESS,
    HTTP_WINDOW_MAX,
    HTTP_WINDOW_MIN,
)

_log = logging.getLogger(__name__)

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that mean the same when they are carried out twice."""

REFUSED_SECONDS: Final = 0.05
"""Pause before a host that refused is asked again, unless there is another one by then."""


class Forwarder:
    """ASGI application that has the host's app answer.

    Args:
        channels: finds the host.
    """

    def __init__(self, channels: Hosts) -> None:
        self._channels = channels
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3: one request or one WebSocket."""
        address = str((scope["client"] or ("", 0))[0])
        with self._counted(address) as status:
            if status:
                await refuse(scope, receive, send, status)
            elif scope["type"] == "http":
                await _Request(self._channels, scope, receive, send, self.window).answer()
            else:
                await serve_websocket(self._channels, scope, receive, send, self.window)

    @property
    def window(self) -> int:
        """What a new response may be granted (see HTTP_BUFFER_BYTES)."""
        share = HTTP_BUFFER_BYTES // (self._open.total() or 1)
        return max(HTTP_WINDOW_MIN, min(HTTP_WINDOW_MAX, share))

    @contextlib.contextmanager
    def _counted(self, address: str) -> Iterator[int]:
        if self._open.total() >= HTTP_STREAMS:
            yield 503
            return
        if self._open[address] >= HTTP_STREAMS_PER_ADDRESS:
            yield 429
            return
        self._open[address] += 1
        try:
            yield 0
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


class _Request:
    """One request, over as many hosts as it takes."""

    def __init__(
        self, channels: Hosts, scope: Scope, receive: Receive, send: Send, window: int
    ) -> None:
        self._channels = channels
        self._scope = scope
        self._receive = receive
        self._send = send
        self._window = window
        self._upload = Upload(receive, limit=HTTP_BODY_BYTES)
        self._has_body = False
        self._safe_again = scope["method"] in IDEMPOTENT
        self._too_large = False
        self._deaths = 0
        self._give_up_at = float("inf")
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._has_body |= value != b"0"
                self._too_large |= int(value) > HTTP_BODY_BYTES
            elif name == b"transfer-encoding":
                self._has_body = True
            elif name == b"idempotency-key":
                self._safe_again |= bool(value)  # an empty one is none
        self._progress = Progress(scope)

    async def answer(self) -> None:
        """Answer it."""
        if self._too_large:
            await self._refuse(413)
            return
        while True:
            channel = await self._channels.host(HTTP_HOST_SECONDS)
            if channel is None:
                await self._no_channel()
                return
            opened = opening(
                self._scope,
                window=self._window,
                headers=self._progress.headers() if self._progress.begun else None,
            )
            stream = channel.open(opened, ended=not self._has_body)
            pump = asyncio.get_running_loop().create_task(self._pump(stream, asks=opened.asks))
            try:
                status = await self._relay(stream)
            finally:
                pump.cancel()
                stream.end()
            if status is None:
                return
            if not await self._may_go_on(status):
                return

    async def _may_go_on(self, status: str) -> bool:
        """After a host that refused or was lost: whether the next one is asked."""
        if status == "lost":
            self._deaths += 1
        if status == "refused":
            now = asyncio.get_running_loop().time()
            self._give_up_at = min(self._give_up_at, now + HTTP_HOST_SECONDS)
            if not self._upload.replayable or now > self._give_up_at:
                await self._refuse(503)
                return False
            self._upload.rewind()
            # It hosts no more, or not yet; here that is not known yet.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFUSED_SECONDS):
                    await self._channels.changes()
            return True
        if self._progress.begun:
            if self._progress.resumable:
                return True
            self._abort()
            return False
        if self._deaths >= HOST_DEATHS_PER_REQUEST:
            await self._refuse(502)
            return False
        if self._safe_again and self._upload.replayable:
            self._upload.rewind()
            return True
        await self._refuse(503)
        return False

    # --- towards the tab --------------------------------------------------------------------

    async def _pump(self, stream: Stream, *, asks: bool) -> None:
        """Pass on the body, then watch for the client's going."""
        try:
            if asks:
                await stream.credit.ready()
            while (piece := await self._upload.read()) is not None:
                await stream.send_data(piece)
            if self._has_body:
                await stream.send_data(b"", wire.END)
            await self._upload.gone()
            stream.inbox.put(wire.Frame(kind=-1, flags=GONE, stream=0, payload=b""))
        except UploadError as error:
            stream.inbox.put(wire.Frame(kind=-1, flags=error.status, stream=0, payload=b""))

    # --- from the tab -----------------------------------------------------------------------

    async def _relay(self, stream: Stream) -> str | None:
        """Pass the response on.

        Returns:
            None when the request is over, ``"refused"`` or ``"lost"`` if its host did not do it.
        """
        started = False
        while True:
            try:
                frame = await self._next(stream, started=started)
            except TimeoutError:
                stream.send_part(Kind.RESET, wire.Reset(why="gone"))
                await self._refuse(504)
                return None
            if frame is LOST:
                return "lost"
            match frame.kind:
                case Kind.HEAD if not started:
                    started = True
                    head = wire.decode_part(frame, wire.Head)
                    if not await self._start(head, stream):
                        return None
                case Kind.DATA if started:
                    body, end = stream.joined(frame)
                    if not await self._body(body, more=not end):
                        stream.send_part(Kind.RESET, wire.Reset(why="gone"))
                        return None
                    stream.took(len(body))
                    if end:
                        return None
                case Kind.RESET:
                    reset = wire.decode_part(frame, wire.Reset)
                    if reset.why == "refused" and not started:
                        return "refused"
                    await self._refuse(502)
                    return None
                case -1:  # the client's side
                    stream.send_part(Kind.RESET, wire.Reset(why="gone"))
                    if frame.flags != GONE:
                        await self._refuse(frame.flags)
                    return None

    async def _next(self, stream: Stream, *, started: bool) -> wire.Frame:
        """The tab's next frame.

        Raises:
            TimeoutError: it has not begun its response in time.
        """
        ready = stream.inbox.get_nowait()
        if ready is not None:
            return ready
        async with asyncio.timeout(None if started else HTTP_HEAD_SECONDS):
            while True:
                try:
                    async with asyncio.timeout(HTTP_MOVED_SECONDS):
                        return await stream.inbox.get()
                except TimeoutError:
                    if not self._channels.is_host(stream):
                        return LOST

    async def _start(self, head: wire.Head, stream: Stream) -> bool:
        """Pass on the head, or, of a response that goes on, check it."""
        progress = self._progress
        if progress.begun:
            if progress.fits(head):
                return True
            _log.info("A download of %s could not go on: it has changed.", self._scope["path"])
            stream.send_part(Kind.RESET, wire.Reset(why="gone"))
            self._abort()
            return False
        progress.began(head)
        message = {
            "type": "http.response.start",
            "status": head.status,
            "headers": head.headers,
        }
        return await self._guarded(message, stream)

    async def _body(self, body: bytes, *, more: bool) -> bool:
        self._progress.sent += len(body)
        return await self._guarded(
            {"type": "http.response.body", "body": body, "more_body": more}, None
        )

    async def _guarded(self, message: dict[str, Any], stream: Stream | None) -> bool:
        """Send a message; False, with the connection closed, if it is not HTTP."""
        try:
            await self._send(message)
        except Exception as error:  # h11's, of which there are several
            _log.warning("The app's response to %s is no HTTP: %s", self._scope["path"], error)
            if stream is not None:
                stream.send_part(Kind.RESET, wire.Reset(why="gone"))
            self._abort()
            return False
        return True

    async def _no_channel(self) -> None:
        origin = self._channels.elsewhere()
        if origin is None or self._progress.begun:
            await self._refuse(503)
            return
        query: bytes = self._scope["query_string"]
        target: bytes = self._scope["raw_path"] + (b"?" + query if query else b"")
        await redirect(self._send, origin.encode() + target)

    async def _refuse(self, status: int) -> None:
        if self._progress.begun:
            self._abort()
        else:
            await refuse(self._scope, self._receive, self._send, status)

    def _abort(self) -> None:
        """End the client's connection within the response."""
        self._scope["extensions"][ABORT]()
