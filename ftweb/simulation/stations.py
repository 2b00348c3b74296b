"""Several bridges, each with the real relay, links and meeting, over simulated wires.

A *station* is a bridge through all its starts; a *cable* is what links two of them: in order, with
a delay, and cut by partitions, which both ends notice by the silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from ftweb import codec
from ftweb.app import Effect
from ftweb.beginning import Genesis, beginning, rest_of
from ftweb.bridge.continuing import Continuing
from ftweb.core import NodeId, Settings
from ftweb.epochs import generation_of, next_epoch
from ftweb.relay.handshake import Peer
from ftweb.relay.links import Link as Linked
from ftweb.relay.meeting import Meeting
from ftweb.relay.wire import Prepared
from ftweb.simulation.bridge import Bridge
from ftweb.simulation.disk import Kept
from ftweb.simulation.invariants import Violation
from ftweb.simulation.nodes import CheckedMachine
from ftweb.simulation.sqlite_disk import KeptInSqlite
from ftweb.simulation.world import Process, World
from ftweb.storage import Durable, Saved, Switching

if TYPE_CHECKING:
    from ftweb.simulation.apart import ApartChecks

QUORUM_LOSS: Final = 2.0
"""Seconds without a quorum after which a bridge goes on: above the detection of silence."""

REDIAL: Final = 0.3
"""Seconds between two attempts to link up."""


class KeptDurable(Kept):
    """Implements :class:`ftweb.storage.Durable` in memory; outlives its process."""

    def __init__(self) -> None:
        super().__init__()
        self._replays: list[str] = []

    def replace(self, saved: Saved, replays: Sequence[str]) -> None:
        """See :class:`ftweb.storage.Durable`."""
        self._epoch, self._hard_state = saved.epoch, saved.hard_state
        self._snapshot, self._entries = saved.snapshot, list(saved.entries)
        self._replays = list(replays)

    def remember(self, replays: Sequence[str]) -> None:
        """See :class:`ftweb.storage.Durable`."""
        self._replays += replays

    def replays(self) -> list[str]:
        """See :class:`ftweb.storage.Durable`."""
        return list(self._replays)

    def replayed(self, count: int) -> None:
        """See :class:`ftweb.storage.Durable`."""
        del self._replays[:count]


class _Reached(Switching):
    """The real one, with a crash point at every step."""

    def __init__(self, durable: Durable, reach: Callable[[str], None]) -> None:
        super().__init__(durable)
        self._reach = reach

    def leave(self) -> None:
        self._reach("leave")
        super().leave()
        self._reach("left")

    def arrive(self, replays: Sequence[str]) -> None:
        self._reach("arrive")
        super().arrive(replays)
        self._reach("arrived")


class CableWire:
    """One end of a cable: a :class:`ftweb.relay.wire.Wire`."""

    def __init__(self, cable: Cable, to: int) -> None:
        self._cable = cable
        self._to = to
        self._closing = False

    @property
    def backlog(self) -> int:
        """See :class:`~ftweb.relay.wire.Wire`: nothing stays here."""
        return 0

    @property
    def closing(self) -> bool:
        """See :class:`~ftweb.relay.wire.Wire`."""
        return self._closing or self._cable.wires is None

    def write(self, prepared: Prepared) -> None:
        """See :class:`~ftweb.relay.wire.Wire`."""
        if not self.closing:
            self._cable.carry(self._to, prepared.text)

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`~ftweb.relay.wire.Wire`."""
        self._closing = True
        self._cable.world.after(0, self._cable.down)


