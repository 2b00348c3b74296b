"""Which bridge is where, and the least costly way there: link state and shortest paths.

1. Every bridge tells all others of itself: its direct links with their round trips, the nodes
   behind it. What it tells is numbered by (start, seq); only the latest counts.
2. A link is used only if both ends tell of it. The cost of a path is the sum of its round trips,
   plus HOP_COST per link, so that of two paths alike the shorter one is taken.
3. A bridge to which no path leads is not there, and neither are the nodes behind it. What it told
   last is kept: its addresses are those of pages that may come back to somebody else.
4. A node that several bridges claim belongs to the one that was the last to begin claiming it: a
   tab that went over to another bridge is there, before the first one has missed it.

Pure: no clock, no wires. Times are milliseconds of the caller's clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from ftweb import frames
from ftweb.limits import LINKED_BRIDGES

HOP_COST: Final = 1.0
"""Milliseconds that a bridge takes to pass a frame on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """A node behind another bridge."""

    info: frames.NodeInfo
    """With ``since`` in this bridge's time, ``rtt`` from here."""
    bridge: str


@dataclass(kw_only=True, slots=True)
class _Known:
    state: frames.LinkState
    offset: float
    """What its clock is behind ours, as of the first word of this start."""


class Routes:
    """What one bridge knows of the others.

    Args:
        bridge: its own id.
    """

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self._known: dict[str, _Known] = {}
        self._claims: dict[str, list[str]] = {}
        """Node id → bridges that claim it, the latest to begin last."""
        self._direct: dict[str, float] = {}
        self._next: dict[str, str] = {}
        self._cost: dict[str, float] = {}
        self._nodes: dict[str, Remote] = {}

    # --- in ---------------------------------------------------------------------------------

    def told(self, state: frames.LinkState, now: float) -> bool:
        """A bridge tells of itself; False if that is known already, or is about us."""
        if state.bridge == self._bridge:
            return False
        known = self._known.get(state.bridge)
        if known is not None:
            before = known.state
            if (state.start, state.seq) <= (before.start, before.seq):
                return False
            offset = known.offset if state.start == before.start else now - state.now
        else:
            if len(self._known) >= LINKED_BRIDGES and not self._forget_one():
                return False
            offset = now - state.now
        self._known[state.bridge] = _Known(state=state, offset=offset)
        self._claim(state)
        self._recompute()
        return True

    def links(self, direct: Mapping[str, float]) -> None:
        """The direct links that are up: bridge → round trip."""
        self._direct = dict(direct)
        self._recompute()

    def claimed_here(self, node_id: str) -> None:
        """A node is behind our own bridge from now on (rule 4)."""
        self.released_here(node_id)
        self._claims.setdefault(node_id, []).append(self._bridge)
        self._recompute()

    def released_here(self, node_id: str) -> None:
        """It is not any more."""
        claims = self._claims.get(node_id)
        if claims is not None and self._bridge in claims:
            claims.remove(self._bridge)
            if not claims:
                del self._claims[node_id]
            self._recompute()

    # --- out --------------------------------------------------------------------------------

    def next_hop(self, to: str) -> str | None:
        """The direct neighbour by which a node or a bridge is reached; None if it is not."""
        remote = self._nodes.get(to)
        return self._next.get(to if remote is None else remote.bridge)

    def node(self, node_id: str | None, *, epoch: int | None = None) -> Remote | None:
        """A node behind another bridge that can be reached; in an epoch, if one is given."""
        remote = None if node_id is None else self._nodes.get(node_id)
        if remote is None or epoch is None or self.epoch_of(remote.bridge) == epoch:
            return remote
        return None

    def is_of_another(self, node_id: str, client_id: str) -> bool:
        """Whether a node is elsewhere, and behind another client than this one."""
        remote = self._nodes.get(node_id)
        return remote is not None and remote.info.client != client_id

    def epoch_of(self, bridge: str) -> int | None:
        """The epoch in which a bridge said that it is."""
        known = self._known.get(bridge)
        return None if known is None else known.state.epoch

    def known_in(self, epoch: int) -> list[frames.NodeInfo]:
        """The nodes behind other bridges of an epoch, and behind those of none yet."""
        found = self._nodes.values()
        return [remote.info for remote in found if self.epoch_of(remote.bridge) in (0, epoch)]

    @property
    def nodes(self) -> Mapping[str, Remote]:
        """All nodes behind other bridges that can be reached. Replaced, never changed."""
        return self._nodes

    @property
    def bridges(self) -> list[frames.LinkState]:
        """What the other bridges that can be reached told last, nearest first."""
        return [self._known[bridge].state for bridge in sorted(self._cost, key=self._rank)]

    @property
    def ever(self) -> list[frames.LinkState]:
        """The same of all that were ever heard of."""
        return [known.state for known in self._known.values()]

    # --- inside -----------------------------------------------------------------------------

    def _rank(self, bridge: str) -> tuple[float, str]:
        return self._cost[bridge], bridge

    def _forget_one(self) -> bool:
        """Make room: forget a bridge that is not there any more."""
        for bridge in self._known:
            if bridge not in self._cost:
                del self._known[bridge]
                self._withdraw(bridge, ())
                return True
        return False

    def _claim(self, state: frames.LinkState) -> None:
        told = [info.node_id for info in state.nodes]
        self._withdraw(state.bridge, told)
        for node_id in told:
            claims = self._claims.setdefault(node_id, [])
            if state.bridge not in claims:
                claims.append(state.bridge)

    def _withdraw(self, bridge: str, still: Iterable[str]) -> None:
        keep = set(still)
        for node_id, claims in list(self._claims.items()):
            if bridge in claims and node_id not in keep:
                claims.remove(bridge)
                if not claims:
                    del self._claims[node_id]

    def _recompute(self) -> None:
        self._shortest_paths()
        nodes: dict[str, Remote] = {}
        for bridge, cost in self._cost.items():
            known = self._known[bridge]
            for info in known.state.nodes:
                claims = self._claims[info.node_id]
                there = [each for each in claims if each in self._cost or each == self._bridge]
                if there[-1] != bridge:
                    continue
                seen = msgspec.structs.replace(
                    info,
                    since=min(max(0.0, info.since + known.offset), frames.DURATION_MOST),
                    rtt=min(info.rtt + cost, frames.DURATION_MOST),
                )
                nodes[info.node_id] = Remote(info=seen, bridge=bridge)
        self._nodes = nodes

    def _shortest_paths(self) -> None:
        """Dijkstra's, from ourselves."""
        self._next, self._cost = {}, {}
        queue: list[tuple[float, str, str]] = []
        for bridge, rtt in self._direct.items():
            # Our own word is the newest about our own links; the peer's follows in a moment.
            if bridge in self._known:
                heapq.heappush(queue, (rtt + HOP_COST, bridge, bridge))
        while queue:
            cost, bridge, first = heapq.heappop(queue)
            if bridge in self._cost:
                continue
            self._cost[bridge] = cost
            self._next[bridge] = first
            for neighbour in self._known[bridge].state.neighbours:
                further = self._known.get(neighbour.bridge)
                if further is None or neighbour.bridge in self._cost:
                    continue
                if any(back.bridge == bridge for back in further.state.neighbours):
                    step = cost + neighbour.rtt + HOP_COST
                    heapq.heappush(queue, (step, neighbour.bridge, first))
