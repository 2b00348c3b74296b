"""Bridges share the pages of a class evenly; nobody at a page notices."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.e2e.classroom import APPS, FurtherBridge, classroom, until
from tests.e2e.ledger import voting
from tests.e2e.rooms import Room, close

pytestmark = pytest.mark.asyncio

TABS = 9
"""With the laptop's ten: five of them are members and stay, the others may go."""


async def test_a_second_laptop_takes_over_half_of_the_class() -> None:
    async with classroom(APPS / "ledger", phones=0) as made:
        first = made.bridge
        second = FurtherBridge(made.lan.host("laptop2"), first)
        room = Room(made, "room")
        try:
            await room.start()
            for _ in range(TABS):
                await room.open()
            nodes = [(await tab.status())["nodeId"] for tab in room.tabs]
            # The last of them are no members, so some of these go.
            async with voting(made, room.tabs[-5:], interval=100) as outcome:
                await second.start()
                one, other = (1 + TABS) // 2, (2 + TABS) // 2

                async def even() -> bool:
                    there = [(await bridge.healthz())["clients"] for bridge in (first, second)]
                    return sorted(there) == [one, other]

                await until(even)
            outcome.demand_exactly_once()
            statuses = await asyncio.gather(*(tab.status() for tab in room.tabs))
            at = Counter(status["bridge"] for status in statuses)
            origins = [f"http://{bridge.host.address}:{bridge.port}" for bridge in (first, second)]
            assert sorted(at) == sorted(origins)
            assert at[origins[1]] in (one, other)
            assert [status["nodeId"] for status in statuses] == nodes, "no page was loaded anew"
            assert all(status["state"] == "connected" for status in statuses)
            assert made.problems() == []
        finally:
            problems = await close([room])
            if second.process is not None:
                second.kill()
        assert problems == []
