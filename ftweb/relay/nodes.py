"""The nodes behind this relay's sockets: they come, say what is new, go, or have to be replaced.

1. A node is announced once per socket. Another one behind the same socket means that the first has
   died.
2. Each is told which epoch is the present one here (``enter``): a node of a lower one leaves that
   for good, and says so (:mod:`ftweb.relay.leavers`). A tab that relays tells nothing of the kind.
3. A node that cannot come to this epoch has to be replaced by a new one: it is told ``epoch_over``.
4. Whoever has gone is reported lost, and that is told to the other bridges at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ftweb import frames
from ftweb.errors import CODES, FrameError
from ftweb.relay.connection import Connection, NodeHere, Registry
from ftweb.relay.directory import NodeDirectory
from ftweb.relay.leavers import Leavers
from ftweb.relay.links import Links
from ftweb.relay.recalling import Recalling
from ftweb.relay.requests import Requests


class Nodes:
    """See the rules above.

    Args:
        registry: of the connections.
        loop: tells the time.
        links: to other bridges.
        directory: tells the nodes of one another.
        leavers: who has left an epoch.
        recalling: asks them for what they had there alone.
        requests: told of nodes that died while they ran one.
        own: gives the id of the relay's own node.
        epoch: gives the present one.
        members: gives those of the present configuration.
        enters: whether nodes are told the epoch (rule 2).
        changed: told when somebody has come or gone.
        leads: told when a node's word about its leading is another one.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        loop: asyncio.AbstractEventLoop,
        links: Links,
        directory: NodeDirectory,
        leavers: Leavers,
        recalling: Recalling,
        requests: Requests,
        own: Callable[[], str],
        epoch: Callable[[], int],
        members: Callable[[], Iterable[str]],
        enters: bool,
        changed: Callable[[], None],
        leads: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._loop = loop
        self._links = links
        self._directory = directory
        self._leavers = leavers
        self._recalling = recalling
        self._requests = requests
        self._own = own
        self._epoch = epoch
        self._members = members
        self._enters = enters
        self._changed = changed
        self._leads = leads
        self._entered = 0
        """The epoch of which all were told."""

    def up(self, connection: Connection, frame: frames.NodeUp) -> None:
        """A node runs behind this connection.

        Raises:
            FrameError: its id is somebody else's, or too many came.
        """
        before = connection.node
        if before is not None and before.node_id == frame.node_id:
            self._news(connection, before, frame)
            self._enter(connection)
            return
        connection.brings_one(self._loop.time())
        if before is not None:
            self._registry.remove_node(connection)
            self.gone(before.node_id, died=True)
        node = NodeHere(
            node_id=frame.node_id,
            visible=frame.visible,
            since=self._directory.now(),
            epoch=frame.epoch,
            leads=frame.leads,
        )
        taken = frame.node_id == self._own()
        taken |= self._links.routes.is_of_another(frame.node_id, connection.client_id)
        if taken or not self._registry.add_node(connection, node):
            raise FrameError("That node id is taken; mint a new one.", code="node_id_in_use")
        connection.renewing = ""
        self._links.routes.claimed_here(frame.node_id)
        node.left = frame.left
        self._leavers.note(frame.node_id, frame.left)
        self._recalling.note(connection, frame.left)
        self.told(at_once=True)
        self._enter(connection)
        self._directory.came(connection)
        self._changed()

    def update(self, connection: Connection, frame: frames.NodeUpdate) -> None:
        """It says what is new.

        Raises:
            FrameError: there is no such node here.
        """
        node = connection.node
        if node is None and connection.renewing:
            if (
                frame.epoch == self._epoch()
            ):  # it held on to its own for a while, and came after all
                fields = {name: getattr(frame, name) for name in frame.__struct_fields__}
                self.up(connection, frames.NodeUp(**fields))
            return
        if node is None or node.node_id != frame.node_id:
            raise FrameError("node_update names a node that is not behind this socket.")
        self._news(connection, node, frame)

    def _news(
        self, connection: Connection, node: NodeHere, frame: frames.NodeUp | frames.NodeUpdate
    ) -> None:
        node.left = frame.left
        wanted = self._leavers.note(node.node_id, frame.left)
        self._recalling.note(connection, frame.left)
        before, node.epoch = node.leads, frame.epoch
        if (node.visible, before) != (frame.visible, frame.leads) or wanted:
            node.visible, node.leads = frame.visible, frame.leads
            self.told()
        if frame.leads != before:
            self._leads()

    def recall(self) -> None:
        """The own replica may know by now what those here have to be asked for."""
        for connection in self._registry.nodes():
            if connection.node is not None:
                self._recalling.note(connection, connection.node.left)

    def down(self, connection: Connection, frame: frames.NodeDown) -> None:
        """It has ended."""
        node = connection.node
        if node is None or node.node_id != frame.node_id:
            # It had gone already; how far it was may have been said to nobody yet.
            elsewhere = self._links.routes.is_of_another(frame.node_id, connection.client_id)
            here = self._registry.with_node(frame.node_id) is not None
            if not (here or elsewhere) and self._leavers.note(frame.node_id, frame.left):
                self.told()
            return
        self._links.broadcast(frame)
        self._leavers.note(node.node_id, frame.left)
        stuck_in = frame.request
        if stuck_in is not None:
            self._requests.stuck(stuck_in, node.node_id)
        self._registry.remove_node(connection)
        self.gone(node.node_id, died=stuck_in is None and frame.reason != "leaving")
        self._changed()

    def gone(self, node_id: str, *, died: bool) -> None:
        """It is not behind any socket here any more (rule 4)."""
        if died:
            self._requests.inflight.died(node_id)
        self._links.routes.released_here(node_id)
        # A dict, not a set: those are told in the same order whatever strings hash to.
        self._directory.lost(node_id, dict.fromkeys(self._members()))
        self._links.tell(at_once=True)

    def told(self, *, at_once: bool = False) -> None:
        """What is told of the nodes here is another."""
        self._directory.changed()
        self._links.tell(at_once=at_once)

    # --- epochs -------------------------------------------------------------------------------

    def entered(self) -> None:
        """The own replica may be in another epoch (rule 2)."""
        if self._epoch() != self._entered:
            self._entered = self._epoch()
            for connection in self._registry.nodes():
                self._enter(connection)

    def _enter(self, connection: Connection) -> None:
        if self._enters and self._epoch():
            connection.send(frames.Enter(epoch=self._epoch()))

    def replace_all(self) -> None:
        """Those that are not in the present epoch cannot come there (rule 3)."""
        for connection in self._registry.nodes():
            node = connection.node
            if node is not None and node.epoch != self._epoch():
                self.replace(connection, node)

    def replace(self, connection: Connection, node: NodeHere) -> None:
        """Rule 3."""
        self._registry.remove_node(connection)
        self._links.routes.released_here(node.node_id)
        connection.renewing = node.node_id
        over = frames.Error(code="epoch_over", message=CODES["epoch_over"], fatal=False)
        connection.send(over)
        self.told(at_once=True)
