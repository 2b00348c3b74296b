"""The whole bridge over real sockets: HTTP, starting, stopping, restarting, failing."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gzip
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftweb import frames
from ftweb.bridge import BridgeConfig, browse, serve
from ftweb.bridge import wire as wire_module
from ftweb.bridge.listening import listen
from ftweb.bridge.storage import DATABASE_FILE
from ftweb.epochs import generation_of
from ftweb.errors import AppLoadError, FtwebError, StorageError

from .conftest import PATIENCE, Bridge, Tab, eventually


async def exchange(bridge: Bridge, request: bytes) -> bytes:
    """Send bytes as they are; returns all that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(request)
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def request(*lines: str) -> bytes:
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# --- HTTP -------------------------------------------------------------------------------------


async def test_pages_and_runtime(bridge: Bridge) -> None:
    page = await bridge.get("/", accept_encoding="identity")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "connect-src 'self' ws:;" in page.headers["content-security-policy"]
    assert "server" not in page.headers
    packed = await exchange(
        bridge,
        request("GET / HTTP/1.1", f"Host: localhost:{bridge.port}", "Accept-Encoding: gzip, br"),
    )
    head, _, body = packed.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head
    assert gzip.decompress(body) == page.content
    again = await bridge.get("/", if_none_match=page.headers["etag"], accept_encoding="identity")
    assert (again.status_code, again.content) == (304, b"")
    worker = await bridge.get("/ftweb/runtime/testbuild/net-worker.js")
    assert "immutable" in worker.headers["cache-control"]
    assert (await bridge.get("/ftweb/client.js")).headers["cache-control"] == "no-cache"
    assert (await bridge.get("/app.py")).status_code == 404
    assert (await bridge.get("/identity.json")).status_code == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "198.51.100.99:{port}",
        "localhost:{port}.evil.example",
        "[::1",
        "\xff\xfe",
        "%00",
        "a" * 4000,
        "",
    ],
)
async def test_a_foreign_or_malformed_host(bridge: Bridge, host: str) -> None:
    for path in ("/", "/healthz", "/ftweb/client.js", "/nowhere"):
        answer = await exchange(
            bridge, request(f"GET {path} HTTP/1.1", "Host: " + host.format(port=bridge.port))
        )
        assert status_of(answer) in (421, 400), path
        assert b"vote" not in answer
    assert (await bridge.health())["status"] in ("ok", "waiting")


async def test_the_refusal_names_its_code(bridge: Bridge) -> None:
    answer = await exchange(bridge, request("GET / HTTP/1.1", "Host: evil.example"))
    assert status_of(answer) == 421
    assert b"bad_host" in answer


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:1\r\nHost: localhost:1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET  /\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:30]),
)
async def test_malformed_requests(bridge: Bridge, raw: bytes, monkeypatch: Any) -> None:
    monkeypatch.setattr(wire_module, "HELLO_SECONDS", 0.3)
    answer = await exchange(bridge, raw)
    assert answer == b"" or status_of(answer) in (400, 421, 431)
    assert (await bridge.health())["quorum"] is True


async def test_two_hosts_are_none(bridge: Bridge) -> None:
    host = f"Host: localhost:{bridge.port}"
    answer = await exchange(bridge, request("GET / HTTP/1.1", host, host))
    assert status_of(answer) in (400, 421, 431)


async def test_other_methods_need_an_own_origin(bridge: Bridge) -> None:
    host = f"localhost:{bridge.port}"
    for origin, expected in ((f"http://{host}", 405), ("http://evil.example", 403), ("null", 403)):
        answer = await exchange(
            bridge,
            request("POST / HTTP/1.1", f"Host: {host}", f"Origin: {origin}", "Content-Length: 0"),
        )
        assert status_of(answer) == expected, origin


async def test_nobody_may_say_where_a_connection_comes_from(bridge: Bridge) -> None:
    """X-Forwarded-For is not believed: a phone must not pass for a tab of the laptop."""
    from websockets.asyncio.client import connect

    from ftweb import codec

    async with connect(
        bridge.socket_url, additional_headers={"X-Forwarded-For": "203.0.113.5"}
    ) as opened:
        await opened.send(codec.encode(bridge.hello()))
        welcome = codec.decode(await opened.recv())
        assert isinstance(welcome, frames.Welcome)
        assert welcome.local


async def test_connections_that_ask_for_nothing_are_ended(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "HELLO_SECONDS", 0.2)
    assert await exchange(bridge, b"") == b""
    assert await exchange(bridge, b"GET / HT") == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    with contextlib.closing(writer):
        writer.write(f"HEAD / HTTP/1.1\r\nHost: localhost:{bridge.port}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HT")  # the second request must be made in time, too
        async with asyncio.timeout(2):
            assert await reader.read() == b""


