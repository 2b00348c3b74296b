"""What a bridge answers itself, each status through real sockets, and that it serves on afterwards.

Times and sizes are shortened where the real ones would take minutes or gigabytes; the numbers of
requests at once are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

import ftweb.flyweb
from ftweb.flyweb import wire
from ftweb.limits import HTTP_HEADER_BYTES, HTTP_STREAMS, HTTP_STREAMS_PER_ADDRESS

from .conftest import Bridge, Tab, eventually

MANY_SECONDS = 60.0
"""For a thousand requests on a machine that does other things: two seconds where it does not."""


class Gate:
    """An app whose answers wait until they may go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reads = True
        """It reads the body of a request before it answers."""
        self.seen: list[str] = []
        self.gone: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError
        path = scope["path"]
        self.seen.append(path)
        if scope["type"] == "websocket":
            await receive()
            await self.open.wait()
            await send({"type": "websocket.accept"})
            return
        message: dict[str, Any] = {"more_body": self.reads}
        while message.get("more_body"):
            message = await receive()
        if message.get("type") == "http.disconnect" or not await self._opened(receive):
            self.gone.append(path)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _opened(self, receive: Callable[[], Awaitable[Any]]) -> bool:
        """Wait for the gate; False if the client is gone before."""
        gone = asyncio.create_task(anext_disconnect(receive))
        opened = asyncio.create_task(self.open.wait())
        done, rest = await asyncio.wait({gone, opened}, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        return opened in done


LENGTH = (b"content-length", b"2")


async def anext_disconnect(receive: Callable[[], Awaitable[Any]]) -> None:
    """Wait for the client's going."""
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def tab(bridge: Bridge, gate: Gate) -> Tab:
    """A tab that hosts the gate."""
    tab = await bridge.tab(ftweb.flyweb.publish("gate", gate))
    await tab.hosts()
    return tab


class Answer:
    """The answer on a plain socket, read as far as it is."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.body = body.decode()
        self.code = self.body.split(":")[0]


class Asked:
    """A plain socket to a bridge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> Answer:
        """The next answer, which has a length."""
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            found = Answer(head, b"")
            body = await self.reader.readexactly(int(found.headers.get("content-length", 0)))
        return Answer(head, body)

    async def ended(self) -> bytes:
        """What still comes until the bridge closes the connection."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""


type Ask = Callable[..., Awaitable[Asked]]


@pytest.fixture
async def ask(bridge: Bridge) -> AsyncIterator[Ask]:
    """Sends something on a connection of its own."""
    opened: list[Asked] = []

    async def send(
        method: str = "GET",
        path: str = "/x",
        headers: str = "",
        body: bytes = b"",
        source: str = "127.0.0.1",
    ) -> Asked:
        made = Asked(
            *await asyncio.open_connection("127.0.0.1", bridge.port, local_addr=(source, 0))
        )
        opened.append(made)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{bridge.port}\r\n{headers}\r\n"
        made.writer.write(head.encode() + body)
        return made

    yield send
    for each in opened:
        each.writer.transport.abort()


async def serves_on(ask: Ask, gate: Gate) -> None:
    """The next request is answered as if nothing had been."""
    gate.open.set()
    answer = await (await ask(path="/after")).answer()
    assert (answer.status, answer.body) == (200, "ok")


# --- 408 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, body",
    [
        ("Content-Length: 10\r\n", b"abc"),
        ("Content-Length: 10\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"),
    ],
)
async def test_408_a_body_that_does_not_go_on(
    tab: Tab, ask: Ask, gate: Gate, monkeypatch: pytest.MonkeyPatch, headers: str, body: bytes
) -> None:
    monkeypatch.setattr("ftweb.bridge.upload.HTTP_STALL_SECONDS", 0.2)
    asked = await ask("POST", headers=headers, body=body)
    answer = await asked.answer()
    assert (answer.status, answer.code) == (408, "upload_stalled")
    assert answer.headers["connection"] == "close"
    assert await asked.ended() == b""
    await eventually(lambda: gate.gone)  # the app is told that nothing more comes
    await serves_on(ask, gate)


async def test_a_slow_body_that_goes_on_is_taken(
    bridge: Bridge, tab: Tab, ask: Ask, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftweb.bridge.upload.HTTP_STALL_SECONDS", 1.0)
    gate.open.set()
    asked = await ask("POST", headers="Content-Length: 6\r\n")
    for _ in range(6):  # as a whole longer than one piece may take
        await asyncio.sleep(0.25)
        asked.writer.write(b"x")
    assert (await asked.answer()).status == 200


# --- 413 ----------------------------------------------------------------------------------------


async def test_413_by_its_length_before_a_tab_hears_of_it(tab: Tab, ask: Ask, gate: Gate) -> None:
    """2 GiB is what the real bound is, and none of it has to come."""
    asked = await ask("POST", headers=f"Content-Length: {2 * 1024**3 + 1}\r\n", body=b"abc")
    answer = await asked.answer()
    assert (answer.status, answer.code) == (413, "too_large")
    assert answer.headers["connection"] == "close"
    assert not gate.seen
    await serves_on(ask, gate)


async def test_413_and_no_100_for_who_asks_first(tab: Tab, ask: Ask, gate: Gate) -> None:
    headers = f"Content-Length: {3 * 1024**3}\r\nExpect: 100-continue\r\n"
    answer = await (await ask("PUT", headers=headers)).answer()
    assert answer.status == 413
    await serves_on(ask, gate)


async def test_413_by_what_came(
    bridge: Bridge, tab: Tab, ask: Ask, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftweb.bridge.forwarding.HTTP_BODY_BYTES", 100_000)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    asked = await ask("POST", headers="Transfer-Encoding: chunked\r\n", body=chunk * 40)
    answer = await asked.answer()
    assert (answer.status, answer.code) == (413, "too_large")
    await eventually(lambda: gate.gone)
    await serves_on(ask, gate)


# --- 429 and 503: too many at once ----------------------------------------------------------------


async def test_429_and_503_for_too_many_at_once(
    bridge: Bridge, tab: Tab, ask: Ask, gate: Gate
) -> None:
    for number in range(HTTP_STREAMS_PER_ADDRESS):
        await ask(path=f"/{number}")
    await eventually(lambda: len(gate.seen) == HTTP_STREAMS_PER_ADDRESS, patience=MANY_SECONDS)

    too_many = await (await ask()).answer()
    assert (too_many.status, too_many.code) == (429, "too_many_pending")
    assert too_many.headers["retry-after"] == "1"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{bridge.port}/talk", proxy=None)
    assert refused.value.response.status_code == 429

    for number in range(HTTP_STREAMS - HTTP_STREAMS_PER_ADDRESS):  # another address may still ask
        await ask(path=f"/more/{number}", source="127.0.0.2")
    await eventually(lambda: len(gate.seen) == HTTP_STREAMS, patience=MANY_SECONDS)
    full = await (await ask(source="127.0.0.3")).answer()
    assert (full.status, full.code, full.headers["retry-after"]) == (503, "no_host", "1")
    assert len(gate.seen) == HTTP_STREAMS
    await serves_on_after_all(ask, gate)


async def serves_on_after_all(ask: Ask, gate: Gate) -> None:
    """Once they were answered there is room again."""
    gate.open.set()
    async with asyncio.timeout(MANY_SECONDS):
        while (await (await ask(path="/after")).answer()).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


# --- 431 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, headers",
    [
        ("/" + "x" * HTTP_HEADER_BYTES, ""),
        ("/", "X-Much: " + "y" * HTTP_HEADER_BYTES + "\r\n"),
        ("/", "".join(f"X-{number}: {number:0100}\r\n" for number in range(200))),
        ("/", "X-Much: " + "z" * 40 * HTTP_HEADER_BYTES + "\r\n"),
    ],
    ids=["line", "header", "headers", "in parts"],
)
async def test_431_a_head_that_is_too_long(
    tab: Tab, ask: Ask, gate: Gate, path: str, headers: str
) -> None:
    asked = await ask(path=path, headers=headers)
    answer = await asked.answer()
    assert (answer.status, answer.code) == (431, "head_too_large")
    assert answer.headers["connection"] == "close"
    assert await asked.ended() == b""
    assert not gate.seen
    await serves_on(ask, gate)


# --- 502 ----------------------------------------------------------------------------------------


class Breaks:
    """A tab's service that begins nothing and says of each request that it failed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.seen = 0

    def attach(self, post: Callable[[bytes], None]) -> Breaks:
        self._post = post
        return self

    def received(self, message: bytes) -> None:
        for frame in wire.split(message):
            if frame.kind != wire.Kind.OPEN:
                continue
            self.seen += 1
            if self.kind == "reset":
                reset = wire.Reset(why="failed")
                self._post(wire.encode_part(wire.Kind.RESET, frame.stream, reset))
            else:
                self._post(b"\x02\x00")  # not a whole frame

    def closed(self) -> None: ...

    async def stop(self) -> None: ...


async def broken(bridge: Bridge, kind: str) -> tuple[Tab, Breaks]:
    """A tab that hosts, with a service that breaks."""
    breaks = Breaks(kind)
    tab = Tab(bridge.socket_url, bridge.hello(), ftweb.flyweb.publish("broken", Gate()))
    assert tab.port is not None
    tab.port._service = breaks  # type: ignore[assignment]
    bridge._clients.append(tab)
    await tab.open()
    await tab.hosts()
    return tab, breaks


async def test_502_a_tab_that_breaks_off(bridge: Bridge, ask: Ask) -> None:
    _, breaks = await broken(bridge, "reset")
    answer = await (await ask("POST")).answer()
    assert (answer.status, answer.code) == (502, "host_failed")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{bridge.port}/talk", proxy=None)
    assert refused.value.response.status_code == 502
    assert breaks.seen == 2


async def test_502_a_tab_that_breaks_the_protocol_each_time(bridge: Bridge, ask: Ask) -> None:
    """Its socket is closed for that, and what may be repeated is, but not for ever."""
    _, breaks = await broken(bridge, "garbage")
    answer = await (await ask()).answer()
    assert (answer.status, answer.code) == (502, "host_failed")
    assert breaks.seen > 1


# --- 503 ----------------------------------------------------------------------------------------


async def test_503_when_no_tab_hosts(
    bridge: Bridge, ask: Ask, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = await bridge.tab(ftweb.flyweb.publish("gate", gate))
    await tab.hosts()
    await serves_on(ask, gate)
    for module in ("forwarding", "tunnels"):
        monkeypatch.setattr(f"ftweb.bridge.{module}.HTTP_HOST_SECONDS", 0.2)
    await tab.kill()
    answer = await (await ask()).answer()
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "no_host", "1")
    head = await ask("HEAD")
    assert (await head.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{bridge.port}/talk", proxy=None)
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["retry-after"] == "1"


# --- 504 ----------------------------------------------------------------------------------------


async def test_504_a_tab_that_does_not_begin(
    bridge: Bridge, tab: Tab, ask: Ask, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("forwarding", "tunnels"):
        monkeypatch.setattr(f"ftweb.bridge.{module}.HTTP_HEAD_SECONDS", 0.3)
    answer = await (await ask(path="/slow")).answer()
    assert (answer.status, answer.code) == (504, "host_silent")
    await eventually(lambda: gate.gone)
    assert gate.gone == ["/slow"]
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{bridge.port}/talk", proxy=None)
    assert refused.value.response.status_code == 504
    await serves_on(ask, gate)
