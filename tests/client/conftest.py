"""A bridge to order: a real WebSocket server that plays the protocol and can be told to fail.

The real bridge is tested with the client elsewhere; this one does on command what a real one
does once in a blue moon.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ftweb import codec, frames

SECONDS = 60.0
"""A test that takes longer waits in vain."""

TOKEN = "join-token"
PRESENTER = "presenter-token"


def derive(kind: str, key: str) -> str:
    """An id from a key, as docs/protocol.md has it."""
    return hashlib.sha256(f"ftweb {kind}\0{key}".encode()).hexdigest()[:32]


class ScriptedBridge:
    """One server with one host; replies are cached by (client, session, serial)."""

    def __init__(self) -> None:
        self.handler: Callable[[str, Any], Any] = lambda client, payload: payload
        """(client id, payload) → reply. May raise ``KeyError(code)``."""
        self.hold_replies = False
        """Run requests, but keep the replies until the client asks again."""
        self.silent = False
        """Read and say nothing."""
        self.refuse: frames.Error | None = None
        """Answer every hello with this error."""
        self.http_status: int | None = None
        """Answer the handshake with this instead."""
        self.guid = "g" * 32
        self.host: str | None = "host"
        self.term = 1
        self.index = 5
        self.state: Any = {"count": 0}
        self.sockets: dict[ServerConnection, frames.Hello] = {}
        self.heard: list[frames.Frame] = []
        self.handled: list[Any] = []
        self.connections = 0
        self.port = 0
        self._cache: dict[tuple[str, int, int], frames.Reply] = {}
        self._sessions: dict[str, int] = {}
        self._last_session = 0
        self._server: Server | None = None
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/#join={TOKEN}"

    async def start(self) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            process_request=self._process,
            ping_interval=None,
            compression=None,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def drop_all(self) -> None:
        """Break every socket, without a closing handshake."""
        for one in tuple(self.sockets):
            one.transport.abort()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something this bridge did makes a condition true."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def say(self, frame: frames.Frame) -> None:
        """Send a frame to everybody."""
        for one in tuple(self.sockets):
            await one.send(codec.encode(frame))

    async def set_host(self, host: str | None) -> None:
        self.host = host
        self.term += 1
        await self.say(self._status())

    async def set_state(self, patch: list[dict[str, Any]], value: Any) -> None:
        self.state = value
        self.index += 1
        await self.say(frames.Change(epoch=1, after=self.index - 1, index=self.index, patch=patch))

    def expire_sessions(self) -> None:
        self._sessions.clear()

    def _status(self) -> frames.Status:
        return frames.Status(
            epoch=1,
            term=self.term,
            host=self.host,
            successors=[],
            quorum=True,
            participants=len(self.sockets),
        )

    def _process(self, socket: ServerConnection, request: Request) -> Response | None:
        if self.http_status is not None:
            return socket.respond(HTTPStatus(self.http_status), "no\n")
        assert request.path == "/ftweb/socket"
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        try:
            async for text in socket:
                frame = codec.decode(text)
                self.heard.append(frame)
                if not self.silent:
                    await self._answer(socket, frame)
                self._changed.set()
        except ConnectionClosed:
            pass
        finally:
            self.sockets.pop(socket, None)
            self._changed.set()

    async def _answer(self, socket: ServerConnection, frame: frames.Frame) -> None:
        match frame:
            case frames.Hello():
                await self._join(socket, frame)
            case frames.Ping(n=n):
                await socket.send(codec.encode(frames.Pong(n=n)))
            case frames.Resync():
                await socket.send(codec.encode(self._state_frame()))
            case frames.OpenSession() if self.host is not None:
                self._last_session += 1
                session = self._sessions.setdefault(self._client(socket), self._last_session)
                await socket.send(codec.encode(frames.Session(session=session)))
            case frames.Request() if self.host is not None:
                reply = self._handle(self._client(socket), frame)
                if not self.hold_replies:
                    await socket.send(codec.encode(reply))
            case _:
                pass

    async def _join(self, socket: ServerConnection, hello: frames.Hello) -> None:
        error = self.refuse
        if hello.token not in (TOKEN, PRESENTER):
            error = frames.Error(code="bad_token", message="The join token is wrong.")
        if error is not None:
            await socket.send(codec.encode(error))
            await socket.close(4401 if error.code == "bad_token" else 4503)
            return
        self.sockets[socket] = hello
        welcome = frames.Welcome(
            version=1,
            client_id=derive("client", hello.client_key),
            device_id=derive("device", hello.device_key),
            presenter=hello.token == PRESENTER,
            bridge="b" * 32,
            name="vote",
            guid=self.guid,
            bundle="0" * 64,
            runtime="/ftweb/runtime/0/",
            join_url=self.url if hello.token == PRESENTER else "",
            local=True,
            limits=frames.Limits(
                frame_bytes=2**18,
                payload_bytes=2**16,
                json_depth=32,
                json_key_chars=256,
                pending_requests=64,
                ping_seconds=0.2,
                handler_seconds=1.0,
            ),
        )
        await socket.send(codec.encode(welcome))
        await socket.send(codec.encode(self._state_frame()))
        await socket.send(codec.encode(self._status()))

    def _state_frame(self) -> frames.State:
        return frames.State(epoch=1, index=self.index, value=self.state)

    def _client(self, socket: ServerConnection) -> str:
        return derive("client", self.sockets[socket].client_key)

    def _handle(self, client: str, request: frames.Request) -> frames.Reply:
        key = (client, request.session, request.serial)
        if key not in self._cache:
            payload, error = None, None
            if self._sessions.get(client) != request.session:
                error = frames.Failure(code="session_expired", message="The session is gone.")
            else:
                self.handled.append(request.payload)
                try:
                    payload = self.handler(client, request.payload)
                except KeyError as refusal:
                    error = frames.Failure(code=refusal.args[0], message="Refused.")
            self._cache[key] = frames.Reply(serial=request.serial, payload=payload, error=error)
        return self._cache[key]


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives ports on which nobody listens."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture
async def bridge() -> AsyncIterator[ScriptedBridge]:
    """A scripted bridge, listening."""
    bridge = ScriptedBridge()
    await bridge.start()
    yield bridge
    bridge.drop_all()
    await bridge.stop()


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Whatever a test did, its connections have ended their tasks; and one that waits for what
    does not come fails instead of waiting for ever."""
    loop = asyncio.get_running_loop()
    limit = loop.call_later(SECONDS, lambda: [task.cancel() for task in asyncio.all_tasks()])
    yield
    limit.cancel()
    left = [task for task in asyncio.all_tasks() if "ftweb" in task.get_name()]
    assert not left
