"""A WebSocket for binary messages, for CPython: what a node outside browsers serves HTTP over.

It is a :class:`ftweb.flyweb.port.Socket`. ``send`` never blocks: credit bounds what may wait.
"""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ftweb.limits import STREAM_BYTES
from ftweb.transports.websocket import OPEN_SECONDS


class BinarySocket:
    """An open WebSocket; made by :func:`open_binary`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._outgoing: asyncio.Queue[bytes | str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._writer = loop.create_task(self._write())
        self._closing: asyncio.Task[None] | None = None

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send(await self._outgoing.get())
        except ConnectionClosed:
            pass  # the reader reports it

    def send(self, data: bytes | str) -> None:
        """See :class:`ftweb.flyweb.port.Socket`."""
        self._outgoing.put_nowait(data)

    async def receive(self) -> bytes | None:
        """See :class:`ftweb.flyweb.port.Socket`."""
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed:
            return None

    def close(self) -> None:
        """See :class:`ftweb.flyweb.port.Socket`."""
        self._writer.cancel()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._socket.close())


async def open_binary(url: str) -> BinarySocket:
    """Open a WebSocket.

    Raises:
        OSError: nobody answers there, or not with a WebSocket.
    """
    try:
        socket = await connect(
            url,
            max_size=STREAM_BYTES,
            open_timeout=OPEN_SECONDS,
            close_timeout=1.0,
            compression=None,
            proxy=None,
            ping_interval=None,
        )
    except (TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise OSError(f"No WebSocket at {url}: {error}") from error
    return BinarySocket(socket)
