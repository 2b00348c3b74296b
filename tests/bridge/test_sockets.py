"""Bad input on real sockets: each is refused with its code, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close, Frame, Opcode

from ftweb import codec, frames
from ftweb.bridge import sockets as sockets_module
from ftweb.bridge import wire as wire_module
from ftweb.limits import CLIENT_FRAMES_PER_SECOND, FRAME_BYTES, JSON_DEPTH, RATE_BURST_SECONDS
from ftweb.relay import connection as connection_module

from .conftest import PATIENCE, Bridge, Client, Tab, eventually


@pytest.fixture
async def bystander(bridge: Bridge) -> AsyncIterator[Client]:
    """Somebody else, who must still be served when the test is over."""
    client = await bridge.join()
    yield client
    client.link.send(frames.Ping(n=99))
    await client.wait(frames.Pong, lambda pong: pong.n == 99)
    assert client.closed is None


@asynccontextmanager
async def raw(bridge: Bridge, **options: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket on which anything can be sent."""
    options = {"compression": None, "ping_interval": None, **options}
    async with asyncio.timeout(PATIENCE), connect(bridge.socket_url, **options) as opened:
        yield opened


async def outcome(opened: ClientConnection) -> tuple[str | None, int]:
    """The last error code that was said, and the close code."""
    said = None
    try:
        while True:
            frame = json.loads(await opened.recv())
            if frame["type"] == "error":
                said = frame["code"]
    except ConnectionClosed as closed:
        return said, closed.rcvd.code if closed.rcvd else 1006


def hello(bridge: Bridge, **fields: Any) -> str:
    return codec.encode(bridge.hello(**fields))


# --- joining ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("token", ["", "wrong", "x" * 64])
async def test_a_wrong_token(bridge: Bridge, token: str) -> None:
    async with raw(bridge) as opened:
        await opened.send(hello(bridge, token=token))
        assert await outcome(opened) == ("bad_token", 4401)


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"version": frames.PROTOCOL_VERSION + 1}, ("version_mismatch", 4409)),
        ({"version": 0}, ("version_mismatch", 4409)),
        ({"version": -1}, ("version_mismatch", 4409)),
        ({"client_key": ""}, ("bad_frame", 4400)),
        ({"client_key": "AB" * 16}, ("bad_frame", 4400)),
        ({"device_key": "ab" * 500}, ("bad_frame", 4400)),
        ({"client": "toaster"}, ("bad_frame", 4400)),
        ({"state_index": -5}, ("bad_frame", 4400)),
        ({"token": "t" * 1000}, ("bad_frame", 4400)),
    ],
)
async def test_a_bad_hello(
    bridge: Bridge, fields: dict[str, Any], expected: tuple[str, int]
) -> None:
    async with raw(bridge) as opened:
        await opened.send(json.dumps({**json.loads(hello(bridge)), **fields}))
        assert await outcome(opened) == expected


@pytest.mark.usefixtures("bystander")
async def test_a_hello_of_the_future_need_not_look_like_ours(bridge: Bridge) -> None:
    async with raw(bridge) as opened:
        await opened.send(json.dumps({"type": "hello", "version": 7, "credentials": {"a": 1}}))
        assert await outcome(opened) == ("version_mismatch", 4409)


@pytest.mark.usefixtures("bystander")
async def test_nothing_is_heard_before_the_hello(bridge: Bridge) -> None:
    for frame in (
        frames.OpenSession(),
        frames.Ping(n=1),
        frames.NodeUp(node_id="a" * 32, visible=True),
    ):
        async with raw(bridge) as opened:
            await opened.send(codec.encode(frame))
            assert await outcome(opened) == ("bad_frame", 4400)


@pytest.mark.usefixtures("bystander")
async def test_no_hello_in_time(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets_module, "HELLO_SECONDS", 0.1)
    async with raw(bridge) as opened:
        assert await outcome(opened) == ("hello_timeout", 4408)


# --- malformed --------------------------------------------------------------------------------

DEEP = "[" * (JSON_DEPTH + 2) + "]" * (JSON_DEPTH + 2)


