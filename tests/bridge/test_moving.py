"""The laptop changes its Wi-Fi: pages, other bridges and the terminal are told where it is now."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect

from ftweb import frames
from ftweb.bridge import BridgeConfig, Started, moving, serve
from ftweb.bridge import server as server_module
from ftweb.bridge.moving import AddressWatch

from .conftest import Bridge, eventually

HOME, CAFE = "192.0.2.7", "198.51.100.9"


def test_a_change_is_told_once() -> None:
    has = [HOME]
    told: list[tuple[str, ...]] = []
    watch = AddressWatch(read=lambda: tuple(has), moved=told.append)
    watch.look()
    assert told == []
    has[:] = [CAFE, HOME]
    watch.look()
    watch.look()
    assert told == [(CAFE, HOME)]


def test_with_the_wifi_off_what_was_shown_stays() -> None:
    has = [HOME]
    told: list[tuple[str, ...]] = []
    watch = AddressWatch(read=lambda: tuple(has), moved=told.append)
    has[:] = ["127.0.0.1"]
    watch.look()
    has[:] = [HOME]
    watch.look()
    assert told == []


async def test_pages_and_the_terminal_are_told(
    config: BridgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = [HOME]
    monkeypatch.setattr(server_module, "shown_addresses", lambda _: tuple(has))
    monkeypatch.setattr(moving, "ADDRESSES_SECONDS", 0.01)
    ready: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    moves: list[Started] = []
    task = asyncio.create_task(serve(config, on_ready=ready.set_result, on_moved=moves.append))
    before = await ready
    bridge = Bridge(config)
    bridge.at(before.port)
    try:
        presenter = await bridge.join(token=config.identity.presenter_token)
        welcome = await presenter.wait(frames.Welcome)
        assert welcome.join_url.startswith(f"http://{HOME}:{before.port}/")
        has[:] = [CAFE]
        status = await presenter.wait(
            frames.Status, lambda status: status.bridges[0].urls == [f"http://{CAFE}:{before.port}"]
        )
        assert status.bridges[0].node_id == welcome.bridge
        (after,) = moves
        assert after.urls == (f"http://{CAFE}:{before.port}/",)
        assert after.join_url == before.join_url.replace(HOME, CAFE)
        later = await bridge.join(token=config.identity.presenter_token)
        assert (await later.wait(frames.Welcome)).join_url == after.join_url
        # A page that was loaded by the address of before comes back.
        origin = f"http://{HOME}:{before.port}"
        async with connect(bridge.socket_url, additional_headers={"Origin": origin}):
            pass
    finally:
        await bridge.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await eventually(task.done)
