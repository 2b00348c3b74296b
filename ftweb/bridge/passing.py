"""A WebSocket whose host is behind another bridge: passed on there, message by message.

Requests are sent to the other bridge with 307; browsers do not follow that on a WebSocket. Rules:

1. The other bridge is an ordinary WebSocket server to this one: it does the checks, waits for the
   host, and asks the tab. What it answers to the handshake is what the client gets.
2. Once only: ``Via`` (RFC 9110, section 7.6.3) says that a bridge has passed the handshake on, and
   no bridge does so again. Two that each take the other for the host's would never end.
3. Each side waits for the other: one message is under way in each direction, besides what the
   sockets hold.
4. A bridge that goes away is a tab that went away: 1012 (service restart), and the client connects
   anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ftweb.bridge.security import Receive, Scope, Send
from ftweb.limits import CLOSE_SECONDS, HTTP_HEAD_SECONDS, HTTP_HOST_SECONDS, HTTP_MESSAGE_BYTES

SERVICE_RESTART: Final = 1012

_VIA: Final = "1.1 ftweb"

_HANDSHAKE: Final = frozenset({"host", "origin", "connection", "upgrade", "via"})
"""Headers that belong to one connection, or are said anew for the next; with sec-websocket-*."""

_NO_CLOSE_FRAME: Final = (1005, 1006)


def passed_on(scope: Scope) -> bool:
    """Whether another bridge has passed this handshake on (rule 2)."""
    return any(name == b"via" and b"ftweb" in value for name, value in scope["headers"])


async def pass_on(origin: str, scope: Scope, receive: Receive, send: Send) -> bool:
    """Serve a WebSocket that waits to be accepted by way of another bridge.

    Args:
        origin: of that bridge.
        scope: the handshake.
        receive: ASGI's.
        send: ASGI's.

    Returns:
        False if that bridge cannot be reached, and the client was told nothing.
    """
    query = scope["query_string"].decode("latin-1")
    url = "ws" + origin.removeprefix("http") + scope["raw_path"].decode("latin-1")
    try:
        socket = await connect(
            f"{url}?{query}" if query else url,
            additional_headers=_headers(scope, origin),
            subprotocols=[Subprotocol(name) for name in scope.get("subprotocols", ())] or None,
            user_agent_header=None,
            max_size=HTTP_MESSAGE_BYTES,
            max_queue=1,
            open_timeout=HTTP_HEAD_SECONDS + 2 * HTTP_HOST_SECONDS,
            close_timeout=CLOSE_SECONDS,
            compression=None,
            proxy=None,
            ping_interval=None,
        )
    except InvalidStatus as refused:
        await _deny(refused.response, send)
        return True
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI):
        return False
    assert socket.response is not None
    await send(
        {
            "type": "websocket.accept",
            "subprotocol": socket.subprotocol,
            "headers": _kept(socket.response),
        }
    )
    try:
        await _talk(socket, receive, send)
    finally:
        socket.transport.abort()
    return True


def _headers(scope: Scope, origin: str) -> list[tuple[str, str]]:
    """The client's headers, as the other bridge is to see them."""
    headers = [("Via", _VIA)]
    for name, value in scope["headers"]:
        text = name.decode("latin-1")
        if text == "origin":  # a page of ours, which Guard has seen to; there it is one of theirs
            headers.append(("Origin", origin))
        elif text not in _HANDSHAKE and not text.startswith("sec-websocket-"):
            headers.append((text, value.decode("latin-1")))
    return headers


def _kept(response: Response) -> list[tuple[bytes, bytes]]:
    """The headers of an answer to a handshake that are the app's."""
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers.raw_items()
        if name.lower() not in (*_HANDSHAKE, "date")
        and not name.lower().startswith("sec-websocket-")
    ]


async def _deny(response: Response, send: Send) -> None:
    """Pass on a no."""
    await send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": _kept(response),
        }
    )
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})


async def _talk(socket: ClientConnection, receive: Receive, send: Send) -> None:
    """Pass on messages both ways until one side ends."""

    async def up() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            with contextlib.suppress(ConnectionClosed):  # the other direction tells of it
                await socket.send(message.get("bytes") or b"" if text is None else text)
        code = int(message.get("code") or 1005)
        if code in _NO_CLOSE_FRAME:
            socket.transport.abort()
        else:
            await socket.close(code, str(message.get("reason") or ""))

    async def down() -> None:
        try:
            while True:
                data = await socket.recv()
                kind = "text" if isinstance(data, str) else "bytes"
                await send({"type": "websocket.send", kind: data})
        except ConnectionClosed as closed:
            got = closed.rcvd
        code, reason = (got.code, got.reason) if got is not None else (SERVICE_RESTART, "")
        with contextlib.suppress(RuntimeError):  # the client was first
            await send({"type": "websocket.close", "code": code, "reason": reason})

    reading = asyncio.get_running_loop().create_task(up())
    try:
        # It is gone, broke a rule of ours, or the other bridge sent what is no WebSocket.
        with contextlib.suppress(OSError, RuntimeError, ValueError, WebSocketException):
            await down()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
