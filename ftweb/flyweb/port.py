"""Keeps a tab's socket for HTTP open, while this node may have to serve.

1. It is open while the node is a member of the cluster, not only while it hosts: whoever takes over
   can answer at once. Observers have none, so a class of 500 costs five.
2. A socket that closes is opened again, after a pause that grows to RETRY_CAP_SECONDS: the bridge
   may be restarting, or not yet know this node.
3. Another bridge's address replaces the socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.service import Service

_log = logging.getLogger(__name__)

RETRY_BASE_SECONDS: Final = 0.1
RETRY_CAP_SECONDS: Final = 3.0


class Socket(Protocol):
    """An open WebSocket."""

    def send(self, data: bytes | str) -> None:
        """Send a message; never blocks; dropped when the socket is closed."""

    async def receive(self) -> bytes | None:
        """The next message; None when it has closed."""

    def close(self) -> None:
        """Close it."""


type OpenSocket = Callable[[str], Awaitable[Socket]]
"""Opens a WebSocket at an address.

Raises:
    OSError: it cannot be opened.
"""


class HttpPort:
    """One node's port. :meth:`run` does the work.

    Args:
        service: what serves.
        hello: says who this is.
        open_socket: see :data:`OpenSocket`.
    """

    def __init__(self, *, service: Service, hello: wire.Hello, open_socket: OpenSocket) -> None:
        self._service = service
        self._hello = wire.encode_hello(hello)
        self._open_socket = open_socket
        self._url: str | None = None
        self._wanted = False
        self._changed = asyncio.Event()
        self._socket: Socket | None = None

    def at(self, url: str) -> None:
        """The bridge is at this address."""
        if url != self._url:
            self._url = url
            self._look_again()

    def want(self, wanted: bool) -> None:
        """Whether a socket is needed (rule 1)."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._look_again()

    def _look_again(self) -> None:
        self._changed.set()
        if self._socket is not None:
            self._socket.close()

    async def run(self) -> None:
        """Keep the socket, until cancelled."""
        delay = RETRY_BASE_SECONDS
        try:
            while True:
                self._changed.clear()
                if self._url is None or not self._wanted:
                    await self._changed.wait()
                    delay = RETRY_BASE_SECONDS
                    continue
                if await self._serve(self._url):
                    delay = RETRY_BASE_SECONDS
                try:
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
                except TimeoutError:
                    delay = min(RETRY_CAP_SECONDS, 2 * delay)
        finally:
            await self._service.stop()

    async def _serve(self, url: str) -> bool:
        """One socket's life; True if the bridge has used it."""
        try:
            socket = await self._open_socket(url)
        except OSError as error:
            _log.debug("No socket for HTTP: %s", error)
            return False
        self._socket = socket
        used = False
        streams = self._service.attach(socket.send)
        try:
            socket.send(self._hello)
            while (message := await socket.receive()) is not None:
                used = True
                streams.received(message)
        except FrameError as error:
            _log.warning("The bridge broke the protocol of HTTP: %s", error)
        finally:
            self._socket = None
            streams.closed()
            socket.close()
        return used
