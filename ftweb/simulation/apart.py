"""Several bridges that lose sight of one another, go on apart, and meet again.

One schedule: two or three bridges, a class spread over them, partitions, kills at every step of
what :mod:`ftweb.relay.meeting` does, tabs and clients that move from one part to the other, people
who vote on both sides. Then everything is healed, and within a bounded time all bridges are in one
epoch with nothing left to replay, all requests are answered, and

* every vote acknowledged in any epoch counts exactly once, none that was refused counts;
* a client whose answer turned out otherwise was told so;
* within each epoch all that :mod:`ftweb.simulation.invariants` demands holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ftweb import codec, frames
from ftweb.app import Effect, Replied
from ftweb.app.effects import Changed
from ftweb.app.lineage import Lineage
from ftweb.app.sessions import Sessions
from ftweb.beginning import Genesis
from ftweb.client.events import Replied as Told
from ftweb.core import Settings
from ftweb.core.types import Json
from ftweb.frames import Failure
from ftweb.limits import QUORUM_LOSS_SECONDS
from ftweb.simulation.apart_plan import ApartPlan
from ftweb.simulation.app_support import Person
from ftweb.simulation.history import UNKNOWN_CODES, History
from ftweb.simulation.invariants import DIGEST_EVERY, Checks, Violation
from ftweb.simulation.network import Link, Network, Weather
from ftweb.simulation.nodes import CheckedMachine, Node
from ftweb.simulation.pages import Page
from ftweb.simulation.room import Room
from ftweb.simulation.stations import Cable, Station, state_of
from ftweb.simulation.workload import Workload
from ftweb.simulation.world import World

ELECTION_TIMEOUT: Final = 600.0
HEALED_MS: Final = 1_000.0 * QUORUM_LOSS_SECONDS + 10 * ELECTION_TIMEOUT
"""Within so long after the heal everything is well: ten election timeouts after the bridges have
had the time in which a lost quorum may still come back."""


class Votes(Workload):
    """Votes only: a register's history is not linearizable over two epochs, nor is it promised."""

    def request(self, person: Person, draw: random.Random) -> Any:
        """See :class:`~ftweb.simulation.workload.App`."""
        choice = "none" if draw.random() < 0.05 else "yes"
        return {"do": "vote", "id": f"v{person.number}", "choice": choice}


class ApartChecks(Checks):
    """The invariants, epoch by epoch: what one decided, another may decide otherwise."""

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._changes: dict[tuple[int, str, int], int] = {}
        self._results: dict[tuple[int, str, int], tuple[Any, Failure | None]] = {}
        self._given: dict[tuple[str, int], list[tuple[Any, Failure | None]]] = {}

    def epoch_begins(self, epoch: int, base: int) -> None:
        """Nothing ends: others may still be in the epochs before."""

    def applied(
        self,
        node: Node | None,
        machine: CheckedMachine,
        index: int,
        data: Json,
        effects: list[Effect],
    ) -> None:
        """See :class:`~ftweb.simulation.invariants.Checks`."""
        if node is None:  # a bridge takes up what it had saved: it may answer by that
            for effect in effects:
                if isinstance(effect, Replied):
                    self._give(effect)
            return
        epoch = node.replica.epoch
        for effect in effects:
            if isinstance(effect, Replied):
                changes = any(isinstance(other, Changed) for other in effects)
                self._reply(epoch, index, effect, changes=changes)
        if index % DIGEST_EVERY == 0:
            self.digest(node, machine)

    def _reply(self, epoch: int, index: int, replied: Replied, *, changes: bool) -> None:
        key = (epoch, replied.client_id, replied.serial)
        if key[1:] not in self.history.by_serial:
            raise Violation("from nothing", f"entry {index} is a request that nobody sent: {key}")
        if changes and self._changes.setdefault(key, index) != index:
            raise Violation(
                "exactly once", f"request {key} changed the state at {self._changes[key]}, {index}"
            )
        if replied.error is not None and replied.error.code in _LATE:
            return
        answer = (replied.payload, replied.error)
        if self._results.setdefault(key, answer) != answer:
            raise Violation("exactly once", f"request {key} has two results in one epoch")
        self._give(replied)

    def _give(self, replied: Replied) -> None:
        answer = (replied.payload, replied.error)
        given = self._given.setdefault((replied.client_id, replied.serial), [])
        if answer not in given:
            given.append(answer)

    def told(self, client: str, reply: Told) -> None:
        """See :class:`~ftweb.simulation.invariants.Checks`."""
        if reply.error is not None and reply.error.code in _LATE:
            return
        if (reply.payload, reply.error) not in self._given.get((client, reply.serial), []):
            raise Violation(
                "acknowledged too early", f"{client} was answered {reply.serial} by no epoch"
            )

    def message(self, client: str, message: Json) -> None:
        """Messages are sent in each epoch: those of a replayed request come again."""


_LATE: Final = UNKNOWN_CODES | {"serial_acknowledged"}


