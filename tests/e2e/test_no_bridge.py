"""Data channels among the tabs, and what they are for: going on with no bridge at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Classroom, classroom
from tests.e2e.ledger import voting

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made() -> AsyncIterator[Classroom]:
    async with classroom(APPS / "ledger") as made:
        yield made


async def test_every_tab_has_a_channel_to_every_member(made: Classroom) -> None:
    """Between hosts of the LAN, from insecure origins, with no server to help."""
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    assert made.problems() == []


async def test_the_laptop_dies_and_the_phones_go_on(made: Classroom) -> None:
    """Host tab and bridge are killed; no second bridge: the next votes are counted all the same."""
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    reader = made.phone_tabs[0]
    async with voting(made, made.phone_tabs, reader=reader) as outcome:
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.length >= 10")
        made.bridge.kill()
        gone = await made.kill_browser(made.presenter)
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone + 2000)
        host = await made.host_tab()
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.participants === 3")
        text = (await host.status())["text"]
        assert f"http://{made.bridge.host.address}:{made.bridge.port}" in text
    outcome.demand_exactly_once()
    print(min(outcome.firsts_sent_after(gone)) - gone)