@pytest.mark.parametrize("joined", [False, True], ids=["before hello", "joined"])
@pytest.mark.parametrize(
    "text, code",
    [
        ("", "bad_frame"),
        ("nonsense", "bad_frame"),
        ("{", "bad_frame"),
        ("[]", "bad_frame"),
        ("null", "bad_frame"),
        ("{}", "bad_frame"),
        ('{"type": "no such type"}', "bad_frame"),
        ('{"type": 5}', "bad_frame"),
        ('{"type": "request"}', "bad_frame"),
        ('{"type": "ping", "n": "one"}', "bad_frame"),
        ('{"type": "ping", "n": 1e999}', "bad_frame"),
        ('{"type": "ping", "n": 99999999999999999999}', "bad_frame"),
        ('{"type": "request", "session": 1, "serial": 1, "acknowledged": 0, "payload": NaN}',
         "bad_frame"),
        ('{"type": "request", "session": 1, "serial": 1, "acknowledged": 0, "payload": '
         + DEEP + "}", "too_deep"),
        ('{"type": "request", "session": 1, "serial": 1, "acknowledged": 0, "payload": '
         + "[" * 100_000 + "]" * 100_000 + "}", "too_deep"),
        ('{"type": "request", "session": 1, "serial": 1, "acknowledged": 0, "payload": {"'
         + "k" * 1000 + '": 1}}', "too_deep"),
        ("[" * 200_000, "bad_frame"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else str(value),
)  # fmt: skip
@pytest.mark.usefixtures("bystander")
async def test_malformed_frames(bridge: Bridge, text: str, code: str, joined: bool) -> None:
    async with raw(bridge) as opened:
        if joined:
            await opened.send(hello(bridge))
            await opened.recv()
        await opened.send(text)
        said, closed = await outcome(opened)
        assert closed == 4400
        assert said in (code, "too_deep" if text.startswith("[" * 9) else code)


@pytest.mark.usefixtures("bystander")
async def test_binary_frames(bridge: Bridge) -> None:
    async with raw(bridge) as opened:
        await opened.send(hello(bridge).encode())
        assert await outcome(opened) == ("bad_frame", 4400)
    async with raw(bridge) as opened:
        await opened.send(hello(bridge))
        await opened.recv()
        await opened.send(b"\x00\x01")
        assert await outcome(opened) == ("bad_frame", 4400)


@pytest.mark.usefixtures("bystander")
async def test_bad_utf8(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    async with raw(bridge) as opened:
        await opened.send(b'{"type": "ping", "n": 1, "x": "\xff\xfe"}', text=True)
        assert (await outcome(opened))[1] == 1007
    async with raw(bridge) as opened:
        await opened.send([b'{"type": "p', b'ing", "n\xc3', b'\x28": 1}'], text=True)
        assert (await outcome(opened))[1] == 1007
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("joined", [False, True])
async def test_huge_frames(bridge: Bridge, joined: bool) -> None:
    async with raw(bridge) as opened:
        if joined:
            await opened.send(hello(bridge))
            await opened.recv()
        with contextlib.suppress(ConnectionClosed):
            await opened.send("x" * (FRAME_BYTES + 1))
        assert await outcome(opened) == ("too_large", 1009)


@pytest.mark.usefixtures("bystander")
async def test_a_huge_frame_in_small_fragments(bridge: Bridge) -> None:
    async def fragments() -> AsyncIterator[str]:
        for _ in range(FRAME_BYTES // 1000 + 2):
            yield "x" * 1000

    async with raw(bridge) as opened:
        with contextlib.suppress(ConnectionClosed):
            await opened.send(fragments())
        assert await outcome(opened) == ("too_large", 1009)


@pytest.mark.usefixtures("bystander")
async def test_a_frame_in_endless_empty_fragments(bridge: Bridge) -> None:
    async def fragments() -> AsyncIterator[str]:
        while True:
            yield ""
            await asyncio.sleep(0)  # the bridge runs in the same loop

    async with raw(bridge) as opened:
        with contextlib.suppress(ConnectionClosed):
            await opened.send(fragments())
        assert (await outcome(opened))[1] == 1008


@pytest.mark.usefixtures("bystander")
async def test_too_many_fragments_and_a_close_at_once(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """The close has its answer when the fragments are counted: there is no second one to send."""
    async with raw(bridge) as opened:
        parts = [Frame(Opcode.TEXT, b"x", fin=False)]
        parts += [Frame(Opcode.CONT, b"", fin=False)] * 1100
        parts += [Frame(Opcode.CONT, b""), Frame(Opcode.CLOSE, Close(1000, "").serialize())]
        opened.transport.write(b"".join(part.serialize(mask=True) for part in parts))
        assert (await outcome(opened))[1] in (1000, 1008)  # the latter if they came in two pieces
    assert "Traceback" not in caplog.text


async def test_the_largest_allowed_frame_is_read(bridge: Bridge) -> None:
    async with raw(bridge) as opened:
        text = hello(bridge)[:-1] + ',"padding":"'
        await opened.send(text + "x" * (FRAME_BYTES - len(text) - 2) + '"}')
        assert json.loads(await opened.recv())["type"] == "welcome"


# --- too many ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("bystander")
async def test_too_many_frames_a_second(bridge: Bridge) -> None:
    async with raw(bridge) as opened:
        await opened.send(hello(bridge))
        with contextlib.suppress(ConnectionClosed):
            for n in range(int(CLIENT_FRAMES_PER_SECOND * (RATE_BURST_SECONDS + 5))):
                await opened.send(codec.encode(frames.Ping(n=n)))
        assert await outcome(opened) == ("rate_limited", 4429)


@pytest.mark.usefixtures("bystander")
async def test_a_replica_may_send_more(bridge: Bridge) -> None:
    async with raw(bridge) as opened:
        await opened.send(hello(bridge))
        node = frames.NodeUp(node_id=secrets.token_hex(16), visible=True)
        await opened.send(codec.encode(node))
        total = int(CLIENT_FRAMES_PER_SECOND * (RATE_BURST_SECONDS + 5))
        for n in range(total):
            await opened.send(codec.encode(frames.Ping(n=n)))
        while True:
            frame = json.loads(await opened.recv())
            if frame == {"type": "pong", "n": total - 1}:
                return


@pytest.mark.usefixtures("bystander")
async def test_a_flood_of_control_frames(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "REPLICA_FRAMES_PER_SECOND", 50)
    async with raw(bridge) as opened:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1000):
                await opened.ping()
        assert (await outcome(opened))[1] == 4429


@pytest.mark.usefixtures("bystander")
async def test_too_many_sockets_from_one_address(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CONNECTIONS_PER_ADDRESS", 3)  # the bystander has one
    async with raw(bridge) as first, raw(bridge) as second:
        async with raw(bridge) as third:
            assert await outcome(third) == ("too_many_connections", 4503)
        await first.send(hello(bridge))
        assert json.loads(await first.recv())["type"] == "welcome"
        await second.close()
        await eventually(lambda: second.state.name == "CLOSED")
        async with raw(bridge) as again:
            await again.send(hello(bridge))
            assert json.loads(await again.recv())["type"] == "welcome"


@pytest.mark.usefixtures("bystander")
async def test_too_many_sockets_in_all(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CONNECTIONS", 2)
    async with raw(bridge), raw(bridge) as late:
        assert await outcome(late) == ("too_many_connections", 4503)


# --- too slow ---------------------------------------------------------------------------------


async def test_a_standstill_of_our_own_is_nobodys_silence(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets_module, "SILENCE_SECONDS", 1.5)
    client = await bridge.join()
    time.sleep(2.5)  # noqa: ASYNC251 - the process stands still
    for n in range(1, 4):
        await asyncio.sleep(0.5)
        client.link.send(frames.Ping(n=n))
        await eventually(lambda: len(client.of(frames.Pong)) >= n or client.closed)  # noqa: B023
    assert client.closed is None


async def test_a_silent_socket(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets_module, "SILENCE_SECONDS", 1.5)
    silent, talking = await bridge.join(), await bridge.join()
    n = 0
    while silent.closed is None:
        n += 1
        talking.link.send(frames.Ping(n=n))
        await eventually(lambda: len(talking.of(frames.Pong)) >= n or silent.closed)  # noqa: B023
        await asyncio.sleep(0.1)
    assert await silent.wait_closed() == 4408
    assert talking.closed is None


async def test_a_slow_reader_is_disconnected_and_others_are_untouched(
    hosted: tuple[Bridge, Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "SLOW_READER_BYTES", 500_000)
    bridge, _ = hosted
    other = await bridge.join()
    with contextlib.closing(socket.socket()) as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", bridge.port))
        async with raw(bridge, sock=small, close_timeout=0.1) as slow:
            await slow.send(hello(bridge))
            await bridge.clients(3)
            slow.transport.pause_reading()
            for _ in range(20):
                reply = await other.request({"say": "x" * 50_000})
                assert reply.payload == "sent"
            await bridge.clients(2)
            slow.transport.resume_reading()
            assert (await outcome(slow))[1] in (1013, 1006)
    assert len(other.of(frames.Message)) == 20


# --- the handshake ----------------------------------------------------------------------------


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://evil.example:{port}", "null", "https://127.0.0.1:{port}",
     "http://127.0.0.1:1", "http://198.51.100.99:{port}", "file://"],
)  # fmt: skip
async def test_a_foreign_origin(bridge: Bridge, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with raw(bridge, origin=origin.format(port=bridge.port)):
            pass
    assert caught.value.response.status_code == 403
    assert caught.value.response.body.startswith(b"bad_origin")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
async def test_its_own_origins(bridge: Bridge, origin: str) -> None:
    async with raw(bridge, origin=origin.format(port=bridge.port)) as opened:
        await opened.send(hello(bridge))
        assert json.loads(await opened.recv())["type"] == "welcome"


async def test_each_attempt_may_have_a_path_of_its_own(bridge: Bridge) -> None:
    async with connect(f"ws://127.0.0.1:{bridge.port}/ftweb/socket/17") as opened:
        await opened.send(hello(bridge))
        assert json.loads(await opened.recv())["type"] == "welcome"


@pytest.mark.usefixtures("bystander")
async def test_sockets_elsewhere(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/", "/ftweb/socketx", "/ftweb/socket/x", "/FTWEB/socket", "/ftweb//socket"):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://127.0.0.1:{bridge.port}{path}"):
                pass
        assert caught.value.response.status_code == 403, path
    assert "Traceback" not in caplog.text
