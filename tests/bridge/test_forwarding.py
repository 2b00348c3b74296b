"""HTTP and WebSockets through a real bridge to an ASGI app in a tab."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import ftweb.flyweb

from .conftest import Bridge, Tab


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": request.query_params.get("name", "world")})


async def digest(request: Request) -> Response:
    seen = hashlib.sha256()
    async for piece in request.stream():
        seen.update(piece)
    return PlainTextResponse(seen.hexdigest())


async def big(request: Request) -> Response:
    async def pieces() -> Any:
        for number in range(200):
            yield bytes([number]) * 50_000

    return StreamingResponse(pieces(), headers={"content-length": "10000000"})


async def echo(socket: WebSocket) -> None:
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "bye":
            await socket.close(4001, "as you wish")
            return
        await socket.send({**message, "type": "websocket.send"})


def make_app() -> Starlette:
    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/digest", digest, methods=["POST"]),
            Route("/big", big),
            WebSocketRoute("/echo", echo),
        ]
    )


@pytest.fixture
async def served(bridge: Bridge) -> tuple[Bridge, Tab]:
    tab = await bridge.tab(ftweb.flyweb.publish("web", make_app()))
    await tab.hosts()
    return bridge, tab


def client(bridge: Bridge) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        trust_env=False, base_url=f"http://127.0.0.1:{bridge.port}", timeout=20
    )


async def test_a_route_is_answered_by_the_tab(served: tuple[Bridge, Tab]) -> None:
    bridge, _ = served
    async with client(bridge) as http:
        response = await http.get("/hello?name=tab")
    assert (response.status_code, response.json()) == (200, {"hello": "tab"})


async def test_upload_and_download_are_whole(served: tuple[Bridge, Tab]) -> None:
    bridge, _ = served
    data = bytes(range(256)) * 8_000
    async with client(bridge) as http:
        uploaded = await http.post("/digest", content=data)
        downloaded = await http.get("/big")
    assert uploaded.text == hashlib.sha256(data).hexdigest()
    whole = b"".join(bytes([number]) * 50_000 for number in range(200))
    assert hashlib.sha256(downloaded.content).digest() == hashlib.sha256(whole).digest()


async def test_websockets_both_ways(served: tuple[Bridge, Tab]) -> None:
    bridge, _ = served
    url = f"ws://127.0.0.1:{bridge.port}/echo"
    async with websockets.connect(url, subprotocols=["chat"], proxy=None) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "chat"
        await socket.send("hé")
        assert await socket.recv() == "hé"
        await socket.send(b"\x00" * 200_000)
        assert await socket.recv() == b"\x00" * 200_000
        await socket.send("bye")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")


async def test_another_bridge_sends_requests_to_the_hosts(
    hosted: tuple[Bridge, Tab], pair: tuple[Bridge, Bridge]
) -> None:
    first, second = pair
    tab = await first.tab(ftweb.flyweb.publish("web", make_app()))
    await hosted[1].kill()
    await tab.hosts()
    async with client(second) as http:
        answer = await http.post("/digest?x=1", content=b"abc", follow_redirects=True)
        (sent,) = answer.history
    assert (sent.status_code, answer.url.port, answer.url.query) == (307, first.port, b"x=1")
    assert answer.text == hashlib.sha256(b"abc").hexdigest()
