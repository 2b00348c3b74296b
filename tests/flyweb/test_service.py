"""The app in its tab: started once, and held up by clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import ftweb.flyweb
from ftweb.flyweb.service import Service
from tests.bridge.conftest import Bridge, app_dir, bridge, config, eventually, runtime_dir

__all__ = ["app_dir", "bridge", "config", "runtime_dir"]

PIECE = 64 * 1024

HELD_UP = 32 * 1024 * 1024
"""More than a stream's window, the bridge's buffer and those of two kernels' sockets together."""


async def test_the_lifespan_runs_once_whatever_comes(bridge: Bridge) -> None:
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        told.append("startup")
        await asyncio.sleep(0)  # others come while it starts
        yield {"greeting": "hello"}
        told.append("shutdown")

    async def greet(request: Request) -> Response:
        return PlainTextResponse(request.state.greeting)

    app = Starlette(routes=[Route("/greeting", greet)], lifespan=lifespan)
    tab = await bridge.tab(ftweb.flyweb.publish("web", app))
    await tab.hosts()
    url = f"http://127.0.0.1:{bridge.port}/greeting"
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(10)))
        answers.append(await client.get(url))
    assert [answer.text for answer in answers] == ["hello"] * 11
    assert told == ["startup"]


async def test_a_stopped_service_has_told_its_app() -> None:
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        told.append("startup")
        yield
        told.append("shutdown")

    service = Service(Starlette(lifespan=lifespan), hosting=lambda: True)
    await service.stop()
    assert told == [], "what never started is not stopped"
    await service._lifespan.start()
    await service.stop()
    assert told == ["startup", "shutdown"]


async def test_an_app_that_cannot_start_is_asked_nothing() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if not app.routes:
            raise RuntimeError("no database")
        yield

    service = Service(Starlette(lifespan=lifespan), hosting=lambda: True)
    ready = [service.ready]
    await service._lifespan.start()
    ready.append(service.ready)
    assert ready == [True, False]
    await service.stop()


async def test_a_client_that_does_not_read_holds_its_own_download_up(bridge: Bridge) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += PIECE
            yield bytes(PIECE)

    async def download(request: Request) -> Response:
        return StreamingResponse(endless())

    async def other(request: Request) -> Response:
        return PlainTextResponse("here")

    app = Starlette(routes=[Route("/endless", download), Route("/other", other)])
    tab = await bridge.tab(ftweb.flyweb.publish("web", app))
    await tab.hosts()
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port, limit=PIECE)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % bridge.port)
    await eventually(lambda: sent > 0)
    before = -1
    while sent != before:  # until nothing moves any more, which nobody tells
        before = sent
        await asyncio.sleep(0.3)
    assert sent < HELD_UP
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        assert (await client.get(f"http://127.0.0.1:{bridge.port}/other")).text == "here"
    wanted = 2 * sent
    while sent < wanted:
        assert await reader.read(PIECE)
    writer.close()
