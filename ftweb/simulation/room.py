"""A classroom: the bridge, the pages, the network between them, and what happens there.

A schedule has three parts:

1. *Faults*: pages join, people ask, and the plan's faults happen.
2. *Healing*: the network is repaired, whatever was frozen thaws, the bridge is started again if
   it does not run. If the voters of the newest configuration are gone for good, the teacher
   does what the manual says and starts the bridge again.
3. *Convergence*: every page asks again; within ten election timeouts all is answered and all
   replicas are equal.
"""

from __future__ import annotations

from collections.abc import Callable

from ftweb.app.sessions import Sessions
from ftweb.beginning import Genesis
from ftweb.core import NodeId, Role, Settings, quorum
from ftweb.limits import BATCH_BYTES
from ftweb.simulation import faults
from ftweb.simulation.app_support import Person
from ftweb.simulation.bridge import LAPTOP, Bridge
from ftweb.simulation.disk import Disk, Kept
from ftweb.simulation.history import History
from ftweb.simulation.invariants import Checks, Violation
from ftweb.simulation.network import Direction, Link, Network, Weather
from ftweb.simulation.nodes import CheckedMachine, Node
from ftweb.simulation.pages import Page
from ftweb.simulation.plan import Plan
from ftweb.simulation.workload import App
from ftweb.simulation.world import World

ELECTION_TIMEOUTS = 10
"""Within so many of them everything must be well again."""

BURST = 30.0
"""Milliseconds within which those ask who ask at once, as a class does. Requests that come together
share log entries' messages, which makes a schedule twice as fast, and pipelines."""

ENOUGH = 50
"""Votes that a schedule is to acknowledge, so that it says something: if fewer were answered while
things went wrong, the rest is asked for at the end."""

SPARE = 3
"""Asked for on top of that: of what still waits then, a little is refused."""


