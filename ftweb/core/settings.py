"""The timing and sizes of a node, each with its reason. All durations are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from ftweb.core.types import Milliseconds
from ftweb.limits import BATCH_BYTES, SNAPSHOT_CHUNK_CHARS


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a node behaves; every node of a cluster should use the same.

    Raises:
        ValueError: the values contradict one another.
    """

    heartbeat: Milliseconds = 150.0
    """A tenth of the election timeout: nine may be lost before a follower doubts its leader."""

    election_timeout: Milliseconds = 1500.0
    """The least time without a leader after which one is sought. The leader raises it to ten
    measured round trips (followers adopt at most ten times this value). Reported losses do not
    wait for it, so it only has to be safe for silent ones."""

    stagger: Milliseconds = 150.0
    """How much longer each successor waits than the one before it: several round trips on a
    LAN, so that the first has won before the second begins."""

    settle: Milliseconds = 3000.0
    """How long a better host must have been there before it is given the lead."""

    silence: Milliseconds = 4000.0
    """A member that answered nothing for so long is dropped, even if its socket is open: tabs
    that are frozen keep theirs."""

    lost_grace: Milliseconds = 600.0
    """A member reported lost may come back within this time (a Wi-Fi blip) and keep its place."""

    transfer_retry: Milliseconds = 3000.0
    """After a hand-over that came to nothing, the leader does not try the same target again
    for so long."""

    batch_bytes: int = BATCH_BYTES
    """Where a batch of entries for one message is cut."""

    inflight_messages: int = 32
    """Unanswered AppendEntries with entries, per peer. Beyond it entries gather into batches."""

    inflight_bytes: int = 8 * BATCH_BYTES
    """The same in bytes: below what a bridge queues for a slow reader."""

    snapshot_chunk_chars: int = SNAPSHOT_CHUNK_CHARS
    """Snapshot text per message."""

    trailing_entries: int = 500
    """Entries kept behind a snapshot, so that a peer a moment behind needs no snapshot."""

    promotion_lag: int = 64
    """A learner is caught up when it lacks at most so many entries: one round trip's worth."""

    max_voters: int = 5
    """More would cost traffic and gain nothing: five survive two losses at once, and upkeep
    refills."""

    max_tabs: int = 5
    """Tabs that are members (voters or standby learners); bridges come on top."""

    upkeep: bool = True
    """Whether a leader changes the configuration and hands over by itself."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat * 2 <= self.election_timeout:
            raise ValueError("election_timeout must be at least two heartbeats")
        if self.stagger <= 0:
            raise ValueError("stagger must be positive, or successors campaign all at once")
        if self.max_voters < 1 or self.max_voters % 2 == 0:
            raise ValueError("max_voters must be odd: an even set tolerates no more losses")
        if self.batch_bytes < 1 or self.snapshot_chunk_chars < 1 or self.inflight_messages < 1:
            raise ValueError("batches, chunks and the window must hold something")
