"""Bridges fetch from each other what they lack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ftweb.app.server import Server, init_server
from ftweb.bridge.config import BridgeConfig
from ftweb.bridge.files import Files
from ftweb.bridge.mirror import Mirror
from ftweb.bridge.security import AllowedHosts
from ftweb.errors import FileError
from ftweb.files import Manifest, check_manifest, describe
from ftweb.transports.fetching import get_chunks

from .conftest import PATIENCE, Bridge
from .test_files import CONTENT, MANIFEST, Remote

STATE: dict[str, Any] = {"files": {"f1": {"manifest": MANIFEST.to_dict()}}}


@pytest.fixture
async def remote(bridge: Bridge) -> AsyncIterator[Remote]:
    made = Remote(bridge)
    yield made
    await made.http.aclose()


def mirroring(config: BridgeConfig, *origins: str, state: Any = STATE) -> tuple[Files, Mirror]:
    files = Files(
        config.data_dir / "mirrored",
        identity=config.identity,
        hosts=AllowedHosts(port=80),
        state=lambda: state,
    )
    return files, Mirror(files, lambda: origins)


async def test_what_the_state_names_is_fetched(remote: Remote, config: BridgeConfig) -> None:
    await remote.put_all()
    files, mirror = mirroring(
        config, "http://127.0.0.1:9", f"http://127.0.0.1:{remote.bridge.port}"
    )
    await mirror.round()
    assert files.store.missing(MANIFEST) == []
    got = b"".join(files.store.path(sha256).read_bytes() for sha256 in MANIFEST.chunks)
    assert got == CONTENT


async def test_what_nobody_has_all_of_is_left_for_later(
    remote: Remote, config: BridgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftweb.bridge.mirror.PATIENCE", 0.5)
    await remote.put_manifest()
    for index in (0, 1, 3):
        await remote.put_chunk(index)
    files, mirror = mirroring(config, f"http://127.0.0.1:{remote.bridge.port}")
    await mirror.round()
    assert files.store.missing(MANIFEST) == [2]
    await remote.put_chunk(2)
    await mirror.round()
    assert files.store.missing(MANIFEST) == []


async def test_a_full_disk_is_logged_and_no_more(
    remote: Remote,
    config: BridgeConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await remote.put_all()
    files, mirror = mirroring(config, f"http://127.0.0.1:{remote.bridge.port}")

    def full(*_: object) -> None:
        raise FileError("The bridge's disk is full.", code="files_full")

    monkeypatch.setattr(files.store, "receive", full)
    for _ in range(2):
        await mirror.round()
    assert caplog.text.count("disk is full") == 1, "said once"


async def test_files_that_nobody_has_hold_nobody_up(
    remote: Remote, config: BridgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand of them: more than a bridge keeps, in a state that is just allowed."""
    await remote.put_all()
    phantoms = [
        describe(f"{number}", "text/plain", [b"%d" % number], chunk_bytes=65536).to_dict()
        for number in range(10_000)
    ]
    origin = f"http://127.0.0.1:{remote.bridge.port}"
    state = {"files": [*phantoms, MANIFEST.to_dict()]}  # new ones come last
    files, mirror = mirroring(config, origin, state=state)
    asked: list[str] = []

    async def ask(origin: str, manifest: Manifest) -> set[int]:
        asked.append(manifest.id)
        return await get_chunks(origin, manifest)

    monkeypatch.setattr("ftweb.bridge.mirror.get_chunks", ask)
    monkeypatch.setattr("ftweb.bridge.mirror.FILES_KEPT", 50)
    async with asyncio.timeout(PATIENCE):
        await mirror.round()
        assert len(asked) == len(set(asked)) == 50
        assert files.store.missing(MANIFEST) == []
        assert files.store.used == len(CONTENT)
        while asked:
            asked.clear()
            await mirror.round()  # less and less often

    async def other(origin: str, manifest: Manifest) -> set[int]:
        asked.append(origin)
        return set()

    monkeypatch.setattr("ftweb.bridge.mirror.get_chunks", other)
    mirror._origins = lambda: [origin, "http://127.0.0.1:9"]
    await mirror.round()
    assert len(asked) == 49 * 2, "a bridge has come: all are asked at once"


async def test_alone_nothing_is_done(config: BridgeConfig) -> None:
    files, mirror = mirroring(config)
    async with asyncio.timeout(1):
        await mirror.round()
    assert files.store.get(MANIFEST.id) is None


def keeping() -> Server:
    """An app that keeps manifests."""
    server = init_server("tests", state={"count": 0, "seen": []})

    @server.on_receive
    def receive(message: Any) -> Any:
        manifest = check_manifest(message)
        with server.change() as state:
            state["seen"].append(manifest.to_dict())

    return server


async def test_two_linked_bridges_hold_the_same_files(remote: Remote) -> None:
    first = remote.bridge
    tab = await first.tab(keeping())
    await tab.hosts()
    second = first.another("second")
    await second.start()
    other = Remote(second)
    try:
        await remote.put_all()
        client = await first.join()
        await client.request(MANIFEST.to_dict())

        async with asyncio.timeout(PATIENCE):
            while (await other.get()).status_code != 200:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.1)
        assert (await other.get()).content == CONTENT

        # A page that the first bridge served goes on at the second.
        assert (await other.get(origin=first.origin)).headers[
            "access-control-allow-origin"
        ] == first.origin
        asked = await other.get("/chunks/0", method="OPTIONS", origin=first.origin)
        assert asked.status_code == 204
        token = other.token["authorization"]
        given = await other.put_chunk(0, origin=first.origin, authorization=token)
        assert given.status_code == 204
        stranger = await other.get("/chunks/0", method="OPTIONS", origin="http://evil.example")
        assert stranger.status_code == 403
    finally:
        await other.http.aclose()
        await second.stop()
