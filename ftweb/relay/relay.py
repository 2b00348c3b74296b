"""Where each frame goes.

1. **Consensus** frames go by their addressee: to the bridge's own replica, or to the socket
   behind which that node runs. A frame that claims another sender than the node behind its
   socket, or another epoch than the present one, goes nowhere.
2. **Requests** go to the host of the (epoch, term) that the bridge's own replica knows, with the
   source that the bridge vouches for. Without a host they are dropped, and so is what the host
   does not answer: clients repeat. Nothing is queued here. A reply that the replica already has
   is given at once.
3. **Who is reachable** is told as :mod:`ftweb.relay.directory` has it.
4. **Signals** go from client to client as :mod:`ftweb.relay.signaling` has it.
5. What clients are told is what the replica has applied (:mod:`ftweb.relay.stream`), and who
   hosts as the replica sees it. A host whose socket is gone is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ftweb import codec, frames
from ftweb.app import Effect, Machine, Replied
from ftweb.core import NodeId
from ftweb.driver import Driver, NodeStatus
from ftweb.errors import FrameError
from ftweb.limits import (
    FRAME_BYTES,
    HANDLER_SECONDS,
    JSON_DEPTH,
    JSON_KEY_CHARS,
    PAYLOAD_BYTES,
    PENDING_REQUESTS,
    PING_SECONDS,
)
from ftweb.relay.connection import Connection, NodeHere, Registry
from ftweb.relay.directory import NodeDirectory
from ftweb.relay.inflight import InFlight, Key
from ftweb.relay.signaling import route
from ftweb.relay.stream import Stream
from ftweb.relay.wire import Prepared

_log = logging.getLogger(__name__)

LIMITS: Final = frames.Limits(
    frame_bytes=FRAME_BYTES,
    payload_bytes=PAYLOAD_BYTES,
    json_depth=JSON_DEPTH,
    json_key_chars=JSON_KEY_CHARS,
    pending_requests=PENDING_REQUESTS,
    ping_seconds=PING_SECONDS,
    handler_seconds=HANDLER_SECONDS,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """What a bridge tells of itself."""

    node_id: NodeId
    device_id: str
    name: str
    guid: str
    bundle: str
    runtime_url: str
    join_url: str
    bridge: str = ""
    """Its own id, which stays the same over restarts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosting:
    """Who hosts, as this bridge sees it."""

    epoch: int
    term: int
    host: str | None
    quorum: bool


