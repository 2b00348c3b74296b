"""A tab's node: the driver with the app's handlers, wired to the net worker's messages.

1. Its id is minted here, after randomness was seeded, and used for no other life of the tab.
2. It keeps nothing on disk. What a tab held counts for nothing once the tab is gone, so a
   reloaded tab is a new node that catches up from the others.
3. Clients are served by bridges, each from its own replica. So nothing that this replica applies
   is sent to anybody: the tab only takes part in consensus and, as host, runs the handlers. With
   no bridge left tabs join here, over data channels: :mod:`pyodide_app.relay` serves them.
4. An app that answers HTTP does so over a socket of its own (:mod:`ftweb.flyweb.port`), which this
   node has while it is a member.
5. Where its log ends is told before anybody hears of it: when the page goes, nothing more can be
   asked, and a bridge may have to know what this node had accepted (:mod:`ftweb.beginning`).
6. The net worker is told before and after each handler runs. It can end this worker when a
   handler does not come back; nothing in here could.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ftweb import codec, frames
from ftweb.app import Effect, Server
from ftweb.core import NodeId, Role
from ftweb.driver import Clock, Driver, NodeStatus
from ftweb.errors import FrameError
from ftweb.flyweb import wire
from ftweb.flyweb.port import HttpPort, OpenSocket
from ftweb.flyweb.replicated import Replicated
from ftweb.flyweb.service import Service
from ftweb.flyweb.submitting import Submitter
from ftweb.storage import MemoryStorage
from pyodide_app import messages
from pyodide_app.relay import SETTLE_SECONDS, TabRelay

_log = logging.getLogger(__name__)


NOBODY: Final = frames.Directory(nodes=[])


class Whereabouts:
    """Who can be reached, by the bridge's word and by that of a relay in this tab.

    A node counts as there if either lists it: while a bridge comes back, some are at it already and
    some still here.
    """

    def __init__(self, receive: Callable[[frames.Frame], None]) -> None:
        self._receive = receive
        self._bridge = NOBODY
        self._relay = NOBODY
        self.settled = False
        """The relay's list counts (:mod:`pyodide_app.relay`, rule 5)."""

    def of_bridge(self, directory: frames.Directory) -> None:
        """A bridge has told; ``NOBODY`` if there is no bridge any more."""
        self._bridge = directory
        if directory.nodes or self.settled:
            self.tell()

    def of_relay(self, directory: frames.Directory) -> None:
        """The relay has told."""
        self._relay = directory
        if self.settled:
            self.tell()

    def tell(self) -> None:
        """Tell the node of all."""
        known = {info.node_id for info in self._bridge.nodes}
        others = [info for info in self._relay.nodes if info.node_id not in known]
        # The epoch is that of the bridges in the list, and a relay in a tab lists none.
        epoch = (self._bridge if known else self._relay).epoch
        nodes, left = self._bridge.nodes + others, self._bridge.left + self._relay.left
        self._receive(frames.Directory(nodes=nodes, epoch=epoch, left=left))


class TabDriver(Driver):
    """What a relay in this tab tells of the nodes goes through :class:`Whereabouts`."""

    whereabouts: Whereabouts

    def receive(self, frame: frames.Frame) -> None:
        """See :meth:`ftweb.driver.Driver.receive`."""
        if isinstance(frame, frames.Directory):
            self.whereabouts.of_relay(frame)
        else:
            super().receive(frame)

    def receive_directory(self, frame: frames.Frame) -> None:
        """The one that counts."""
        super().receive(frame)


