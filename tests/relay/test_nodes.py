"""Ends of nodes that were not, or are no longer, behind the socket over which they are told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ftweb import frames
from ftweb.relay.connection import Registry
from ftweb.relay.leavers import Leavers
from ftweb.relay.nodes import Nodes
from ftweb.relay.recalling import Recalling
from tests.relay.test_directory import tab

LEFT = frames.Left(node="gone", epoch=7, term=2, index=5, voters=["gone", "phone"])
DOWN = frames.NodeDown(node_id="gone", reason="leaving", left=[LEFT])


class Bridge:
    """What is around the nodes; ``elsewhere`` are those behind other bridges."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.elsewhere: set[str] = set()
        self.forks: list[Any] | None = None
        self.leavers = Leavers(wants=lambda left: True)
        routes = SimpleNamespace(is_of_another=lambda node, client: node in self.elsewhere)
        told: Any = SimpleNamespace(changed=lambda: None)
        self.nodes = Nodes(
            registry=self.registry,
            loop=cast(asyncio.AbstractEventLoop, None),
            links=cast(Any, SimpleNamespace(routes=routes, tell=lambda at_once: None)),
            directory=told,
            leavers=self.leavers,
            recalling=Recalling(forks=lambda: self.forks, take=lambda items: True),
            requests=cast(Any, None),
            own=lambda: "bridge",
            epoch=lambda: 8,
            members=list,
            enters=True,
            changed=lambda: None,
            leads=lambda: None,
        )


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


def test_how_far_it_was_counts_though_it_ended_while_no_bridge_was_there(bridge: Bridge) -> None:
    phone, _ = tab(bridge.registry, "phone", local=False)
    bridge.nodes.down(phone, DOWN)
    assert bridge.leavers.told() == [LEFT]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_nobody_speaks_for_a_node_that_is_there(bridge: Bridge, where: str) -> None:
    phone, _ = tab(bridge.registry, "phone", local=False)
    if where == "here":
        tab(bridge.registry, "gone", local=False)
    else:
        bridge.elsewhere.add("gone")
    bridge.nodes.down(phone, DOWN)
    assert bridge.leavers.told() == []


def test_who_could_not_be_asked_before_is_asked_later(bridge: Bridge) -> None:
    phone, told = tab(bridge.registry, "phone", local=False)
    left = frames.Left(node="phone", epoch=7, term=2, index=5)
    update = frames.NodeUpdate(node_id="phone", visible=True, epoch=8, left=[left])
    bridge.nodes.update(phone, update)
    assert told.frames == []
    bridge.forks = []
    bridge.nodes.recall()
    bridge.nodes.recall()
    assert told.frames == [frames.Recall(epoch=7, term=0, index=0)]
