"""The whole client against a real bridge, with a replica that hosts."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import ftweb
from ftweb.bridge import BridgeConfig
from ftweb.bridge.discovery import browse
from ftweb.client.address import Target
from ftweb.client.keeper import Keeper
from ftweb.client.lookup import find_server
from ftweb.errors import ConnectError, RequestError
from tests.bridge.conftest import QUICK, Bridge, eventually, make_server


@pytest.fixture
def config(tmp_path: Path, free_port: Any) -> BridgeConfig:
    app_dir, runtime_dir = tmp_path / "app", tmp_path / "dist"
    (app_dir / "pages").mkdir(parents=True)
    (app_dir / "app.py").write_text("# hosted by these tests' own tabs\n", encoding="utf-8")
    (app_dir / "pages" / "index.html").write_text("<!doctype html>", encoding="utf-8")
    runtime_dir.mkdir()
    (runtime_dir / "manifest.json").write_text('{"build": "testbuild"}', encoding="utf-8")
    (runtime_dir / "client.js").write_text("export {};\n", encoding="utf-8")
    return BridgeConfig.create(
        name="client tests",
        app_dir=app_dir,
        data_dir=tmp_path / "data",
        initial_state=make_server().initial_state,
        host="127.0.0.1",
        port=free_port(),
        mdns=False,
        runtime_dir=runtime_dir,
        settings=QUICK,
    )


@pytest.fixture
async def real(config: BridgeConfig) -> AsyncIterator[Bridge]:
    """A real bridge, without tabs."""
    bridge = Bridge(config)
    await bridge.start()
    try:
        yield bridge
    finally:
        await bridge.stop()


def url(bridge: Bridge) -> str:
    assert bridge.started is not None
    return bridge.started.join_url


async def test_requests_state_and_messages(real: Bridge) -> None:
    tab = await real.tab()
    await tab.hosts()
    async with ftweb.connect(url(real)) as one, ftweb.connect(url(real)) as two:
        assert await one.send({"add": 2}) == {"count": 2}
        assert (await two.wait_for(lambda state: state["count"] == 2, timeout=10))["seen"] == []
        await one.send({"say": "all"})
        await one.send({"say": "you", "to": two.client_id})
        assert await anext(two) == {"said": "all"}
        assert await anext(two) == {"said": "you"}
        assert await anext(one) == {"said": "all"}
        with pytest.raises(RequestError) as caught:
            await one.send("raise")
        assert caught.value.code == "handler_failed"
        assert await one.send("who") == {"client": one.client_id, "presenter": False}
        assert one.status.state == "connected"
        assert one.status.host_id == tab.node_id
        assert one.name == "client tests"


async def test_a_presenter(real: Bridge) -> None:
    tab = await real.tab()
    await tab.hosts()
    assert real.started is not None
    async with ftweb.connect(real.started.presenter_url) as connection:
        assert await connection.send("who") == {"client": connection.client_id, "presenter": True}
        assert connection.join_url == url(real)


async def test_a_wrong_token(real: Bridge) -> None:
    with pytest.raises(ConnectError) as caught:
        async with ftweb.connect(url(real), token="wrong-token-wrong-token"):
            pytest.fail("entered")
    assert caught.value.code == "bad_token"


async def test_nothing_is_lost_or_doubled_when_the_host_is_killed(real: Bridge) -> None:
    first, second = await real.tab(), await real.tab()
    await first.hosts()
    each, clients = 10, 20

    async def vote(number: int) -> None:
        async with ftweb.connect(url(real)) as connection:
            for _ in range(each):
                await connection.send({"add": 1}, timeout=30)

    voting = [asyncio.create_task(vote(number)) for number in range(clients)]
    async with ftweb.connect(url(real)) as watcher:
        await watcher.wait_for(lambda state: state["count"] >= clients, timeout=20)
        await first.kill()
        await asyncio.gather(*voting)
        await watcher.wait_for(lambda state: state["count"] == each * clients, timeout=20)
        # The first may have died when all was counted, before anybody knew the next host.
        await eventually(lambda: watcher.status.host_id == second.node_id)


async def test_the_bridge_restarts(real: Bridge) -> None:
    tab = await real.tab()
    await tab.hosts()
    async with ftweb.connect(url(real)) as connection:
        assert await connection.send({"add": 1}) == {"count": 1}
        await real.stop()
        await connection.wait_for_status(lambda status: status.state == "offline", timeout=10)
        sending = asyncio.create_task(connection.send({"add": 1}))
        await real.start()
        tab = await real.tab()
        await tab.hosts()
        assert await asyncio.wait_for(sending, 20) == {"count": 2}


async def test_by_name_over_mdns(config: BridgeConfig) -> None:
    loopback = ("127.0.0.1",)
    bridge = Bridge(dataclasses.replace(config, mdns=True, mdns_interfaces=loopback))
    await bridge.start()
    try:
        find = functools.partial(find_server, browse=functools.partial(browse, interfaces=loopback))
        target = Target(name="Client Tests", token=config.identity.join_token)
        async with Keeper(target, device_key="0" * 32, open_timeout=10, find=find) as connection:
            assert connection.guid == config.guid
    finally:
        await bridge.stop()


async def test_many_connections_leave_nothing_behind(real: Bridge) -> None:
    tab = await real.tab()
    await tab.hosts()

    async def vote(number: int) -> Any:
        async with ftweb.connect(url(real), open_timeout=30) as connection:
            return await connection.send({"add": 1}, timeout=30)

    counts = await asyncio.gather(*map(vote, range(100)))
    assert sorted(reply["count"] for reply in counts) == list(range(1, 101))
    await real.clients(1)
