"""A WebSocket on its way to the tab that hosts.

1. It waits for a host as a request does, and goes on to the next one only if the tab never saw it.
2. When the tab dies its client is told 1012 (service restart): it connects anew, to the next host.
3. Messages are bounded by FRAME_BYTES like every other frame to a bridge, in both directions by the
   receiver's credit.
4. If the host is behind another bridge it is passed on there (:mod:`ftweb.bridge.passing`).
5. A client that goes before it was answered is told to the tab too, or an app that waits for
   something else would never know.
6. What a tab sends that is no WebSocket (a close code, a header) ends this one, as under uvicorn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import MutableMapping
from typing import Any, Final

from websockets.exceptions import WebSocketException

from ftweb.bridge.channels import LOST, Stream
from ftweb.bridge.opening import Hosts, opening
from ftweb.bridge.passing import pass_on, passed_on
from ftweb.bridge.refusals import refuse
from ftweb.bridge.security import Receive, Scope, Send
from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.wire import Kind
from ftweb.limits import HTTP_HEAD_SECONDS, HTTP_HOST_SECONDS, HTTP_MESSAGE_BYTES

_log = logging.getLogger(__name__)

SERVICE_RESTART: Final = 1012
TOO_BIG: Final = 1009
ANOTHER_SECONDS: Final = 0.05
"""Pause before the next attempt, unless there is another host by then."""
_CLIENT: Final = -1
"""Kind of what the reading side puts into the inbox when the client has gone."""
_SILENT: Final = -2
"""Kind of what stands for an answer that has not come in time."""


async def serve_websocket(
    channels: Hosts, scope: Scope, receive: Receive, send: Send, window: int
) -> None:
    """Serve one WebSocket of a client.

    Args:
        channels: finds the host.
        scope: the handshake.
        receive: ASGI's.
        send: ASGI's.
        window: granted for what the tab sends.
    """
    if (await receive())["type"] != "websocket.connect":
        return
    client = _Client(receive)
    give_up_at = asyncio.get_running_loop().time() + 2 * HTTP_HOST_SECONDS
    while True:
        channel = await channels.host(HTTP_HOST_SECONDS)
        late = asyncio.get_running_loop().time() > give_up_at
        origin = None if channel is not None or passed_on(scope) else channels.elsewhere()
        if origin is not None and not late:
            if await pass_on(origin, scope, receive, send):
                return
            await _another(channels)  # that bridge is gone, and here it is not known yet
            continue
        if channel is None or late:
            await refuse(scope, receive, send, 503)
            return
        stream = channel.open(opening(scope, window=window), ended=True)
        reading = asyncio.get_running_loop().create_task(client.read(stream))
        try:
            answer = await _answer(stream, channels)
            if answer is None:
                continue  # it was not begun there
            if await _accepted(answer, stream, scope, receive, send):
                client.accepted.set()
                await _write(stream, send)
            return
        except OSError:  # the client has gone, which the reading side may not have come to
            await _stopped(reading)
            await client.leave(stream)
            return
        except (WebSocketException, RuntimeError, ValueError, FrameError) as error:
            # Also when the bridge itself has closed it meanwhile, since the client broke a rule.
            _log.info("The app's end of the WebSocket %s is over: %s", scope["path"], error)
            stream.send_part(Kind.RESET, wire.Reset(why="gone"))
            return
        finally:
            await _stopped(reading)
            stream.end()


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Client:
    """What the client says, over as many hosts as it takes."""

    def __init__(self, receive: Receive) -> None:
        self.accepted = asyncio.Event()
        self._receive = receive
        self._held: MutableMapping[str, Any] | None = None
        """Read, but told to no host that has accepted."""
        self._told: Stream | None = None
        """The host that knows that it has gone."""

    async def read(self, stream: Stream) -> None:
        """Pass on to a host what the client says once it is accepted, and its end at any time."""
        while True:
            if self._held is None:
                self._held = await self._receive()
            message = self._held
            if message["type"] != "websocket.receive":
                break
            await self.accepted.wait()
            await _forward(message, stream)
            self._held = None
        stream.inbox.put(wire.Frame(kind=_CLIENT, flags=0, stream=0, payload=b""))
        self._tell(message, stream)

    async def leave(self, stream: Stream) -> None:
        """Tell a host at once that the client has gone, though it has not taken what came before.

        Nothing else would tell it: an app that talks and does not listen would wait for credit.
        """
        while (message := self._held or await self._receive())["type"] == "websocket.receive":
            self._held = None
        self._tell(message, stream)

    def _tell(self, message: MutableMapping[str, Any], stream: Stream) -> None:
        if self._told is not stream:
            self._told = stream
            code, reason = int(message.get("code") or 1005), str(message.get("reason") or "")
            stream.send_part(Kind.CLOSE, wire.Close(code=code, reason=reason))


async def _answer(stream: Stream, channels: Hosts) -> wire.Frame | None:
    """The tab's yes or no; None if it should be asked elsewhere."""
    try:
        async with asyncio.timeout(HTTP_HEAD_SECONDS):
            frame = await stream.inbox.get()
    except TimeoutError:
        return wire.Frame(kind=_SILENT, flags=0, stream=0, payload=b"")
    if frame.kind == Kind.RESET and wire.decode_part(frame, wire.Reset).why == "refused":
        await _another(channels)
        return None
    return frame


