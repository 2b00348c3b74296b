"""Data channels among the tabs, and what they are for: going on with no bridge at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ftweb.epochs import generation_of
from tests.e2e.classroom import APPS, Classroom, classroom, until
from tests.e2e.ledger import voting
from tests.lan.avahi import Avahi

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made() -> AsyncIterator[Classroom]:
    async with classroom(APPS / "ledger") as made:
        yield made


async def test_every_tab_has_a_channel_to_every_member(made: Classroom) -> None:
    """Between hosts of the LAN, from insecure origins, with no server to help."""
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    assert made.problems() == []


async def _lose_the_laptop(made: Classroom) -> float:
    """Kill bridge and host tab once channels stand; gives the moment, ms since 1970."""
    await made.restore()
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    for tab in made.phone_tabs:
        await tab.evaluate("votes.start(25)")
        await tab.until("votes.acknowledged.length >= 10")
    made.bridge.kill()
    return await made.kill_browser(made.presenter)


async def test_the_laptop_dies_and_the_phones_go_on(made: Classroom) -> None:
    """Host tab and bridge are killed; no second bridge: votes go on being counted."""
    async with voting(made, made.phone_tabs, reader=made.phone_tabs[0]) as outcome:
        gone = await _lose_the_laptop(made)
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone + 2000)
        host = await made.host_tab()
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.participants === 3")
        text = (await host.status())["text"]
        assert f"http://{made.bridge.host.address}:{made.bridge.port}" in text
    outcome.demand_exactly_once()


async def test_the_laptops_link_goes_down_and_the_phones_go_on(made: Classroom) -> None:
    """Nobody is told anything: no socket closes, frames just vanish. Then the link is back."""
    await made.restore()
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    async with voting(made, made.phone_tabs, interval=100, reader=made.phone_tabs[0]) as outcome:
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.length >= 10")
        gone = time.time() * 1000
        made.bridge.host.link_down()
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone)
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.participants === 3")
        epoch = (await made.phone_tabs[0].status())["epoch"]
    outcome.demand_exactly_once()
    # The figure is the benchmark's (2.5 s); other work may share the machine here.
    assert min(outcome.firsts_sent_after(gone)) - gone < 5000
    made.bridge.host.link_up()
    for tab in made.tabs.values():  # the laptop's, too: it was alone all the time
        await tab.until("s.state === 'connected' && s.bridge !== null && s.epoch === x", 60, epoch)


async def test_the_bridge_comes_back_and_nothing_is_lost(made: Classroom) -> None:
    """The group goes on in the same epoch; a newcomer joins at the bridge and sees every vote."""
    async with voting(made, made.phone_tabs) as outcome:
        gone = await _lose_the_laptop(made)
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge'")
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone + 1000)
        epoch = (await made.phone_tabs[0].status())["epoch"]
        await made.bridge.start()
        back = time.time() * 1000
        for tab in made.phone_tabs:
            await tab.until("s.state === 'connected' && s.bridge !== null && s.quorum")
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=back + 1000)
    outcome.demand_exactly_once()
    assert (await made.phone_tabs[0].status())["epoch"] == epoch
    # The host publishes through it.
    avahi = Avahi(made.lan.host("latecomer"))
    try:

        async def announced() -> bool:
            services = await asyncio.to_thread(avahi.browse, "_flyweb._tcp")
            hosts = [(await tab.status())["hostId"] for tab in made.phone_tabs]
            return any(
                (one.address, one.txt_record["node"]) == (made.bridge.host.address, hosts[0])
                for one in services
            )

        await until(announced)
    finally:
        avahi.close()
    # What happened meanwhile is in its storage: it is asked alone, after everybody was killed.
    counted = (await made.script())["state"]["counted"]
    for tab in made.phone_tabs:
        await made.kill_browser(tab)
    made.bridge.kill()
    await made.bridge.start()

    async def alone() -> bool:
        """It has listened for others that might have gone on, and has gone on without."""
        return generation_of((await made.bridge.healthz())["epoch"]) > generation_of(epoch)

    await until(alone)
    assert (await made.script())["state"]["counted"] == counted
    await made.restore()
    assert made.problems() == []