class TabNode:
    """One life of a tab as a node. Runs in the current event loop from :meth:`start` on.

    Args:
        node_id: 32 random hex digits.
        server: the app.
        clock: time and chance.
        welcome: what the bridge told.
        post: takes one text for the net worker; must not block.
        http: what it takes to answer HTTP; None if that is not wanted.
        open_socket: opens a WebSocket, for ``http``.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        server: Server,
        clock: Clock,
        welcome: frames.Welcome,
        post: Callable[[str], None],
        http: messages.Http | None = None,
        open_socket: OpenSocket | None = None,
    ) -> None:
        self._post = post
        self._welcome = welcome
        self._relay: TabRelay | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._driver = TabDriver(
            node_id=node_id,
            storage=MemoryStorage(),
            send=self._send,
            clock=clock,
            listener=self,
            server=server,
            on_begin=self._begin,
            on_end=self._end,
        )
        self._whereabouts = self._driver.whereabouts = Whereabouts(self._driver.receive_directory)
        self._position = (0, 0, 0)
        self._task: asyncio.Task[None] | None = None
        self._port: HttpPort | None = None
        self._serving: asyncio.Task[None] | None = None
        self._submitter = Submitter(self._driver, clock=lambda: clock.monotonic() / 1000)
        if server.web is not None and http is not None and open_socket is not None:
            app = Replicated(server, self._submitter)
            self._port = HttpPort(
                service=Service(app, hosting=lambda: self._driver.status.hosting),
                hello=wire.Hello(node_id=node_id, client_key=http.client_key, token=http.token),
                open_socket=open_socket,
            )
            self._port.at(http.url)

    def start(self) -> None:
        """Say that the node is up, and drive it from now on."""
        self._tell(messages.Up(node_id=self._driver.node_id))
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run())
        if self._port is not None:
            self._serving = loop.create_task(self._port.run())

    async def stop(self) -> None:
        """Drive it no more."""
        tasks = [task for task in (self._task, self._serving) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def receive(self, text: str) -> None:
        """Take one message of the net worker."""
        match messages.decode(text):
            case messages.FrameIn(text=text):
                self._frame(text)
            case messages.Linked(bridge=bridge):
                if not bridge:
                    self._whereabouts.of_bridge(NOBODY)
            case messages.WireOpen() as opened:
                self._standing_in().opened(opened)
            case messages.WireIn(link=link, text=text):
                if self._relay is not None:
                    self._relay.received(link, text)
            case messages.WireClosed(link=link, lost=lost):
                self._wire_closed(link, lost=lost)
            case messages.Bridges(bridges=bridges):
                if self._relay is not None:
                    self._relay.bridges(bridges)
            case messages.Stop():
                self._driver.hand_over()
            case messages.Over():
                for piece in self._driver.replica.end():
                    self._send(piece)
                self._tell(messages.HandedIn())
            case messages.Bridge(http_url=url):
                if self._port is not None:
                    self._port.at(url)
            case messages.Visible():
                pass

    def _frame(self, text: str) -> None:
        try:
            frame = codec.decode(text)
        except FrameError as error:
            _log.warning("Dropped a frame: %s", error)
            return
        if isinstance(frame, frames.Directory):
            self._whereabouts.of_bridge(frame)
        else:
            self._driver.receive(frame)

    # --- with no bridge left -------------------------------------------------------------------

    def _standing_in(self) -> TabRelay:
        """The relay here; it exists while anybody has joined."""
        if self._relay is None:
            self._relay = TabRelay(driver=self._driver, welcome=self._welcome, tell=self._tell)
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(SETTLE_SECONDS, self._settled)
        return self._relay

    def _settled(self) -> None:
        self._whereabouts.settled = True
        self._whereabouts.tell()

    def _wire_closed(self, link: str, *, lost: bool) -> None:
        if self._relay is None:
            return
        self._relay.closed(link, lost=lost)
        if self._relay.empty:
            self._relay.close()
            self._relay = None
            if self._settling is not None:
                self._settling.cancel()
            self._whereabouts.settled = False
            self._whereabouts.of_relay(NOBODY)

    async def _run(self) -> None:
        try:
            await self._driver.run()
        except Exception as error:
            _log.exception("This node has stopped.")
            self._tell(messages.Failed(stage="node", message=f"{type(error).__name__}: {error}"))

    # --- what the driver tells -----------------------------------------------------------------

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See rule 3. Only this tab's own HTTP requests wait for it, and who has joined here."""
        self._submitter.applied(effects)
        if self._relay is not None:
            self._relay.applied(index, effects)

    def restored(self) -> None:
        """See rule 3."""
        if self._relay is not None:
            self._relay.restored()

    def status(self, status: NodeStatus) -> None:
        """Pass it on to the page; a replica that has stopped is of no more use to it."""
        if self._relay is not None:
            self._relay.status(status)
        if status.failed:
            self._tell(messages.Failed(stage="node", message="The replica has stopped."))
            return
        self._submitter.hosting(status.hosting)
        if self._port is not None:
            self._port.want(status.role is not Role.OBSERVER)
        self._tell(
            messages.Status(
                role=status.role.value,
                epoch=status.epoch,
                term=status.term,
                leader_id=status.leader_id,
                successors=list(status.successors),
                hosting=status.hosting,
                quorum=status.quorum,
                left=self._driver.left,
                history=self._history(status) if status.role is Role.LEADER else None,
            )
        )

    def _history(self, status: NodeStatus) -> Any:
        driver = self._driver
        return msgspec.to_builtins(
            driver.machine.lineage.summary(
                bridge=driver.node_id,
                epoch=status.epoch,
                term=driver.node.last_term,
                index=driver.node.last_index,
                applied=driver.node.applied_index,
                quorum=status.quorum,
            )
        )

    def _send(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Raft):
            driver = self._driver
            position = (driver.epoch, driver.node.last_term, driver.node.last_index)
            if position != self._position:
                self._position = position
                self._tell(messages.Position(left=driver.replica.position()))
        self._tell(messages.FrameOut(text=codec.encode(frame)))

    def _begin(self, forward: frames.Forward) -> None:
        self._tell(
            messages.Begin(
                client_id=forward.source.client_id,
                session=forward.session,
                serial=forward.serial,
            )
        )

    def _end(self) -> None:
        self._tell(messages.End())

    def _tell(self, message: messages.Outgoing) -> None:
        self._post(messages.encode(message))
