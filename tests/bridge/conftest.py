"""A real bridge in this process, clients on real sockets, and tabs without a browser.

A :class:`Tab` is what a browser's tab is to a bridge: a client with a replica behind it, running
the app's handlers, speaking the real protocol over a real WebSocket.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftweb import frames
from ftweb.app import Effect, Server, init_server
from ftweb.bridge import BridgeConfig, Started, serve
from ftweb.bridge.bundle import make_bundle
from ftweb.bridge.config import load_bridge_id
from ftweb.core import NodeId, Role, Settings
from ftweb.driver import Clock, Driver, NodeStatus
from ftweb.flyweb import wire as http_wire
from ftweb.flyweb.port import HttpPort
from ftweb.flyweb.replicated import Replicated
from ftweb.flyweb.service import Service
from ftweb.flyweb.submitting import Submitter
from ftweb.storage import MemoryStorage
from ftweb.transports import LinkClosedError
from ftweb.transports.binary import open_binary
from ftweb.transports.websocket import WebSocketLink

PATIENCE = 10.0
"""How long to wait for what must happen; far more than it takes, since machines are busy."""

QUICK = Settings(settle=300.0)
"""Node settings that spare the tests some waiting."""


async def eventually[T](read: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Wait until ``read`` gives something true, and return it."""
    async with asyncio.timeout(patience):
        while not (value := read()):  # noqa: ASYNC110 - what is read tells nobody
            await asyncio.sleep(0.005)
        return value


def make_server() -> Server:
    """The app that the tabs of these tests host: it counts, talks, and fails on demand."""
    server = init_server("tests", state={"count": 0, "seen": []})

    @server.on_receive
    def receive(message: Any, source: Any) -> Any:
        match message:
            case {"add": amount}:
                with server.change() as state:
                    state["count"] += amount
                return {"count": server.get_state()["count"]}
            case {"say": text, "to": to}:
                server.send(to, {"said": text})
                return "sent"
            case {"say": text}:
                server.broadcast({"said": text})
                return "sent"
            case {"grow": size}:
                with server.change() as state:
                    state["seen"].append("x" * size)
                return None
            case "who":
                return {"client": source.client_id, "presenter": source.presenter}
            case "raise":
                raise RuntimeError("on purpose")
        return {"echo": message}

    return server


class Client:
    """A page without a browser: joins, and keeps every frame that comes."""

    def __init__(self, url: str, hello: frames.Hello) -> None:
        self.link = WebSocketLink(url)
        self.hello = hello
        self.frames: list[frames.Frame] = []
        self.closed: LinkClosedError | None = None
        self.session = 0
        self.serial = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    async def open(self) -> None:
        await self.link.__aenter__()
        self.link.send(self.hello)
        self._tasks.append(asyncio.create_task(self._read()))

    async def _read(self) -> None:
        try:
            while True:
                self.took(await self.link.receive())
        except LinkClosedError as closed:
            self.closed = closed
        self._news.set()

    def took(self, frame: frames.Frame) -> None:
        self.frames.append(frame)
        self._news.set()

    async def wait[F](self, kind: type[F], test: Callable[[F], bool] | None = None) -> F:
        """The first frame of a kind, past or to come, that passes a test."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for frame in self.frames:
                    if isinstance(frame, kind) and (test is None or test(frame)):
                        return frame
                if self.closed is not None:
                    raise AssertionError(f"closed with {self.closed.close_code}: {self.closed}")
                self._news.clear()
                await self._news.wait()

    async def wait_closed(self) -> int:
        """The close code."""
        async with asyncio.timeout(PATIENCE):
            while self.closed is None:
                self._news.clear()
                await self._news.wait()
            return self.closed.close_code

    async def open_session(self) -> int:
        self.link.send(frames.OpenSession())
        opened: frames.Session = await self.wait(frames.Session)
        self.session = opened.session
        return self.session

    def send(self, payload: Any, *, serial: int | None = None) -> int:
        """Send a request; returns its serial."""
        if serial is None:
            self.serial += 1
            serial = self.serial
        self.link.send(
            frames.Request(session=self.session, serial=serial, acknowledged=0, payload=payload)
        )
        return serial

    async def request(self, payload: Any) -> frames.Reply:
        if not self.session:
            await self.open_session()
        serial = self.send(payload)
        return await self.wait(frames.Reply, lambda reply: reply.serial == serial)

    def of[F](self, kind: type[F]) -> list[F]:
        """All frames of a kind so far."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def state(self) -> Any:
        """The state as this client holds it now: the last whole one, and the changes since."""
        import jsonpatch

        value: Any = None
        index = -1
        for frame in list(self.frames):
            if isinstance(frame, frames.State):
                value, index = frame.value, frame.index
            elif isinstance(frame, frames.Change):
                assert frame.after == index, "changes must follow one another"
                value, index = jsonpatch.apply_patch(value, frame.patch), frame.index
        return value

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.close()


