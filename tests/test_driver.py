"""The driver: several replicas in one process, joined by a relay that passes frames on.

The relay is the least that a bridge is: it delivers ``raft`` frames by address, tells of nodes
that come and go, and forwards requests to the leader that the bridge's replica knows.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

import ftweb
from ftweb import frames
from ftweb.app import Effect, Replied, Server, SessionOpened, commands
from ftweb.core import Settings
from ftweb.core.configuration import to_data
from ftweb.core.snapshot import build
from ftweb.core.types import Configuration, Entry, EntryKind, HardState, NodeId, Role
from ftweb.driver import Clock, Driver, NodeStatus
from ftweb.errors import StorageError
from ftweb.storage import MemoryStorage, Saved

SECONDS = 20.0
"""A test that has not seen what it waits for by then has failed."""

CLOCK = Clock(
    monotonic=lambda: time.monotonic() * 1000,
    wall=lambda: time.time() * 1000,
    jitter=random.Random(3).random,
)


def make_server() -> Server:
    """An app that counts, with a slow way and a failing way."""
    server = ftweb.init_server("counter", state={"count": 0})

    @server.on_receive
    async def receive(message: Any, source: Any) -> Any:
        if message == "fail":
            raise RuntimeError("on purpose")
        if message == "slow":
            await asyncio.sleep(0.05)
        with server.change() as state:
            state["count"] += 1
        server.broadcast({"by": source.client_id})
        return {"count": server.get_state()["count"]}

    return server


class FirstStorage(MemoryStorage):
    """What a cluster begins with: the genesis, and one voter."""

    def __init__(self, node_id: NodeId) -> None:
        self.node_id = node_id
        self.full = False

    def load(self) -> Saved | None:
        genesis = commands.genesis(
            guid="0" * 32, name="counter", bundle="f" * 64, state={"count": 0}, at=0
        )
        configuration = Configuration(voters=(self.node_id,), successors=(self.node_id,))
        return Saved(
            epoch=1,
            hard_state=HardState(term=1, vote=None),
            snapshot=None,
            entries=(
                Entry(index=1, term=1, kind=EntryKind.COMMAND, data=genesis),
                Entry(index=2, term=1, kind=EntryKind.CONFIGURATION, data=to_data(configuration)),
            ),
        )

    def save(self, **changes: Any) -> None:
        if self.full:
            raise StorageError("The disk is full. Make room.")


@dataclass(eq=False)
class Member:
    """One driver with what it has told."""

    node_id: NodeId
    device_id: str
    kind: str
    driver: Driver
    storage: MemoryStorage
    task: asyncio.Task[None] | None = None
    effects: list[tuple[int, Sequence[Effect]]] = field(default_factory=list)
    restored: int = 0


class Cluster:
    """All members, and the relay between them."""

    def __init__(self) -> None:
        self.members: dict[NodeId, Member] = {}
        self.changed = asyncio.Event()
        self._ids = itertools.count(1)
        self._since = itertools.count(1)
        self._order: dict[NodeId, float] = {}

    def add(self, device: str, *, kind: str = "tab", first: bool = False) -> Member:
        """Start a node."""
        node_id = NodeId(f"{next(self._ids):032x}")
        storage = FirstStorage(node_id) if first else MemoryStorage()
        member: Member

        class Listener:
            def applied(self, index: int, effects: Sequence[Effect]) -> None:
                member.effects.append((index, effects))
                cluster.changed.set()

            def restored(self) -> None:
                member.restored += 1
                cluster.changed.set()

            def status(self, status: NodeStatus) -> None:
                cluster.changed.set()
                cluster.tell_directory()

        cluster = self
        driver = Driver(
            node_id=node_id,
            storage=storage,
            send=self.relay,
            clock=CLOCK,
            listener=Listener(),
            server=make_server() if kind == "tab" else None,
            settings=Settings(settle=100.0),
        )
        member = Member(node_id, device, kind, driver, storage)
        member.task = asyncio.create_task(driver.run())
        self.members[node_id] = member
        self._order[node_id] = float(next(self._since))
        self.tell_directory()
        return member

    async def laptop(self) -> tuple[Member, Member]:
        """What every class begins with: a bridge, and a tab beside it that hosts."""
        bridge = self.add("laptop", kind="bridge", first=True)
        tab = self.add("laptop")
        await self.until_hosted_by(tab)
        return bridge, tab

    def relay(self, frame: frames.Frame) -> None:
        assert isinstance(frame, frames.Raft)
        if NodeId(frame.sender) in self.members and (to := self.members.get(NodeId(frame.to))):
            to.driver.receive(frame)

    def tell_directory(self) -> None:
        directory = frames.Directory(
            nodes=[
                frames.NodeInfo(
                    node_id=member.node_id,
                    device_id=member.device_id,
                    kind="bridge" if member.kind == "bridge" else "tab",
                    local=member.device_id == "laptop",
                    visible=True,
                    since=self._order[member.node_id],
                    rtt=1.0,
                )
                for member in self.members.values()
            ]
        )
        for member in self.members.values():
            member.driver.receive(directory)

    def kill(self, member: Member) -> None:
        """The node is gone, and the relay says so."""
        assert member.task is not None
        member.task.cancel()
        del self.members[member.node_id]
        for other in self.members.values():
            other.driver.receive(frames.Lost(node_id=member.node_id))
        self.tell_directory()

    def host(self) -> Member | None:
        """Who runs the handlers, as far as it knows itself; the highest term counts."""
        hosts = [m for m in self.members.values() if m.driver.status.hosting]
        return max(hosts, key=lambda m: m.driver.status.term, default=None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_hosted_by(self, member: Member) -> None:
        await self.until(lambda: self.host() is member)

    def dead_are_replaced(self) -> bool:
        """All voters that the host counts on are alive, and they are an odd number."""
        host = self.host()
        voters = host.driver.status.voters if host else ()
        return len(voters) % 2 == 1 and set(voters) <= self.members.keys()

    def forward(self, client: str, serial: int, payload: Any = None, *, session: int = 0) -> None:
        """Send a request to the host, as a bridge would."""
        host = self.host()
        assert host is not None
        host.driver.receive(
            frames.Forward(
                epoch=host.driver.epoch,
                term=host.driver.node.term,
                source=frames.Source(client_id=client, device_id=client),
                session=session,
                serial=serial,
                acknowledged=0,
                payload=payload,
            )
        )

    async def open(self, client: str, at: Member) -> int:
        """Open a session; wait until ``at`` has applied it."""
        self.forward(client, 0)
        await self.until(lambda: at.driver.machine.session_of(client) is not None)
        opened = at.driver.machine.session_of(client)
        assert isinstance(opened, SessionOpened)
        return opened.session

    async def request(
        self, client: str, session: int, serial: int, payload: Any, at: Member
    ) -> Replied:
        """Send a request and wait until ``at`` releases its reply."""
        self.forward(client, serial, payload, session=session)
        await self.until(lambda: bool(at.driver.machine.reply_for(client, session, serial)))
        reply = at.driver.machine.reply_for(client, session, serial)
        assert reply is not None
        return reply


@asynccontextmanager
async def running_cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        tasks = [member.task for member in made.members.values() if member.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_first_tab_gets_the_lead_from_the_bridge_and_hosts() -> None:
    async with running_cluster() as c:
        bridge, tab = await c.laptop()
        await c.until(lambda: bridge.driver.status.leader_id == tab.node_id)
        assert bridge.driver.status.voters == (bridge.node_id,)
        assert tab.driver.status.role is Role.LEADER
        session = await c.open("ann", bridge)
        reply = await c.request("ann", session, 1, "go", bridge)
        assert reply.payload == {"count": 1}
        assert bridge.driver.machine.state == {"count": 1}


async def test_repeated_request_has_one_effect_and_one_reply_across_hosts() -> None:
    async with running_cluster() as c:
        bridge, tab = await c.laptop()
        phone = c.add("phone")
        await c.until(lambda: phone.node_id in bridge.driver.status.voters)
        session = await c.open("ann", bridge)
        first = await c.request("ann", session, 1, "go", bridge)
        c.kill(tab)
        await c.until_hosted_by(phone)
        await c.until(lambda: bridge.driver.status.leader_id == phone.node_id)
        c.forward("ann", 1, "go", session=session)
        second = await c.request("ann", session, 2, "go", bridge)
        assert bridge.driver.machine.reply_for("ann", session, 1) == first
        assert second.payload == {"count": 2}
        released = [e for _, effects in bridge.effects for e in effects if isinstance(e, Replied)]
        assert [reply.serial for reply in released] == [1, 2]


async def test_survives_one_loss_after_another_down_to_the_bridge_and_comes_back() -> None:
    async with running_cluster() as c:
        bridge = c.add("laptop", kind="bridge", first=True)
        tabs = [c.add("laptop")]
        await c.until_hosted_by(tabs[0])
        tabs += [c.add(f"phone{n}") for n in range(3)]
        await c.until(lambda: len(bridge.driver.status.voters) == 5)
        session = await c.open("ann", bridge)
        serial = 0
        while tabs:
            serial += 1
            host = c.host()
            assert host is not None
            reply = await c.request("ann", session, serial, "go", bridge)
            assert reply.payload == {"count": serial}
            tabs.remove(host)
            c.kill(host)
            if tabs:
                await c.until(lambda: c.host() in tabs)
                await c.until(c.dead_are_replaced)
        await c.until(lambda: bridge.driver.status.role is Role.LEADER)
        newcomer = c.add("phone9")
        await c.until_hosted_by(newcomer)
        reply = await c.request("ann", session, serial + 1, "go", bridge)
        assert reply.payload == {"count": serial + 1}


async def test_better_host_gets_the_lead_back_and_requests_wait_meanwhile() -> None:
    async with running_cluster() as c:
        bridge = c.add("laptop", kind="bridge", first=True)
        phone = c.add("phone")
        await c.until_hosted_by(phone)
        session = await c.open("ann", bridge)
        laptop = c.add("laptop")
        await c.until_hosted_by(laptop)
        await c.until(lambda: bridge.driver.status.leader_id == laptop.node_id)
        reply = await c.request("ann", session, 1, "go", bridge)
        assert reply.payload == {"count": 1}


async def test_failing_handler_changes_nothing_and_its_error_is_a_reply() -> None:
    async with running_cluster() as c:
        bridge, _tab = await c.laptop()
        session = await c.open("ann", bridge)
        failed = await c.request("ann", session, 1, "fail", bridge)
        assert failed.error is not None
        assert failed.error.code == "handler_failed"
        assert "receive" in failed.error.message
        assert bridge.driver.machine.state == {"count": 0}
        assert (await c.request("ann", session, 2, "go", bridge)).payload == {"count": 1}


async def test_slow_asynchronous_handler_does_not_hold_up_consensus() -> None:
    async with running_cluster() as c:
        bridge, tab = await c.laptop()
        session = await c.open("ann", bridge)
        term = tab.driver.node.term
        for serial in range(1, 41):  # two seconds of handlers, more than an election timeout
            c.forward("ann", serial, "slow", session=session)
        await c.until(lambda: bool(bridge.driver.machine.reply_for("ann", session, 40)))
        assert tab.driver.node.term == term
        assert bridge.driver.machine.state == {"count": 40}


async def test_full_disk_acknowledges_nothing() -> None:
    async with running_cluster() as c:
        bridge, _tab = await c.laptop()
        session = await c.open("ann", bridge)
        assert isinstance(bridge.storage, FirstStorage)
        bridge.storage.full = True
        c.forward("ann", 1, "go", session=session)
        await c.until(lambda: bridge.driver.status.failed)
        assert bridge.driver.machine.reply_for("ann", session, 1) is None
        assert not bridge.driver.status.quorum


async def test_late_tab_catches_up_from_a_snapshot() -> None:
    async with running_cluster() as c:
        bridge, _tab = await c.laptop()
        session = await c.open("ann", bridge)

        def replied(serial: int) -> bool:
            return bool(bridge.driver.machine.reply_for("ann", session, serial))

        count = 2_100  # past two snapshots
        for start in range(1, count, 60):
            last = min(start + 59, count)
            for serial in range(start, last + 1):
                c.forward("ann", serial, "go", session=session)
            await c.until(functools.partial(replied, last))
        phone = c.add("phone")
        await c.until(lambda: phone.driver.machine.state == {"count": count})
        assert phone.restored == 2, "by the epoch that it entered, then by the snapshot"
        assert phone.driver.machine.digest() == bridge.driver.machine.digest()


async def test_frames_of_a_replaced_epoch_are_dropped_and_newer_ones_joined() -> None:
    async with running_cluster() as c:
        bridge, tab = await c.laptop()
        before = tab.driver.status
        nothing = msgspec.Raw(b"{}")
        stale = frames.Raft(
            epoch=0, sender=bridge.node_id, to=tab.node_id, kind="timeout_now", body=nothing
        )
        tab.driver.receive(stale)
        session = await c.open("ann", bridge)
        assert (await c.request("ann", session, 1, "go", bridge)).payload == {"count": 1}
        assert tab.driver.status == before
        tab.driver.receive(
            frames.Raft(epoch=7, sender=bridge.node_id, to=tab.node_id, kind="x", body=nothing)
        )
        await c.until(lambda: tab.driver.epoch == 7)
        assert tab.driver.status.role is Role.OBSERVER
        assert not tab.driver.status.hosting
        assert tab.driver.machine.state is None


async def test_entry_that_cannot_be_applied_stops_the_replica_and_says_so() -> None:
    async with running_cluster() as c:
        bridge = c.add("laptop", kind="bridge", first=True)
        await c.until(lambda: bridge.driver.status.role is Role.LEADER)
        bridge.driver.node.propose({"kind": "nonsense"}, CLOCK.monotonic())
        bridge.driver.receive(frames.Lost(node_id="0" * 32))  # gives the loop its turn
        await c.until(lambda: bridge.driver.status.failed)
        assert not bridge.driver.status.quorum
        assert bridge.driver.machine.state == {"count": 0}


async def test_a_bridge_alone_begins_a_new_epoch_and_the_rest_join_it() -> None:
    async with running_cluster() as c:
        bridge = c.add("laptop", kind="bridge", first=True)
        tabs = [c.add("laptop"), *(c.add(f"phone{n}") for n in range(3))]
        await c.until_hosted_by(tabs[0])
        await c.until(lambda: len(bridge.driver.status.voters) == 5)
        session = await c.open("ann", bridge)
        await c.request("ann", session, 1, "go", bridge)
        for tab in tabs[:3]:
            c.kill(tab)
        configuration = Configuration(voters=(bridge.node_id,), successors=(bridge.node_id,))
        applied = bridge.driver.node.applied_index
        bridge.driver.begin(
            Saved(
                epoch=2,
                hard_state=HardState(term=1, vote=None),
                snapshot=build(
                    last_index=applied,
                    last_term=1,
                    configuration=configuration,
                    data=bridge.driver.machine.snapshot(),
                ),
                entries=(),
            )
        )
        await c.until_hosted_by(tabs[3])
        assert tabs[3].driver.epoch == 2
        assert bridge.restored == 1
        again = bridge.driver.machine.reply_for("ann", session, 1)
        assert again is not None
        assert again.payload == {"count": 1}
        assert (await c.request("ann", session, 2, "go", bridge)).payload == {"count": 2}