async def test_more_connections_than_allowed_are_cut(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_module, "HTTP_CONCURRENCY", 3)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
            stack.callback(writer.close)
        assert await exchange(bridge, b"") == b""


# --- health -----------------------------------------------------------------------------------


async def test_health(hosted: tuple[Bridge, Tab]) -> None:
    bridge, tab = hosted
    await bridge.join()
    health = await bridge.health()
    assert health == {
        "status": "ok",
        "version": health["version"],
        "name": "tests",
        "epoch": tab.driver.epoch,
        "term": tab.driver.status.term,
        "host": tab.node_id,
        "nodes": 2,
        "clients": 2,
        "quorum": True,
        "spare": 0,
        "storage": "ok",
    }
    await tab.kill()
    await eventually_health(bridge, status="waiting", host=None, nodes=1)


async def eventually_health(bridge: Bridge, **fields: Any) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:
            health = await bridge.health()
            if all(health[name] == value for name, value in fields.items()):
                return health
            await asyncio.sleep(0.02)


# --- starting ---------------------------------------------------------------------------------


async def test_a_port_in_use(config: BridgeConfig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FtwebError, match=f"port {port}") as caught:
            await serve(dataclasses.replace(config, port=port), on_ready=lambda _: None)
    assert caught.value.code == "port_in_use"
    assert not (config.data_dir / "epoch").exists(), "nothing may have begun"


async def test_an_app_that_is_missing(config: BridgeConfig, tmp_path: Path) -> None:
    with pytest.raises(AppLoadError) as caught:
        await serve(dataclasses.replace(config, app_dir=tmp_path / "x"), on_ready=lambda _: None)
    assert caught.value.code == "app_missing"


async def test_a_second_bridge_with_the_same_data(bridge: Bridge) -> None:
    with pytest.raises(StorageError, match="uses that data directory"):
        await serve(bridge.config, on_ready=lambda _: None)
    assert (await bridge.health())["storage"] == "ok"


async def test_a_damaged_replica_stops_the_start_and_is_kept(config: BridgeConfig) -> None:
    bridge = Bridge(config)
    await bridge.start()
    await bridge.stop()
    database = config.data_dir / DATABASE_FILE
    database.write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match="kept aside") as caught:
        await bridge.start()
    assert caught.value.code == "storage_untrusted"
    await bridge.start()  # a new beginning, but not of an old epoch
    health = await eventually_health(bridge, quorum=True, storage="ok")
    assert generation_of(health["epoch"]) == 2
    await bridge.stop()


async def test_what_is_shown(bridge: Bridge) -> None:
    started = bridge.started
    assert started is not None
    assert started.urls == (f"http://127.0.0.1:{bridge.port}/",)
    assert started.join_url == f"{started.urls[0]}#join={started.join_token}"
    assert started.presenter_url.startswith(f"http://localhost:{bridge.port}/presenter.html#")
    assert started.presenter_url.endswith(started.presenter_token)
    assert started.presenter_token not in started.join_url


# --- restarting -------------------------------------------------------------------------------


async def test_a_restart_keeps_everything_acknowledged_and_begins_a_new_epoch(
    config: BridgeConfig,
) -> None:
    key = secrets.token_hex(16)
    bridge = Bridge(config)
    await bridge.start()
    tab = await bridge.tab()
    await tab.hosts()
    client = await bridge.join(client_key=key)
    for total in range(1, 6):
        assert (await client.request({"add": 1})).payload == {"count": total}
    session = client.session
    await bridge.stop()

    await bridge.start()
    health = await eventually_health(bridge, quorum=True, host=None)
    assert generation_of(health["epoch"]) == 2
    tab = await bridge.tab()
    await tab.hosts()
    client = await bridge.join(client_key=key)
    assert (await client.wait(frames.State)).value["count"] == 5
    assert await client.open_session() == session, "sessions outlive the bridge"
    client.send({"add": 1}, serial=5)
    cached = await client.wait(frames.Reply)
    assert cached.payload == {"count": 5}, "a repeated request is answered, not run"
    client.serial = 5
    assert (await client.request({"add": 1})).payload == {"count": 6}
    await bridge.stop()


async def test_tabs_that_stayed_join_the_new_epoch(config: BridgeConfig) -> None:
    bridge = Bridge(config)
    await bridge.start()
    fixed = dataclasses.replace(config, port=bridge.port)
    tab = await bridge.tab()
    await tab.hosts()
    await (await bridge.join()).request({"add": 3})
    await bridge.end()
    await tab.wait_closed()

    bridge = Bridge(fixed)
    await bridge.start()
    returned = await bridge.tab()  # the same page would come with a new node as well
    await returned.hosts()
    assert generation_of(returned.driver.epoch) == 2
    assert returned.driver.machine.state["count"] == 3
    await tab.close()
    await bridge.stop()


