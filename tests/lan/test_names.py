"""The server's name after its laptop's death, as an mDNS implementation not ours sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Bridge, FurtherBridge, until
from tests.lan.avahi import Avahi
from tests.lan.lan import Lan

NAME = "ledger.local"
SECONDS = 3.0
"""What people wait for a page before they try something else."""


@pytest_asyncio.fixture
async def bridges(lan: Lan) -> AsyncIterator[tuple[Bridge, FurtherBridge]]:
    first = Bridge(lan.host("laptop"), APPS / "ledger")
    await first.start()
    second = FurtherBridge(lan.host("laptop2"), first)
    try:
        await second.start()
        await second.takes_part()
        yield first, second
    finally:
        for bridge in (second, first):
            if bridge.process is not None and bridge.process.poll() is None:
                await bridge.stop()


async def resolves_to(avahi: Avahi, address: str) -> None:
    async def found() -> bool:
        return await asyncio.to_thread(avahi.resolve, NAME) == address

    await until(found)


@pytest.mark.lan
async def test_the_name_goes_to_the_surviving_bridge(
    lan: Lan, bridges: tuple[Bridge, FurtherBridge]
) -> None:
    first, second = bridges
    avahi = Avahi(lan.host("phone"))
    try:
        await resolves_to(avahi, first.host.address)
        first.kill()
        died = time.monotonic()
        await resolves_to(avahi, second.host.address)
        took = time.monotonic() - died
        assert took <= SECONDS
        services = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
        assert [(each.instance, each.address) for each in services] == [
            ("ledger", second.host.address)
        ]
        assert services[0].txt_record["guid"] == first.info["guid"]
        # The first comes back: the second goes on publishing, and both are one group again.
        await first.start()
        await second.takes_part()
        assert await asyncio.to_thread(avahi.resolve, NAME) == second.host.address
        # Told to stop, it leaves the name to the other.
        await second.stop()
        await resolves_to(avahi, first.host.address)
    finally:
        avahi.close()


@pytest.mark.lan
async def test_a_name_held_twice_after_a_partition(
    lan: Lan, bridges: tuple[Bridge, FurtherBridge]
) -> None:
    first, second = bridges
    avahi = Avahi(lan.host("phone2"))
    try:
        await resolves_to(avahi, first.host.address)
        lan.partition([first.host], [second.host, avahi.host])
        await resolves_to(avahi, second.host.address)
        lan.heal()

        async def one_is_left() -> bool:
            services = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
            return [(each.instance, each.address) for each in services] == [
                ("ledger", first.host.address)
            ]

        await until(one_is_left)
        await resolves_to(avahi, first.host.address)
    finally:
        lan.heal()
        avahi.close()
