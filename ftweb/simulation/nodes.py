"""One replica in virtual time: what :class:`ftweb.driver.Driver` is in real time.

The real :class:`~ftweb.replica.Replica`, with a storage, a clock and a ``send`` that belong to the
simulation. Crash points are where the replica touches the outside: before and after saving,
between two messages, before and after releasing what an applied entry released, and around each
run of a handler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ftweb import frames
from ftweb.app import Effect, Machine, Server
from ftweb.core import NodeId, Settings
from ftweb.core.types import Json
from ftweb.replica import Clock, Listener, NodeStatus, Replica
from ftweb.simulation.disk import Watched
from ftweb.simulation.invariants import Checks
from ftweb.simulation.world import Process
from ftweb.storage import Storage

TURN: float = 1.5
"""Milliseconds from a frame's arrival to the turn that deals with it, about what Pyodide takes:
those that arrive meanwhile share the turn."""


ROUNDING: float = 1e-6
"""Milliseconds after a deadline at which it is surely over, however clocks were added up."""


class CheckedMachine(Machine):
    """The real state machine; what it applies is shown to the checks."""

    node: Node | None = None
    """Whose it is; None while a bridge replays what it had saved."""

    checks: Checks

    def apply(self, index: int, data: Json) -> list[Effect]:
        """See :class:`~ftweb.app.Machine`."""
        effects = super().apply(index, data)
        self.checks.applied(self.node, self, index, data, effects)
        return effects

    def snapshot(self) -> str:
        """See :class:`~ftweb.app.Machine`."""
        text = super().snapshot()
        if self.node is not None:
            self.node.checks.digest(self.node, self, text)
        return text

    def restore(self, text: str) -> None:
        """See :class:`~ftweb.app.Machine`."""
        super().restore(text)
        if self.node is not None and self.node.started:
            self.node.checks.restored(self.node, self)


class Node:
    """One replica, driven by the world.

    Args:
        process: it lives and dies with this one.
        node_id: of the replica.
        storage: where it is kept.
        send: hands its frames to the network.
        checks: are shown everything.
        new_machine: makes an empty state machine.
        listener: told what is applied, as by the real driver; None on a tab.
        on_status: told of what the node knows of itself, when that has changed.
        server: the app; None on a bridge.
        settings: the core's times.
        compact_entries: how many applied entries make a snapshot.
    """

    def __init__(
        self,
        *,
        process: Process,
        node_id: str,
        storage: Storage,
        send: Callable[[frames.Frame], None],
        checks: Checks,
        new_machine: Callable[[], CheckedMachine],
        listener: Listener | None,
        on_status: Callable[[NodeStatus], None] = lambda status: None,
        server: Server | None,
        settings: Settings,
        compact_entries: int,
    ) -> None:
        self.id = node_id
        self.started = False
        self.process = process
        self.checks = checks
        self._send = send
        self._new_machine = new_machine
        self._listener = listener
        self._on_status = on_status
        self._turn_planned = False
        self._serve_planned = False
        self._alarm = math.inf
        self.applied_upto = 0
        """For the checks: committed entries up to here have been looked at."""
        self.seen_epoch = 0
        self.led = (0, 0)
        """For the checks: the last (epoch, term) in which this node was seen to lead."""
        self.storage = Watched(node=node_id, storage=storage, watcher=checks, reach=process.reach)
        self.replica = Replica(
            node_id=NodeId(node_id),
            storage=self.storage,
            send=self._sends,
            clock=Clock(
                monotonic=process.monotonic,
                wall=process.wall,
                jitter=process.world.random.random,
            ),
            listener=self,
            server=server,
            settings=settings,
            on_begin=lambda forward: process.reach("handler begins"),
            on_end=lambda: process.reach("handler has run"),
            wake=self.wake,
            work=self._work,
            new_machine=self._make_machine,
            compact_entries=compact_entries,
        )
        self.applied_upto = self.replica.node.applied_index
        self.seen_epoch = self.replica.epoch
        self.started = True

    def _make_machine(self) -> CheckedMachine:
        machine = self._new_machine()
        machine.node = self
        return machine

    # --- what the replica touches -----------------------------------------------------------

    def _sends(self, frame: frames.Frame) -> None:
        self.process.reach("send")
        mute = self.process.world.mute
        if mute is None or not mute(self):
            self._send(frame)

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.replica.Listener`."""
        self.process.reach("applied")
        if self._listener is not None:
            self._listener.applied(index, effects)
            self.process.reach("released")

    def restored(self) -> None:
        """See :class:`ftweb.replica.Listener`."""
        self.process.reach("restored")
        if self._listener is not None:
            self._listener.restored()

    def status(self, status: NodeStatus) -> None:
        """See :class:`ftweb.replica.Listener`."""
        if self._listener is not None:
            self._listener.status(status)
        self._on_status(status)

    # --- turns ------------------------------------------------------------------------------

    def wake(self) -> None:
        """A turn is needed soon."""
        if not self._turn_planned:
            self._turn_planned = True
            self.process.world.after(TURN, self.process.do, self._turn)

    def _turn(self) -> None:
        self._turn_planned = False
        try:
            self.replica.turn()
        finally:
            self.checks.after_turn(self)
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Plan the turn that the replica needs if nothing comes."""
        if self.replica.status.failed:
            return
        due = self.replica.next_deadline() + self.process.lag + ROUNDING
        if due < self._alarm:
            self._alarm = due
            self.process.world.at(due, self.process.do, self._ring, due)

    def _ring(self, due: float) -> None:
        if due != self._alarm:
            return  # an earlier one was set since
        self._alarm = math.inf
        if self.replica.next_deadline() <= self.process.monotonic():
            if not self._turn_planned:
                self._turn()
        else:
            self._set_alarm()

    def _work(self) -> None:
        if not self._serve_planned:
            self._serve_planned = True
            self.process.world.after(TURN, self.process.do, self._serve)

    def _serve(self) -> None:
        self._serve_planned = False
        while self.replica.can_serve and self._serve_one():
            pass

    def _serve_one(self) -> bool:
        call = self.replica.serve_one()
        try:
            call.send(None)
        except StopIteration as done:
            return bool(done.value)
        call.close()
        raise NotImplementedError(
            "The app's handler waits for something. The simulator has no time that passes while a "
            "handler runs; it takes only handlers that return at once."
        )
