"""Which clients are asked to go to another bridge, so that all have as many.

The server tree's rule: a difference of two or more is evened out.

1. The bridge with most clients asks; of several with as many the lowest id. It asks at most MOVES
   at a time, and half the difference to the one with fewest, so that nothing swings.
2. It waits EVEN_SECONDS after any change of who is there: just after a bridge has gone all are on
   their way, and whoever moves twice is interrupted twice.
3. Asked are those whose going costs least: clients without a replica, then those whose replica is
   no member. Members, the host among them, and this laptop's own tabs stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ftweb.relay.connection import MOVE, Connection, Registry
from ftweb.relay.links import Links

MOVES: Final = 20
"""Clients asked at a time: a lecture hall of 500 is evened out within a minute."""

EVEN_SECONDS: Final = 5.0
"""How long nothing has to have changed."""


class Evening:
    """Has this bridge ask; see the rules above.

    Args:
        registry: of its clients.
        own: its id.
        loop: tells the time.
        links: to the other bridges.
        members: gives the nodes that take part.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        own: str,
        loop: asyncio.AbstractEventLoop,
        links: Links,
        members: Callable[[], Collection[str]],
    ) -> None:
        self._registry = registry
        self._own = own
        self._loop = loop
        self._links = links
        self._members = members
        self._with: Collection[str] = ()
        self._since = loop.time()

    def consider(self) -> None:
        """Ask some clients to move, if it is time. To be called every second."""
        others = {each.bridge: each.clients for each in self._links.routes.bridges}
        now = self._loop.time()
        if others.keys() != self._with:
            self._with, self._since = others.keys(), now
        if now - self._since < EVEN_SECONDS:
            return
        asked = movers(self._registry, own=self._own, others=others, members=self._members())
        for connection in asked:
            connection.wire.close(MOVE, "another bridge has fewer clients")
        if asked:
            self._since = now


def movers(
    registry: Registry, *, own: str, others: Mapping[str, int], members: Collection[str]
) -> list[Connection]:
    """The clients to ask now.

    Args:
        registry: of this bridge.
        own: its id.
        others: the other bridges that can be reached, each with its number of clients.
        members: nodes that take part.
    """
    if not others:
        return []
    mine = len(registry)
    most = max(others.values())
    first = min((bridge for bridge, count in others.items() if count == most), default=own)
    if mine < most or (mine == most and first < own):
        return []
    difference = mine - min(others.values())
    if difference < 2:
        return []
    free = [
        connection
        for connection in registry
        if not connection.local
        and (connection.node is None or connection.node.node_id not in members)
        and not connection.wire.closing
    ]
    free.sort(key=lambda connection: connection.node is not None)
    return free[: min(MOVES, difference // 2)]
