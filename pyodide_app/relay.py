"""A tab as the place where all meet, with no bridge left: the bridge's relay, over data channels.

1. It is the same :class:`ftweb.relay.relay.Relay` with other wires. Frames pass through the net
   worker, which has the data channels; each wire is named by its channel's link.
2. Who is at the other end was vouched for by the relay that passed on the signals, and is bound to
   the channel by its encryption. So a client that joins here shows neither token nor keys: they
   are secrets between it and bridges, and stay so.
3. The tab's own node is behind a connection of its own that ends in this process, so that requests
   find the host here as they do anywhere else. The tab's page joins like all others.
4. One text for many clients is posted once, with the list of their links.
5. In its first SETTLE_SECONDS the group is told nothing of who is here: the others are just
   arriving, and whoever is missing from a directory is taken for dead.
6. A client that leaves while its channel lives has gone to a bridge: its node is not lost.
7. Frames have the same rates as at a bridge (:mod:`ftweb.bridge.sockets`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from ftweb import codec, frames
from ftweb.app import Effect
from ftweb.driver import Driver, NodeStatus
from ftweb.errors import FrameError
from ftweb.limits import (
    CLIENT_FRAMES_PER_SECOND,
    RATE_BURST_SECONDS,
    REPLICA_FRAMES_PER_SECOND,
)
from ftweb.relay.bucket import TokenBucket
from ftweb.relay.connection import CLOSE_CODES, REPLACED, Connection, NodeHere, Registry
from ftweb.relay.here import Here
from ftweb.relay.relay import Relay
from ftweb.relay.wire import Prepared
from pyodide_app import messages

_log = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 1.5
"""Rule 5: finding out that the bridge is gone and joining here takes a page half a second."""


class Outbox:
    """Collects what is written in one turn of the loop (rule 4)."""

    def __init__(self, tell: Callable[[messages.Outgoing], None]) -> None:
        self._tell = tell
        self._waiting: list[tuple[Prepared, list[str]]] = []

    def add(self, prepared: Prepared, link: str) -> None:
        """Send a text to one more link; the order of texts to each is kept."""
        if self._waiting and self._waiting[-1][0] is prepared:
            self._waiting[-1][1].append(link)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((prepared, [link]))

    def flush(self) -> None:
        """Post what has gathered."""
        waiting, self._waiting = self._waiting, []
        for prepared, links in waiting:
            self._tell(messages.WireOut(links=links, text=prepared.text))


class TabWire:
    """One client's data channel: a :class:`ftweb.relay.wire.Wire`. Its queue is bounded where the
    channel is, in the net worker, which ends a channel that is read too slowly."""

    backlog = 0

    def __init__(self, link: str, outbox: Outbox, close: Callable[[str, int], None]) -> None:
        self._link = link
        self._outbox = outbox
        self._close = close
        self.closing = False

    def write(self, prepared: Prepared) -> None:
        """Queue a frame."""
        if not self.closing:
            self._outbox.add(prepared, self._link)

    def close(self, code: int, reason: str = "") -> None:
        """End it, once what was written is on its way."""
        if not self.closing:
            self.closing = True
            self._outbox.flush()
            self._close(self._link, code)


class OwnWire:
    """Ends in the tab's own node (rule 3), which takes requests only: it has a replica."""

    backlog = 0
    closing = False

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def write(self, prepared: Prepared) -> None:
        """Take a request."""
        if prepared.text.startswith('{"type":"forward"'):
            self._driver.receive(codec.decode(prepared.text))

    def close(self, code: int, reason: str = "") -> None:
        """Nobody is too slow here."""