class Cable:
    """What links two stations."""

    def __init__(self, world: World, one: Station, other: Station) -> None:
        self.world = world
        self.ends = (one, other)
        one.cables.append(self)
        other.cables.append(self)
        self.cut = False
        self.wires: tuple[CableWire, CableWire] | None = None
        self._links: list[Linked | None] = [None, None]
        self._last = [0.0, 0.0]
        self._generation = 0
        self._held: list[tuple[int, int, str]] = []
        """What came during a cut: a socket gives it later, or breaks."""

    def redial(self) -> None:
        """Link up if that is possible; again after a while, for ever."""
        self.world.after(1000 * REDIAL * (0.5 + self.world.random.random()), self.redial)
        if self.wires is not None or self.cut:
            return
        if not all(station.process.alive and not station.process.frozen for station in self.ends):
            return
        self._generation += 1
        self.wires = (CableWire(self, 1), CableWire(self, 0))
        wires = self.wires
        for place, station in enumerate(self.ends):
            other = self.ends[1 - place]
            peer = Peer(bridge=other.bridge, start=other.started, initiator=self.ends[0].bridge)
            self._links[place] = station.relay.links.up(peer, wires[place])

    def carry(self, to: int, text: str) -> None:
        """A frame is on its way; lost if the cable is cut."""
        delay = 0.3 + 2.0 * self.world.random.random()
        at = self._last[to] = max(self._last[to], self.world.now + delay)
        station = self.ends[to]
        self.world.at(at, station.process.do, self._arrive, self._generation, to, text)

    def _arrive(self, generation: int, to: int, text: str) -> None:
        link = self._links[to]
        if self.wires is None or generation != self._generation or link is None:
            return
        if self.cut:
            self._held.append((generation, to, text))
            return
        self.ends[to].relay.links.received(link, codec.decode(text), text)

    def mend(self) -> None:
        """The cut is over; what is still wanted goes on."""
        self.cut = False
        held, self._held = self._held, []
        for generation, to, text in held:
            self.ends[to].process.do(self._arrive, generation, to, text)

    def down(self) -> None:
        """The link has ended, for both."""
        if self.wires is None:
            return
        self.wires = None
        links, self._links = self._links, [None, None]
        for station, link in zip(self.ends, links, strict=True):
            if link is not None:
                station.process.do(station.relay.links.down, link)


