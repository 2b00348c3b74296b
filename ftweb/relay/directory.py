"""Which nodes are reachable, and which have just gone.

1. The directory goes to the leader, whoever it is: keeping the membership is its duty. It is sent
   when somebody comes, goes or is hidden, and when there is another leader, at most ten times a
   second. Whoever says that it leads gets it as well: a leader that was elected while this bridge
   was away is unknown to its replica until that leader hears of the bridge.
2. A node whose socket ends is reported lost at once, to every member: that is what makes a takeover
   quick. It is a hint; members decide for themselves. Who comes over from a bridge that is gone
   was not there to be told: it is told then of the losses of the last LOST_KEPT_SECONDS, but for
   those that have come over, too (LOST_BACK_SECONDS after the last of them: all come at once). Of
   many losses only the latest LOSSES_KEPT are told: only those of members matter.
3. A tab on the bridge's own machine counts as the same device as the bridge: they end together,
   whichever browser profile the tab is in.
4. It lists the nodes behind all bridges that can be reached. The others tell of at most LINK_NODES
   of theirs: their members, then the best of the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

from ftweb import codec, frames
from ftweb.limits import LINK_NODES, LOSSES_KEPT
from ftweb.relay.connection import Connection, Registry
from ftweb.relay.wire import Prepared

DIRECTORY_SECONDS: Final = 0.1
"""Least time between two directories: a class that joins at once costs ten a second, not one
per phone. Losses do not wait for it."""

LOST_KEPT_SECONDS: Final = 3.0
"""How long a loss is news to a node that comes: longer than pages take to find another bridge,
and by then every other sign of it has been seen."""

LOST_BACK_SECONDS: Final = 0.2
"""Pages that lost their bridge come to the next one within this time (SPREAD_MS in timing.ts)."""

SINCE_BASE: Final = 1e9
"""What the clock of ``since`` shows when a bridge starts: nodes of a bridge that was there before
are older than that, and times on the wire are never negative."""


class NodeDirectory:
    """Tells the bridge's own node, and the nodes behind its sockets, who is there.

    Args:
        node_id: gives the id of the bridge's own node.
        device_id: of the bridge's machine.
        bridge: the bridge's own id.
        registry: of the connections.
        loop: runs the timer.
        to_own_node: hands a frame to the bridge's own node.
        leader: gives the connection behind which the leader runs, if it runs here.
        elsewhere: gives the nodes behind other bridges.
        epoch: gives the present one.
        replaying: whether this bridge still repeats requests of an epoch that it has given up.
        left: gives those of whom the leader has to know that they have left an epoch.
    """

    def __init__(
        self,
        *,
        node_id: Callable[[], str],
        device_id: str,
        bridge: str = "",
        registry: Registry,
        loop: asyncio.AbstractEventLoop,
        to_own_node: Callable[[frames.Frame], None],
        leader: Callable[[], Connection | None],
        elsewhere: Callable[[], Iterable[frames.NodeInfo]] = tuple,
        replaying: Callable[[], bool] = lambda: False,
        epoch: Callable[[], int] = lambda: 0,
        left: Callable[[], list[frames.Left]] = list,
    ) -> None:
        self._node_id = node_id
        self._device_id = device_id
        self._bridge = bridge
        self._registry = registry
        self._loop = loop
        self._to_own_node = to_own_node
        self._leader = leader
        self._elsewhere = elsewhere
        self._replaying = replaying
        self._epoch = epoch
        self._left = left
        self._started_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = float("-inf")
        self._lost: dict[str, float] = {}
        self._reminders: dict[Connection, asyncio.TimerHandle] = {}
        """Those to be told of what they missed, in a moment."""

    def close(self) -> None:
        """Stop the timers."""
        if self._timer is not None:
            self._timer.cancel()
        for reminder in self._reminders.values():
            reminder.cancel()

    def came(self, connection: Connection) -> None:
        """A node runs behind this connection now: tell it what it missed (rule 2)."""
        now = self._loop.time()
        self._lost = {one: at for one, at in self._lost.items() if now - at < LOST_KEPT_SECONDS}
        if not self._lost:
            return
        wait = max(self._lost.values()) + LOST_BACK_SECONDS - now
        older = self._reminders.pop(connection, None)
        if older is not None:
            older.cancel()
        # Not call_at: Pyodide's loop refuses a time that has passed meanwhile.
        remind = self._loop.call_later(max(0.0, wait), self._remind, connection, list(self._lost))
        self._reminders[connection] = remind

    def _remind(self, connection: Connection, lost: list[str]) -> None:
        self._reminders.pop(connection, None)
        if connection.node is None:
            return
        elsewhere = {info.node_id for info in self._elsewhere()}
        for node_id in lost:
            if self._registry.with_node(node_id) is None and node_id not in elsewhere:
                connection.send(frames.Lost(node_id=node_id))

    def changed(self) -> None:
        """Something about the nodes, or the leader, is different (rule 1)."""
        if self._timer is None:
            wait = self._sent_at + DIRECTORY_SECONDS - self._loop.time()
            self._timer = self._loop.call_later(max(0.0, wait), self._send)

    def lost(self, node_id: str, members: Iterable[str]) -> None:
        """A node has just gone: tell the members (rule 2)."""
        lost = frames.Lost(node_id=node_id)
        self._lost.pop(node_id, None)
        self._lost[node_id] = self._loop.time()
        if len(self._lost) > LOSSES_KEPT:
            del self._lost[next(iter(self._lost))]
        prepared = Prepared(codec.encode(lost))
        for member in members:
            receiver = self._registry.with_node(member)
            if receiver is not None:
                receiver.send_prepared(prepared)
        self._to_own_node(lost)
        self.changed()

    def _send(self) -> None:
        self._timer = None
        self._sent_at = self._loop.time()
        here = self._here()
        known = {info.node_id for info in here}
        elsewhere = [info for info in self._elsewhere() if info.node_id not in known]
        directory = frames.Directory(nodes=here + elsewhere, epoch=self._epoch(), left=self._left())
        self._to_own_node(directory)
        leader = self._leader()
        if leader is not None:
            leader.send(directory)
        for connection in self._registry.nodes():
            if connection is not leader and connection.node and connection.node.leads:
                connection.send(directory)

    def best(self, members: Collection[str]) -> list[frames.NodeInfo]:
        """The nodes here of which other bridges are told (rule 4), the bridge's own first."""
        own, *tabs = self._here()
        tabs.sort(
            key=lambda info: (
                info.node_id not in members,
                not info.local,
                not info.visible,
                info.since,
            )
        )
        return [own, *tabs[: LINK_NODES - 1]]

    def now(self) -> float:
        """The clock of ``since``, in milliseconds."""
        return SINCE_BASE + (self._loop.time() - self._started_at) * 1000

    def _here(self) -> list[frames.NodeInfo]:
        tabs = [self._info(c) for c in self._registry.nodes() if not c.wire.closing]
        return [self._own(), *tabs] if self._bridge else tabs

    def _own(self) -> frames.NodeInfo:
        return frames.NodeInfo(
            node_id=self._node_id(),
            device_id=self._device_id,
            kind="bridge",
            local=True,
            visible=True,
            since=SINCE_BASE,
            rtt=0.0,
            bridge=self._bridge,
            replaying=self._replaying(),
        )

    def _info(self, connection: Connection) -> frames.NodeInfo:
        node = connection.node
        assert node is not None
        return frames.NodeInfo(
            node_id=node.node_id,
            device_id=self._device_id if connection.local else connection.device_id,
            kind="tab",
            local=connection.local,
            visible=node.visible,
            since=node.since,
            rtt=connection.rtt,
            client=connection.client_id,
        )