class Seat:
    """What a page takes for its room: the same for all but for the bridge, which may change."""

    def __init__(self, hall: Hall, station: Station) -> None:
        self.hall = hall
        self.world, self.checks, self.history = hall.world, hall.checks, hall.history
        self.network, self.app, self.settings = hall.network, hall.app, hall.settings
        self.plan, self.new_machine = hall.plan, hall.new_machine
        self.bridge = station


class Phone(Page):
    """A page that can go to another bridge, and renews its node when it is told to."""

    seat: Seat
    _renewals = 0
    _heard = False
    """A status came over the present socket."""

    def go_to(self, station: Station) -> None:
        """Take another bridge."""
        self.seat.bridge = station
        self.change_network()

    def _connect(self) -> None:
        self._heard = False
        super()._connect()

    def _take(self, socket: Any, text: str) -> None:
        if socket is self.socket and self.node is not None:
            if '"epoch_over"' in text:
                self._renew()
            elif not self._heard and text.startswith('{"type":"status"'):
                self._heard = True
                status = codec.decode(text)
                assert isinstance(status, frames.Status)
                if 0 < status.epoch < self.node.replica.epoch:
                    self._renew()  # it never hears of the bridge's history
        super()._take(socket, text)

    def _renew(self) -> None:
        assert self.node is not None
        node = self.node
        for piece in node.replica.end():
            self._say(piece)
        self._say_down()
        self.node = None
        node.replica._tell_status()
        self._renewals += 1
        self.room.world.counts["nodes replaced"] += 1
        self.node_id = f"{self.client_id}-{self._renewals}"
        self._announced = False
        self.process.call_later(0.05 + 0.1 * self.room.world.random.random(), self._boot)