class Relay:
    """Routes frames; is the sockets' router and the driver's listener.

    Args:
        here: see :class:`Here`.
        registry: of the connections.
        loop: runs the timers.
        on_hosting: told whenever the host, or what is known of the quorum, changes.

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
    ) -> None:
        self._here = here
        self._registry = registry
        self._loop = loop
        self._on_hosting = on_hosting
        self._stream = Stream(registry=registry, loop=loop)
        self._inflight = InFlight()
        self._started_at = loop.time()
        self._directory = NodeDirectory(
            node_id=here.node_id,
            device_id=here.device_id,
            bridge=here.bridge,
            registry=registry,
            loop=loop,
            to_own_node=self._to_own_node,
            leader=self._host,
        )
        self._leader: tuple[int, int, str | None] = (0, 0, None)
        self._provisional = False
        self._ended = False
        self.hosting = Hosting(epoch=0, term=0, host=None, quorum=False)

    def attach(self, driver: Driver) -> None:
        """Join the bridge's own replica."""
        self._driver = driver
        self._stream.restored(driver.epoch, driver.machine)
        self._directory.changed()

    def close(self) -> None:
        """Stop the timers."""
        self._stream.close()
        self._directory.close()

    # --- the sockets' router ------------------------------------------------------------------

    def joined(self, connection: Connection, hello: frames.Hello) -> None:
        """See :class:`ftweb.bridge.sockets.Router`."""
        here = self._here
        connection.send(
            frames.Welcome(
                version=frames.PROTOCOL_VERSION,
                client_id=connection.client_id,
                device_id=connection.device_id,
                presenter=connection.presenter,
                bridge=here.node_id,
                name=here.name,
                guid=here.guid,
                bundle=here.bundle,
                runtime=here.runtime_url,
                join_url=here.join_url if connection.presenter else "",
                local=connection.local,
                limits=LIMITS,
            )
        )
        self._stream.join(connection, hello)
        self._tell_hosting()

    def left(self, connection: Connection) -> None:
        """See :class:`ftweb.bridge.sockets.Router`."""
        node = connection.node
        if node is not None:
            self._node_gone(node.node_id, died=not connection.leaving)
        self._tell_hosting()

    def received(self, connection: Connection, frame: frames.Frame, text: str) -> None:
        """See :class:`ftweb.bridge.sockets.Router`."""
        match frame:
            case frames.Raft():
                self._from_node(connection, frame, text)
            case frames.Request():
                self._request(connection, frame, text)
            case frames.OpenSession():
                self._open_session(connection)
            case frames.Ping():
                connection.rtt = frame.rtt
                connection.send(frames.Pong(n=frame.n))
            case frames.Pong():
                pass
            case frames.Resync():
                self._stream.resync(connection)
            case frames.NodeUp():
                self._node_up(connection, frame)
            case frames.NodeUpdate():
                self._node_update(connection, frame)
            case frames.NodeDown():
                self._node_down(connection, frame)
            case frames.Signal():
                route(frame, connection, self._registry)
            case frames.Bye():
                connection.leaving = True
                connection.wire.close(1000, "bye")
            case _:
                raise FrameError(f"A client may not send a {frame.__struct_config__.tag} frame.")

    # --- consensus ----------------------------------------------------------------------------

    def send(self, frame: frames.Frame) -> None:
        """The own replica sends a frame to another node."""
        if isinstance(frame, frames.Raft):
            receiver = self._registry.with_node(frame.to)
            if receiver is not None:
                receiver.send(frame)

    def _to_own_node(self, frame: frames.Frame) -> None:
        if not self._ended and not self._driver.status.failed:  # or they would pile up there
            self._driver.receive(frame)

    def _from_node(self, connection: Connection, frame: frames.Raft, text: str) -> None:
        node = connection.node
        if node is None or node.node_id != frame.sender:
            raise FrameError("A node may send consensus frames only after its node_up, as itself.")
        if frame.epoch != self._driver.epoch:
            return  # fenced: from a history that has been replaced
        if frame.to == self._here.node_id:
            self._to_own_node(frame)
            return
        receiver = self._registry.with_node(frame.to)
        if receiver is not None:
            receiver.send_prepared(Prepared(text))

    # --- requests -----------------------------------------------------------------------------

    @property
    def _machine(self) -> Machine:
        return self._driver.machine

    def _host(self) -> Connection | None:
        return self._registry.with_node(self._driver.status.leader_id)

    def _open_session(self, connection: Connection) -> None:
        opened = self._machine.session_of(connection.client_id)
        if opened is not None:
            self._stream.session(opened.client_id, opened.session)
            return
        host = self._host()
        if host is not None:
            host.send(self._forward(connection))

    def _request(self, connection: Connection, request: frames.Request, text: str) -> None:
        key: Key = (connection.client_id, request.session, request.serial)
        replied = self._machine.reply_for(*key)
        if replied is not None:
            self._inflight.replied(key)
            self._stream.reply(replied)
            return
        host = self._host()
        if host is None or host.node is None:
            return
        if self._inflight.pending(connection.client_id) >= PENDING_REQUESTS:
            # Replies that came in a snapshot were not seen here one by one.
            self._inflight.acknowledged(key[0], request.session, request.acknowledged)
        if (
            not self._inflight.knows(key)
            and self._inflight.pending(connection.client_id) >= PENDING_REQUESTS
        ):
            connection.send(
                frames.Error(
                    code="too_many_pending",
                    message=f"At most {PENDING_REQUESTS} requests may be unanswered; request"
                    f" {request.serial} was not passed on.",
                    fatal=False,
                )
            )
            return
        forward = self._forward(connection, request)
        if len(text) > PAYLOAD_BYTES:
            try:
                codec.check_payload(request.payload)
            except FrameError as error:
                # An answer like any other, so that it is the same whenever the client asks.
                failure = frames.Failure(code=error.code, message=error.message)
                forward = msgspec.structs.replace(forward, payload=None, refuse=failure)
        released = self._inflight.forward(key, host.node.node_id, forward)
        if released is not None:
            host.send(released)

    def _forward(
        self, connection: Connection, request: frames.Request | None = None
    ) -> frames.Forward:
        status = self._driver.status
        source = frames.Source(
            client_id=connection.client_id,
            device_id=connection.device_id,
            presenter=connection.presenter,
        )
        if request is None:
            return frames.Forward(epoch=status.epoch, term=status.term, source=source)
        return frames.Forward(
            epoch=status.epoch,
            term=status.term,
            source=source,
            session=request.session,
            serial=request.serial,
            acknowledged=request.acknowledged,
            payload=request.payload,
        )

    def _answered(self, replied: Replied) -> None:
        released = self._inflight.replied((replied.client_id, replied.session, replied.serial))
        host = self._host()
        if released is not None and host is not None:
            host.send(released)

    # --- nodes --------------------------------------------------------------------------------

    def _node_up(self, connection: Connection, frame: frames.NodeUp) -> None:
        before = connection.node
        if before is not None and before.node_id != frame.node_id:
            self._registry.remove_node(connection)
            self._node_gone(before.node_id, died=True)
        elif before is not None:
            before.visible, before.leads = frame.visible, frame.leads
            self._directory.changed()
            return
        node = NodeHere(
            node_id=frame.node_id,
            visible=frame.visible,
            since=(self._loop.time() - self._started_at) * 1000,
            leads=frame.leads,
        )
        if frame.node_id == self._here.node_id or not self._registry.add_node(connection, node):
            raise FrameError("That node id is taken; mint a new one.", code="node_id_in_use")
        self._directory.changed()
        self._tell_hosting()

    def _node_update(self, connection: Connection, frame: frames.NodeUpdate) -> None:
        node = connection.node
        if node is None or node.node_id != frame.node_id:
            raise FrameError("node_update names a node that is not behind this socket.")
        if (node.visible, node.leads) != (frame.visible, frame.leads):
            node.visible, node.leads = frame.visible, frame.leads
            self._directory.changed()

    def _node_down(self, connection: Connection, frame: frames.NodeDown) -> None:
        node = connection.node
        if node is None or node.node_id != frame.node_id:
            return  # it had gone already
        stuck_in = frame.request
        if stuck_in is not None:
            key = (stuck_in.client_id, stuck_in.session, stuck_in.serial)
            self._inflight.stuck(key, node.node_id)
        self._registry.remove_node(connection)
        self._node_gone(node.node_id, died=stuck_in is None and frame.reason != "leaving")
        self._tell_hosting()

    def _node_gone(self, node_id: str, *, died: bool) -> None:
        if died:
            self._inflight.died(node_id)
        status = self._driver.status
        # A dict, not a set: those are told in the same order whatever strings hash to.
        self._directory.lost(node_id, dict.fromkeys((*status.voters, *status.successors)))

    # --- the driver's listener ----------------------------------------------------------------

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._stream.applied(index, effects)
        for effect in effects:
            if isinstance(effect, Replied):
                self._answered(effect)
        if self._machine.lineage.provisional != self._provisional:
            self._tell_hosting()

    def restored(self) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._stream.restored(self._driver.epoch, self._driver.machine)
        self._tell_hosting()

    def status(self, status: NodeStatus) -> None:
        """See :class:`ftweb.driver.Listener`."""
        leader = (status.epoch, status.term, status.leader_id)
        if leader != self._leader:
            self._leader = leader
            self._directory.changed()
        self._tell_hosting()

    def _tell_hosting(self) -> None:
        status = self._driver.status
        host = self._host()
        host_id = host.node.node_id if host is not None and host.node is not None else None
        self._provisional = self._machine.lineage.provisional
        self._stream.status(
            frames.Status(
                epoch=status.epoch,
                term=status.term,
                host=host_id,
                successors=list(status.successors),
                quorum=self._quorum(status),
                participants=self._registry.participants,
                provisional=self._provisional,
            )
        )
        hosting = Hosting(
            epoch=status.epoch, term=status.term, host=host_id, quorum=self._quorum(status)
        )
        if hosting != self.hosting:
            self.hosting = hosting
            self._on_hosting(hosting)

    def replica_ended(self) -> None:
        """The bridge's own replica runs no more: nothing can be acknowledged here."""
        self._ended = True
        self._tell_hosting()

    def _quorum(self, status: NodeStatus) -> bool:
        """Whether there can be progress: a majority of the voters is here. Between two hosts
        there is no leader for a moment, and yet nothing is wrong."""
        if status.failed or self._ended:
            return False
        here = sum(
            voter == self._here.node_id or self._registry.with_node(voter) is not None
            for voter in status.voters
        )
        return 2 * here > len(status.voters)
