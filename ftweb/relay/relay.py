"""Where each frame goes.

1. **Consensus** frames go by their addressee: to the bridge's own replica, to the socket behind
   which that node runs, or over a link towards the bridge that has it. A frame that claims another
   sender than the node behind its socket, or another epoch than the present one, goes nowhere. A
   replica that belongs to no epoch yet takes the first that speaks to it.
2. **Requests** go to the host, wherever it is (:mod:`ftweb.relay.requests`).
3. **Who is reachable** is told as :mod:`ftweb.relay.directory` has it, here and by links.
4. **Signals** go from client to client as :mod:`ftweb.relay.signaling` has it.
5. What clients are told is what the replica has applied (:mod:`ftweb.relay.stream`), and who
   hosts as the replica sees it. A host that cannot be reached is none.
6. A node's frames are delivered here or passed on, never both, and links carry each once. Should
   a request come twice all the same, sessions make it one.
7. Nodes behind bridges in another epoch cannot be reached, whatever their ids: they belong to
   another history. What is done about that is :mod:`ftweb.relay.meeting`'s (:meth:`Relay.meet`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from ftweb import codec, frames
from ftweb.app import Effect, Replied
from ftweb.core import NodeId
from ftweb.driver import Driver, NodeStatus
from ftweb.epochs import Fork
from ftweb.errors import FrameError
from ftweb.relay import signaling
from ftweb.relay.connection import Connection, Registry
from ftweb.relay.directory import NodeDirectory
from ftweb.relay.evening import Evening
from ftweb.relay.here import DEVICE_CHARS, Here, Hosting, bridges, participants, welcome
from ftweb.relay.leavers import Leavers
from ftweb.relay.links import Links
from ftweb.relay.meeting import Meeting
from ftweb.relay.nodes import Nodes
from ftweb.relay.recalling import Recalling
from ftweb.relay.requests import Requests
from ftweb.relay.routes import Remote
from ftweb.relay.stream import Stream
from ftweb.relay.wire import Prepared

_log = logging.getLogger(__name__)


class Relay:
    """Routes frames; is the sockets' router and the driver's listener.

    Args:
        here: see :class:`Here`.
        registry: of the connections.
        loop: runs the timers.
        on_hosting: told whenever the host, or what is known of the quorum, changes.
        on_links: told when anything about the other bridges is different.

    :meth:`attach` must be called with the bridge's own replica before the first frame comes.
    """

    _driver: Driver

    def __init__(
        self,
        *,
        here: Here,
        registry: Registry,
        loop: asyncio.AbstractEventLoop,
        on_hosting: Callable[[Hosting], None],
        on_links: Callable[[], None] = lambda: None,
    ) -> None:
        self._here = here
        self._registry = registry
        self._loop = loop
        self._on_hosting = on_hosting
        self._on_links = on_links
        self._meeting: Meeting | None = None
        self._stream = Stream(registry=registry, loop=loop)
        self.links = Links(bridge=here.bridge, start=here.start, loop=loop, listener=self)
        self._requests = Requests(
            stream=self._stream,
            machine=lambda: self._driver.machine,
            status=lambda: self._driver.status,
            host=self._host,
            send=self._send_to,
            holds=lambda client: self._meeting is not None and self._meeting.holds(client),
        )
        self.leavers = Leavers(
            wants=lambda left: self._driver.machine.lineage.wants(left),
            elsewhere=lambda: (one for state in self.others() for one in state.left),
        )
        self._recalling = Recalling(
            forks=self._forks,
            take=lambda items: self._meeting is not None and self._meeting.recalled(items),
        )
        self._directory = NodeDirectory(
            node_id=lambda: self.node_id,
            device_id=here.device_id,
            bridge=here.bridge,
            registry=registry,
            loop=loop,
            to_own_node=self._to_own_node,
            leader=lambda: registry.with_node(self._driver.status.leader_id),
            elsewhere=lambda: self.links.routes.known_in(self._driver.epoch),
            epoch=lambda: self._driver.epoch,
            replaying=lambda: self._meeting is not None and self._meeting.replaying,
            left=self.leavers.wanted,
        )
        self._nodes = Nodes(
            registry=registry,
            loop=loop,
            links=self.links,
            directory=self._directory,
            leavers=self.leavers,
            recalling=self._recalling,
            requests=self._requests,
            own=lambda: self.node_id,
            epoch=lambda: self._driver.epoch,
            members=lambda: (*self._driver.status.voters, *self._driver.status.successors),
            enters=bool(here.bridge),
            changed=self._tell_hosting,
            leads=self._notice,
        )
        self.evening = Evening(
            registry=registry, own=here.bridge, loop=loop, links=self.links, members=self._members
        )
        self._leader: tuple[int, int, str | None] = (0, 0, None)
        self._provisional = False
        self._ended = False
        self._found: list[frames.BridgeAddress] = []
        """Bridges that a tab has found."""
        self.hosting = Hosting(epoch=0, term=0, host=None, quorum=False)

    @property
    def node_id(self) -> NodeId:
        """Of the bridge's own node, now."""
        return self._driver.node_id

    def _forks(self) -> Sequence[Fork] | None:
        """Of the own branch; None where it is not known yet, and in a tab."""
        machine = self._driver.machine
        return machine.lineage.forks if self._here.bridge and machine.guid else None

    def attach(self, driver: Driver) -> None:
        """Join the bridge's own replica."""
        self._driver = driver
        self._stream.restored(driver.epoch, driver.machine)
        self._directory.changed()

    def close(self) -> None:
        """Stop the timers, close the links."""
        self._stream.close()
        self._directory.close()
        self.links.close()

    # --- the sockets' router ------------------------------------------------------------------

    def joined(self, connection: Connection, hello: frames.Hello) -> None:
        """See :class:`ftweb.bridge.sockets.Router`."""
        connection.send(welcome(self._here, connection, node_id=self.node_id))
        self._stream.join(connection, hello)
        self._tell_hosting()
        self.links.tell()

    def left(self, connection: Connection) -> None:
        """See :class:`ftweb.bridge.sockets.Router`."""
        node = connection.node
        if node is not None:
            if connection.leaving:
                self.links.broadcast(frames.NodeDown(node_id=node.node_id, reason="leaving"))
            self._nodes.gone(node.node_id, died=not connection.leaving)
        self._tell_hosting()
        self.links.tell()

    def received(self, connection: Connection, frame: frames.Frame, text: str) -> None:
        """See :class:`ftweb.bridge.sockets.Router`."""
        match frame:
            case frames.Raft():
                self._from_node(connection, frame, text)
            case frames.Request():
                self._requests.request(connection, frame, text)
            case frames.OpenSession():
                self._requests.open_session(connection)
            case frames.Ping():
                connection.rtt = frame.rtt
                connection.send(frames.Pong(n=frame.n))
            case frames.Pong():
                pass
            case frames.Resync():
                self._stream.resync(connection)
            case frames.NodeUp():
                self._nodes.up(connection, frame)
            case frames.NodeUpdate():
                self._nodes.update(connection, frame)
            case frames.NodeDown():
                self._nodes.down(connection, frame)
            case frames.Recalled():
                self._recalling.recalled(connection, frame)
            case frames.Signal():
                signaling.route(frame, connection, self._registry, self.links)
            case frames.Bye():
                connection.leaving = True
                connection.wire.close(1000, "bye")
            case _:
                raise FrameError(f"A client may not send a {frame.__struct_config__.tag} frame.")

    # --- consensus ----------------------------------------------------------------------------

    def send(self, frame: frames.Frame) -> None:
        """The own replica sends a frame to another node."""
        if isinstance(frame, frames.Raft):
            self._send_to(frame.to, frame)

    def _send_to(self, node_id: str, frame: frames.Frame) -> None:
        """To a node, wherever it is; nowhere if it cannot be reached."""
        receiver = self._registry.with_node(node_id)
        if receiver is not None:
            receiver.send(frame)
        else:
            self.links.send(node_id, codec.encode(frame))

    def _to_own_node(self, frame: frames.Frame) -> None:
        if not self._ended and not self._driver.status.failed:  # or they would pile up there
            self._driver.receive(frame)

    def _from_node(self, connection: Connection, frame: frames.Raft, text: str) -> None:
        node = connection.node
        if frame.epoch != self._driver.epoch:
            leads = node is not None and node.leads and node.leads.epoch == frame.epoch
            if frame.epoch > self._driver.epoch and node is not None and not leads:
                self._nodes.replace(connection, node)  # it cannot go back to this epoch
            return  # fenced: from a history that has been replaced
        if node is None or node.node_id != frame.sender:
            raise FrameError("A node may send consensus frames only after its node_up, as itself.")
        if frame.to == self.node_id:
            self._to_own_node(frame)
            return
        receiver = self._registry.with_node(frame.to)
        if receiver is not None:
            receiver.send_prepared(Prepared(text))
        else:
            self.links.send(frame.to, text)

    def _host(self) -> str | None:
        """The node that hosts: the leader, if it is a tab that can be reached."""
        leader = self._driver.status.leader_id
        if self._registry.with_node(leader) is not None:
            return leader
        remote = self._remote(leader)
        return leader if remote is not None and remote.info.kind == "tab" else None

    def _remote(self, node_id: str | None) -> Remote | None:
        """A node of this epoch behind another bridge."""
        return self.links.routes.node(node_id, epoch=self._driver.epoch)

    # --- the meeting of two epochs ------------------------------------------------------------

    def meet(self, meeting: Meeting) -> None:
        """From now on, what has to be done about other epochs is done there."""
        self._meeting = meeting
        meeting.notice()

    def others(self) -> list[frames.LinkState]:
        """What the other bridges that can be reached told last, nearest first."""
        return self.links.routes.bridges

    def histories(self) -> list[object]:
        """See :class:`ftweb.relay.meeting.Relaying`."""
        leading = [c.node.leads for c in self._registry.nodes() if c.node and c.node.leads]
        of_tabs = [leads.history for leads in leading if leads.history is not None]
        return [*(state.history for state in self.others()), *of_tabs]

    def has_quorum(self) -> bool:
        """See :class:`ftweb.relay.meeting.Relaying`."""
        return self._quorum(self._driver.status)

    def host_id(self) -> str | None:
        """See :class:`ftweb.relay.meeting.Relaying`."""
        return self._host()

    def replace_nodes(self) -> None:
        """See :class:`ftweb.relay.meeting.Relaying`."""
        self._nodes.replace_all()

    def release(self) -> None:
        """See :class:`ftweb.relay.meeting.Relaying`."""
        self._requests.release(self._registry.client)

    def replay(self, forward: frames.Forward) -> bool:
        """See :meth:`ftweb.relay.requests.Requests.replay`."""
        return self._requests.replay(forward)

    # --- links --------------------------------------------------------------------------------

    def describe(self) -> frames.LinkState:
        """See :class:`ftweb.relay.links.Listener`."""
        return frames.LinkState(
            bridge=self._here.bridge,
            start=self._here.start,
            seq=0,
            node_id=self.node_id,
            epoch=self._driver.epoch,
            now=0.0,
            neighbours=[],
            nodes=self._directory.best(self._members()),
            urls=list(self._here.urls),
            clients=len(self._registry),
            devices=sorted(device[:DEVICE_CHARS] for device in self._registry.devices),
            history=None if self._meeting is None else self._meeting.history(),
            left=self.leavers.told(),
        )

    def clock(self) -> float:
        """See :class:`ftweb.relay.links.Listener`."""
        return self._directory.now()

    def arrived(self, to: str, frame: frames.Frame, text: str) -> None:
        """See :class:`ftweb.relay.links.Listener`."""
        match frame:
            case frames.Raft():
                if to == self.node_id:
                    if self._driver.epoch in (0, frame.epoch):
                        self._to_own_node(frame)
                elif frame.epoch == self._driver.epoch:
                    self._deliver(to, text)
            case frames.Forward():
                self._deliver(to, text)
            case frames.NodeDown():
                self.links.left(frame.node_id)
                if frame.request is not None:
                    self._requests.stuck(frame.request, frame.node_id)
            case frames.Signal():
                signaling.arrived(frame, self._registry)
            case _:
                _log.debug("A %s frame came over a link.", type(frame).__name__)

    def _deliver(self, node_id: str, text: str) -> None:
        receiver = self._registry.with_node(node_id)
        if receiver is not None:
            receiver.send_prepared(Prepared(text))

    def lost(self, nodes: Mapping[str, bool]) -> None:
        """See :class:`ftweb.relay.links.Listener`."""
        for node_id, died in nodes.items():
            if self._registry.with_node(node_id) is None:  # else it has come over to us
                self._nodes.gone(node_id, died=died)

    def moved(self, node_id: str) -> None:
        """See :class:`ftweb.relay.links.Listener`."""
        connection = self._registry.with_node(node_id)
        if not connection or self.links.routes.is_of_another(node_id, connection.client_id):
            return  # another client's claim to it counts for nothing
        self._registry.remove_node(connection)
        self.links.routes.released_here(node_id)
        self._nodes.told(at_once=True)

    def changed(self) -> None:
        """See :class:`ftweb.relay.links.Listener`."""
        self._directory.changed()
        self._tell_hosting()
        self._on_links()
        self._notice()

    def _notice(self) -> None:
        if self._meeting is not None:
            self._meeting.notice()

    def _members(self) -> Collection[str]:
        status = self._driver.status
        return {*status.voters, *status.successors}

    def tell(self) -> None:
        """See :class:`ftweb.relay.meeting.Relaying`."""
        self._nodes.told(at_once=True)
        self._nodes.recall()

    # --- nodes --------------------------------------------------------------------------------

    def move(self, *, urls: tuple[str, ...], join_url: str) -> None:
        """This machine has other addresses now: tell pages and bridges."""
        self._here = dataclasses.replace(self._here, urls=urls, join_url=join_url)
        self._nodes.told(at_once=True)
        self._tell_hosting()

    @property
    def urls(self) -> tuple[str, ...]:
        """Origins at which pages reach it, best first."""
        return self._here.urls

    def tell_bridges(self, bridges: list[frames.BridgeAddress]) -> None:
        """Bridges that clients may go to."""
        self._found = bridges
        self._tell_hosting()

    # --- the driver's listener ----------------------------------------------------------------

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._stream.applied(index, effects)
        for effect in effects:
            if type(effect) is Replied:
                self._requests.answered(effect)
        if self._driver.machine.lineage.provisional != self._provisional:
            self._tell_hosting()
        if self._meeting is not None:
            self._meeting.applied(effects)

    def restored(self) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._stream.restored(self._driver.epoch, self._driver.machine)
        for left in self._driver.left:
            self.leavers.note(left.node, [left])
        self._tell_hosting()
        self._nodes.told(at_once=True)  # a new epoch may have come with a new node
        self._nodes.entered()
        self._nodes.recall()

    def status(self, status: NodeStatus) -> None:
        """See :class:`ftweb.driver.Listener`."""
        leader = (status.epoch, status.term, status.leader_id)
        if leader != self._leader:
            self._leader = leader
            self._nodes.told()  # another epoch, other members
        self._tell_hosting()

    def _tell_hosting(self) -> None:
        status = self._driver.status
        host_id = self._host()
        self._provisional = self._driver.machine.lineage.provisional
        there = self.links.routes.bridges
        self._stream.status(
            frames.Status(
                epoch=status.epoch,
                term=status.term,
                host=host_id,
                successors=list(status.successors),
                quorum=self._quorum(status),
                participants=participants(self._registry, there),
                bridges=bridges(self._here, self.node_id, self._registry, there)
                if self._here.bridge
                else self._found,
                provisional=self._provisional,
            )
        )
        hosting = Hosting(
            epoch=status.epoch, term=status.term, host=host_id, quorum=self._quorum(status)
        )
        if hosting != self.hosting:
            self.hosting = hosting
            self._on_hosting(hosting)
        self._notice()

    def replica_ended(self) -> None:
        """The bridge's own replica runs no more: nothing can be acknowledged here."""
        self._ended = True
        self._tell_hosting()

    def _quorum(self, status: NodeStatus) -> bool:
        """Whether there can be progress: a majority of the voters is here. Between two hosts
        there is no leader for a moment, and yet nothing is wrong."""
        return not status.failed and not self._ended and self._spare(status) >= 0

    def spare(self) -> int:
        """How many of the voters may be lost now, with no time to be replaced, before nothing can
        be acknowledged. Negative when that is so already."""
        return self._spare(self._driver.status)

    def _spare(self, status: NodeStatus) -> int:
        here = sum(self._is_here(voter) for voter in status.voters)
        return here - (len(status.voters) // 2 + 1)

    def _is_here(self, voter: str) -> bool:
        return (
            voter == self.node_id
            or self._registry.with_node(voter) is not None
            or self._remote(voter) is not None
        )

    def voters_in_words(self) -> str:
        """Who of the voters can be reached and who leads, for the log."""
        status = self._driver.status
        away = [voter[:8] for voter in status.voters if not self._is_here(voter)]
        leader = f"node {status.leader_id[:8]} leads" if status.leader_id else "nobody leads"
        heard = "" if status.quorum or not status.leader_id else ", and is silent"
        away_in_words = f"{', '.join(away)} cannot be reached" if away else "all can be reached"
        return f"Of {len(status.voters)} voters {away_in_words}; {leader}{heard}."
