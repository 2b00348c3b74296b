"""A class that the network cuts in two, both parts going on; what its people see and are told."""

from __future__ import annotations

import pytest

from tests.e2e.classroom import two_laptops
from tests.e2e.screenshots import begin

pytestmark = pytest.mark.asyncio


async def test_a_provisional_vote_that_does_not_count_after_all_is_told() -> None:
    """The part with most voters goes on as it was; the other one in an epoch of its own."""
    async with two_laptops() as (made, second):
        first = made.bridge
        stays, also_stays, away = made.phone_tabs
        presenter = made.presenter
        await begin(made)

        # Each device has one voter: three of the five are here.
        here = [first.host, stays.device.host, also_stays.device.host]
        there = [second.host, away.device.host]
        made.lan.partition(here, there)
        await away.until("s.state === 'provisional'", 60)
        assert await away.page.evaluate("ftweb.status().provisional") is True
        for tab in (stays, also_stays):
            await tab.until("s.state === 'connected' && !s.provisional")

        # One changes the vote in the part that is provisional; the presenter closes the
        # question in the other part.
        await away.option("2").click()
        await away.page.get_by_text("Part of the class is cut off.").wait_for()
        await away.tally("2", 1).wait_for()
        await presenter.get("close-poll").click()
        await presenter.get("reopen-poll").wait_for()
        await presenter.tally("2", 0).wait_for()

        made.lan.heal()
        await away.get("notice").wait_for(timeout=60_000)
        told = await away.get("notice").inner_text()
        assert "together again" in told
        assert "does not count after all" in told
        assert "The string stretches" in told
        assert await also_stays.get("notice").is_hidden(), "nothing has changed for this one"
        for tab in made.tabs.values():
            await tab.until("s.state === 'connected' && !s.provisional", 60)
            await tab.tally("1", 2).wait_for()
            await tab.tally("2", 0).wait_for()
        assert made.problems() == []