class Tab(Client):
    """A client with a replica behind it."""

    def __init__(self, url: str, hello: frames.Hello, server: Server) -> None:
        super().__init__(url, hello)
        self.node_id = NodeId(secrets.token_hex(16))
        self.effects: list[Effect] = []
        self.muted = False
        """Frozen: takes nothing in and lets nothing out, with its socket open."""
        loop = asyncio.get_running_loop()
        self.driver = Driver(
            node_id=self.node_id,
            storage=MemoryStorage(),
            send=self._send,
            clock=Clock(
                monotonic=lambda: loop.time() * 1000,
                wall=lambda: time.time() * 1000,
                jitter=random.random,
            ),
            listener=self,
            server=server,
            settings=QUICK,
        )
        self.submitter = Submitter(self.driver, clock=loop.time)
        self.port: HttpPort | None = None
        if server.web is not None:
            self.port = HttpPort(
                service=Service(
                    Replicated(server, self.submitter),
                    hosting=lambda: self.driver.status.hosting,
                ),
                hello=http_wire.Hello(
                    node_id=self.node_id, client_key=hello.client_key, token=hello.token
                ),
                open_socket=open_binary,
            )
            self.port.at(url.replace("/ftweb/socket", "/ftweb/http"))

    async def open(self) -> None:
        await super().open()
        await self.wait(frames.Welcome)
        self.link.send(frames.NodeUp(node_id=self.node_id, visible=True))
        self._tasks.append(asyncio.create_task(self.driver.run()))
        if self.port is not None:
            self._tasks.append(asyncio.create_task(self.port.run()))

    def took(self, frame: frames.Frame) -> None:
        for_node = frames.Raft | frames.Directory | frames.Lost | frames.Forward
        if isinstance(frame, for_node) and not self.muted:
            self.driver.receive(frame)
        super().took(frame)

    def _send(self, frame: frames.Frame) -> None:
        if not self.muted:
            self.link.send(frame)

    async def hosts(self) -> None:
        """Wait until this tab hosts and the bridge knows it."""
        await eventually(lambda: self.driver.status.hosting)
        await self.wait(frames.Status, lambda status: status.host == self.node_id)

    async def kill(self) -> None:
        """End like a killed browser: no word, no close handshake."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self.link._socket is not None
        self.link._socket.transport.abort()
        await self.link.close()

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        self.effects += effects
        self.submitter.applied(effects)

    def restored(self) -> None:
        pass

    def status(self, status: NodeStatus) -> None:
        self.submitter.hosting(status.hosting)
        if self.port is not None:
            self.port.want(status.role is not Role.OBSERVER)

    @property
    def role(self) -> Role:
        return self.driver.status.role


class Bridge:
    """A running bridge."""

    def __init__(self, config: BridgeConfig) -> None:
        self.config = config
        self.started: Started | None = None
        self._port: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._clients: list[Client] = []

    async def start(self) -> None:
        ready: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(serve(self.config, on_ready=ready.set_result))
        either: set[asyncio.Future[Any]] = {self._task, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self.started = ready.result()

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        self._clients.clear()
        await self.end()

    async def end(self) -> None:
        """Stop the bridge only."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def at(self, port: int) -> None:
        """Stand for a bridge of this configuration that runs in another process."""
        self._port = port

    @property
    def port(self) -> int:
        if self.started is not None:
            return self.started.port
        assert self._port is not None
        return self._port

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ftweb/socket"

    def hello(self, **fields: Any) -> frames.Hello:
        defaults: dict[str, Any] = {
            "version": frames.PROTOCOL_VERSION,
            "client_key": secrets.token_hex(16),
            "device_key": secrets.token_hex(16),
            "token": self.config.identity.join_token,
            "client": "python",
        }
        return frames.Hello(**{**defaults, **fields})

    async def join(self, **hello: Any) -> Client:
        """A client that has been welcomed."""
        client = Client(self.socket_url, self.hello(**hello))
        self._clients.append(client)
        await client.open()
        await client.wait(frames.Welcome)
        return client

    async def tab(self, server: Server | None = None, **hello: Any) -> Tab:
        """A tab whose node is up."""
        tab = Tab(self.socket_url, self.hello(**hello), server or make_server())
        self._clients.append(tab)
        await tab.open()
        return tab

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def another(self, name: str, *others: Bridge, **changes: Any) -> Bridge:
        """Another bridge of the same server, not started: it has no app's files and links with
        this one and some others."""
        assert self.config.app_dir is not None
        data_dir = self.config.data_dir.with_name(f"data-{name}")
        config = dataclasses.replace(
            self.config,
            app_dir=None,
            bundle=make_bundle(self.config.app_dir),
            data_dir=data_dir,
            bridge_id=load_bridge_id(data_dir),
            links=tuple(bridge.origin for bridge in (self, *others)),
            port=0,
        )
        return Bridge(dataclasses.replace(config, **changes))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.get(f"http://127.0.0.1:{self.port}{path}", headers=sent)

    async def health(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get("/healthz")).json()
        return found

    async def clients(self, count: int) -> None:
        """Wait until so many are joined."""
        async with asyncio.timeout(PATIENCE):
            while (await self.health())["clients"] != count:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.02)


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Path:
    """A stand-in for the built browser runtime: none of these tests has a browser."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"build": "testbuild"}), encoding="utf-8")
    (folder / "client.js").write_text("export {};\n" * 200, encoding="utf-8")
    (folder / "files.js").write_text("export {};\n", encoding="utf-8")
    (folder / "net-worker.js").write_text("// worker\n", encoding="utf-8")
    return folder


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "pages").mkdir(parents=True)
    (folder / "app.py").write_text("# hosted by the tests' own tabs\n", encoding="utf-8")
    (folder / "pages" / "index.html").write_text(
        "<!doctype html><title>vote</title>" + "<p>vote</p>" * 100, encoding="utf-8"
    )
    return folder


@pytest.fixture
def config(tmp_path: Path, runtime_dir: Path, app_dir: Path) -> BridgeConfig:
    return BridgeConfig.create(
        name="tests",
        app_dir=app_dir,
        data_dir=tmp_path / "data",
        initial_state=make_server().initial_state,
        host="127.0.0.1",
        port=0,
        mdns=False,
        runtime_dir=runtime_dir,
        settings=QUICK,
    )


@pytest.fixture
async def bridge(config: BridgeConfig) -> AsyncIterator[Bridge]:
    """A bridge that runs, without any tab."""
    running = Bridge(config)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def hosted(bridge: Bridge) -> tuple[Bridge, Tab]:
    """A bridge with a tab that hosts."""
    tab = await bridge.tab()
    await tab.hosts()
    return bridge, tab


@pytest.fixture
async def pair(hosted: tuple[Bridge, Tab]) -> AsyncIterator[tuple[Bridge, Bridge]]:
    """Two bridges that are linked, the first with a tab that hosts; both replicas take part."""
    first, tab = hosted
    second = first.another("second")
    await second.start()
    try:
        await eventually(lambda: len(tab.driver.node.configuration.members) == 3)
        yield first, second
    finally:
        await second.stop()