class Station(Bridge):
    """A bridge of several, through all its starts.

    Args:
        number: of the station.
        first: it begins the history; the others join it.
        continues: the app wants to go on without a quorum.
    """

    def __init__(
        self,
        *,
        world: World,
        checks: ApartChecks,
        genesis: Genesis,
        settings: Settings,
        new_machine: Callable[[], CheckedMachine],
        compact_entries: int,
        sqlite: bool,
        number: int,
        continues: bool,
    ) -> None:
        super().__init__(
            world=world,
            checks=checks,
            genesis=genesis,
            settings=settings,
            new_machine=new_machine,
            compact_entries=compact_entries,
            new_disk=Kept,
            watch=lambda state: None,
        )
        self.bridge = f"bridge{number}"
        self.started = 0
        self.continues = continues
        self.durable: KeptDurable | KeptInSqlite = KeptInSqlite() if sqlite else KeptDurable()
        self.cables: list[Cable] = []
        self._been: set[tuple[str, int]] = set()
        """Node ids of this bridge, each with the epochs in which it took part."""
        self._first = number == 0
        self._ids = 0

    # --- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Go on from what was saved, or join."""
        world = self.world
        self.started += 1
        process = self.process = Process(world, self.bridge, self.crash)
        self.switching = _Reached(self.durable, process.reach)
        saved = self.durable.load()
        self.node_id = self._new_id()
        self._make_relay(bridge=self.bridge, start=self.started)
        if saved is not None:
            self.relay.leavers.ended(self._own_ids()[:-1], rest_of(saved))
        if saved is not None or self._first:
            first = self._beginning(saved)
            self._show(first)
            self.durable.save(
                epoch=first.epoch,
                hard_state=first.hard_state,
                snapshot=first.snapshot,
                entries=first.entries,
            )
        self._make_node(self.switching)
        self._name = self.node.replica.begin
        self.node.replica.begin = self._named  # type: ignore[method-assign]
        loop = cast(asyncio.AbstractEventLoop, process)
        self.continuing = Continuing(
            loop=loop,
            begin=lambda: self._go_on(new=False),
            may_begin=lambda: self.meeting.may_begin(),
            seconds=QUORUM_LOSS,
        )
        self.meeting = Meeting(
            bridge=self.bridge,
            storage=self.switching,
            replica=self.node.replica,
            relay=self.relay,
            loop=loop,
            begin=lambda: self._go_on(new=True),
            new_node_id=lambda: NodeId(self._new_id()),
            on_quorum=self.continuing.quorum if self.continues else lambda there: None,
        )
        self.relay.meet(self.meeting)
        self.node.wake()
        world.say(f"{self.bridge} starts as {self.node_id}")

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self.bridge}-{self._ids}"

    def _own_ids(self) -> list[str]:
        return [f"{self.bridge}-{number}" for number in range(self._ids + 1)]

    def _beginning(self, saved: Saved | None) -> Saved:
        self._epoch = max(self._epoch, saved.epoch if saved else 0)
        self._epoch = next_epoch(self._epoch, int(self.world.random.random() * 2**20))
        self.world.counts["epochs begun"] += 1
        genesis = self._genesis
        return beginning(
            saved,
            Genesis(
                guid=genesis.guid,
                name=genesis.name,
                bundle=genesis.bundle,
                initial_state=genesis.initial_state,
                bridge=self.bridge,
            ),
            epoch=self._epoch,
            node_id=NodeId(self.node_id),
            at=self.process.wall(),
            new_machine=self._new_machine,
            own=self._own_ids(),
            left=self.relay.leavers.said,
        )

    def _go_on(self, *, new: bool) -> None:
        if new:
            self.node_id = self._new_id()
        self.world.say(f"{self.bridge} begins an epoch of its own")
        first = self._beginning(self.durable.load())
        self.node.replica.begin(first, node_id=NodeId(self.node_id))

    def _named(self, beginning: Saved, *, node_id: NodeId | None = None) -> None:
        """The replica begins anew: the simulation has to know it by its new id."""
        if node_id is not None:
            self.node_id = self.node.id = node_id
            self.node.storage.node = node_id
        if (self.node_id, beginning.epoch) in self._been:
            raise Violation(
                "election safety",
                f"{self.node_id} comes back to epoch {beginning.epoch} without what it had"
                " promised there",
            )
        self._been |= {(self.node_id, self.node.replica.epoch), (self.node_id, beginning.epoch)}
        self.world.say(f"{self.node_id} goes to epoch {beginning.epoch}")
        self.world.counts["epochs entered"] += 1
        self._name(beginning, node_id=node_id)

    def crash(self) -> None:
        """Killed: every socket breaks."""
        if self.process.alive:
            self.world.counts["bridge killed"] += 1
        super().crash()
        for cable in self.cables:  # the operating system closes its sockets
            cable.down()

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.replica.Listener`."""
        self.relay.applied(index, effects)

    def close(self) -> None:
        """The schedule is over."""
        if isinstance(self.durable, KeptInSqlite):
            self.durable.close()

    def describe(self) -> str:
        """For a message about what is wrong."""
        replica = self.node.replica
        return (
            f"{self.bridge} ({replica.node_id}, {replica.node.role}) generation"
            f" {generation_of(replica.epoch)} epoch {replica.epoch}, applied"
            f" {replica.node.applied_index} of {replica.node.last_index}, quorum"
            f" {self.relay.has_quorum()}, pending {self.meeting.pending}, replaying"
            f" {self.meeting.replaying}, provisional {replica.machine.lineage.provisional},"
            f" unheard {replica.machine.lineage.unheard}, rests {replica.machine.lineage.rests},"
            f" voters"
            f" {'+'.join(replica.node.configuration.voters)}"
        )


def state_of(station: Station) -> Any:
    """The app's state at a station."""
    return station.node.replica.machine.state
