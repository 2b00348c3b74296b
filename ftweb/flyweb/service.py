"""The tab's side of one socket: opens exchanges, runs the app once, keeps the bounds.

1. The app's lifespan runs once per service, before the first request, not per socket: a service
   outlives its sockets.
2. A request that comes while this node does not host is refused, untouched: its bridge finds out
   who does.
3. The number of streams is bounded by the bridge, which sees the clients; a bridge that opens more
   than it may is refused too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.exchange import App, HttpExchange, Message
from ftweb.flyweb.socket import WebSocketExchange
from ftweb.flyweb.streams import Inbox, Sender
from ftweb.flyweb.wire import Kind
from ftweb.limits import HTTP_STREAMS

_log = logging.getLogger(__name__)


class Lifespan:
    """The app's start and stop, told by ASGI's lifespan protocol.

    An app that does not know the protocol is served all the same.
    """

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        self.failed = False
        self._app = app
        self._events: Inbox[Message] = Inbox()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the app, the first time; wait until it has started, every time."""
        if self._task is None:
            self._events.put({"type": "lifespan.startup"})
            self._task = asyncio.get_running_loop().create_task(self._run())
        await self._started.wait()

    async def stop(self) -> None:
        """Stop it, if it was started."""
        if self._task is None:
            return
        self._events.put({"type": "lifespan.shutdown"})
        await self._stopped.wait()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._events.get, self._send)
        except Exception as error:
            if self._started.is_set():
                _log.exception("The app's lifespan failed.")
            else:  # the protocol asks for an exception from apps that do not know it
                _log.debug("The app has no lifespan: %r", error)
        finally:
            self._started.set()
            self._stopped.set()

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.startup.failed":
                self.failed = True
                _log.error("The app could not start: %s", message.get("message", ""))
                self._started.set()
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._stopped.set()


class Service:
    """Serves an ASGI app to bridges.

    Args:
        app: what answers.
        hosting: whether this node hosts now.
    """

    def __init__(self, app: App, *, hosting: Callable[[], bool]) -> None:
        self._app = app
        self._hosting = hosting
        self._lifespan = Lifespan(app)
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, post: Callable[[bytes], None]) -> Streams:
        """Serve one socket.

        Args:
            post: sends one message on it; must not block.
        """
        return Streams(self, Sender(post))

    async def stop(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._lifespan.stop()

    # --- for the streams --------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests may be begun."""
        return self._hosting() and not self._lifespan.failed

    def spawn(self, exchange: HttpExchange | WebSocketExchange, done: Callable[[], None]) -> None:
        """Run an exchange to its end."""

        async def run() -> None:
            try:
                await self._lifespan.start()
                await exchange.run(self._app, self._lifespan.state)
            finally:
                done()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Streams:
    """The streams of one socket."""

    def __init__(self, service: Service, sender: Sender) -> None:
        self._service = service
        self._sender = sender
        self._open: dict[int, HttpExchange | WebSocketExchange] = {}

    def received(self, message: bytes) -> None:
        """Take one message of the bridge.

        Raises:
            FrameError: it breaks the protocol; the socket should be closed.
        """
        for frame in wire.split(message):
            if frame.kind == Kind.OPEN:
                self._begin(frame)
                continue
            exchange = self._open.get(frame.stream)
            if exchange is not None:
                exchange.take(frame)

    def closed(self) -> None:
        """The socket is gone, and with it every client behind it."""
        for exchange in list(self._open.values()):
            exchange.cancel()
        self._open.clear()

    def _begin(self, frame: wire.Frame) -> None:
        stream = frame.stream
        if stream in self._open:
            raise FrameError(f"The HTTP stream {stream} is open already.")
        opened = wire.decode_part(frame, wire.Open)
        if not self._service.ready or len(self._open) >= HTTP_STREAMS:
            refused = wire.Reset(why="refused")
            self._sender.send(wire.encode_part(Kind.RESET, stream, refused), now=True)
            return
        exchange: HttpExchange | WebSocketExchange
        if opened.kind == "http":
            exchange = HttpExchange(
                stream=stream,
                opened=opened,
                ended=bool(frame.flags & wire.END),
                sender=self._sender,
            )
        else:
            exchange = WebSocketExchange(stream=stream, opened=opened, sender=self._sender)
        self._open[stream] = exchange
        self._service.spawn(exchange, lambda: self._forget(stream))

    def _forget(self, stream: int) -> None:
        self._open.pop(stream, None)
