"""A page written for FlyWeb publishes a server; another host of the LAN is its client."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ftweb.limits import PAGE_SILENCE_SECONDS
from tests.e2e.classroom import APPS, Bridge, until
from tests.lan.avahi import Avahi, Service
from tests.lan.browsers import LAPTOP, PHONE, Device
from tests.lan.firefox import FirefoxDevice
from tests.lan.lan import Host, Lan

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Setting:
    """A LAN, a bridge with the page, and a browser."""

    lan: Lan
    bridge: Bridge
    device: Device


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def setting() -> AsyncIterator[Setting]:
    with Lan() as lan:
        laptop = lan.host("laptop")
        made = Setting(lan, Bridge(laptop, APPS / "board"), Device(laptop, "laptop", LAPTOP))
        async with async_playwright() as playwright:
            await made.bridge.start()
            await made.device.start(playwright)
            yield made
            await made.device.stop()
            await made.bridge.stop()


class Board:
    """The page, and its server as others see it."""

    def __init__(self, setting: Setting, page: Page) -> None:
        self.lan = setting.lan
        self.bridge = setting.bridge
        self.page = page
        self.port = 0

    @property
    def outsider(self) -> Host:
        return self.lan.host("outsider")

    @property
    def address(self) -> str:
        return self.bridge.host.address

    async def state(self) -> str:
        return await self.page.inner_text("#state")

    async def answer(self, button: str) -> None:
        """Click *Publish*, then answer the question."""
        await self.page.click("#publish")
        await self.page.get_by_test_id(button).click()

    async def publish(self) -> None:
        await self.answer("allow")
        await until(self._published)

    async def _published(self) -> bool:
        self.port = int(
            await self.page.evaluate(
                "typeof server === 'object' && server ? Number(new URL(server.origin).port) : 0"
            )
            or 0
        )
        return (await self.state()).startswith("published") and self.port > 0

    async def curl(self, *words: str) -> tuple[int, str]:
        base = f"http://{self.address}:{self.port}"
        command = ["curl", "-sS", *(word.replace("URL", base) for word in words)]
        process = self.outsider.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        said, _ = await asyncio.to_thread(process.communicate, timeout=20)
        return process.returncode, said

    async def socket(self, path: str) -> ClientConnection:
        made = await asyncio.to_thread(self.outsider.connect, self.address, self.port)
        made.setblocking(False)
        url = f"ws://{self.address}:{self.port}{path}"
        offered = [Subprotocol("other"), Subprotocol("board")]
        return await connect(url, sock=made, subprotocols=offered, compression=None)


@pytest_asyncio.fixture(loop_scope="module")
async def board(setting: Setting) -> AsyncIterator[Board]:
    page = await setting.device.open(setting.bridge.presenter_url)
    yield Board(setting, page)
    await page.close()


async def test_a_person_is_asked_and_may_refuse(board: Board) -> None:
    await board.answer("refuse")
    await until(lambda: _is(board, "failed: NotAllowedError"))


async def _is(board: Board, text: str) -> bool:
    return await board.state() == text


async def test_pages_and_messages_over_http(board: Board) -> None:
    await board.publish()
    assert await board.state() == "published Message board at /board"
    said = await board.curl("-i", "-d", "hello <b>", "URL/messages")
    assert said[1].startswith("HTTP/1.1 201")
    assert re.search("(?mi)^x-board: 1\r?$", said[1])
    assert re.search("(?mi)^content-length: 1\r?$", said[1])
    assert "<li>hello &#60;b>" in (await board.curl("URL/"))[1]
    assert await board.page.inner_text("#messages") == "hello <b>"
    headers: list[Any] = json.loads((await board.curl("-H", "Cookie: a=b", "URL/headers"))[1])
    assert ["cookie", "a=b"] in headers
    assert (await board.curl("URL/slow"))[1] == "0\n1\n2\n3\n4\n"
    assert (await board.curl("URL/large"))[1] == "x" * 5_000_000
    assert (await board.curl("URL/later"))[1] == "after a while"
    assert (await board.curl("URL/listener"))[1] == "from a listener"
    for path, status in (("/broken", "500"), ("/nothing", "404")):
        wanted = ["-o", "/dev/null", "-w", "%{http_code}", f"URL{path}"]
        assert (await board.curl(*wanted))[1] == status
    assert (await board.curl("-I", "URL/"))[1].startswith("HTTP/1.1 404")  # its own answer to HEAD


async def test_a_websocket_both_ways(board: Board) -> None:
    await board.publish()
    socket = await board.socket("/live")
    assert socket.subprotocol == "board"
    assert json.loads(await socket.recv()) == {"welcome": 0}
    await socket.send("héllo")
    assert json.loads(await socket.recv()) == {"text": "héllo", "count": 1}
    await socket.send("leave")
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3001, "you asked")
    with pytest.raises(InvalidStatus) as refused:
        await board.socket("/elsewhere")
    assert refused.value.response.status_code == 404
    with pytest.raises(InvalidStatus):
        await board.socket("/wrong")
    assert await board.state() == "refused: InvalidAccessError"


async def test_a_name_is_published_once(board: Board) -> None:
    await board.publish()
    again = await board.page.evaluate(
        "navigator.publishServer('Message board').then(() => 'yes', error => error.name)"
    )
    assert again == "InvalidStateError"


async def test_it_goes_with_its_page(board: Board) -> None:
    await board.publish()
    await board.page.goto("about:blank")

    async def gone() -> bool:
        return (await board.curl("-m", "2", "URL/"))[0] == 7

    await until(gone)


async def test_it_is_announced_until_its_page_goes(board: Board) -> None:
    """Read back by Avahi on another host."""
    await board.publish()
    avahi = Avahi(board.lan.host("listener"))
    try:

        async def found() -> list[Service]:
            every = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
            return [each for each in every if each.instance == "Message board"]

        async def announced() -> bool:
            return bool(await found())

        await until(announced)
        (service,) = await found()
        assert (service.address, service.port) == (board.address, board.port)
        assert service.txt_record["path"] == "/board"
        await board.page.goto("about:blank")

        async def gone() -> bool:
            return not await found()

        await until(gone)
    finally:
        avahi.close()


@pytest.mark.parametrize("how", ["killed", "frozen", "unplugged"])
async def test_it_is_withdrawn_when_its_page_is_lost_without_a_word(
    setting: Setting, how: str
) -> None:
    """A phone publishes it, and is gone: read back by Avahi on another host."""
    host = setting.lan.host(f"{how}-phone")
    device = Device(host, "phone", PHONE)
    avahi = Avahi(setting.lan.host("listener"))
    async with async_playwright() as playwright:
        await device.start(playwright)
        try:
            page = await device.open(setting.bridge.join_url)
            board = Board(setting, page)
            await board.publish()

            async def found() -> bool:
                every = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
                return any(each.instance == "Message board" for each in every)

            await until(found)
            if how == "killed":
                device.kill()
            elif how == "frozen":
                await device.set_lifecycle(page, "frozen")
            else:
                host.unplug()

            async def gone() -> bool:
                return not await found()

            # Four seconds of silence, the goodbye, and what the asking takes.
            await until(gone, timeout=PAGE_SILENCE_SECONDS + 3)
            with pytest.raises((ConnectionRefusedError, TimeoutError)):
                await asyncio.to_thread(board.outsider.connect, board.address, board.port)
        finally:
            avahi.close()
            await device.stop()


async def test_firefox_on_another_host_uses_it(board: Board) -> None:
    await board.publish()
    firefox = FirefoxDevice(board.lan.host("visitor"), "visitor", PHONE)
    await firefox.start()
    try:
        page = await firefox.open(f"http://{board.address}:{board.port}/")
        posted = """() => fetch("/messages", { method: "POST", body: "from Firefox" })
            .then(async (r) => [r.status, r.headers.get("x-board"), await r.text()])"""
        status, header, count = await page.evaluate(posted)
        assert (status, header) == (201, "1")
        await page.reload()
        items = await page.evaluate("[...document.querySelectorAll('li')].map(i => i.textContent)")
        assert items[-1].strip() == "from Firefox"
        heard = await page.evaluate(
            """() => new Promise((resolve, reject) => {
                const heard = [];
                const socket = new WebSocket(`ws://${location.host}/live`, ["other", "board"]);
                socket.onopen = () => heard.push(socket.protocol);
                socket.onmessage = ({ data }) => {
                    heard.push(JSON.parse(data));
                    if (heard.length === 2) socket.send("héllo");
                    if (heard.length === 3) socket.send("leave");
                };
                socket.onclose = ({ code, reason }) => resolve([...heard, code, reason]);
                socket.onerror = reject;
            })"""
        )
        welcome = {"welcome": int(count)}
        said = {"text": "héllo", "count": int(count) + 1}
        assert heard == ["board", welcome, said, 3001, "you asked"]
    finally:
        await firefox.stop()


async def test_closing_it_is_told(board: Board) -> None:
    await board.publish()
    await board.page.evaluate("server.close()")
    await until(lambda: _is(board, "closed"))
    await board.publish()
