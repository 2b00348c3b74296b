"""A laptop killed while it was cut off comes back to phones that had gone on without it."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.e2e.classroom import APPS, classroom
from tests.e2e.ledger import voting
from tests.lan.browsers import PHONE, Device


@pytest.mark.asyncio
async def test_phones_of_an_epoch_that_does_not_stay_bring_along_what_they_acknowledged() -> None:
    """Three phones go on from device to device. The laptop and two other phones are cut off from
    them, and go on in an epoch of the laptop's. Its bridge is killed; the two go on. The bridge
    meets the three first when it comes back, and is in their epoch when the two find it."""
    async with classroom(APPS / "ledger", phones=3) as made:
        made.phones += [Device(made.lan.host(name), name, PHONE) for name in ("near1", "near2")]
        near = [await made.open(device) for device in made.phones[3:]]
        far = made.phone_tabs[:3]
        await made.kill_browser(made.presenter)
        everybody = [*far, *near]
        for tab in everybody:
            await tab.until("s.ready && s.hostId && s.channels >= 3", 60)
            await tab.evaluate("globalThis.mark = 'the same page'")
        laptop, lan = made.bridge.host, made.lan
        before = (await far[0].status())["epoch"]
        async with voting(made, everybody, interval=500, reader=far[0]) as outcome:
            lan.partition([laptop, *(tab.device.host for tab in near)],
                          [tab.device.host for tab in far])  # fmt: skip
            for tab in far:
                await tab.until("s.state === 'no-bridge' && s.quorum && s.epoch === x", 60, before)
            for tab in near:
                await tab.until("s.bridge && s.quorum && s.epoch !== x", 60, before)
            own = (await near[0].status())["epoch"]
            await made.can_lose(1)
            for tab in near:
                await tab.until("s.channels >= 1", 60)
            made.bridge.kill()
            alone = time.time() * 1000
            for tab in near:
                await tab.until("s.state === 'no-bridge' && s.quorum && s.epoch === x", 60, own)
                await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", 60, alone)
            lan.partition([laptop, *(tab.device.host for tab in far)],
                          [tab.device.host for tab in near])  # fmt: skip
            await made.bridge.start()
            for tab in far:
                await tab.until("s.bridge && s.quorum && s.epoch === x", 60, before)
            lan.heal()
            met = time.time() * 1000
            for tab in everybody:
                await tab.until("s.bridge && s.quorum && s.epoch === x", 60, before)
                await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", 60, met)
            for tab in near:  # its page is answered at once; what it had known comes a little later
                known = {
                    "client": (await tab.status())["clientId"],
                    "numbers": await tab.evaluate("votes.acknowledged.map(([number]) => number)"),
                }
                await far[0].until(
                    "x.numbers.every((number) => connection.state.counted[x.client]?.[number])",
                    60,
                    known,
                )
        outcome.demand_exactly_once()
        for tab in everybody:
            assert await tab.evaluate("globalThis.mark") == "the same page"
        await asyncio.gather(*(tab.until("s.ready", 60) for tab in near))
        assert made.problems() == []
