"""Who is told of whom; through a real bridge: test_relay.py."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from ftweb import codec, frames
from ftweb.limits import LOSSES_KEPT
from ftweb.relay.connection import Connection, NodeHere, Registry
from ftweb.relay.directory import DIRECTORY_SECONDS, LOST_BACK_SECONDS, NodeDirectory
from ftweb.relay.wire import Prepared, Wire


class Paper:
    """A wire that keeps the frames written to it."""

    backlog = 0
    closing = False

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def write(self, prepared: Prepared) -> None:
        self.frames.append(codec.decode(prepared.text))


def tab(registry: Registry, name: str, *, local: bool) -> tuple[Connection, Paper]:
    paper = Paper()
    connection = Connection(
        wire=cast(Wire, paper),
        client_id=f"client-{name}",
        device_id=f"device-{name}",
        presenter=False,
        local=local,
        last_heard=0.0,
    )
    registry.add(connection)
    registry.add_node(connection, NodeHere(node_id=name, visible=True, since=1.0))
    return connection, paper


async def test_losses_at_once_directories_now_and_then() -> None:
    registry = Registry()
    leader, told = tab(registry, "leader", local=True)
    _, other = tab(registry, "phone", local=False)
    own: list[frames.Frame] = []
    loop = asyncio.get_running_loop()
    directory = NodeDirectory(
        node_id=lambda: "bridge",
        device_id="laptop",
        bridge="a bridge",
        registry=registry,
        loop=loop,
        to_own_node=own.append,
        leader=lambda: leader,
    )
    directory.lost("gone", ["leader", "phone", "gone", "bridge"])
    lost = frames.Lost(node_id="gone")
    assert told.frames == other.frames == own == [lost], "losses do not wait"
    begun = loop.time()
    for _ in range(30):
        directory.changed()
        await asyncio.sleep(DIRECTORY_SECONDS / 10)
    took = loop.time() - begun
    directories = [frame for frame in told.frames if isinstance(frame, frames.Directory)]
    assert 1 <= len(directories) <= took / DIRECTORY_SECONDS + 2
    assert other.frames == [lost], "only the leader gets the directory"
    devices = {info.node_id: info.device_id for info in directories[-1].nodes}
    assert devices == {"bridge": "laptop", "leader": "laptop", "phone": "device-phone"}
    assert own[-1] == directories[-1]
    directory.close()


async def test_who_comes_over_is_told_who_did_not() -> None:
    """A bridge is gone: its tabs come here one by one, the leader not at all."""
    registry = Registry()
    loop = asyncio.get_running_loop()
    directory = NodeDirectory(
        node_id=lambda: "bridge",
        device_id="laptop",
        registry=registry,
        loop=loop,
        to_own_node=lambda _: None,
        leader=lambda: None,
    )
    for node_id in ("leader", "one", "other"):
        directory.lost(node_id, [])
    lost_at = loop.time()
    one, told = tab(registry, "one", local=False)
    directory.came(one)
    await asyncio.sleep(LOST_BACK_SECONDS / 4)
    other, also_told = tab(registry, "other", local=False)
    directory.came(other)
    assert told.frames == also_told.frames == [], "the leader may be on its way"
    await asyncio.sleep(lost_at + LOST_BACK_SECONDS - loop.time() + 0.05)
    assert told.frames == also_told.frames == [frames.Lost(node_id="leader")]
    directory.close()


async def test_who_says_that_it_leads_gets_the_directory_too() -> None:
    registry = Registry()
    loop = asyncio.get_running_loop()
    directory = NodeDirectory(
        node_id=lambda: "bridge",
        device_id="laptop",
        bridge="a bridge",
        registry=registry,
        loop=loop,
        to_own_node=lambda frame: None,
        leader=lambda: None,
    )
    claimant, told = tab(registry, "claimant", local=False)
    _, other = tab(registry, "other", local=False)
    assert claimant.node is not None
    claimant.node.leads = frames.Leads(epoch=1, term=7)
    directory.changed()
    await asyncio.sleep(0)
    while not told.frames:  # noqa: ASYNC110 - a timer tells nobody
        await asyncio.sleep(0.01)
    assert [info.node_id for info in told.frames[0].nodes] == ["bridge", "claimant", "other"]
    assert other.frames == []
    directory.close()


async def test_many_losses_cost_one_timer_for_each_who_comes() -> None:
    """A phone whose replica ends and comes up all the time is no work for the bridge."""
    registry = Registry()
    loop = asyncio.get_running_loop()
    directory = NodeDirectory(
        node_id=lambda: "bridge",
        device_id="laptop",
        registry=registry,
        loop=loop,
        to_own_node=lambda _: None,
        leader=lambda: None,
    )
    for number in range(10 * LOSSES_KEPT):
        directory.lost(f"node-{number}", [])
    one, told = tab(registry, "one", local=False)
    for _ in range(100):
        directory.came(one)
    await asyncio.sleep(LOST_BACK_SECONDS + 0.05)
    last = [frames.Lost(node_id=f"node-{9 * LOSSES_KEPT + n}") for n in range(LOSSES_KEPT)]
    assert told.frames == last, "each once, and the latest only"
    directory.close()
