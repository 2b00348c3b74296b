"""WebSockets at a bridge whose host is behind another one: passed on, both ways, to the close."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import websockets
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

import ftweb.flyweb

from .conftest import Bridge, Tab, eventually


class Talks:
    """An app that says what it sees, and notes how its clients went."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, str]] = []
        self.app = Starlette(
            routes=[
                WebSocketRoute("/echo", self.echo),
                WebSocketRoute("/no", self.no),
            ]
        )

    async def echo(self, socket: WebSocket) -> None:
        chosen = "chat" if "chat" in socket.scope["subprotocols"] else None
        await socket.accept(subprotocol=chosen, headers=[(b"x-room", b"4")])
        seen = {name: socket.headers.get(name) for name in ("origin", "cookie", "via", "host")}
        await socket.send_json({"query": socket.url.query, **seen})
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                self.ended.append((message["code"], message.get("reason") or ""))
                return
            if message.get("text") == "bye":
                await socket.close(4001, "as you wish")
                return
            if message.get("text") == "much":
                await socket.send_bytes(b"m" * 3_000_000)
                continue
            if message.get("text") == "on and on":
                try:
                    while True:
                        await socket.send_text("and on" * 1000)
                except WebSocketDisconnect as gone:
                    self.ended.append((gone.code, "was talking"))
                    return
            await socket.send({**message, "type": "websocket.send"})

    async def no(self, socket: WebSocket) -> None:
        await socket.send_denial_response(JSONResponse({"why": "full"}, status_code=429))


@pytest.fixture
def talks() -> Talks:
    return Talks()


@pytest.fixture
async def host(hosted: tuple[Bridge, Tab], pair: tuple[Bridge, Bridge], talks: Talks) -> Tab:
    """The tab that serves, behind the first bridge."""
    tab = await pair[0].tab(ftweb.flyweb.publish("web", talks.app))
    await hosted[1].kill()
    await tab.hosts()
    return tab


def opened(bridge: Bridge, path: str = "/echo?x=%C3%A9", **options: Any) -> Any:
    url = f"ws://127.0.0.1:{bridge.port}{path}"
    return connect(url, proxy=None, compression=None, max_size=None, **options)


async def test_messages_subprotocol_and_headers(
    host: Tab, pair: tuple[Bridge, Bridge], talks: Talks
) -> None:
    first, second = pair
    options: dict[str, Any] = {
        "subprotocols": [Subprotocol("other"), Subprotocol("chat")],
        "origin": second.origin,
        "additional_headers": {"Cookie": "a=1"},
    }
    async with opened(second, **options) as socket:
        assert socket.subprotocol == "chat"
        assert socket.response.headers["x-room"] == "4"
        assert await socket.recv() == (
            f'{{"query":"x=%C3%A9","origin":"{first.origin}","cookie":"a=1",'
            f'"via":"1.1 ftweb","host":"127.0.0.1:{first.port}"}}'
        )
        for message in ("hé", b"\x00" * 200_000, "", b""):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send("much")
        assert await socket.recv() == b"m" * 3_000_000


@pytest.mark.parametrize("close", [(1000, ""), (4123, "enough")])
async def test_the_clients_close_reaches_the_app(
    host: Tab, pair: tuple[Bridge, Bridge], talks: Talks, close: tuple[int, str]
) -> None:
    async with opened(pair[1]) as socket:
        await socket.recv()
        await socket.close(*close)
    await eventually(lambda: talks.ended)
    assert talks.ended == [close]


async def test_a_client_that_vanishes_is_gone_for_the_app(
    host: Tab, pair: tuple[Bridge, Bridge], talks: Talks
) -> None:
    socket: ClientConnection = await opened(pair[1])
    await socket.recv()
    socket.transport.abort()
    await eventually(lambda: talks.ended)
    assert talks.ended == [(1005, "")]


@pytest.mark.parametrize("behind", [0, 1])
async def test_a_client_that_breaks_a_rule_while_the_app_talks(
    host: Tab,
    pair: tuple[Bridge, Bridge],
    talks: Talks,
    behind: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The bridge has closed it when the app's next message comes, and the app is told."""
    async with opened(pair[behind]) as socket:
        await socket.send("on and on")
        for _ in range(3):
            await socket.recv()
        await socket.send(b"x" * 300_000)
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    assert socket.close_code == 1009
    await eventually(lambda: talks.ended)
    assert talks.ended[0][1] == "was talking"
    assert "Traceback" not in caplog.text


async def test_the_apps_close_reaches_the_client(host: Tab, pair: tuple[Bridge, Bridge]) -> None:
    async with opened(pair[1]) as socket:
        await socket.recv()
        await socket.send("bye")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")


@pytest.mark.parametrize("path, status, body", [("/no", 429, b'{"why":"full"}'), ("/x", 403, b"")])
async def test_the_apps_no_reaches_the_client(
    host: Tab, pair: tuple[Bridge, Bridge], path: str, status: int, body: bytes
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await opened(pair[1], path)
    assert (refused.value.response.status_code, refused.value.response.body) == (status, body)


async def test_it_is_passed_on_once(host: Tab, pair: tuple[Bridge, Bridge]) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await opened(pair[1], additional_headers={"Via": "1.1 ftweb"})
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["retry-after"] == "1"


async def test_the_host_dies_and_the_client_comes_back(
    host: Tab, pair: tuple[Bridge, Bridge], talks: Talks
) -> None:
    first, second = pair
    other = await first.tab(ftweb.flyweb.publish("web", talks.app))
    await eventually(lambda: other.driver.machine.applied_index > 0)
    async with opened(second) as socket:
        await socket.recv()
        await host.kill()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    await other.hosts()
    async with opened(second) as socket:
        await socket.recv()
        await socket.send("again")
        assert await socket.recv() == "again"


async def test_the_hosts_bridge_goes_away(host: Tab, pair: tuple[Bridge, Bridge]) -> None:
    first, second = pair
    async with opened(second) as socket:
        await socket.recv()
        await first.stop()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
