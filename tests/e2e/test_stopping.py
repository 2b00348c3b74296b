"""Ending ``ftweb run``: signals, what sockets and mDNS are told, and what is there next time."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.classroom import VOTING, Bridge, until
from tests.lan.avahi import Avahi
from tests.lan.lan import Host, Lan


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with Lan() as made:
        yield made


@pytest.fixture(scope="module")
def avahi(lan: Lan) -> Iterator[Avahi]:
    made = Avahi(lan.host("phone1"))
    yield made
    made.close()


@pytest_asyncio.fixture
async def bridge(lan: Lan) -> AsyncIterator[Bridge]:
    made = Bridge(lan.host("laptop"), VOTING)
    await made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


async def _join(host: Host, bridge: Bridge) -> ClientConnection:
    """A client's socket after its welcome."""
    made = await asyncio.to_thread(host.connect, bridge.host.address, bridge.port)
    made.setblocking(False)
    socket = await connect(f"ws://{bridge.host.address}:{bridge.port}/ftweb/socket", sock=made)
    hello = {
        "type": "hello",
        "version": 1,
        "client_key": secrets.token_hex(16),
        "device_key": secrets.token_hex(16),
        "token": bridge.info["join_token"],
        "client": "python",
    }
    await socket.send(json.dumps(hello))
    assert json.loads(await socket.recv())["type"] == "welcome"
    return socket


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_politely(
    lan: Lan, bridge: Bridge, avahi: Avahi, number: signal.Signals
) -> None:
    name = bridge.info["name"]

    async def listed() -> bool:
        services = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
        return name in [service.instance for service in services]

    async def gone() -> bool:
        return not await listed()

    async def read_to_the_end() -> None:
        while True:
            await socket.recv()

    await until(listed, 10)
    socket = await _join(lan.host("phone1"), bridge)
    assert await bridge.stop(number) == 0
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(read_to_the_end(), 5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    # RFC 6762, section 10.1: a goodbye is kept for one second more.
    await until(gone, 3)


async def test_a_second_start_on_the_same_data_is_the_same_server(lan: Lan, bridge: Bridge) -> None:
    first = dict(bridge.info)
    assert await bridge.stop() == 0
    await bridge.start()
    for key in ("name", "guid", "port", "join_token", "presenter_token"):
        assert bridge.info[key] == first[key]


async def test_a_port_in_use_is_said_before_anything_starts(lan: Lan, bridge: Bridge) -> None:
    second = Bridge(bridge.host, VOTING, port=bridge.port)
    with pytest.raises(RuntimeError, match=str(bridge.port)):
        await second.start()
    assert second.process is not None
    assert second.process.wait() != 0
    assert "Traceback" not in second.log.read_text()


async def test_a_broken_app_is_told_with_file_and_line(lan: Lan, tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("<!doctype html><title>broken</title>")
    (tmp_path / "app.py").write_text("import ftweb\n\nserver = ftweb.init_serve('broken')\n")
    bridge = Bridge(lan.host("laptop"), tmp_path, port=8801)
    with pytest.raises(RuntimeError, match=r"app\.py.*3"):
        await bridge.start()
    assert "Traceback" not in bridge.log.read_text()
