"""A link over a WebSocket, for CPython: what Python clients and nodes outside browsers use."""

from __future__ import annotations

import asyncio
from types import TracebackType

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ftweb import codec
from ftweb.errors import ConnectError, FrameError
from ftweb.frames import Frame
from ftweb.limits import STREAM_BYTES
from ftweb.transports.base import LinkClosedError

OPEN_SECONDS = 5.0
"""How long to wait for a bridge to accept the socket."""


class WebSocketLink:
    """A link to a bridge.

    Use as ``async with WebSocketLink(url) as link``. Frames are sent in order by one task, so
    :meth:`send` never blocks.

    Args:
        url: ``ws://host:port/ftweb/socket``.

    Raises (on entering):
        ConnectError: ``connect_failed``: nobody answers there, or not with a WebSocket.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: ClientConnection | None = None
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WebSocketLink:
        try:
            self._socket = await connect(
                self._url,
                max_size=STREAM_BYTES,
                open_timeout=OPEN_SECONDS,
                close_timeout=1.0,
                compression=None,  # frames are small; deflate costs more than it saves on a LAN
                proxy=None,  # what an environment says of the internet does not hold for the LAN
                ping_interval=None,  # the protocol has its own, which a frozen peer cannot answer
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise ConnectError(
                f"No ftweb bridge answers at {self._url} ({error}). Is `ftweb run` still running,"
                " and is this device on the same network?"
            ) from error
        self._writer = asyncio.create_task(self._write(self._socket))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                await socket.send(await self._outgoing.get())
        except ConnectionClosed:
            pass  # the reader reports it

    def send(self, frame: Frame) -> None:
        """See :class:`~ftweb.transports.base.Link`."""
        self._outgoing.put_nowait(codec.encode(frame))

    async def receive(self) -> Frame:
        """See :class:`~ftweb.transports.base.Link`."""
        if self._socket is None:
            raise LinkClosedError("The link was not opened.")
        try:
            data = await self._socket.recv()
        except ConnectionClosed as error:
            close = error.rcvd
            raise LinkClosedError(
                f"The bridge closed the connection: {close.reason or close.code}."
                if close
                else "The connection broke.",
                close_code=close.code if close else 1006,
            ) from None
        if isinstance(data, bytes):
            raise FrameError("The bridge sent a binary frame; the protocol has only text.")
        return codec.decode(data, limit=STREAM_BYTES)

    async def close(self, *, close_code: int = 1000, reason: str = "") -> None:
        """See :class:`~ftweb.transports.base.Link`."""
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None
        if self._socket is not None:
            await self._socket.close(close_code, reason)
