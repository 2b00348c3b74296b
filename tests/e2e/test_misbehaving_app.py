"""A handler that never returns, one that raises: what it does to its sender, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Classroom
from tests.e2e.classroom import classroom as make_classroom

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Classroom]:
    async with make_classroom(APPS / "hang") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def classroom(shared: Classroom) -> AsyncIterator[Classroom]:
    await shared.restore()
    yield shared
    assert shared.problems() == []


async def test_a_handler_that_raises_changes_nothing_and_its_sender_is_told(
    classroom: Classroom,
) -> None:
    one, two, _ = classroom.phone_tabs
    before = (await one.send({"type": "count"}))["count"]
    reply = await one.send({"type": "raise"})
    assert reply["error"] == "handler_failed"
    assert "receive" in reply["message"]  # the handler is named
    assert (await two.send({"type": "count"}))["count"] == before + 1


async def test_a_handler_that_hangs_ends_one_worker_and_not_one_host_after_another(
    classroom: Classroom,
) -> None:
    one, two, three = classroom.phone_tabs
    tabs = list(classroom.tabs.values())
    before = {tab.device.name: (await tab.status())["nodeId"] for tab in tabs}
    counted = (await two.send({"type": "count"}))["count"]

    hanging = asyncio.create_task(one.send({"type": "hang"}))
    meanwhile = asyncio.create_task(two.send({"type": "count"}))
    async with asyncio.timeout(15):
        assert (await hanging)["error"] == "handler_timeout"
        assert (await meanwhile)["count"] == counted + 1
    # The connection of its sender goes on too.
    assert (await one.send({"type": "count"}))["count"] == counted + 2

    await classroom.settled()
    after = {tab.device.name: (await tab.status())["nodeId"] for tab in tabs}
    ended = {name for name, node in before.items() if after[name] != node}
    assert ended == {"laptop"}  # it was the host; its tab has booted a new worker since
    assert (await three.send({"type": "count"}))["count"] == counted + 3


async def test_the_sender_of_a_hanging_request_may_be_the_host_itself(
    classroom: Classroom,
) -> None:
    presenter, phone = classroom.presenter, classroom.phone_tabs[0]
    counted = (await phone.send({"type": "count"}))["count"]
    async with asyncio.timeout(15):
        assert (await presenter.send({"type": "hang"}))["error"] == "handler_timeout"
        assert (await presenter.send({"type": "count"}))["count"] == counted + 1
    await classroom.settled()
    assert (await phone.send({"type": "count"}))["count"] == counted + 2