async def _another(channels: Hosts) -> None:
    """Give another host a moment to be known."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANOTHER_SECONDS):
            await channels.changes()


async def _accepted(
    answer: wire.Frame, stream: Stream, scope: Scope, receive: Receive, send: Send
) -> bool:
    """Pass on what the tab said to the handshake."""
    match answer.kind:
        case Kind.ACCEPT:
            accept = wire.decode_part(answer, wire.Accept)
            await send(
                {
                    "type": "websocket.accept",
                    "subprotocol": accept.subprotocol,
                    "headers": accept.headers,
                }
            )
            return True
        case Kind.CLOSE:
            await send({"type": "websocket.close"})
        case Kind.HEAD:
            await _deny(wire.decode_part(answer, wire.Head), stream, send)
        case -1:  # see _CLIENT
            pass
        case -2:  # see _SILENT
            stream.send_part(Kind.RESET, wire.Reset(why="gone"))
            await refuse(scope, receive, send, 504)
        case _ if answer is LOST:
            await refuse(scope, receive, send, 503)
        case _:
            await refuse(scope, receive, send, 502)
    return False


async def _deny(head: wire.Head, stream: Stream, send: Send) -> None:
    """The app refuses with a response of its own; with one that breaks off there is none, since
    nobody should take a part for the whole."""
    await send(
        {
            "type": "websocket.http.response.start",
            "status": head.status,
            "headers": head.headers,
        }
    )
    more = True
    while more:
        frame = await stream.inbox.get()
        if frame.kind != Kind.DATA:
            return
        more = not frame.flags & wire.END
        stream.took(len(frame.payload))
        body = frame.payload
        await send({"type": "websocket.http.response.body", "body": body, "more_body": more})


async def _forward(message: MutableMapping[str, Any], stream: Stream) -> None:
    text = message.get("text")
    if text is None:
        await stream.send_data(message.get("bytes") or b"", wire.END)
    else:
        await stream.send_data(text.encode(), wire.END | wire.TEXT)


async def _write(stream: Stream, send: Send) -> None:
    """Pass on what the tab says until one side ends."""
    pieces = bytearray()
    while True:
        frame = await stream.inbox.get()
        match frame.kind:
            case Kind.DATA:
                pieces += frame.payload
                if len(pieces) > HTTP_MESSAGE_BYTES:
                    stream.send_part(Kind.RESET, wire.Reset(why="gone"))
                    await send({"type": "websocket.close", "code": TOO_BIG})
                    return
                if not frame.flags & wire.END:
                    stream.took(len(frame.payload))  # or one that exceeds the window would hang
                    continue
                data = bytes(pieces)
                pieces.clear()
                if frame.flags & wire.TEXT:
                    await send({"type": "websocket.send", "text": data.decode()})
                else:
                    await send({"type": "websocket.send", "bytes": data})
                stream.took(len(frame.payload))
            case Kind.CLOSE:
                close = wire.decode_part(frame, wire.Close)
                await send({"type": "websocket.close", "code": close.code, "reason": close.reason})
                return
            case Kind.RESET:  # the app failed: an end without a close frame, as under uvicorn
                return
            case _ if frame is LOST:
                await send({"type": "websocket.close", "code": SERVICE_RESTART})
                return
            case _:  # the client has gone
                return
