"""The words of the core: identifiers, log entries, configurations, what a peer is like.

Everything here is immutable and plain: it can be compared, hashed where it makes sense, and
encoded by :mod:`ftweb.codec` without this module knowing how.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, NewType

import msgspec

NodeId = NewType("NodeId", str)
"""128 random bits as 32 hex digits, minted per page load or bridge start, never reused: a node
that lost its log is a new node, so its old vote can never be cast twice."""

DeviceId = NewType("DeviceId", str)
"""What several nodes share that die together: one phone, or one laptop with its bridge."""

Term = Annotated[int, msgspec.Meta(ge=0)]
Index = Annotated[int, msgspec.Meta(ge=0)]
"""Neither is ever negative: the codec refuses what is."""

Milliseconds = float

type Json = Any
"""A JSON value as Python has it. ``Any`` because recursive aliases buy no checking here: what
comes from the wire is checked by the codec, what comes from handlers by the app layer."""


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of the core's values. Made and compared in C: a tenth of a replica's time went into
    making frozen dataclasses, each field set by ``object.__setattr__``. Being values, they are
    never part of a cycle, so the garbage collector need not look at them."""


class Role(enum.StrEnum):
    """What a node currently is. ``OBSERVER`` is a node outside the configuration."""

    OBSERVER = "observer"
    LEARNER = "learner"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class EntryKind(enum.StrEnum):
    """What a log entry carries."""

    NOOP = "noop"
    CONFIGURATION = "configuration"
    COMMAND = "command"


class Configuration(Record, frozen=True, kw_only=True):
    """Who takes part. Active from the moment it is appended (dissertation, section 4.1).

    Invariants: ``voters`` and ``learners`` are disjoint; ``successors`` holds members only,
    each once.
    """

    voters: tuple[NodeId, ...]
    """Whose acknowledgements and votes count. Consecutive configurations differ by at most
    one voter, so their majorities overlap."""

    learners: tuple[NodeId, ...] = ()
    """Receive the log and may lead, but do not count (see the package docstring)."""

    successors: tuple[NodeId, ...] = ()
    """The successorship list: who campaigns first when the host is gone. It decides order,
    never whose log may win."""

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Voters, then learners."""
        return self.voters + self.learners


class Entry(Record, frozen=True, kw_only=True):
    """One slot of the log. (term, index) identifies it within an epoch."""

    index: Index
    term: Term
    kind: EntryKind
    data: Json = None
    """COMMAND: the app layer's command. CONFIGURATION: ``{"voters", "learners",
    "successors"}``, lists of node ids. NOOP: None."""


class HardState(Record, frozen=True, kw_only=True):
    """What must survive for a node id to stay the same node. Save before sending messages."""

    term: Term
    vote: NodeId | None


class Snapshot(Record, frozen=True, kw_only=True):
    """The state machine as of ``last_index``, standing for all entries up to it."""

    last_index: Index
    last_term: Term
    configuration: Configuration
    """The latest configuration at or before ``last_index``."""
    data: str
    """The state machine, encoded by the application of the core; opaque here."""
    checksum: str
    """Checked by who restores it; a mismatch is refused and fetched again."""


class NodeKind(enum.StrEnum):
    """Where a node runs. A bridge never runs handlers, so it leads only in passing."""

    TAB = "tab"
    BRIDGE = "bridge"


class PeerInfo(Record, frozen=True, kw_only=True):
    """What a bridge tells of a node that is reachable now: the input of upkeep and rank."""

    node_id: NodeId
    device_id: DeviceId
    kind: NodeKind
    local: bool
    """On the laptop of a bridge, by loopback: the most dependable place for a host."""
    visible: bool
    since: Milliseconds
    """When it became known, in the reporting bridge's time; lower is longer up."""
    rtt: Milliseconds = 0.0
    ready: bool = True
    """Booted and able to take over."""
