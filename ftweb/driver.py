"""The one loop that drives a replica in real time: the same under CPython and under Pyodide.

Consensus and the app's handlers have a task each, so that a slow asynchronous handler does not
hold up consensus. What has arrived by a turn is dealt with in that turn together: under load that
makes batches, of messages, of saving and of handlers' commands.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from ftweb import frames
from ftweb.app import Machine, Server
from ftweb.core import Node, Settings
from ftweb.core.types import NodeId
from ftweb.replica import Clock, Listener, NodeStatus, Replica
from ftweb.storage import Saved, Storage

__all__ = ["Clock", "Driver", "Listener", "NodeStatus"]

REQUESTS_PER_TURN = 64
"""Requests handled before consensus gets its turn: they share one batch, one save and one
message to each member, and at 0.3 ms each under Pyodide they delay a heartbeat by 20 ms."""


class Driver:
    """A :class:`~ftweb.replica.Replica` (which see for the arguments), driven by asyncio.

    The caller awaits :meth:`run` in a task group and passes frames to :meth:`receive`.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        storage: Storage,
        send: Callable[[frames.Frame], None],
        clock: Clock,
        listener: Listener,
        server: Server | None = None,
        settings: Settings | None = None,
        on_begin: Callable[[frames.Forward], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._clock = clock
        self._wake = asyncio.Event()
        self._work = asyncio.Event()
        self._hosts = server is not None
        self.replica = Replica(
            node_id=node_id,
            storage=storage,
            send=send,
            clock=clock,
            listener=listener,
            server=server,
            settings=settings,
            on_begin=on_begin,
            on_end=on_end,
            wake=self._wake.set,
            work=self._work.set,
        )

    @property
    def node_id(self) -> NodeId:
        """The replica's id, now."""
        return self.replica.node_id

    @property
    def node(self) -> Node:
        """Its consensus node, to look at."""
        return self.replica.node

    @property
    def machine(self) -> Machine:
        """Its state machine, to look at; another one after a new epoch."""
        return self.replica.machine

    @property
    def epoch(self) -> int:
        """Its epoch; 0 before it has joined one."""
        return self.replica.epoch

    @property
    def status(self) -> NodeStatus:
        """Its view as last told to the listener."""
        return self.replica.status

    def receive(self, frame: frames.Frame) -> None:
        """Take in a frame for this node; dealt with in the loop's next turn."""
        self.replica.receive(frame)

    @property
    def left(self) -> list[frames.Left]:
        """Where it left the epochs in which it was before, the latest last."""
        return self.replica.left

    def begin(self, beginning: Saved, *, node_id: NodeId | None = None) -> None:
        """Leave this epoch for another (see the replica's method)."""
        self.replica.begin(beginning, node_id=node_id)

    def hand_over(self) -> None:
        """Start giving the lead to the next in succession, if this node leads. Requests wait."""
        self.replica.hand_over()

    async def run(self) -> None:
        """Drive the replica until cancelled, or until it has stopped for good."""
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self._serve()) if self._hosts else None
            await self._consensus()
            if serving is not None:
                serving.cancel()

    async def _consensus(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.status.failed:
            self._wake.clear()
            self.replica.turn()
            if self._wake.is_set():  # the turn has given new work
                await asyncio.sleep(0)
                continue
            deadline = self.replica.next_deadline()
            if math.isinf(deadline):
                await self._wake.wait()
                continue
            delay = max(0.0, deadline - self._clock.monotonic()) / 1000
            timer = loop.call_later(delay, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    async def _serve(self) -> None:
        served = 0
        while True:
            self._work.clear()
            while await self.replica.serve_one():
                served += 1
                if served % REQUESTS_PER_TURN == 0:
                    await asyncio.sleep(0)  # synchronous handlers never yield by themselves
            await self._work.wait()
