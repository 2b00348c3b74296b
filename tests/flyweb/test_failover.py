"""HTTP when the tab that hosts dies: retried, told, or gone on from the next byte."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import ftweb.flyweb
from tests.bridge.conftest import Bridge, Tab, app_dir, bridge, config, eventually, runtime_dir

__all__ = ["app_dir", "bridge", "config", "runtime_dir"]

BLOCK = 50_000
BLOCKS = 60
FILE = b"".join(bytes([number]) * BLOCK for number in range(BLOCKS))


class App:
    """What one tab serves, with handles to hold it up.

    Args:
        name: told in answers.
        etag: of the file.
    """

    def __init__(self, name: str, *, etag: str = '"v1"') -> None:
        self.name = name
        self.etag = etag
        self.seen: list[str] = []
        self.go = asyncio.Event()
        self.blocks = 20
        """Sent of the file before it waits to go on."""
        self.app = Starlette(
            routes=[
                Route("/who", self.who, methods=["GET", "POST", "PUT"]),
                Route("/file", self.file),
                Route("/stream", self.stream),
                WebSocketRoute("/talk", self.talk),
            ]
        )

    async def who(self, request: Request) -> Response:
        self.seen.append(f"{request.method} {(await request.body()).decode()}")
        await self.go.wait()
        return PlainTextResponse(self.name)

    async def file(self, request: Request) -> Response:
        wanted = request.headers.get("range", "")
        self.seen.append(f"GET {wanted}")
        start, end, status = 0, len(FILE), 200
        if wanted and request.headers.get("if-range", self.etag) == self.etag:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, status = int(first), int(last) + 1 if last else len(FILE), 206

        async def pieces() -> AsyncIterator[bytes]:
            for number, at in enumerate(range(start, end, BLOCK)):
                if number == self.blocks:
                    await self.go.wait()
                yield FILE[at : min(at + BLOCK, end)]

        headers = {
            "etag": self.etag,
            "accept-ranges": "bytes",
            "content-length": str(end - start),
        }
        if status == 206:
            headers["content-range"] = f"bytes {start}-{end - 1}/{len(FILE)}"
        return StreamingResponse(pieces(), status_code=status, headers=headers)

    async def stream(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await self.go.wait()

        return StreamingResponse(pieces())

    async def talk(self, socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text(f"{self.name} {await socket.receive_text()}")


@pytest.fixture
async def http(bridge: Bridge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        trust_env=False, base_url=f"http://127.0.0.1:{bridge.port}", timeout=20
    ) as client:
        yield client


type Start = Callable[[App], Awaitable[Tab]]


@pytest.fixture
def start(bridge: Bridge) -> Start:
    """Gives a tab that is a member of the cluster, the first one hosting."""

    async def make(app: App) -> Tab:
        tab = await bridge.tab(ftweb.flyweb.publish("web", app.app))
        await eventually(lambda: tab.driver.machine.applied_index > 0)
        return tab

    return make


@pytest.fixture
async def two(start: Start) -> tuple[App, Tab, App, Tab]:
    first, second = App("first"), App("second")
    host = await start(first)
    await host.hosts()
    return first, host, second, await start(second)


async def download_and_kill(http: httpx.AsyncClient, path: str, host: Tab, *, after: int) -> None:
    """Kill the host once so many bytes have come, and read on."""
    size = 0
    async with http.stream("GET", path) as response:
        async for piece in response.aiter_raw():
            size += len(piece)
            if size >= after:
                await host.kill()


@pytest.mark.parametrize(
    "method, headers", [("GET", {}), ("PUT", {}), ("POST", {"Idempotency-Key": "k"})]
)
async def test_what_may_be_repeated_is(
    two: tuple[App, Tab, App, Tab],
    http: httpx.AsyncClient,
    method: str,
    headers: dict[str, str],
) -> None:
    first, host, second, _ = two
    second.go.set()

    async def ask() -> httpx.Response:
        return await http.request(method, "/who", content="body", headers=headers)

    asked = asyncio.create_task(ask())
    await eventually(lambda: first.seen)
    await host.kill()
    answer = await asked
    assert (answer.status_code, answer.text) == (200, "second")
    assert first.seen == second.seen == [f"{method} body"]
    if headers:
        assert (await ask()).text == "second"
        assert second.seen == [f"{method} body"], "its reply is in the log: nothing runs again"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}])
async def test_what_may_not_be_repeated_is_told(
    two: tuple[App, Tab, App, Tab], http: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    first, host, second, _ = two
    second.go.set()
    asked = asyncio.create_task(http.post("/who", content="body", headers=headers))
    await eventually(lambda: first.seen)
    await host.kill()
    answer = await asked
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert not second.seen


async def test_a_request_that_kills_hosts_is_not_repeated_for_ever(
    start: Start, http: httpx.AsyncClient
) -> None:
    apps = [App(name) for name in ("first", "second", "third")]
    tabs = [await start(app) for app in apps]
    asked = asyncio.create_task(http.get("/who"))
    for _ in range(2):
        await eventually(lambda: any(app.seen for app in apps))
        running = next(index for index, app in enumerate(apps) if app.seen)
        await tabs.pop(running).kill()
        apps.pop(running)
    assert (await asked).status_code == 502
    assert not apps[0].seen


async def test_a_request_waits_for_a_host(start: Start, http: httpx.AsyncClient) -> None:
    app = App("only")
    app.go.set()
    tab = await start(app)
    await tab.hosts()
    await http.get("/who")
    await tab.kill()
    asked = asyncio.create_task(http.post("/who"))
    other = App("other")
    other.go.set()
    await start(other)
    assert (await asked).text == "other"


async def members(host: Tab, count: int) -> None:
    """Wait until the group has so many."""
    await eventually(lambda: len(host.driver.node.configuration.members) == count)


async def test_a_download_outlives_three_hosts(start: Start, http: httpx.AsyncClient) -> None:
    """One after the other; the group needs a moment in between, as it has no majority else."""
    apps = {name: App(name) for name in ("first", "second", "third", "fourth")}
    for app in apps.values():
        app.blocks = 15
    tabs = {name: await start(app) for name, app in apps.items()}
    seen = hashlib.sha256()
    size = kills = 0
    async with http.stream("GET", "/file") as response:
        assert response.headers["content-length"] == str(len(FILE))
        async for piece in response.aiter_raw():
            seen.update(piece)
            size += len(piece)
            here = next((name for name, app in apps.items() if app.seen), None)
            if here is not None and kills < 3 and size >= BLOCK * 15 * (kills + 1):
                kills += 1
                host = tabs.pop(here)
                await members(host, len(tabs) + 2)
                await host.kill()
                apps.pop(here).seen.clear()
    assert seen.hexdigest() == hashlib.sha256(FILE).hexdigest()
    assert kills == 3


async def test_a_range_goes_on_within_its_range(
    two: tuple[App, Tab, App, Tab], http: httpx.AsyncClient
) -> None:
    first, host, _, _ = two
    first.blocks = 5
    asked = asyncio.create_task(http.get("/file", headers={"Range": "bytes=100-999999"}))
    await eventually(lambda: first.seen)
    await asyncio.sleep(0.1)  # let some of it through; with none the request is repeated as it was
    await host.kill()
    answer = await asked
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes 100-999999/{len(FILE)}"
    assert answer.content == FILE[100:1_000_000]


async def test_another_file_is_never_mixed_in(start: Start, http: httpx.AsyncClient) -> None:
    first = App("first")
    host = await start(first)
    await host.hosts()
    await start(App("second", etag='"v2"'))
    with pytest.raises(httpx.RemoteProtocolError):
        await download_and_kill(http, "/file", host, after=BLOCK * 20)


async def test_another_response_ends_before_its_end(
    two: tuple[App, Tab, App, Tab], http: httpx.AsyncClient
) -> None:
    _, host, _, _ = two
    with pytest.raises(httpx.RemoteProtocolError):
        await download_and_kill(http, "/stream", host, after=3)


async def test_a_websocket_is_closed_and_comes_back(
    bridge: Bridge, two: tuple[App, Tab, App, Tab]
) -> None:
    _, host, _, second = two
    url = f"ws://127.0.0.1:{bridge.port}/talk"
    async with connect(url, proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "first hello"
        await host.kill()
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    await second.hosts()
    async with connect(url, proxy=None) as socket:
        await socket.send("again")
        assert await socket.recv() == "second again"


async def test_an_aborted_transfer_ends_in_the_tab(bridge: Bridge, start: Start) -> None:
    gone: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await receive()
        gone.append(await receive())

    tab = await bridge.tab(ftweb.flyweb.publish("web", app))
    await tab.hosts()
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{bridge.port}\r\n\r\n".encode())
    await reader.readuntil(b"x\r\n")
    writer.transport.abort()
    await eventually(lambda: gone)
    assert gone == [{"type": "http.disconnect"}]