class Room:
    """One schedule at work.

    Args:
        plan: what is to happen.
        app: what runs.
        narrate: takes the lines of a transcript.
    """

    def __init__(
        self, plan: Plan, app: App, *, narrate: Callable[[str], None] | None = None
    ) -> None:
        self.plan = plan
        self.app = app
        self.world = World(plan.seed, narrate=narrate)
        self.history = History()
        self.checks = Checks(self.history)
        self.settings = Settings(
            heartbeat=plan.heartbeat,
            election_timeout=plan.election_timeout,
            stagger=min(150.0, plan.election_timeout / 10),
            trailing_entries=plan.trailing_entries,
            batch_bytes=1 if plan.one_by_one else BATCH_BYTES,
            inflight_messages=1 if plan.one_by_one else 32,
            snapshot_chunk_chars=plan.snapshot_chunk,
        )
        self._usual = Weather(
            low=plan.low,
            high=plan.high,
            loss=plan.loss,
            repeat=plan.repeat,
            reorder=plan.reorder,
            damage=plan.damage,
        )
        self.storm = Weather(low=12.5, high=62.5, loss=0.16, repeat=0.1, reorder=0.3)
        self.network = Network(self.world, self._usual)
        self.bridge = Bridge(
            world=self.world,
            checks=self.checks,
            genesis=Genesis(
                guid="guid",
                name=app.name,
                bundle="bundle",
                initial_state=app.initial_state(),
                bridge=LAPTOP,
            ),
            settings=self.settings,
            new_machine=self.new_machine,
            compact_entries=plan.compact_entries,
            new_disk=self._new_disk,
            watch=app.watch,
        )
        self._pages: list[Page] = []
        self._all_pages: list[Page] = []
        self._links: dict[str, Link] = {}
        self._pages_made = 0
        self._asked = 0
        self._healed = False
        self.quorum_losses = 0

    def _new_disk(self) -> Disk:
        plan = self.plan
        if not plan.sqlite:
            return Kept()
        from ftweb.simulation.sqlite_disk import KeptInSqlite  # Pyodide has no SQLite

        return KeptInSqlite(in_files=any(fault.kind == "power cut" for fault in plan.faults))

    def new_machine(self) -> CheckedMachine:
        """An empty state machine with this schedule's limits."""
        machine = CheckedMachine(sessions=Sessions(most=self.plan.sessions))
        machine.checks = self.checks
        return machine

    # --- who is there -----------------------------------------------------------------------

    @property
    def pages(self) -> list[Page]:
        """Those that live."""
        living = [page for page in self._pages if page.process.alive]
        if len(living) < len(self._pages):
            self._pages = living
        return self._pages

    @property
    def nodes_made(self) -> int:
        """Replicas that took part, the bridge's included."""
        return 1 + sum(page.node is not None for page in self._all_pages)

    def names(self) -> list[str]:
        """The ids of the replicas that live."""
        return [node.id for node in self.nodes()]

    def nodes(self) -> list[Node]:
        """The replicas that live, the bridge's first."""
        nodes = [self.bridge.node] if self.bridge.process.alive else []
        return nodes + [page.node for page in self.pages if page.node is not None]

    def join(
        self,
        *,
        device: str | None = None,
        local: bool = False,
        replica: bool = True,
        visible: bool = True,
    ) -> Page:
        """A page is opened.

        Args:
            device: on which; None: on one that was not there yet.
            local: the device is the laptop, if it is not given.
            replica: it has a node.
            visible: in front.
        """
        self._pages_made += 1
        number = self._pages_made
        if device is None:
            device = LAPTOP if local else f"phone-{number}"
        link = self._links.get(device)
        if link is None or link.local:  # each tab of the laptop has a way of its own, by loopback
            link = self._links[device] = Link(self.network, device, local=local)
        page = Page(
            self,
            number=number,
            device=device,
            link=link,
            replica=replica,
            visible=visible,
            presenter=device == LAPTOP,
        )
        self._pages.append(page)
        self._all_pages.append(page)
        self.world.say(f"page {number} of {device} opens")
        return page

    # --- what happens -----------------------------------------------------------------------

    def run(self) -> None:
        """The whole schedule.

        Raises:
            Violation: an invariant does not hold.
        """
        plan, world = self.plan, self.world
        self.bridge.start()
        for number in range(plan.tabs + plan.clients):
            local, replica = number < plan.local, number < plan.tabs
            world.after(300.0 * world.random.random(), self._join_first, local, replica)
        bursts = [world.random.uniform(300.0, plan.duration) for _ in range(plan.bursts)]
        for _ in range(plan.requests):
            burst = world.random.choice(bursts)
            world.at(burst + BURST * world.random.random(), self._somebody_asks)
        for fault in plan.faults:
            world.at(fault.at, faults.happen, self, fault)
        world.run(plan.duration)
        self.heal()
        if plan.deaf:
            self.do_without_the_leader()
        self.converge()
        self.app.judge(self.bridge.state(), self.history)

    def _join_first(self, local: bool, replica: bool) -> None:
        self.join(local=local, replica=replica)

    def _somebody_asks(self) -> None:
        pages = self.pages
        if not pages:
            return
        page = pages[int(self.world.random.random() * len(pages))]
        payload = self.app.request(self._person(page), self.world.random)
        if payload is not None:
            page.process.do(page.ask, payload)

    def _person(self, page: Page) -> Person:
        self._asked += 1
        return Person(
            device_id=page.device,
            client_id=page.client_id,
            presenter=page.presenter,
            state=page.session.state.value,
            number=self._asked,
        )

    def sever(self, pairs: set[tuple[str, str]], lasts: float) -> bool:
        """Lose consensus from each first node to its second for a while. Returns whether any of
        them still heard one another."""
        new = pairs - self.network.severed
        if new:
            self.network.severed |= new
            self.world.after(lasts, self.network.severed.difference_update, new)
        return bool(new)

    def cut_link(self, link: Link, *, up: bool, down: bool, lasts: float) -> bool:
        """Cut one or both directions of a link for a while."""
        ways: list[Direction] = [link.up] if up else []
        ways += [link.down] if down else []
        ways = [way for way in ways if not way.cut and not way.clogged]
        for way in ways:
            way.cut = True
            self.world.after(lasts, self.network.release, way)
        return bool(ways)

    def calm(self) -> None:
        """The network is as bad as it usually is."""
        if not self._healed:
            self.network.weather = self._usual

    def restart_bridge(self, kill: bool = False) -> None:
        """Start the bridge if it does not run.

        Args:
            kill: if it runs, kill it first.
        """
        if kill:
            self.bridge.crash()
        if not self.bridge.process.alive:
            self.bridge.start()

    # --- the end ----------------------------------------------------------------------------

    def heal(self) -> None:
        """Repair everything that can be repaired."""
        world, network = self.world, self.network
        world.say("all is healed")
        self._healed = True
        network.weather = Weather(low=0.5, high=3.0)
        network.severed.clear()
        world.mute = None
        for page in self._all_pages:
            page.link.repair()
            if not page.process.alive and page.socket is not None:
                page.socket.close_page()  # the bridge's watch over silent sockets
                page.socket = None
        self.bridge.spare()
        self.bridge.process.thaw()
        for page in list(self.pages):
            page.process.spare()
            page.process.thaw()
            if page.leaving:
                page.crash()
        self.restart_bridge(kill=not self.bridge.running)
        if not any(page.has_replica for page in self.pages):
            self.join()  # a bridge runs no handlers: without a tab nobody would answer
        world.run(world.now + 50.0)

    def do_without_the_leader(self) -> None:
        """All is well but for one thing that does not pass: a tab that leads hears none of the
        others, while they hear it. Within ten election timeouts they have another leader, or none
        of them would ever be answered.

        Raises:
            Violation: ``convergence``.
        """
        leader = self.leader()
        if leader is None or leader is self.bridge.node:
            return  # without the bridge there is nobody to answer, nor to tell who is there
        if not self._quorum_is_here(without=leader):
            return
        led = leader.replica.epoch, leader.replica.node.term
        self.network.deaf = leader.id
        self.world.counts["leader stays deaf"] += 1
        self.world.say(f"{leader.id} leads and hears nobody from now on")

        def another() -> bool:
            found = self.leader()
            return found is not None and (
                (found.replica.epoch, found.replica.node.term) > led or found is not leader
            )

        if not self._wait(another):
            raise Violation("convergence", f"{leader.id} leads on and hears nobody")
        self.network.deaf = None

    def converge(self) -> None:
        """Within ten election timeouts all is answered, and all replicas are equal.

        Raises:
            Violation: ``convergence``.
        """
        pages = self.pages
        for number in range(max(len(pages), ENOUGH + SPARE - self._votes())):
            page = pages[number % len(pages)]
            payload = self.app.probe(self._person(page), self.world.random)
            if payload is not None:
                page.process.do(page.ask, payload)
        if self._lost_for_good():
            self._teacher_restarts()
        if not self._wait(self._is_well):
            if self._quorum_is_here():
                raise Violation("convergence", self._what_is_wrong())
            self._teacher_restarts()
            if not self._wait(self._is_well):
                raise Violation("convergence", self._what_is_wrong())
        self._wait(self._everybody_sees_it)
        self._compare()

    def _votes(self) -> int:
        """Those that were acknowledged, and those that still will be: their pages are there."""
        waiting = [request for page in self.pages for request in page.waiting]
        return sum(
            self.app.is_vote(request.payload) for request in (*self.history.acknowledged, *waiting)
        )

    def _everybody_sees_it(self) -> bool:
        """A link that was slow may still have a change on its way."""
        state = self.bridge.state()
        return self._is_well() and all(page.session.state.value == state for page in self.pages)

    def _wait(self, well: Callable[[], bool]) -> bool:
        timeouts = [node.replica.node.election_timeout for node in self.nodes()]
        return self.world.run(self.world.now + ELECTION_TIMEOUTS * max(timeouts), enough=well)

    def _teacher_restarts(self) -> None:
        self.quorum_losses += 1
        self.world.counts["quorum lost"] += 1
        self.world.say("the quorum is lost; the bridge is started again")
        self.restart_bridge(kill=True)

    def leader(self) -> Node | None:
        """Of the newest term, as far as replicas say so of themselves."""
        leading = [n for n in self.nodes() if n.replica.node.role is Role.LEADER]
        return max(leading, key=lambda n: (n.replica.epoch, n.replica.node.term), default=None)

    def _is_well(self) -> bool:
        for page in self.pages:
            if page.session.pending or not page.session.connected:
                return False
        leader = self.leader()
        if leader is None:
            return False
        core = leader.replica.node
        if core.applied_index != core.last_index or core.transferring:
            return False
        by_id = {node.id: node for node in self.nodes()}
        for member in core.configuration.members:
            node = by_id.get(member)
            if node is None or node.replica.node.applied_index != core.applied_index:
                return False
        return True

    def _alive(self) -> set[NodeId]:
        return {node.replica.node_id for node in self.nodes()}

    def _lost_for_good(self) -> bool:
        """Whoever has the newest log cannot be elected any more."""
        alive = self._alive()
        present = [n for n in self.nodes() if n.replica.epoch == self.bridge.node.replica.epoch]
        best = max(
            present,
            key=lambda n: (n.replica.node._state.log.last_term, n.replica.node.last_index),
        )
        return not quorum.holds(best.replica.node.configuration.voters, alive)

    def _quorum_is_here(self, *, without: Node | None = None) -> bool:
        """In every configuration that somebody holds."""
        alive = self._alive() - {without.replica.node_id if without else NodeId("")}
        return all(
            quorum.holds(node.replica.node.configuration.voters, alive)
            for node in self.nodes()
            if node.replica.node.configuration.voters
        )

    def _what_is_wrong(self) -> str:
        leader = self.leader()
        waiting = [f"{p.client_id}: {p.session.pending}" for p in self.pages if p.session.pending]
        apart = [page.client_id for page in self.pages if not page.session.connected]
        replicas = [
            f"{n.id} {n.replica.node.role} of term {n.replica.node.term} in epoch"
            f" {n.replica.epoch}, applied {n.replica.node.applied_index} of"
            f" {n.replica.node.last_index}, voters {'+'.join(n.replica.node.configuration.voters)}"
            for n in self.nodes()
        ]
        return (
            f"leader {leader.id if leader else None}; unanswered {waiting}; not connected {apart};"
            f" {'; '.join(replicas)}"
        )

    def _compare(self) -> None:
        leader = self.leader()
        if leader is None:
            raise Violation("convergence", self._what_is_wrong())
        members = leader.replica.node.configuration.members
        for node in self.nodes():
            if node.id in members and isinstance(node.replica.machine, CheckedMachine):
                self.checks.digest(node, node.replica.machine)
        state = self.bridge.state()
        for page in self.pages:
            if page.session.state.value != state:
                raise Violation(
                    "convergence", f"{page.client_id} does not see the state that was committed"
                )
