"""The LAN falls into two halves, each with a laptop and a phone, and becomes one again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ftweb.epochs import generation_of
from tests.e2e.classroom import Classroom, FurtherBridge, Tab, two_laptops, until
from tests.e2e.test_quorum import _ledger

pytestmark = pytest.mark.asyncio


async def _fall_apart(made: Classroom, second: FurtherBridge) -> tuple[Tab, Tab]:
    """Laptop and one phone here, the second laptop and the other phone there.

    Gives the phones' tabs; each has voted before, and is where it will stay.
    """
    near, far = made.phone_tabs
    for tab, voter in ((near, "near"), (far, "far")):
        assert await tab.send({"type": "vote", "n": 1, "voter": voter}) == {"accepted": True}
    near_phone, far_phone = made.phones
    made.lan.partition([made.bridge.host, near_phone.host], [second.host, far_phone.host])
    there = f"http://{second.host.address}:{second.port}"
    await far.until("s.bridge === x", 60, there)
    return near, far


async def _counted(made: Classroom, second: FurtherBridge, tabs: list[Tab]) -> dict[str, Any]:
    """The ledger, once both bridges are in one epoch and every page sees the same."""

    async def together() -> bool:
        one, other = await made.bridge.healthz(), await second.healthz()
        return bool(one["epoch"] == other["epoch"] and one["host"] == other["host"] != "")

    await until(together, 60)
    for tab in tabs:
        await tab.until("s.state === 'connected' && s.quorum && !s.provisional", 60)
    counted: dict[str, Any] = (await made.script())["state"]["counted"]
    return counted


async def test_votes_on_both_sides_count_once_after_the_heal(tmp_path: Path) -> None:
    async with two_laptops(_ledger(tmp_path, "continue"), phones=2) as (made, second):
        before = (await made.presenter.status())["epoch"]
        near, far = await _fall_apart(made, second)
        vote = {"type": "vote", "n": 2}
        assert await near.send(vote | {"voter": "near"}) == {"accepted": True}
        async with asyncio.timeout(60):
            assert await far.send(vote | {"voter": "far"}) == {"accepted": True}
            assert await far.send(vote | {"voter": "far", "n": 3}) == {"accepted": True}
        apart = (await near.status())["epoch"], (await far.status())["epoch"]
        assert apart[0] != apart[1], "both have gone on"
        assert max(map(generation_of, apart)) > generation_of(before)
        assert (await far.status())["provisional"]
        made.lan.heal()
        counted = await _counted(made, second, [made.presenter, near, far])
        assert counted["near"] == {"1": 1, "2": 1}
        assert counted["far"] == {"1": 1, "2": 1, "3": 1}
        assert await far.send(vote | {"voter": "far", "n": 4}) == {"accepted": True}
        assert made.problems() == []


async def test_the_minority_of_an_app_that_waits_refuses_plainly(tmp_path: Path) -> None:
    async with two_laptops(_ledger(tmp_path, "wait"), phones=2) as (made, second):
        epoch = (await made.presenter.status())["epoch"]
        near, far = await _fall_apart(made, second)
        vote = {"type": "vote", "n": 2}
        assert await near.send(vote | {"voter": "near"}) == {"accepted": True}
        await far.until("s.state === 'no-quorum' && !s.quorum", 60)
        kept = asyncio.create_task(far.send(vote | {"voter": "far"}))
        await far.until("s.pending === 1")
        made.lan.heal()
        async with asyncio.timeout(60):
            assert await kept == {"accepted": True}
        counted = await _counted(made, second, [made.presenter, near, far])
        assert counted["near"] == {"1": 1, "2": 1}
        assert counted["far"] == {"1": 1, "2": 1}
        assert (await far.status())["epoch"] == epoch, "nobody has gone on alone"
        assert made.problems() == []
