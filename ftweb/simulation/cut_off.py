"""A class whose only bridge is cut off, or killed, while tabs go on from device to device.

The tabs have data channels to one another, and the one that hosts relays for those that have lost
the bridge (:mod:`ftweb.simulation.standing`). What the net worker does is written in Python once
more, after ``apart.ts`` and ``bridgeless.ts``: hold on to the own history, join at the tab of the
host, look for the bridge, wait until it has come over or go over oneself, fetch the guests.

One schedule: the network falls into the bridge with some tabs, and the others; people vote on both
sides; the bridge may be killed, tabs may crash. Then all is healed, and everything is as
:mod:`ftweb.simulation.apart` demands: one epoch, every acknowledged vote counted exactly once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from ftweb import codec, frames
from ftweb.app import Effect
from ftweb.limits import STREAM_BYTES
from ftweb.replica import NodeStatus
from ftweb.simulation.apart import ApartResult, Hall, Phone, Seat, run_hall
from ftweb.simulation.apart_plan import ApartPlan, draw_apart
from ftweb.simulation.disk import Kept
from ftweb.simulation.network import Link
from ftweb.simulation.nodes import Node
from ftweb.simulation.room import Room
from ftweb.simulation.standing import Standing
from ftweb.simulation.stations import Station

LOOK: Final = 0.5
"""Seconds between two looks for a bridge."""

SETTLE: Final = 1.0
"""Seconds until a tab's list of who is there counts."""

HOLD: Final = 6.0
MEET: Final = 3.0
"""What HOLD_MS and MEET_MS are in ``apart.ts``, in seconds. The first is shorter here, as elections
are: it is there to outlast one."""

NOBODY: Final = frames.Directory(nodes=[])


