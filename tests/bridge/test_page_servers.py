"""Servers that pages publish: a port each, while the page is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ftweb.bridge import page_servers
from ftweb.flyweb import wire
from ftweb.flyweb.wire import Kind
from ftweb.limits import PAGE_SERVERS
from ftweb.relay.connection import SILENT

from .conftest import Bridge, eventually


class Page:
    """A page without a browser that answers every request with its name."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answer: dict[str, Any] = {}
        self.paths: list[str] = []
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def publish(cls, bridge: Bridge, name: Any, **fields: Any) -> Page:
        url = f"ws://127.0.0.1:{bridge.port}/ftweb/publish"
        page = cls(await connect(url, proxy=None))
        token = bridge.config.identity.join_token
        await page.socket.send(json.dumps({"token": token, "name": name, **fields}))
        page.answer = json.loads(await page.socket.recv())
        if page.answer["type"] == "published":
            page._task = asyncio.create_task(page._serve(name))
        return page

    async def _serve(self, name: str) -> None:
        try:
            while True:
                message = await self.socket.recv()
                if isinstance(message, str):
                    assert json.loads(message) == {"type": "ping"}
                    await self.socket.send(json.dumps({"type": "pong"}))
                    continue
                for frame in wire.split(message):
                    if frame.kind == Kind.OPEN:
                        self.paths.append(wire.decode_part(frame, wire.Open).path)
                        head = wire.Head(status=200, headers=[(b"x-page", name.encode())])
                        await self.socket.send(
                            wire.encode_part(Kind.HEAD, frame.stream, head)
                            + wire.encode(Kind.DATA, frame.stream, b"hello", wire.END)
                        )
        except ConnectionClosed:
            pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.answer['port']}"

    async def close(self) -> None:
        await self.socket.close()
        if self._task is not None:
            await self._task


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        return await client.get(url, headers=headers)


async def test_a_page_answers_on_a_port_of_its_own(bridge: Bridge) -> None:
    page = await Page.publish(bridge, "Board", uiUrl="/ui")
    assert page.answer["port"] != bridge.port
    answer = await get(f"{page.url}/index.html")
    assert (answer.status_code, answer.text, answer.headers["x-page"]) == (200, "hello", "Board")
    assert page.paths == ["/index.html"]  # the bridge's own pages are not there
    assert (await get(f"{page.url}/x", Host="evil.example")).status_code == 421
    await page.close()


async def test_it_goes_with_its_page(bridge: Bridge) -> None:
    page = await Page.publish(bridge, "Board")
    await page.close()

    async def refused() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", page.answer["port"])
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it waited to be accepted when the port was closed
            return False
        writer.close()
        return False

    async with asyncio.timeout(10):
        while not await refused():  # noqa: ASYNC110 - a closed port tells nobody
            await asyncio.sleep(0.02)
    again = await Page.publish(bridge, "Board")
    assert again.answer["type"] == "published"
    await again.close()


async def test_a_request_under_way_ends_with_its_page(bridge: Bridge) -> None:
    page = await Page.publish(bridge, "Board")
    assert page._task is not None
    page._task.cancel()  # it answers nothing more
    asked = asyncio.create_task(get(f"{page.url}/x"))
    await asyncio.sleep(0.1)  # so that it is under way; if not, it is refused all the same
    page.socket.transport.abort()
    with pytest.raises(httpx.HTTPError):
        (await asked).raise_for_status()


async def _all_of(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


async def test_a_page_that_answers_nothing_has_gone(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen one: its browser answers WebSocket's own pings, as this socket does."""
    monkeypatch.setattr(page_servers, "PAGE_PING_SECONDS", 0.1)
    monkeypatch.setattr(page_servers, "PAGE_SILENCE_SECONDS", 0.5)
    page, frozen = [await Page.publish(bridge, name) for name in ("Board", "Frozen")]
    assert frozen._task is not None
    frozen._task.cancel()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        asked = [json.loads(message) async for message in _all_of(frozen.socket)]
    assert asked
    assert all(message == {"type": "ping"} for message in asked)
    assert frozen.socket.close_code == SILENT
    with pytest.raises(httpx.ConnectError):
        await get(f"{frozen.url}/x")
    assert (await get(f"{page.url}/x")).text == "hello", "the other one is there"
    await page.close()


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"token": "wrong"}, "bad_token"),
        ({"uiUrl": "x" * 2000}, "bad_frame"),
    ],
)
async def test_what_is_refused(bridge: Bridge, fields: dict[str, Any], code: str) -> None:
    page = await Page.publish(bridge, "Board", **fields)
    assert (page.answer["type"], page.answer["code"]) == ("refused", code)
    await eventually(lambda: page.socket.close_code == 4403)
    await page.close()


@pytest.mark.parametrize("name", ["", " ", 5, "x" * 64, "a\nb"])
async def test_a_name_that_is_none_is_refused(bridge: Bridge, name: Any) -> None:
    page = await Page.publish(bridge, name)
    assert page.answer["code"] == "bad_frame"
    await page.close()


async def test_a_name_is_taken_and_room_ends(bridge: Bridge) -> None:
    pages = [await Page.publish(bridge, f"Board {n}") for n in range(PAGE_SERVERS)]
    taken = await Page.publish(bridge, "Board 0")
    assert taken.answer["code"] == "name_taken"
    full = await Page.publish(bridge, "One more")
    assert full.answer["code"] == "too_many_servers"
    for page in (*pages, taken, full):
        await page.close()
