"""One client's socket once it has joined, and the registry of all of them.

Rules:

1. A connection never waits: what cannot be written now stays in the transport's buffer. Beyond
   SLOW_READER_BYTES the peer is a slow reader and is closed (1013). One frame is always allowed
   on an empty buffer, whatever its size.
2. A client that joins again (same client id) replaces its older connection: that one is the
   leftover of a network change. The replica behind it goes over to the new one: nobody needs
   to take over from a host whose socket changed.
3. A node id belongs to one connection at a time; only its own client may take it over.
4. Participants are devices: two tabs of one browser are one person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from ftweb import codec
from ftweb.errors import FrameError
from ftweb.frames import Error, Frame, Leads, Left
from ftweb.limits import (
    CONNECTIONS,
    CONNECTIONS_PER_ADDRESS,
    NODES_PER_MINUTE,
    SLOW_READER_BYTES,
)
from ftweb.relay.wire import Prepared, Wire

CLOSE_CODES = {
    "bad_frame": 4400,
    "too_large": 4400,
    "too_deep": 4400,
    "node_id_in_use": 4400,
    "bad_token": 4401,
    "hello_timeout": 4408,
    "version_mismatch": 4409,
    "other_server": 4409,
    "same_bridge": 4409,
    "rate_limited": 4429,
    "too_many_connections": 4503,
    "slow_reader": 1013,
}
"""Error code → WebSocket close code: HTTP's number with a 4 in front where there is one."""

GOING_AWAY = 1001
REPLACED = 4000
"""The same client has connected anew; the older socket must not come back."""
MOVE = 4002
"""Come back to another bridge: this one has more clients than others."""
SILENT = 4408
"""Nothing came for SILENCE_SECONDS."""


@dataclass(kw_only=True, slots=True)
class NodeHere:
    """The replica that runs behind a connection."""

    node_id: str
    visible: bool
    since: float
    epoch: int = 0
    """In which it said to be; 0 for none, or if it does not say."""
    leads: Leads | None = None
    """It says so; the bridge's own replica may not know it."""
    left: list[Left] = field(default_factory=list)
    """Where it has left the epochs before."""


@dataclass(kw_only=True, slots=True, eq=False, weakref_slot=True)
class Connection:
    """A client that has joined."""

    wire: Wire
    client_id: str
    device_id: str
    presenter: bool
    local: bool
    """It comes from the bridge's own machine."""
    last_heard: float
    addresses: tuple[str, ...] = ()
    """By which other devices reach it, as far as they can be seen from here."""
    rtt: float = 0.0
    node: NodeHere | None = None
    renewing: str = ""
    """The node that it was told to replace, and has not yet."""
    nodes_since: float = 0.0
    nodes_up: int = 0
    """Replicas that came up behind it within the minute that began then."""
    leaving: bool = False
    """It said so: its end is no accident."""
    state_epoch: int = -1
    state_index: int = 0
    resync_at: float = float("-inf")
    """Not before then is it sent another whole state for the asking."""
    resync_waits: bool = False
    """Which state the client holds; epoch -1 for none."""

    def send(self, frame: Frame) -> None:
        """Encode and send one frame."""
        self.send_prepared(Prepared(codec.encode(frame)))

    def send_prepared(self, prepared: Prepared) -> None:
        """Send a frame that several get; rule 1."""
        wire = self.wire
        backlog = wire.backlog
        if backlog and backlog + len(prepared) > SLOW_READER_BYTES:
            wire.close(CLOSE_CODES["slow_reader"], "slow_reader")
        else:
            wire.write(prepared)

    def brings_one(self, now: float) -> None:
        """One more replica comes up behind it.

        Raises:
            FrameError: ``rate_limited``: it is one too many.
        """
        if now - self.nodes_since >= 60.0:
            self.nodes_since, self.nodes_up = now, 0
        self.nodes_up += 1
        if self.nodes_up > NODES_PER_MINUTE:
            raise FrameError(
                f"At most {NODES_PER_MINUTE} replicas a minute may come up behind one socket.",
                code="rate_limited",
            )

    def fail(self, code: str, message: str) -> None:
        """Tell the client what it did, then close."""
        fail(self.wire, code, message)


def fail(wire: Wire, code: str, message: str) -> None:
    """Send a fatal ``error`` frame and close with the code that belongs to it."""
    wire.write(Prepared(codec.encode(Error(code=code, message=message))))
    wire.close(CLOSE_CODES[code], code)


class Registry:
    """All sockets of a bridge: counted from the moment they open, found once they have joined."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._clients: dict[str, Connection] = {}
        self._nodes: dict[str, Connection] = {}
        self._devices: Counter[str] = Counter()

    # --- counting ---------------------------------------------------------------------------

    def admit(self, address: str) -> bool:
        """Count a new socket from an address; False if there are too many."""
        if self._open.total() >= CONNECTIONS or self._open[address] >= CONNECTIONS_PER_ADDRESS:
            return False
        self._open[address] += 1
        return True

    def release(self, address: str) -> None:
        """A socket that was admitted has ended."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    # --- clients ----------------------------------------------------------------------------

    def add(self, connection: Connection) -> Connection | None:
        """Enter a connection; returns the same client's older one, if there is one (rule 2)."""
        older = self._clients.get(connection.client_id)
        if older is not None:
            self.remove(older)
        self._clients[connection.client_id] = connection
        self._devices[connection.device_id] += 1
        if older is not None and older.node is not None:
            node, older.node = older.node, None
            self.add_node(connection, node)
        return older

    def remove(self, connection: Connection) -> bool:
        """Take a connection out; False if it was not, or no longer, in. Its ``node`` stays."""
        if self._clients.get(connection.client_id) is not connection:
            return False
        del self._clients[connection.client_id]
        self._devices[connection.device_id] -= 1
        if not self._devices[connection.device_id]:
            del self._devices[connection.device_id]
        self._release_node(connection)
        return True

    def client(self, client_id: str) -> Connection | None:
        """The connection of a client."""
        return self._clients.get(client_id)

    def __iter__(self) -> Iterator[Connection]:
        """All that have joined; a copy, so that closing one on the way is harmless."""
        return iter(list(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def devices(self) -> Collection[str]:
        """Their ids, each once."""
        return self._devices.keys()

    @property
    def participants(self) -> int:
        """Devices online."""
        return len(self._devices)

    # --- nodes ------------------------------------------------------------------------------

    def add_node(self, connection: Connection, node: NodeHere) -> bool:
        """Enter the replica behind a connection; False if the id is another client's (rule 3)."""
        holder = self._nodes.get(node.node_id)
        if holder is not None and holder is not connection:
            return False
        self.remove_node(connection)
        connection.node = node
        self._nodes[node.node_id] = connection
        return True

    def remove_node(self, connection: Connection) -> None:
        """The replica behind a connection has ended."""
        self._release_node(connection)
        connection.node = None

    def _release_node(self, connection: Connection) -> None:
        node = connection.node
        if node is not None and self._nodes.get(node.node_id) is connection:
            del self._nodes[node.node_id]

    def with_node(self, node_id: str | None) -> Connection | None:
        """The connection behind which a node runs."""
        return None if node_id is None else self._nodes.get(node_id)

    def nodes(self) -> list[Connection]:
        """All connections with a replica, longest up first."""
        return list(self._nodes.values())
