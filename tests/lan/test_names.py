"""The server's name after its laptop's death, as an mDNS implementation not ours sees it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Bridge, FurtherBridge, until
from tests.lan.avahi import Avahi
from tests.lan.lan import Host, Lan

NAME = "ledger.local"
SECONDS = 3.0
"""What people wait for a page before they try something else."""

ANSWER_SECONDS = 0.7
"""Responders answer within 120 ms, or half a second where several may."""


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


def answering(host: Host) -> set[str]:
    """Who answers when a host asks for the name's address: responders themselves, no cache.

    A question from another port than mDNS's own is answered to that port (RFC 6762, section 6.7).
    """
    labels = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
    query = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + labels + struct.pack("!B2H", 0, 1, 1)
    found = set()
    with host.new_socket(socket.SOCK_DGRAM) as asking:
        asking.bind((host.address, 0))
        asking.settimeout(ANSWER_SECONDS)
        asking.sendto(query, ("224.0.0.251", 5353))
        with contextlib.suppress(TimeoutError):
            while True:
                found.add(asking.recvfrom(9000)[1][0])
    return found


async def only_answers(host: Host, bridge: Bridge) -> None:
    async def it_does() -> bool:
        return await asyncio.to_thread(answering, host) == {bridge.host.address}

    await until(it_does)


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


@pytest.mark.lan
async def test_a_name_held_twice_by_bridges_that_cannot_link_goes_to_the_higher_epoch(
    lan: Lan, bridges: tuple[Bridge, FurtherBridge]
) -> None:
    """What one sends the other vanishes, as between guests of many an access point; mDNS comes."""
    first, second = bridges
    phone = lan.host("phone3")
    avahi = Avahi(phone)

    async def rank(bridge: Bridge) -> tuple[int, int]:
        health = await bridge.healthz()
        return health["epoch"], health["term"]

    async def the_later_one_is_ahead() -> bool:
        return await rank(second) > await rank(first)

    try:
        await resolves_to(avahi, first.host.address)
        await only_answers(phone, first)
        first.host.shun(second.host)
        second.host.shun(first.host)
        await until(the_later_one_is_ahead)
        await only_answers(phone, second)
        await resolves_to(avahi, second.host.address)
        epoch = str((await second.healthz())["epoch"])

        async def one_is_left() -> bool:
            services = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
            return [(each.address, each.txt_record["epoch"]) for each in services] == [
                (second.host.address, epoch)
            ]

        await until(one_is_left)
        assert await rank(second) > await rank(first), "they are still apart"
        second.kill()  # without a goodbye: the first has to notice
        await only_answers(phone, first)
        await resolves_to(avahi, first.host.address)
    finally:
        first.host.stop_shunning(second.host)
        second.host.stop_shunning(first.host)
        avahi.close()
