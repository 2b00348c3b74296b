"""A bridge that comes back listens first; with real tabs: tests/e2e/test_no_bridge.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ftweb.bridge.returning import Returning, may_live_on, take_up
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import Configuration, Entry, EntryKind, HardState, NodeId
from ftweb.core.configuration import to_data
from ftweb.storage import Saved

from .conftest import Bridge, Tab, eventually

BRIDGE, TAB, PHONE = NodeId("b"), NodeId("t"), NodeId("p")


def saved(*voters: tuple[NodeId, ...]) -> Saved:
    entries = [
        Entry(
            index=index,
            term=1,
            kind=EntryKind.CONFIGURATION,
            data=to_data(Configuration(voters=chosen, successors=chosen)),
        )
        for index, chosen in enumerate(voters, start=1)
    ]
    return Saved(
        epoch=7, hard_state=HardState(term=3, vote=BRIDGE), snapshot=None, entries=tuple(entries)
    )


@pytest.mark.parametrize(
    "history, expected",
    [
        ([(BRIDGE,)], False),
        ([(BRIDGE,), (BRIDGE, TAB), (BRIDGE, TAB, PHONE)], True),
        # The last may never have been committed.
        ([(BRIDGE,), (BRIDGE, TAB, PHONE), (BRIDGE,)], True),
        ([(BRIDGE, TAB, PHONE), (BRIDGE, TAB), (BRIDGE,), (BRIDGE,)], False),
    ],
)
def test_only_a_group_that_had_other_voters_can_have_gone_on(
    history: list[tuple[NodeId, ...]], expected: bool
) -> None:
    assert may_live_on(saved(*history)) is expected
    assert not may_live_on(None)


def test_the_log_is_kept_for_a_node_that_has_voted_for_nobody(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path / "replica.sqlite") as storage:
        before = saved((BRIDGE,), (BRIDGE, TAB))
        storage.save(
            epoch=before.epoch,
            hard_state=before.hard_state,
            snapshot=None,
            entries=before.entries,
        )
        take_up(storage, before)
        after = storage.load()
        assert after is not None
        assert (after.epoch, after.entries) == (7, before.entries)
        assert after.hard_state == HardState(term=3, vote=None)


async def test_without_a_host_a_new_epoch_begins() -> None:
    begun = asyncio.Event()
    returning = Returning(loop=asyncio.get_running_loop(), begin=begun.set, seconds=0.01)
    assert returning.listening
    async with asyncio.timeout(5):
        await begun.wait()
    assert not returning.listening


async def test_a_host_that_is_heard_of_ends_the_listening() -> None:
    begun: list[bool] = []
    loop = asyncio.get_running_loop()
    returning = Returning(loop=loop, begin=lambda: begun.append(True), seconds=0.01)
    returning.hosted()
    assert not returning.listening
    await asyncio.sleep(0.05)
    assert begun == []


async def test_a_bridge_that_finds_nobody_goes_on_from_what_it_had(
    hosted: tuple[Bridge, Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, tab = hosted
    client = await bridge.join()
    await client.request({"add": 3})
    epoch = tab.driver.epoch
    await bridge.stop()
    # All these tabs are on the bridge's own machine, so it was the only voter.
    monkeypatch.setattr("ftweb.bridge.server.may_live_on", lambda saved: True)
    await bridge.start()
    client = await bridge.join()
    await eventually(lambda: client.state() == {"count": 3, "seen": []})
    fresh = await bridge.tab()
    await fresh.hosts()
    assert fresh.driver.epoch > epoch
    reply = await client.request({"add": 1})
    assert reply.payload == {"count": 4}
