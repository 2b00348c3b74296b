"""The browser's WebSocket as a :class:`ftweb.flyweb.port.Socket`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import js
from pyodide.ffi import create_proxy, to_js

from ftweb.flyweb.streams import Inbox

type SendBytes = Callable[[Any, bytes], None]
"""The worker's: sends bytes on a WebSocket from where they lie."""

SMALL_BYTES: Final = 8192
"""Up to this size a copy is cheaper than a view of Python's memory (measured: 5 and 12 µs)."""


class BrowserSocket:
    """An open WebSocket; made by :func:`open_socket`."""

    def __init__(self, socket: Any, send_bytes: SendBytes) -> None:
        self._socket = socket
        self._send_bytes = send_bytes
        self._came: Inbox[bytes | None] = Inbox()
        self._proxies = [create_proxy(self._message), create_proxy(self._closed)]
        socket.onmessage, socket.onclose = self._proxies

    def _message(self, event: Any) -> None:
        data = event.data
        self._came.put(data.encode() if isinstance(data, str) else data.to_bytes())

    def _closed(self, _event: Any) -> None:
        self._came.put(None)

    def send(self, data: bytes | str) -> None:
        """See :class:`ftweb.flyweb.port.Socket`."""
        if self._socket.readyState != 1:
            return
        if isinstance(data, str):
            self._socket.send(data)
        elif len(data) <= SMALL_BYTES:
            self._socket.send(to_js(data))
        else:
            self._send_bytes(self._socket, data)

    async def receive(self) -> bytes | None:
        """See :class:`ftweb.flyweb.port.Socket`."""
        return await self._came.get()

    def close(self) -> None:
        """See :class:`ftweb.flyweb.port.Socket`."""
        if self._proxies:
            self._socket.onmessage = self._socket.onclose = None
            for proxy in self._proxies:
                proxy.destroy()
            self._proxies.clear()
            self._came.put(None)
        self._socket.close()


async def open_socket(send_bytes: SendBytes, url: str) -> BrowserSocket:
    """Open a WebSocket.

    Args:
        send_bytes: see :data:`SendBytes`.
        url: its address.

    Raises:
        OSError: it cannot be opened; browsers do not say why.
    """
    socket = js.WebSocket.new(url)
    socket.binaryType = "arraybuffer"
    opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(value: bool) -> None:
        if not opened.done():
            opened.set_result(value)

    proxies = [
        create_proxy(lambda _event: settle(True)),
        create_proxy(lambda _event: settle(False)),
    ]
    socket.onopen, socket.onclose = proxies
    try:
        if not await opened:
            raise OSError(f"No WebSocket at {url}.")
        return BrowserSocket(socket, send_bytes)
    finally:
        socket.onopen = None
        for proxy in proxies:
            proxy.destroy()
