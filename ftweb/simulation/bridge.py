"""The bridge: the real relay, registry, stream and bookkeeping, behind simulated sockets.

What is simulated is what lies below :class:`ftweb.relay.relay.Relay`: the wire, the loop's
timers, and the few lines by which :mod:`ftweb.bridge.sockets` joins a client and reads its
frames. Tokens and rates are not checked here: they have tests of their own.

A bridge that starts begins a new epoch from what it had saved, as the real one does. Its disk
outlives it; so does the number of the last epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from ftweb import codec, frames
from ftweb.app import Changed, Effect
from ftweb.beginning import Genesis, beginning
from ftweb.core import NodeId, Settings
from ftweb.driver import Driver
from ftweb.epochs import generation_of, next_epoch
from ftweb.errors import FrameError, StorageError
from ftweb.relay.connection import GOING_AWAY, REPLACED, Connection, Registry
from ftweb.relay.here import Here, Hosting
from ftweb.relay.relay import Relay
from ftweb.relay.wire import Prepared
from ftweb.replica import NodeStatus
from ftweb.simulation.disk import Disk, at_once
from ftweb.simulation.invariants import Checks, Violation
from ftweb.simulation.network import Socket
from ftweb.simulation.nodes import CheckedMachine, Node
from ftweb.simulation.world import Crashed, Process, World
from ftweb.storage import Saved, Storage

if TYPE_CHECKING:
    from ftweb.simulation.pages import Page

LAPTOP = "laptop"
"""The device of the bridge and of the pages on its machine."""


class SimulatedWire:
    """A :class:`ftweb.relay.wire.Wire`."""

    def __init__(self, socket: Socket, closed: Callable[[], object]) -> None:
        self._socket = socket
        self._closed = closed
        self._closing = False

    @property
    def backlog(self) -> int:
        """See :class:`~ftweb.relay.wire.Wire`; what is on its way is not counted."""
        way = self._socket.link.down
        return self._socket.unread if way.cut or way.clogged else 0

    @property
    def closing(self) -> bool:
        """See :class:`~ftweb.relay.wire.Wire`."""
        return self._closing or not self._socket.open

    def write(self, prepared: Prepared) -> None:
        """See :class:`~ftweb.relay.wire.Wire`."""
        if not self._closing:
            self._socket.to_page(prepared.text)

    def close(self, code: int, reason: str = "") -> None:
        """See :class:`~ftweb.relay.wire.Wire`."""
        if not self.closing:
            self._closing = True
            self._socket.close_bridge(code)
            self._closed()


class Bridge:
    """The bridge of a schedule, through all its starts.

    Args:
        world: time and chance.
        checks: are shown everything.
        genesis: the app that it begins with.
        settings: the core's times.
        new_machine: makes an empty state machine.
        compact_entries: how many applied entries make a snapshot.
        new_disk: makes an empty disk.
        watch: shown the app's state after every change.
    """

    def __init__(
        self,
        *,
        world: World,
        checks: Checks,
        genesis: Genesis,
        settings: Settings,
        new_machine: Callable[[], CheckedMachine],
        compact_entries: int,
        new_disk: Callable[[], Disk],
        watch: Callable[[Any], None],
    ) -> None:
        self.world = world
        self.process = Process(world, "the bridge", self.crash)
        self.process.alive = False
        self.sockets: dict[Socket, Connection] = {}
        self.hosts: list[tuple[int, int, str]] = []
        """(epoch, term, host) in the order in which they were seen."""
        self._checks = checks
        self._genesis = genesis
        self._settings = settings
        self._new_machine = new_machine
        self._compact_entries = compact_entries
        self._new_disk = new_disk
        self.disk = new_disk()
        self._watch = watch
        self._epoch = self._starts = 0
        self._pages: dict[Socket, Page] = {}

    # --- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin an epoch, and listen."""
        world = self.world
        wall_offset = self.process.wall_offset
        self._starts += 1
        self._epoch = next_epoch(self._epoch, self._starts)
        self.node_id = f"bridge-{self._starts}"
        process = self.process = Process(world, self.node_id, self.crash)
        process.wall_offset = wall_offset
        saved = self._load()
        snapshot = saved.snapshot if saved is not None else None
        self._checks.epoch_begins(self._epoch, snapshot.last_index if snapshot else 0)
        first = beginning(
            saved,
            self._genesis,
            epoch=self._epoch,
            node_id=NodeId(self.node_id),
            at=process.wall(),
            new_machine=self._new_machine,
            own=[f"bridge-{start}" for start in range(self._starts)],
        )
        self._make_relay(bridge=LAPTOP)
        self._show(first)
        self.disk.save(
            epoch=first.epoch,
            hard_state=first.hard_state,
            snapshot=first.snapshot,
            entries=first.entries,
        )
        self._make_node(self.disk)
        self.node.wake()
        world.say(f"{self.node_id} starts, epoch {self._starts}")

    def _make_relay(self, *, bridge: str, start: int = 0) -> None:
        self.registry = Registry()
        self.relay = Relay(
            here=Here(
                device_id=bridge,
                name=self._genesis.name,
                guid=self._genesis.guid,
                bundle=self._genesis.bundle,
                runtime_url="",
                join_url="",
                bridge=bridge,
                start=start,
            ),
            registry=self.registry,
            loop=cast(asyncio.AbstractEventLoop, self.process),
            on_hosting=self._on_hosting,
        )

    def _make_node(self, storage: Storage) -> None:
        self.node = Node(
            process=self.process,
            node_id=self.node_id,
            storage=storage,
            send=self.relay.send,
            checks=self._checks,
            new_machine=self._new_machine,
            listener=self,
            server=None,
            settings=self._settings,
            compact_entries=self._compact_entries,
        )
        # The relay asks its driver for what the replica has as well, under the same names.
        self.relay.attach(cast(Driver, self.node.replica))

    def _show(self, saved: Saved) -> None:
        """The checks see what is saved past the node's own storage."""
        self._checks.saved(
            self.node_id,
            epoch=saved.epoch,
            hard_state=saved.hard_state,
            snapshot=saved.snapshot,
            entries=saved.entries,
        )

    def _load(self) -> Saved | None:
        """What was saved; damage must be noticed."""
        disk = self.disk
        before = disk.load()
        if not self.damage_next:
            return before
        self.damage_next = False
        if before is None or not (how := disk.damage(self.world.random.random)):
            return before
        self.world.counts[how] += 1
        try:
            after = disk.load()
        except StorageError:
            # Refused and kept aside. The teacher has a copy of the file.
            disk.close()
            self.disk = self._new_disk()
            return before
        if after != before:
            raise Violation("storage trust", "a damaged replica was loaded as if it were sound")
        return before

    damage_next = False
    """The next start finds a damaged disk."""

    def lose_power(self, saves: int) -> None:
        """The power fails in the middle of the ``saves``-th save from now on."""
        left = saves

        def last(write: Callable[[], None]) -> None:
            nonlocal left
            left -= 1
            if left > 0:
                write()
                return
            before = self.disk.load()
            try:
                torn = self.disk.tear(write, self.world.random.random)
                after = self.disk.load()
            except StorageError as error:
                raise Violation("storage trust", f"lost in a power cut: {error}") from error
            self.world.counts["save torn" if torn else "power cut after a save"] += 1
            if torn and after != before:
                raise Violation("storage trust", "a part of a save was there after a power cut")
            self.world.say(f"{self.node_id} loses its power while it saves")
            raise Crashed

        self.node.storage.write = last

    def spare(self) -> None:
        """No planned end in the middle of something comes true any more."""
        self.process.spare()
        self.node.storage.write = at_once

    def crash(self) -> None:
        """Killed: every socket breaks."""
        if not self.process.alive:
            return
        self.world.say(f"{self.node_id} is killed")
        self.process.end()
        for socket in list(self.sockets):
            socket.close_bridge(1006)
        self.sockets.clear()

    @property
    def running(self) -> bool:
        """It listens, and its replica works."""
        return self.process.alive and not self.node.replica.status.failed

    def _on_hosting(self, hosting: Hosting) -> None:
        if hosting.host is None:
            return
        seen = (hosting.epoch, hosting.term, hosting.host)
        if not self.hosts or self.hosts[-1] != seen:
            self.hosts.append(seen)
            epoch = generation_of(hosting.epoch)
            self.world.say(f"{hosting.host} hosts, epoch {epoch}, term {hosting.term}")

    # --- the replica's listener: the relay, and whoever watches the state ---------------------

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.replica.Listener`."""
        self.relay.applied(index, effects)
        if any(type(effect) is Changed for effect in effects):
            self._watch(self.node.replica.machine.state)

    def restored(self) -> None:
        """See :class:`ftweb.replica.Listener`."""
        self.relay.restored()

    def status(self, status: NodeStatus) -> None:
        """See :class:`ftweb.replica.Listener`."""
        self.relay.status(status)

    # --- sockets --------------------------------------------------------------------------

    def accept(self, socket: Socket, page: Page) -> bool:
        """A page connects; False if nobody listens."""
        if not self.process.alive:
            return False
        self._pages[socket] = page
        return True

    def took(self, socket: Socket, text: str) -> None:
        """See :class:`~ftweb.simulation.network.End`."""
        self.process.do(self._take, socket, text)

    def lost(self, socket: Socket, code: int) -> None:
        """See :class:`~ftweb.simulation.network.End`."""
        self.process.do(self._forget, socket)

    def _take(self, socket: Socket, text: str) -> None:
        connection = self.sockets.get(socket)
        if connection is None:
            self._join(socket, text)
            return
        if connection.wire.closing:
            return
        self.world.trace(text)
        connection.last_heard = self.process.time()
        try:
            frame = codec.decode(text)
            if isinstance(frame, frames.Raft) and not socket.link.network.passes(
                frame.sender, frame.to
            ):
                return
            self.relay.received(connection, frame, text)
        except FrameError as error:
            connection.fail(error.code, error.message)

    def _join(self, socket: Socket, text: str) -> None:
        page = self._pages.pop(socket, None)
        if page is None:
            return
        try:
            hello = codec.decode(text)
        except FrameError:
            socket.close_bridge(4400)
            return
        if not isinstance(hello, frames.Hello):
            socket.close_bridge(4400)
            return
        connection = Connection(
            wire=SimulatedWire(socket, lambda: self.process.call_later(0, self._forget, socket)),
            client_id=page.client_id,
            device_id=page.device,
            presenter=page.presenter,
            local=page.local,
            last_heard=self.process.time(),
        )
        older = self.registry.add(connection)
        if older is not None:
            older.wire.close(REPLACED, "replaced by a newer connection")
        self.sockets[socket] = connection
        self.relay.joined(connection, hello)

    def _forget(self, socket: Socket) -> None:
        self._pages.pop(socket, None)
        connection = self.sockets.pop(socket, None)
        if connection is not None and self.registry.remove(connection):
            self.relay.left(connection)

    def stop(self) -> None:
        """Told to stop: every socket is closed with a word."""
        self.process.end()
        for socket in list(self.sockets):
            socket.close_bridge(GOING_AWAY)
        self.sockets.clear()

    def close(self) -> None:
        """The schedule is over."""
        self.disk.close()

    def state(self) -> Any:
        """The app's state, as the bridge's replica has it."""
        return self.node.replica.machine.state
