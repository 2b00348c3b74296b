"""The laptop is gone, its bridge and its hosting tab at once: phones go to another laptop's bridge.

They do it by themselves, in the background; nobody reloads a page, and every vote counts once.
Figures are taken by benchmarks; the bounds here are generous: other work may share the machine.
"""

from __future__ import annotations

import pytest

from tests.e2e.classroom import APPS, Classroom, FurtherBridge, Tab, two_laptops
from tests.e2e.ledger import voting

pytestmark = pytest.mark.asyncio


async def _go_on(made: Classroom, phones: list[Tab], second: FurtherBridge, since: float) -> None:
    """Every phone votes on at the second bridge, in the page that it has."""
    made.bridge = second  # for whoever joins to read the ledger
    here = f"http://{second.host.address}:{second.port}"
    for tab in phones:
        await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=since)
        await tab.until("s.bridge === x && s.state === 'connected'", argument=here)


async def test_the_first_laptop_is_killed() -> None:
    async with two_laptops(APPS / "ledger") as (made, second):
        phones = made.phone_tabs
        async with voting(made, phones) as outcome:
            killed = await made.kill_browser(made.presenter)
            made.bridge.kill()
            await _go_on(made, phones, second, killed)
        outcome.demand_exactly_once()
        assert max(outcome.firsts_sent_after(killed)) - killed < 4000
        assert made.problems() == []


async def test_the_first_laptops_network_is_gone() -> None:
    """Nothing is told to anybody: frames just vanish."""
    async with two_laptops(APPS / "ledger") as (made, second):
        phones = made.phone_tabs
        async with voting(made, phones, interval=100) as outcome:
            cut = await phones[0].page.evaluate("performance.timeOrigin + performance.now()")
            made.bridge.host.link_down()
            del made.tabs["laptop"]
            await _go_on(made, phones, second, cut)
        outcome.demand_exactly_once()
        assert max(outcome.firsts_sent_after(cut)) - cut < 6000
        assert made.problems() == []


async def test_only_the_bridge_is_killed_and_the_tabs_that_it_served_stay() -> None:
    """Also the laptop's own tab goes over; it keeps its replica, which needs no second boot."""
    async with two_laptops(APPS / "ledger") as (made, second):
        tabs = list(made.tabs.values())
        nodes = [(await tab.status())["nodeId"] for tab in tabs]
        async with voting(made, made.phone_tabs) as outcome:
            before = await made.presenter.page.evaluate(
                "performance.timeOrigin + performance.now()"
            )
            made.bridge.kill()
            await _go_on(made, made.phone_tabs, second, before)
            await made.presenter.until("s.state === 'connected' && s.hostId")
        outcome.demand_exactly_once()
        assert [(await tab.status())["nodeId"] for tab in tabs] == nodes
        assert made.problems() == []
