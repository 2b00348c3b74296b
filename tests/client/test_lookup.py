"""From a server's name to its address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from ftweb.client import lookup
from ftweb.client.lookup import find_server
from ftweb.errors import ConnectError


@dataclass(frozen=True, kw_only=True)
class Told:
    name: str = "Vote"
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    guid: str = "a" * 32
    epoch: int = 1
    term: int = 1
    gone: bool = False


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A port on which somebody listens."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Network:
    """A browser that tells what it is given, then listens on, as a real one does."""

    def __init__(self, *told: Told, failure: OSError | None = None) -> None:
        self.told = told
        self.failure = failure
        self.closed = False

    async def __call__(self, timeout: float | None) -> AsyncIterator[Told]:
        try:
            if self.failure is not None:
                raise self.failure
            for one in self.told:
                yield one
            await asyncio.Event().wait()
        finally:
            self.closed = True


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "LOOK_UP_SECONDS", 0.3)
    monkeypatch.setattr(lookup, "COLLECT_SECONDS", 0.1)


@pytest.mark.usefixtures("quick")
async def test_the_highest_term_of_that_name_is_taken(port: int) -> None:
    network = Network(
        Told(name="Other", guid="o", port=1, term=9),
        Told(guid="old", port=1, term=2),
        Told(name="VOTE", guid="new", port=port, term=3),
        Told(guid="older epoch", port=1, epoch=0, term=7),
    )
    url = await find_server("vote", browse=network)
    assert url == f"ws://127.0.0.1:{port}/ftweb/socket"
    assert network.closed


@pytest.mark.usefixtures("quick")
async def test_by_guid(port: int) -> None:
    assert str(port) in await find_server("a" * 32, browse=Network(Told(port=port)))


@pytest.mark.usefixtures("quick")
async def test_what_said_goodbye_is_gone(port: int) -> None:
    network = Network(Told(port=port), Told(port=port, gone=True))
    with pytest.raises(ConnectError, match="ftweb browse") as caught:
        await find_server("vote", browse=network)
    assert caught.value.code == "server_not_found"


@pytest.mark.usefixtures("quick")
async def test_the_address_that_accepts_is_taken(port: int) -> None:
    network = Network(Told(addresses=("127.0.0.2", "127.0.0.1"), port=port))
    assert await find_server("vote", browse=network) == f"ws://127.0.0.1:{port}/ftweb/socket"


@pytest.mark.usefixtures("quick")
async def test_told_of_but_out_of_reach(free_port: Callable[[], int]) -> None:
    with pytest.raises(ConnectError, match="cannot be reached") as caught:
        await find_server("vote", browse=Network(Told(port=free_port())))
    assert caught.value.code == "connect_failed"


async def test_no_multicast() -> None:
    network = Network(Told(), failure=OSError("no such device"))
    with pytest.raises(ConnectError, match="Give the address") as caught:
        await find_server("vote", browse=network)
    assert caught.value.code == "server_not_found"
