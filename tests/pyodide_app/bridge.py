"""A bridge's replica beside the node under test: same consensus, no sockets."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ftweb import codec, frames
from ftweb.app import Effect, Replied, SessionOpened
from ftweb.beginning import Genesis
from ftweb.bridge.bootstrap import begin_epoch
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import NodeId
from ftweb.driver import Clock, Driver, NodeStatus
from ftweb.relay.here import LIMITS

CLOCK = Clock(
    monotonic=lambda: time.monotonic() * 1000,
    wall=lambda: time.time() * 1000,
    jitter=random.random,
)

WELCOME = frames.Welcome(
    version=frames.PROTOCOL_VERSION,
    client_id="1" * 32,
    device_id="2" * 32,
    presenter=False,
    bridge="3" * 32,
    name="test",
    guid="a" * 32,
    bundle="b" * 64,
    runtime="/ftweb/runtime/test/",
    join_url="",
    local=False,
    limits=LIMITS,
)

SOURCE = frames.Source(client_id="c" * 32, device_id="d" * 32)


class Bridge:
    """A replica that begins the history of an app and then leaves the lead to a tab."""

    def __init__(self, folder: Path, *, state: object) -> None:
        storage = SqliteStorage(folder / "replica.sqlite")
        genesis = Genesis(guid="a" * 32, name="test", bundle="b" * 64, initial_state=state)
        node_id = begin_epoch(storage, genesis, data_dir=folder)
        self.driver = Driver(
            node_id=node_id, storage=storage, send=self._send, clock=CLOCK, listener=self
        )
        self.storage = storage
        self.effects: list[Effect] = []
        self.to_tab: Callable[[frames.Frame], None] = lambda _frame: None
        self.deaf = False
        """To what the tab sends."""
        self.missed: list[str] = []
        self._changed = asyncio.Event()

    def join(self, node_id: str) -> None:
        """Tell the replica that a tab's node is reachable."""

        def info(of: str, *, kind: str) -> frames.NodeInfo:
            return frames.NodeInfo(
                node_id=of,
                device_id=f"device of {of}"[:32],
                kind="tab" if kind == "tab" else "bridge",
                local=True,
                visible=True,
                since=0.0,
                rtt=0.0,
            )

        nodes = [info(self.driver.node_id, kind="bridge"), info(node_id, kind="tab")]
        self.directory = frames.Directory(nodes=nodes)
        self.driver.receive(self.directory)

    def receive(self, text: str) -> None:
        """Take a frame of the tab's."""
        if self.deaf:
            self.missed.append(text)
            self._changed.set()
        else:
            self.driver.receive(codec.decode(text))

    def forward(self, *, serial: int = 0, payload: object = None) -> frames.Forward:
        """A request of the one client, for the host of now."""
        return frames.Forward(
            epoch=self.driver.epoch,
            term=self.driver.status.term,
            source=SOURCE,
            session=(self.session or 0) if serial else 0,
            serial=serial,
            payload=payload,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true of this replica."""
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def led_by(self, node_id: str) -> bool:
        """Does this replica follow that node?"""
        return self.driver.status.leader_id == NodeId(node_id)

    @property
    def session(self) -> int | None:
        """The client's session, once committed."""
        for effect in self.effects:
            if isinstance(effect, SessionOpened):
                return effect.session
        return None

    def reply(self, serial: int) -> Replied | None:
        """The client's reply, once committed."""
        for effect in self.effects:
            if isinstance(effect, Replied) and effect.serial == serial:
                return effect
        return None

    # --- what the driver tells -----------------------------------------------------------------

    def _send(self, frame: frames.Frame) -> None:
        self.to_tab(frame)

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        self.effects.extend(effects)
        self._changed.set()

    def restored(self) -> None:
        self._changed.set()

    def status(self, status: NodeStatus) -> None:
        self._changed.set()