# --- stopping ---------------------------------------------------------------------------------


async def test_stopping_closes_every_socket_with_1001(hosted: tuple[Bridge, Tab]) -> None:
    bridge, tab = hosted
    clients = [tab, *[await bridge.join() for _ in range(5)]]
    await bridge.end()
    assert [await client.wait_closed() for client in clients] == [1001] * 6


PROGRAM = """
import asyncio, sys
from pathlib import Path
from ftweb.bridge import BridgeConfig, serve
root = Path(sys.argv[1])
config = BridgeConfig.create(
    name="stopping", app_dir=root / "app", data_dir=root / "data", initial_state={},
    host="127.0.0.1", port=0, runtime_dir=root / "dist", mdns_interfaces=("127.0.0.1",))
asyncio.run(serve(config, on_ready=lambda started: print(started.port, flush=True)))
print("stopped in order", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_stop_it_in_order(
    tmp_path: Path, app_dir: Path, runtime_dir: Path, number: signal.Signals
) -> None:
    """The goodbye is heard, sockets get 1001, and the exit status is 0."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(tmp_path), stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    port = int(await program.stdout.readline())
    heard: list[Any] = []

    async def listen() -> None:
        async for found in browse(None, interfaces=("127.0.0.1",)):
            if found.port == port:
                heard.append(found)

    listener = asyncio.create_task(listen())
    await eventually(lambda: heard)
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async with connect(f"ws://127.0.0.1:{port}/ftweb/socket") as opened:
        program.send_signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            await opened.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    async with asyncio.timeout(PATIENCE):
        assert (await program.stdout.read()).decode().strip() == "stopped in order"
        assert await program.wait() == 0
    await eventually(lambda: heard[-1].gone)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


# --- a full disk ------------------------------------------------------------------------------


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from ftweb.bridge import BridgeConfig, serve
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
root = Path(sys.argv[1])
config = BridgeConfig.create(
    name="tests", app_dir=root / "app", data_dir=root / "data", mdns=False,
    initial_state={"count": 0, "seen": []}, host="127.0.0.1", port=0, runtime_dir=root / "dist")
def ready(started):
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    print(started.port, flush=True)
asyncio.run(serve(config, on_ready=ready))
"""


async def test_with_a_full_disk_nothing_is_acknowledged_and_everybody_is_told(
    config: BridgeConfig, tmp_path: Path
) -> None:
    """The operating system refuses the bridge any file beyond 400 kB."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LIMITED, str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stderr is not None
    bridge = Bridge(config)
    bridge.at(int(await program.stdout.readline()))
    tab = await bridge.tab()
    await tab.hosts()
    client = await bridge.join()
    await client.open_session()

    def failed() -> bool:
        return any(not status.quorum for status in client.of(frames.Status))

    while not failed():
        sent = client.send({"grow": 30_000})
        await eventually(lambda: failed() or len(client.of(frames.Reply)) == sent)  # noqa: B023
    acknowledged = len(client.of(frames.Reply))
    assert 0 < acknowledged < 20
    health = await bridge.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "failed")
    assert health.json()["storage"] == "failed"
    client.send({"add": 1})
    client.link.send(frames.Ping(n=1))
    await client.wait(frames.Pong)
    assert len(client.of(frames.Reply)) == acknowledged
    await bridge.stop()
    program.terminate()
    async with asyncio.timeout(PATIENCE):
        log = (await program.stderr.read()).decode()
        assert await program.wait() == 0
    assert "make room on the disk" in log

    bridge = Bridge(config)  # with room again
    await bridge.start()
    late = await bridge.join()
    assert len((await late.wait(frames.State)).value["seen"]) >= acknowledged
    await bridge.stop()


def test_descriptors_are_raised() -> None:
    """A bridge that may open only 64 files raises the limit as far as it may."""
    code = (
        "import resource\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "from ftweb.bridge.server import _raise_descriptor_limit\n"
        "_raise_descriptor_limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "True"


async def test_small_frames_are_sent_at_once() -> None:
    """Nagle's algorithm is off on accepted sockets: with it a vote waits 40 ms at each hop."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    with listen("127.0.0.1", 0) as listener:
        server = await asyncio.start_server(
            lambda _, writer: accepted.put_nowait(writer), sock=listener
        )
        async with server:
            _, near = await asyncio.open_connection(*listener.getsockname())
            far = await accepted.get()
            option = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert far.get_extra_info("socket").getsockopt(*option)
            near.close()
            far.close()
