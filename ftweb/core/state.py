"""What the parts of a node share: Raft's state (figure 3.1) and the messages to be sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ftweb.core.log import Log
from ftweb.core.messages import Message
from ftweb.core.settings import Settings
from ftweb.core.types import (
    Configuration,
    Entry,
    HardState,
    Index,
    Milliseconds,
    NodeId,
    Role,
    Snapshot,
    Term,
)


class State:
    """Invariants: ``applied_index <= commit_index <= log.last_index``; ``term`` and
    ``commit_index`` never fall; at most one vote per term; ``now`` never falls."""

    __slots__ = (
        "applied_index",
        "commit_index",
        "election_timeout",
        "jitter",
        "leader_id",
        "log",
        "node_id",
        "now",
        "outbox",
        "received_snapshot",
        "role",
        "settings",
        "snapshot",
        "term",
        "vote",
    )

    def __init__(
        self,
        *,
        node_id: NodeId,
        settings: Settings,
        jitter: Callable[[], float],
        now: Milliseconds,
        hard_state: HardState | None,
        snapshot: Snapshot | None,
        entries: Sequence[Entry],
    ) -> None:
        self.node_id = node_id
        self.settings = settings
        self.jitter = jitter
        """A number in [0, 1) whenever asked: the driver's randomness, or the simulation's."""
        self.now = now
        self.term: Term = hard_state.term if hard_state else 0
        self.vote: NodeId | None = hard_state.vote if hard_state else None
        self.role = Role.OBSERVER
        self.leader_id: NodeId | None = None
        """Whom this node follows in this term; None while it seeks a leader."""
        self.log = Log(snapshot, entries)
        self.term = max(self.term, self.log.last_term)
        self.snapshot = snapshot
        """The latest one: what peers that are too far behind get."""
        self.received_snapshot: Snapshot | None = None
        """Came from the leader and was not handed out yet."""
        self.commit_index: Index = snapshot.last_index if snapshot else 0
        self.applied_index: Index = self.commit_index
        self.election_timeout: Milliseconds = settings.election_timeout
        """In force here: measured by the leader, adopted by followers within bounds."""
        self.outbox: list[Message] = []

    @property
    def configuration(self) -> Configuration:
        return self.log.configuration

    @property
    def stagger(self) -> Milliseconds:
        """Grows with the election timeout, which grows with the round trips."""
        return self.settings.stagger * self.election_timeout / self.settings.election_timeout

    def standing(self) -> Role:
        """The role of a node that neither leads nor campaigns."""
        configuration = self.log.configuration
        if self.node_id in configuration.voters:
            return Role.FOLLOWER
        if self.node_id in configuration.learners:
            return Role.LEARNER
        return Role.OBSERVER

    def adopt_election_timeout(self, value: Milliseconds) -> None:
        """Only within bounds, so that no message can switch elections off or make them storm."""
        if value == self.election_timeout:
            return
        base = self.settings.election_timeout
        if not math.isfinite(value):
            value = base
        self.election_timeout = min(max(value, base), 10 * base)
