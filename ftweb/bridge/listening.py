"""HTTP servers of a bridge: the socket that they listen on, and uvicorn as it is set up for all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import uvicorn

from ftweb.bridge.wire import BoundedHttp, BoundedWebSocket
from ftweb.errors import FtwebError
from ftweb.limits import FRAME_BYTES, HTTP_CONCURRENCY, HTTP_HEADER_BYTES, UNSENT_BYTES

STOP_SECONDS: Final = 5
"""How long downloads that are still under way may take once the bridge stops."""


class Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again, and the exit status would be wrong."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def uvicorn_config(app: Any) -> uvicorn.Config:
    """How every HTTP server of a bridge is set up."""
    return uvicorn.Config(
        app,
        http=BoundedHttp,
        ws=BoundedWebSocket,
        ws_max_size=FRAME_BYTES,
        ws_ping_interval=None,  # a frozen tab answers these; the protocol has pings of its own
        ws_per_message_deflate=False,  # see ftweb.bridge.wire
        lifespan="off",
        log_config=None,
        log_level="error",  # it warns of every malformed request, and anybody may send those
        access_log=False,
        proxy_headers=False,  # nobody may say where a connection comes from but the connection
        server_header=False,
        limit_concurrency=HTTP_CONCURRENCY,
        h11_max_incomplete_event_size=HTTP_HEADER_BYTES,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port, so that its being in use is known before anything starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio switches Nagle's algorithm off only on sockets that say TCP,
    # and accepted ones say what their listener says. With it on, small frames wait for the other
    # side's delayed acknowledgement, 40 ms a hop.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # accepted sockets inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise FtwebError(
                    f"Another program listens on port {port}. Stop it, or choose another port"
                    " (--port).",
                    code="port_in_use",
                ) from error
            raise FtwebError(
                f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose another"
                " address or port (--host, --port).",
                code="cannot_listen",
            ) from error
        listener.setblocking(False)
        yield listener
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an application on a listening socket while the context lasts; then cut it off."""
    server = Server(uvicorn_config(app))
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await task