class TabRelay:
    """See the module.

    Args:
        driver: of the tab's own node.
        welcome: what a bridge told of the server, and of this tab's client.
        tell: takes each message for the net worker.
    """

    def __init__(
        self,
        *,
        driver: Driver,
        welcome: frames.Welcome,
        tell: Callable[[messages.Outgoing], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._driver = driver
        self._own_client = welcome.client_id
        self._tell = tell
        self._outbox = Outbox(tell)
        self._registry = Registry()
        self._opened: dict[str, messages.WireOpen] = {}
        self._joined: dict[str, Connection] = {}
        self._buckets: dict[str, tuple[bool, TokenBucket]] = {}
        """Of each channel, with whether there is a replica behind it (rule 7)."""
        self._relay = Relay(
            here=Here(
                bridge="",
                device_id=welcome.device_id,
                name=driver.machine.name,
                guid=driver.machine.guid,
                bundle=driver.machine.bundle,
                runtime_url=welcome.runtime,
                join_url="",
            ),
            registry=self._registry,
            loop=loop,
            on_hosting=lambda hosting: None,
        )
        self._own = NodeHere(node_id=driver.node_id, visible=True, since=0.0)
        own = Connection(
            wire=OwnWire(driver),
            client_id=f"node {driver.node_id}",
            device_id=welcome.device_id,
            presenter=False,
            local=False,
            last_heard=loop.time(),
        )
        self._registry.add(own)
        self._registry.add_node(own, self._own)
        self._relay.attach(driver)

    @property
    def empty(self) -> bool:
        """Nobody is here."""
        return not self._opened

    def close(self) -> None:
        """Stop the timers."""
        self._relay.close()

    # --- the net worker's messages ------------------------------------------------------------

    def opened(self, message: messages.WireOpen) -> None:
        """A tab wants to join over its channel."""
        self.closed(message.link, lost=False)
        self._opened[message.link] = message

    def received(self, link: str, text: str) -> None:
        """A frame came over a channel."""
        opened = self._opened.get(link)
        if opened is None:
            return
        connection = self._joined.get(link)
        try:
            self._spend(link, replica=connection is not None and connection.node is not None)
            frame = codec.decode(text)
            if connection is None:
                self._join(opened, frame)
            elif not self._of_own_node(connection, frame):
                self._relay.received(connection, frame, text)
        except FrameError as error:
            _log.warning("Closed the channel of client %s: %s", opened.client_id, error)
            wire = self._wire(link) if connection is None else connection.wire
            wire.write(Prepared(codec.encode(frames.Error(code=error.code, message=error.message))))
            wire.close(CLOSE_CODES.get(error.code, 4400), error.code)

    def _spend(self, link: str, *, replica: bool) -> None:
        now = asyncio.get_running_loop().time()
        known = self._buckets.get(link)
        if known is None or known[0] is not replica:
            rate = REPLICA_FRAMES_PER_SECOND if replica else CLIENT_FRAMES_PER_SECOND
            bucket = TokenBucket(rate=rate, burst=rate * RATE_BURST_SECONDS, now=now)
            known = self._buckets[link] = replica, bucket
        if not known[1].take(now):
            raise FrameError("Too many frames a second.", code="rate_limited")

    def closed(self, link: str, *, lost: bool) -> None:
        """A client has left (rule 6), or its channel has died.

        Args:
            link: names the channel.
            lost: the channel has died, so the tab is gone as far as can be told.
        """
        self._opened.pop(link, None)
        if lost:
            self._buckets.pop(link, None)
        connection = self._joined.pop(link, None)
        if connection is None:
            return
        node = connection.node
        if not lost and not connection.leaving and node is not None:
            self._relay.moved(node.node_id)
        if self._registry.remove(connection):
            self._relay.left(connection)

    def bridges(self, found: list[frames.BridgeAddress]) -> None:
        """Bridges that the net worker has reached: clients go there."""
        self._relay.tell_bridges(found)

    def _join(self, opened: messages.WireOpen, frame: frames.Frame) -> None:
        if not isinstance(frame, frames.Hello):
            raise FrameError("The first frame must be a hello.")
        connection = Connection(
            wire=self._wire(opened.link),
            client_id=opened.client_id,
            device_id=opened.device_id,
            presenter=opened.presenter,
            local=False,
            last_heard=asyncio.get_running_loop().time(),
        )
        older = self._registry.add(connection)
        if older is not None:
            older.wire.close(REPLACED, "replaced by a newer connection")
        self._joined[opened.link] = connection
        self._relay.joined(connection, frame)

    def _wire(self, link: str) -> TabWire:
        return TabWire(link, self._outbox, self._end)

    def _end(self, link: str, code: int) -> None:
        self._tell(messages.WireClose(link=link, code=code))
        # Later: the relay may be in the middle of telling all of something.
        asyncio.get_running_loop().call_soon(lambda: self.closed(link, lost=True))

    def _of_own_node(self, connection: Connection, frame: frames.Frame) -> bool:
        """This tab's page speaks of this node, which is entered already."""
        if connection.client_id != self._own_client:
            return False
        match frame:
            case frames.NodeUp() | frames.NodeUpdate():
                self._own.visible = frame.visible
                return True
            case _:
                return isinstance(frame, frames.NodeDown)

    # --- the driver's listener ----------------------------------------------------------------

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._relay.applied(index, effects)

    def restored(self) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._relay.restored()

    def status(self, status: NodeStatus) -> None:
        """See :class:`ftweb.driver.Listener`."""
        self._relay.status(status)