class Hall:
    """One schedule at work."""

    def __init__(self, plan: ApartPlan, *, narrate: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.app = Votes()
        self.world = World(plan.seed, narrate=narrate)
        self.history = History()
        self.checks = ApartChecks(self.history)
        self.settings = Settings(
            heartbeat=100.0,
            election_timeout=ELECTION_TIMEOUT,
            trailing_entries=plan.trailing_entries,
        )
        self.network = Network(self.world, Weather(low=0.5, high=4.0))
        self.stations = [
            Station(
                world=self.world,
                checks=self.checks,
                genesis=Genesis(
                    guid="guid",
                    name="apart",
                    bundle="bundle",
                    initial_state=self.app.initial_state(),
                ),
                settings=self.settings,
                new_machine=self.new_machine,
                compact_entries=plan.compact_entries,
                sqlite=plan.sqlite,
                number=number,
                continues=plan.continues,
            )
            for number in range(plan.bridges)
        ]
        self.cables = [
            Cable(self.world, one, other)
            for place, one in enumerate(self.stations)
            for other in self.stations[place + 1 :]
        ]
        self.pages: list[Phone] = []
        self._asked = 0
        self._healed = False

    def new_machine(self) -> CheckedMachine:
        """An empty state machine."""
        machine = CheckedMachine(sessions=Sessions())
        machine.checks = self.checks
        return machine

    # --- what happens -----------------------------------------------------------------------

    def run(self) -> None:
        """The whole schedule.

        Raises:
            Violation: an invariant does not hold.
        """
        plan, world = self.plan, self.world
        for place, station in enumerate(self.stations):
            world.after(300.0 * place, station.start)
        for cable in self.cables:
            world.after(1.0, cable.redial)
        for number in range(plan.tabs):
            world.after(400.0 + 400.0 * world.random.random(), self._join, number)
        for _ in range(plan.requests):
            world.at(world.random.uniform(1_000.0, plan.duration), self._somebody_asks)
        for at, lasts, side in plan.partitions:
            world.at(at, self._partition, side, lasts)
        for when, which, step, count in plan.kills:
            world.at(when, self._kill, which, step, count)
        for when, which, to in plan.moves:
            world.at(when, self._move, which, to)
        for when, which in plan.crashes:
            world.at(when, self._crash, which)
        world.run(plan.duration)
        self.heal()
        self.converge()
        self.judge()

    def _join(self, number: int) -> None:
        station = self.stations[number % len(self.stations)]
        if not station.process.alive:
            self.world.after(500.0, self._join, number)
            return
        seat = Seat(self, station)
        phone = Phone(
            cast(Room, seat),
            number=number + 1,
            device=f"phone-{number}",
            link=Link(self.network, f"phone-{number}", local=False),
            replica=True,
        )
        phone.seat = seat
        self.pages.append(phone)

    def _alive(self) -> list[Phone]:
        return [page for page in self.pages if page.process.alive]

    def _somebody_asks(self) -> None:
        pages = self._alive()
        if pages:
            self._ask(pages[int(self.world.random.random() * len(pages))])

    def _ask(self, page: Phone) -> None:
        self._asked += 1
        person = Person(
            device_id=page.device,
            client_id=page.client_id,
            presenter=False,
            state=None,
            number=self._asked,
        )
        page.process.do(page.ask, self.app.request(person, self.world.random))

    def _partition(self, side: int, lasts: float) -> None:
        numbers = {id(station): place for place, station in enumerate(self.stations)}
        cut = []
        for cable in self.cables:
            one, other = (side >> numbers[id(end)] & 1 for end in cable.ends)
            if one != other and not cable.cut:
                cable.cut = True
                cut.append(cable)
        self.world.counts["partition"] += 1
        self.world.say(f"partition {side:b}")
        self.world.after(lasts, self._mend, cut)

    def _mend(self, cables: list[Cable]) -> None:
        self.world.say("the partition heals")
        for cable in cables:
            cable.mend()

    def _kill(self, which: int, step: str | None, count: int) -> None:
        station = self.stations[which]
        if self._healed or not station.process.alive:
            return
        if step is None:
            station.crash()
        else:
            station.process.doom(step, count)
        self._start_later(station)

    def _start_later(self, station: Station) -> None:
        if self._healed:
            return
        if not station.process.alive:
            station.start()
        self.world.after(1_500.0, self._start_later, station)

    def _move(self, which: int, to: int) -> None:
        pages = self._alive()
        if pages:
            page = pages[which % len(pages)]
            self.world.counts["move"] += 1
            self.world.say(f"{page.client_id} goes to {self.stations[to].bridge}")
            page.process.do(page.go_to, self.stations[to])

    def _crash(self, which: int) -> None:
        pages = self._alive()
        if len(pages) > 2:
            self.world.counts["page crashes"] += 1
            pages[which % len(pages)].crash()

    # --- the end ----------------------------------------------------------------------------

    def heal(self) -> None:
        """Repair everything."""
        self._healed = True
        self.world.say("all is healed")
        for cable in self.cables:
            cable.mend()
        for station in self.stations:
            station.process.spare()
            if not station.process.alive:
                station.start()
        self.world.run(self.world.now + 3_000.0)
        for page in self._alive():
            self._ask(page)

    def converge(self) -> None:
        """All is well within HEALED_MS; what waits for a quorum that is gone is started again.

        Raises:
            Violation: ``convergence``.
        """
        if self.world.run(self.world.now + HEALED_MS, enough=self._is_well):
            return
        if not self.plan.continues:
            # The manual: with "wait", a bridge that says that nothing can be acknowledged is
            # started again.
            for _ in range(3):
                for station in self.stations:
                    if not station.meeting.summary().quorum:
                        station.crash()
                        station.start()
                        self.world.run(self.world.now + 3_000.0)
                if self.world.run(self.world.now + HEALED_MS, enough=self._is_well):
                    return
        raise Violation("convergence", self._what_is_wrong())

    def _is_well(self) -> bool:
        epochs = {station.node.replica.epoch for station in self.stations}
        if len(epochs) != 1:
            return False
        for station in self.stations:
            replica = station.node.replica
            if station.meeting.replaying or replica.status.failed:
                return False
            if not self._is_firm(replica.machine.lineage):
                return False
        if any(page.session.pending or not page.session.connected for page in self._alive()):
            return False
        first = self.stations[0].node.replica
        return all(
            station.node.replica.node.applied_index == first.node.applied_index
            for station in self.stations
        )

    def _is_firm(self, lineage: Lineage) -> bool:
        """Nobody who is there is missed; of who vanished without a word nothing can be known."""
        there = {page.node_id for page in self._alive()}
        missed = (voter for rest in lineage.rests for voter in rest.missed)
        return not lineage.unheard and there.isdisjoint(missed)

    def _what_is_wrong(self) -> str:
        lines = [station.describe() for station in self.stations]
        lines += [
            f"{page.client_id} at {page.seat.bridge.bridge}: {page.session.pending} pending,"
            f" node {page.node.replica.epoch if page.node else None}"
            for page in self._alive()
            if page.session.pending or not page.session.connected
        ]
        return "; ".join(lines)

    def judge(self) -> None:
        """Every vote acknowledged anywhere counts once.

        Raises:
            Violation: it does not.
        """
        states = [state_of(station) for station in self.stations]
        if any(state != states[0] for state in states):
            raise Violation("state machine safety", "the bridges' states differ")
        self.app.judge(states[0], self.history)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApartResult:
    """What came of one schedule."""

    seed: int
    violation: Violation | None
    digest: str
    votes: int
    counts: dict[str, int] = field(default_factory=dict)


def run_apart(plan: ApartPlan, *, narrate: Callable[[str], None] | None = None) -> ApartResult:
    """Run one schedule."""
    return run_hall(Hall(plan, narrate=narrate))


def run_hall(hall: Hall) -> ApartResult:
    """The same, of any kind."""
    violation: Violation | None = None
    try:
        hall.run()
    except Violation as found:
        violation = found
    except Exception as error:
        violation = Violation("no exception", f"{type(error).__name__}: {error}")
        violation.__cause__ = error
    finally:
        for station in hall.stations:
            station.close()
    if violation is not None:
        hall.world.say(f"VIOLATION {violation}")
    return ApartResult(
        seed=hall.plan.seed,
        violation=violation,
        digest=hall.world.digest(),
        votes=len(hall.history.acknowledged),
        counts=dict(sorted(hall.world.counts.items())),
    )
