"""The laptop is only cut off: it goes on, the phones go on among themselves, and they meet."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from ftweb.epochs import generation_of
from tests.e2e.classroom import APPS, Classroom, Tab, classroom
from tests.e2e.ledger import voting

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made() -> AsyncIterator[Classroom]:
    async with classroom(APPS / "ledger") as made:
        yield made


EACH = 400
"""Milliseconds between the votes of a page. Whoever is cut off keeps what it cannot send, at most
64 requests: enough for the 25 s that a side may wait for its epoch here."""


async def _begin(made: Classroom) -> int:
    """Channels stand, and every page is marked: a reload would lose the mark. Gives the epoch."""
    await made.restore()
    await asyncio.gather(*(tab.until("s.channels === 3", 60) for tab in made.tabs.values()))
    for tab in made.tabs.values():
        await tab.evaluate("globalThis.mark = 'the same page'")
    return int((await made.presenter.status())["epoch"])


async def _acknowledged_since(tabs: Sequence[Tab], moment: float) -> None:
    for tab in tabs:
        await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", 60, moment)


async def _together_again(made: Classroom, epoch: int) -> None:
    """All are in the phones' epoch, nothing is provisional, and everybody votes."""
    for tab in made.tabs.values():
        await tab.until(
            "s.state === 'connected' && s.bridge && s.quorum && !s.provisional && s.epoch === x",
            60,
            epoch,
        )
    await _acknowledged_since(list(made.tabs.values()), time.time() * 1000)
    for tab in made.tabs.values():
        assert await tab.evaluate("globalThis.mark") == "the same page"


async def test_a_laptop_whose_link_was_down_and_the_phones_become_one(made: Classroom) -> None:
    """Votes on both sides: the presenter's at the bridge, the phones' over data channels."""
    before = await _begin(made)
    everybody = list(made.tabs.values())
    async with voting(made, everybody, interval=EACH) as outcome:
        made.bridge.host.unplug()
        cut = time.time() * 1000
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.epoch === x", 60, before)
        await made.presenter.until("s.state === 'provisional' && s.hosting", 60)
        own = (await made.presenter.status())["epoch"]
        assert generation_of(own) == generation_of(before) + 1
        await _acknowledged_since(everybody, cut + 8_000)
        made.bridge.host.plug()
        await _together_again(made, before)
    outcome.demand_exactly_once()
    assert made.problems() == []


async def test_a_laptop_that_was_asleep_and_the_phones_become_one(made: Classroom) -> None:
    """Its bridge is stopped for a while; awake, it goes on alone or finds the phones at once."""
    before = await _begin(made)
    process = made.bridge.process
    assert process is not None
    async with voting(made, list(made.tabs.values()), interval=EACH) as outcome:
        process.send_signal(signal.SIGSTOP)
        made.bridge.host.unplug()
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.epoch === x", 60, before)
        process.send_signal(signal.SIGCONT)
        await made.presenter.until("s.state === 'provisional' && s.hosting", 60)
        made.bridge.host.plug()
        await _together_again(made, before)
    outcome.demand_exactly_once()
    assert made.problems() == []


async def test_a_bridge_restarted_out_of_reach_and_the_phones_become_one(made: Classroom) -> None:
    """It listens in vain, begins an epoch of its own, and meets them afterwards."""
    before = await _begin(made)
    everybody = list(made.tabs.values())
    async with voting(made, everybody, interval=EACH) as outcome:
        made.bridge.host.unplug()
        made.bridge.kill()
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.epoch === x", 60, before)
        await made.bridge.start()
        back = time.time() * 1000
        await made.presenter.until("s.state === 'provisional' && s.hosting", 60)
        await _acknowledged_since(everybody, back + 6_000)
        made.bridge.host.plug()
        await _together_again(made, before)
    outcome.demand_exactly_once()
    assert made.problems() == []


async def test_phones_that_lose_their_quorum_as_well_bring_along_what_they_acknowledged(
    made: Classroom,
) -> None:
    """Cut off from the laptop three phones go on; two of them are killed, so nobody leads the third
    one, and the laptop's epoch stays. What only the phones had acknowledged counts in it."""
    await _begin(made)
    last, *others = made.phone_tabs
    everybody = list(made.tabs.values())
    async with voting(made, everybody, interval=EACH, reader=made.presenter) as outcome:
        made.bridge.host.unplug()
        cut = time.time() * 1000
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum", 60)
        await _acknowledged_since(made.phone_tabs, cut + 2_000)
        await asyncio.gather(*(made.kill_browser(tab) for tab in others))
        await last.until("!s.quorum", 60)
        await made.presenter.until("s.state === 'provisional' && s.hosting", 60)
        own = (await made.presenter.status())["epoch"]
        made.bridge.host.plug()
        for tab in (made.presenter, last):
            await tab.until("s.bridge && s.quorum && s.epoch === x", 60, own)
        await _acknowledged_since([made.presenter, last], time.time() * 1000)
        # Its page is answered at once; its node holds on to its own epoch for ten seconds more.
        acknowledged = await last.evaluate("votes.acknowledged.map(([number]) => number)")
        await made.presenter.until(
            "x.numbers.every((number) => connection.state.counted[x.client]?.[number])",
            60,
            {"client": (await last.status())["clientId"], "numbers": acknowledged},
        )
    outcome.demand_exactly_once()
    assert await last.evaluate("globalThis.mark") == "the same page"
    assert made.problems() == []
