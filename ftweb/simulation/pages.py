"""A page: a person's tab, with its client session and, mostly, a replica.

The session is the real :class:`ftweb.client.session.ClientSession` (browsers run its TypeScript
twin), the replica is a :class:`~ftweb.simulation.nodes.Node`. A page that is reloaded ends, and
another page of the same device begins, with a new client id and a new node id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ftweb import codec, frames
from ftweb.client.events import Received, Refused, Replied, Welcomed
from ftweb.client.session import ClientSession
from ftweb.core import Role
from ftweb.errors import FrameError, RequestError
from ftweb.limits import STREAM_BYTES
from ftweb.replica import NodeStatus
from ftweb.simulation.disk import Kept
from ftweb.simulation.history import Request
from ftweb.simulation.network import Link, Socket
from ftweb.simulation.nodes import Node
from ftweb.simulation.world import Process

if TYPE_CHECKING:
    from ftweb.simulation.room import Room

TICK: Final = 1.0
"""Seconds between two looks at what has waited too long; the real one takes five, which in a
short schedule would be mostly waiting."""

FOR_NODES: Final = frozenset(
    (
        frames.Raft,
        frames.Forward,
        frames.Directory,
        frames.Lost,
        frames.Enter,
        frames.Recall,
    )
)


class Page:
    """One page load.

    Args:
        room: where.
        number: of the page; names its client and its node.
        device: the same for all pages of one device.
        link: the device's way to the bridge.
        replica: it has a node, which may host.
        visible: in front.
        presenter: has the presenter's token.
    """

    def __init__(
        self,
        room: Room,
        *,
        number: int,
        device: str,
        link: Link,
        replica: bool,
        visible: bool = True,
        presenter: bool = False,
    ) -> None:
        self.room = room
        self.client_id = f"client-{number}"
        self.node_id = f"node-{number}"
        self.device = device
        self.link = link
        self.local = link.local
        self.visible = visible
        self.presenter = presenter
        self.has_replica = replica
        self.leaving = False
        self.process = Process(room.world, f"page {number}", self.crash)
        self.session = ClientSession(
            client_key=f"{number:032x}",
            device_key=f"{number:032x}",
            token="",
            resend_after=TICK,
        )
        self.socket: Socket | None = None
        self.node: Node | None = None
        self._announced = False
        self._claimed: tuple[int, frames.Leads | None, list[frames.Left]] = (0, None, [])
        """What the bridge was told: the node's epoch, its leading, the epochs that it has left."""
        self._refusal: frames.Failure | None = None
        self._attempt = 0
        self._requests: dict[int, Request] = {}
        if replica:
            self.process.call_later(0.02 + 0.2 * room.world.random.random(), self._boot)
        self.process.call_later(0, self._connect)
        self.process.call_later(TICK * room.world.random.random(), self._tick)

    # --- the replica ------------------------------------------------------------------------

    def _boot(self) -> None:
        room = self.room
        self.node = Node(
            process=self.process,
            node_id=self.node_id,
            storage=Kept(),
            send=self._node_sends,
            checks=room.checks,
            new_machine=room.new_machine,
            listener=None,
            on_status=self._status,
            server=room.app.server(),
            settings=room.settings,
            compact_entries=room.plan.compact_entries,
        )
        self._announce()

    def _announce(self) -> None:
        if self.node is not None and self.session.connected and not self._announced:
            self._announced = True
            epoch, leads, left = self._claimed = self._claim()
            self._say(
                frames.NodeUp(
                    node_id=self.node_id,
                    visible=self.visible,
                    epoch=epoch,
                    leads=leads,
                    left=left,
                )
            )

    def _node_sends(self, frame: frames.Frame) -> None:
        if self._announced:
            self._say(frame)

    def show(self, visible: bool) -> None:
        """The person looks at it, or at something else; a host that is hidden hands over."""
        if visible == self.visible:
            return
        self.visible = visible
        self._update()

    def _claim(self) -> tuple[int, frames.Leads | None, list[frames.Left]]:
        if self.node is None:
            return 0, None, []
        replica = self.node.replica
        epoch, leads = replica.epoch, None
        if replica.status.role is Role.LEADER:
            leads = frames.Leads(epoch=epoch, term=replica.node.term, history=self._history())
        return epoch, leads, replica.left

    def _history(self) -> Any:
        """What its node knows of its history, for a bridge that was away."""
        assert self.node is not None
        replica = self.node.replica
        return msgspec.to_builtins(
            replica.machine.lineage.summary(
                bridge=self.node_id,
                epoch=replica.epoch,
                term=replica.node.last_term,
                index=replica.node.last_index,
                applied=replica.node.applied_index,
                quorum=replica.status.quorum,
            )
        )

    def _status(self, status: NodeStatus) -> None:
        if _brief(self._claim()) != _brief(self._claimed):
            self._update()

    def _update(self) -> None:
        if self._announced:
            epoch, leads, left = self._claimed = self._claim()
            self._say(
                frames.NodeUpdate(
                    node_id=self.node_id,
                    visible=self.visible,
                    epoch=epoch,
                    leads=leads,
                    left=left,
                )
            )

    def _say_down(self) -> None:
        """The node ends now, and tells how far it was."""
        if self.node is None or not self._announced:
            return
        replica = self.node.replica
        left = [*replica.left, replica.position()]
        self._say(frames.NodeDown(node_id=self.node_id, reason="leaving", left=left))

    # --- the socket -------------------------------------------------------------------------

    def _connect(self) -> None:
        way = self.link
        socket = Socket(way, self, self.room.bridge)
        if way.up.cut or way.down.cut or not self.room.bridge.accept(socket, self):
            self._connect_later()
            return
        self._attempt = 0
        self._refusal = None
        self._announced = False
        self.socket = socket
        self.session.opened(self._now())
        self._flush()

    def _connect_later(self) -> None:
        self._attempt += 1
        wait = 0.05 * min(2**self._attempt, 16)
        self.process.call_later(wait * (0.5 + self.room.world.random.random()), self._reconnect)

    def _reconnect(self) -> None:
        if self.socket is None:
            self._connect()

    def _say(self, frame: frames.Frame) -> None:
        if self.socket is not None:
            self.socket.to_bridge(codec.encode(frame))

    def took(self, socket: Socket, text: str) -> None:
        """See :class:`~ftweb.simulation.network.End`."""
        self.process.do(self._take, socket, text)

    def _take(self, socket: Socket, text: str) -> None:
        if socket is not self.socket:
            return
        self.room.world.trace(text)
        try:
            frame = codec.decode(text, limit=STREAM_BYTES)
        except FrameError:
            self._drop_socket()
            return
        if type(frame) in FOR_NODES:
            if self.node is not None and not (
                isinstance(frame, frames.Raft)
                and not self.room.network.passes(frame.sender, frame.to)
            ):
                self.node.replica.receive(frame)
            return
        self.session.receive(frame, self._now())
        self._flush()

    def lost(self, socket: Socket, code: int) -> None:
        """See :class:`~ftweb.simulation.network.End`."""
        self.process.do(self._socket_gone, socket)

    def _socket_gone(self, socket: Socket) -> None:
        if socket is not self.socket:
            return
        self.socket = None
        self._announced = False
        self.session.closed(self._refusal)
        self._flush()
        self._connect_later()

    def _drop_socket(self) -> None:
        socket = self.socket
        if socket is not None:
            socket.close_page()
            self._socket_gone(socket)

    def change_network(self) -> None:
        """Another access point: a new socket, while the bridge may still take the old one for
        open."""
        self._drop_socket()

    # --- the client -------------------------------------------------------------------------

    def ask(self, payload: Any) -> None:
        """The person does something: send a request."""
        try:
            serial = self.session.request(payload, self._now())
        except RequestError:
            return  # too many unanswered: the page's buttons are greyed out
        request = Request(
            client=self.client_id,
            device=self.device,
            serial=serial,
            payload=payload,
            asked_at=self.room.world.now,
        )
        self._requests[serial] = request
        self.room.history.ask(request)
        self._flush()

    @property
    def waiting(self) -> Iterable[Request]:
        """What this page has asked and was not answered yet."""
        return self._requests.values()

    def _tick(self) -> None:
        if self.socket is not None and not self.session.tick(self._now()):
            self._drop_socket()
        self._flush()
        self.process.call_later(TICK, self._tick)

    def _flush(self) -> None:
        for frame in self.session.frames_to_send():
            self._say(frame)
        for event in self.session.events():
            match event:
                case Replied():
                    self._replied(event)
                case Welcomed():
                    self._announce()
                case Received():
                    self.room.checks.message(self.client_id, event.payload)
                case Refused():
                    self._refusal = frames.Failure(code=event.code, message=event.message)
                case _:
                    pass

    def _replied(self, event: Replied) -> None:
        request = self._requests.pop(event.serial)
        request.answered_at = self.room.world.now
        request.reply, request.error = event.payload, event.error
        self.room.checks.told(self.client_id, event)
        if self.room.world.narrate is not None:
            answer = event.error.code if event.error else event.payload
            self.room.world.say(f"{self.client_id} is answered {event.serial}: {answer}")

    def _now(self) -> float:
        return self.process.time()

    # --- the end ----------------------------------------------------------------------------

    def crash(self) -> None:
        """Gone without a word; the operating system closes its socket."""
        self._end()
        if self.socket is not None:
            self.socket.close_page()

    def vanish(self) -> None:
        """Gone, and nobody closes its socket: switched off, or out of reach."""
        self._end()

    def leave(self) -> None:
        """Closed on purpose: it hands over what it can, and says so."""
        if not self.process.alive:
            return
        if self.node is not None and self.node.replica.status.hosting:
            self.leaving = True
            self.node.replica.hand_over()
            self.process.call_later(0.3, self._bye)
        else:
            self._bye()

    def _bye(self) -> None:
        self._say_down()
        self.session.leave()
        self._flush()
        self.crash()

    def _end(self) -> None:
        if self.process.alive:
            self.room.world.say(f"{self.process.name} of {self.device} ends")
        self.process.end()

    @property
    def hosting(self) -> bool:
        """The app's handlers run here."""
        return self.process.alive and self.node is not None and self.node.replica.status.hosting


def _brief(claim: tuple[int, frames.Leads | None, list[frames.Left]]) -> tuple[object, ...]:
    """Of a history only that it is another one: its end moves with every entry."""
    epoch, leads, left = claim
    return epoch, leads and (leads.epoch, leads.term), left