class Tab(Phone):
    """A page with data channels to the others on its side."""

    room: Any
    standing: Standing | None = None
    near = True
    """It is on the bridge's side of the present cut."""
    _seen = (0, float("-inf"))
    _meeting_since: float | None = None
    _told = ""
    """The last status of the bridge that is met."""
    _by_bridge = NOBODY
    _by_relay = NOBODY
    _settled = False
    _sought: Tab | None = None
    """The tab at which it has last sought to join."""

    @property
    def hall(self) -> CutOffHall:
        return cast(CutOffHall, self.seat.hall)

    # --- the node -----------------------------------------------------------------------------

    def _boot(self) -> None:
        room = self.room
        self.node = Node(
            process=self.process,
            node_id=self.node_id,
            storage=Kept(),
            send=self._node_sends,
            checks=room.checks,
            new_machine=room.new_machine,
            listener=self,
            on_status=self._status,
            server=room.app.server(),
            settings=room.settings,
            compact_entries=room.plan.compact_entries,
        )
        self._announce()

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.replica.Listener`."""
        if self.standing is not None:
            self.standing.relay.applied(index, effects)

    def restored(self) -> None:
        """See :class:`ftweb.replica.Listener`."""
        if self.standing is not None:
            self.standing.relay.restored()

    def status(self, status: NodeStatus) -> None:
        """See :class:`ftweb.replica.Listener`."""
        if self.standing is not None:
            self.standing.relay.status(status)

    @property
    def at_bridge(self) -> bool:
        """Its socket leads to the bridge, which can be reached."""
        return self.socket is not None and self.seat.bridge is self.hall.home and self.near

    def _node_sends(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Raft) and (not self.at_bridge or self.standing is not None):
            other = self.hall.with_node(frame.to)
            if other is not None and other.near == self.near:
                text = codec.encode(frame)
                delay = 0.5 + 2.0 * self.room.world.random.random()
                self.room.world.after(delay, other.process.do, other.direct, text)
                if self.seat.bridge is not self.hall.home:
                    return
        super()._node_sends(frame)

    def direct(self, text: str) -> None:
        """A consensus frame over a channel: of our own epoch only."""
        frame = codec.decode(text)
        replica = self.node.replica if self.node else None
        if replica and isinstance(frame, frames.Raft) and frame.epoch == replica.epoch:
            replica.receive(frame)

    @property
    def _lives_on(self) -> bool:
        status = self.node.replica.status if self.node else None
        return status is not None and status.role == "leader" and status.quorum

    @property
    def _holds(self) -> bool:
        if self.node is None or self.node.replica.status.role == "observer":
            return False
        epoch, at = self._seen
        return epoch == self.node.replica.epoch > 0 and self._now() - at < HOLD

    def of_relay(self, frame: frames.Directory) -> None:
        """The relay here tells who is at it."""
        self._by_relay = frame
        if self._settled:
            self._tell_nodes()

    def _settle(self) -> None:
        self._settled = True
        self._tell_nodes()

    def _tell_nodes(self) -> None:
        if self.node is None:
            return
        known = {info.node_id for info in self._by_bridge.nodes}
        others = [info for info in self._by_relay.nodes if info.node_id not in known]
        told = self._by_bridge if known else self._by_relay
        nodes = [*self._by_bridge.nodes, *others]
        self.node.replica.receive(frames.Directory(nodes=nodes, epoch=told.epoch, left=told.left))

    # --- where to -------------------------------------------------------------------------------

    def _connect(self) -> None:
        host = self.hall.host_seen_by(self)
        if self.near and self.hall.home.process.alive:
            self.seat.bridge = self.hall.home
        elif host is not None:
            self._sought = host
            self.seat.bridge = host.stand_in()
        else:
            self.seat.bridge = self.hall.home
        self.reach()
        self._meeting_since = None
        self._told = ""
        super()._connect()

    def stand_in(self) -> Station:
        """Let others join here."""
        if self.standing is None:
            assert self.node is not None
            self.standing = Standing(self, self.node)
            self.room.world.counts["tab stands in"] += 1
            self.room.world.say(f"{self.client_id} stands in for the bridge")
            self._settled = False
            self.process.call_later(SETTLE, self._settle)
        return cast(Station, self.standing)

    def reach(self) -> None:
        """Its link is cut, or is not any more, by where its socket leads."""
        at: Any = self.seat.bridge
        near = True if at is self.hall.home else at.phone.near
        cut = near != self.near
        if cut == self.link.up.cut:
            return
        self.link.up.cut = self.link.down.cut = cut
        if not cut:
            self.link.repair()

    def moved(self, near: bool) -> None:
        """It is on another side of a cut now; it notices in a while that nobody answers."""
        self.near = near
        self.reach()
        self.process.call_later(0.3 + 0.6 * self.room.world.random.random(), self._doubt)

    def _doubt(self) -> None:
        if self.socket is not None and self.link.up.cut:
            self._by_bridge = NOBODY
            self._drop_socket()

    def look(self) -> None:
        """Now and then: is there a bridge, has it come over, are all there?"""
        self.process.call_later(LOOK, self.look)
        now, at_home = self._now(), self.seat.bridge is self.hall.home
        standing = self.standing
        if self.socket is None:
            return
        self._stay_together()
        host = self.hall.host_seen_by(self)
        if not at_home and host is not None and host is not self._sought:
            self._sought = host
            self._drop_socket()
            self._connect()
            return
        if at_home and self._heard and not self._holds and self.session.status:
            self._follow(self.session.status.epoch)
        if self._meeting_since is not None and self._told and now - self._meeting_since > MEET:
            self._come_over()
        elif standing is None:
            return
        elif not at_home and cast(Any, self.seat.bridge) is standing:
            if self.near and self.hall.home.process.alive:
                self._drop_socket()
                self._connect()
        elif at_home and self._heard and self.session.status and self.session.status.host:
            node_id = self.hall.home.node_id
            found = frames.BridgeAddress(node_id=node_id, urls=["http://bridge"])
            standing.relay.tell_bridges([found])
            if not standing.sockets:
                self._stand_down()

    def _stay_together(self) -> None:
        """The group goes on without a bridge, as far as can be seen from here."""
        status = self.session.status
        quorum = self._heard and status is not None and status.quorum
        if self.seat.bridge is not self.hall.home and (quorum or self._lives_on):
            self._seen = (self.node.replica.epoch if self.node else 0, self._now())

    def _come_over(self) -> None:
        """What was not listened to at this bridge counts now, and all that came before it."""
        self._meeting_since = None
        self._seen = (0, float("-inf"))
        if self.socket is not None:
            self._take(self.socket, self._told)
            self._follow(self.session.status.epoch if self.session.status else 0)
            self._say(frames.Resync())

    def _follow(self, epoch: int) -> None:
        """What was not listened to while it held counts now."""
        own = self.node.replica.epoch if self.node else 0
        if self.node is not None and 0 < own < epoch:
            self.node.replica.receive(frames.Enter(epoch=epoch))
        elif 0 < epoch < own:
            self._renew()

    def _stand_down(self) -> None:
        assert self.standing is not None
        self.standing.relay.close()
        for socket in list(self.standing.sockets):
            socket.close_bridge(1006)
        self.standing = None
        self._by_relay = NOBODY

    # --- frames ---------------------------------------------------------------------------------

    def _take(self, socket: Any, text: str) -> None:
        if socket is not self.socket:
            return
        at_home = self.seat.bridge is self.hall.home
        try:
            frame = codec.decode(text, limit=STREAM_BYTES)
        except Exception:
            super()._take(socket, text)
            return
        epoch = self.node.replica.epoch if self.node else 0
        match frame:
            case frames.Directory() if at_home:
                self._by_bridge = frame
                self._tell_nodes()
                return
            case frames.Raft() | frames.Enter() if self._holds and frame.epoch != epoch:
                return
            case frames.Error() if frame.code == "epoch_over" and self._holds:
                return
        if at_home and not self._heard and self._is_foreign(frame, epoch):
            return
        if isinstance(frame, frames.Status):
            if not self._heard and not self._holds and 0 < frame.epoch < epoch:
                self._renew()
            self._heard = True
        super()._take(socket, text)
        self._stay_together()
        if not at_home and isinstance(frame, frames.Status) and frame.bridges and self.near:
            self._drop_socket()
            self._connect()

    def _is_foreign(self, frame: frames.Frame, epoch: int) -> bool:
        if not (self._holds and self._lives_on):
            self._meeting_since = None
            return False
        if isinstance(frame, frames.Status | frames.State | frames.Change):
            if frame.epoch in (0, epoch):
                self._meeting_since = None
                return False
            if isinstance(frame, frames.Status):
                self._told = codec.encode(frame)
            if self._meeting_since is None:
                self._meeting_since = self._now()
                self.room.world.counts["bridge of another epoch met"] += 1
            return True
        told = frames.Session | frames.Reply | frames.Outcome | frames.Message
        return self._meeting_since is not None and isinstance(frame, told)

    def _renew(self) -> None:
        if self.standing is not None:
            self._stand_down()
        super()._renew()

    def _end(self) -> None:
        if self.process.alive and self.standing is not None:
            self._stand_down()
        super()._end()


class CutOffHall(Hall):
    """One schedule at work: one bridge; the plan's partitions are cuts between pages."""

    def __init__(self, plan: ApartPlan, *, narrate: Callable[[str], None] | None = None) -> None:
        super().__init__(plan, narrate=narrate)
        self.home = self.stations[0]

    def _join(self, number: int) -> None:
        seat = Seat(self, self.home)
        tab = Tab(
            cast(Room, seat),
            number=number + 1,
            device=f"phone-{number}",
            link=Link(self.network, f"phone-{number}", local=False),
            replica=True,
        )
        tab.seat = seat
        self.pages.append(tab)
        tab.process.call_later(LOOK, tab.look)

    def tabs(self) -> list[Tab]:
        """Those that are there."""
        return [cast(Tab, page) for page in self._alive()]

    def with_node(self, node_id: str) -> Tab | None:
        """The tab in which a node runs."""
        return next((tab for tab in self.tabs() if tab.node_id == node_id), None)

    def host_seen_by(self, tab: Tab) -> Tab | None:
        """Of those on its side the latest host, as channels tell it."""
        hosts = [
            other
            for other in self.tabs()
            if other.near == tab.near and other.node and other.node.replica.status.hosting
        ]
        return max(
            hosts,
            key=lambda t: (t.node.replica.epoch, t.node.replica.node.term) if t.node else (0, 0),
            default=None,
        )

    def _partition(self, side: int, lasts: float) -> None:
        self.world.counts["cut off"] += 1
        near = [page.client_id for place, page in enumerate(self.pages) if side >> place & 1]
        self.world.say(f"the bridge is cut off, with {near}")
        for place, page in enumerate(self.pages):
            cast(Tab, page).moved(bool(side >> place & 1))
        self.world.after(lasts, self._mend_all)

    def _mend_all(self) -> None:
        self.world.say("the cut heals")
        for page in self.pages:
            cast(Tab, page).moved(True)

    def _is_well(self) -> bool:
        """See :class:`~ftweb.simulation.apart.Hall`. Nobody goes on apart any more, either."""
        known = {tab.node.replica.epoch for tab in self.tabs() if tab.node}
        return known <= {0, self.home.node.replica.epoch} and super()._is_well()

    def heal(self) -> None:
        """See :class:`~ftweb.simulation.apart.Hall`."""
        self._mend_all()
        super().heal()


def draw_cut_off(seed: int) -> ApartPlan:
    """The plan of a seed."""
    draw = random.Random(f"cut off {seed}")
    plan = draw_apart(seed)
    duration = draw.uniform(10_000.0, 16_000.0)
    cuts: list[tuple[float, float, int]] = []
    at = draw.uniform(3_500.0, 5_000.0)
    while at < duration and len(cuts) < 2:
        lasts = draw.uniform(2_500.0, 7_000.0)
        away = draw.choice((0b11111111, 0b11111110, 0b11111100, draw.randrange(256)))
        cuts.append((at, lasts, 0xFF & ~away))
        at += lasts + draw.uniform(2_000.0, 4_000.0)
    kills = [(when, 0, step, count) for when, _, step, count in plan.kills[:1]]
    return replace(
        plan,
        seed=seed,
        bridges=1,
        tabs=draw.randint(4, 7),
        duration=duration,
        continues=draw.random() < 0.9,
        partitions=tuple(cuts),
        kills=tuple(kills) if draw.random() < 0.4 else (),
        moves=(),
        crashes=plan.crashes[:1],
    )


def run_cut_off(plan: ApartPlan, *, narrate: Callable[[str], None] | None = None) -> ApartResult:
    """Run one schedule."""
    return run_hall(CutOffHall(plan, narrate=narrate))
