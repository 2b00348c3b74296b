"""The messages between nodes: Raft's RPCs as one-way messages (dissertation, figures 3.1, 5.3).

Delivery may lose, repeat, delay and reorder them. Every one bears its sender's term; the epoch
is on the frame around it, and a node is only ever stepped with messages of its own epoch.
"""

from __future__ import annotations

from ftweb.core.types import Configuration, Entry, Index, Milliseconds, NodeId, Record, Term


class RequestVote(Record, frozen=True, kw_only=True):
    sender: NodeId
    to: NodeId
    term: Term
    """The term campaigned for: for a pre-vote the term that *would* be entered."""
    last_log_index: Index
    last_log_term: Term
    pre_vote: bool
    """Ask only (section 9.6): nobody's term or vote changes."""
    transfer: bool = False
    """The leader itself asked for this election: leases do not stand in its way (4.2.3)."""


class RequestVoteResponse(Record, frozen=True, kw_only=True):
    sender: NodeId
    to: NodeId
    term: Term
    pre_vote: bool
    granted: bool


class AppendEntries(Record, frozen=True, kw_only=True):
    """Replicates entries; with none it is the heartbeat."""

    sender: NodeId
    to: NodeId
    term: Term
    prev_log_index: Index
    prev_log_term: Term
    entries: tuple[Entry, ...]
    commit_index: Index
    sent_at: Milliseconds
    """The leader's clock; echoed, so the leader measures the round trip and knows which
    heartbeat a quorum has answered."""
    election_timeout: Milliseconds
    """What followers are to use, derived by the leader from the measured round trips."""
    reply: bool = True
    """False: it only carries the commit index, and is answered only if it is refused."""


class AppendEntriesResponse(Record, frozen=True, kw_only=True):
    sender: NodeId
    to: NodeId
    term: Term
    success: bool
    match_index: Index
    """On success: the last index known to be the leader's. On failure: 0."""
    conflict_index: Index = 0
    """On failure: where the leader should go on from, and the term found there (0 if none)."""
    conflict_term: Term = 0
    sent_at: Milliseconds = 0.0


class InstallSnapshot(Record, frozen=True, kw_only=True):
    """One chunk of a snapshot's text."""

    sender: NodeId
    to: NodeId
    term: Term
    last_index: Index
    last_term: Term
    configuration: Configuration
    offset: Index
    """Where ``data`` starts, in characters."""
    total: Index
    """Length of the whole text, in characters."""
    data: str
    checksum: str
    """Of the whole text."""
    sent_at: Milliseconds = 0.0


class InstallSnapshotResponse(Record, frozen=True, kw_only=True):
    sender: NodeId
    to: NodeId
    term: Term
    last_index: Index
    """Which snapshot is answered."""
    offset: Index
    """The next character wanted; equal to the total when it is complete and trusted. 0 after a
    checksum that did not match: it is fetched again."""
    sent_at: Milliseconds = 0.0


class TimeoutNow(Record, frozen=True, kw_only=True):
    """Campaign at once: the leader's last word in a leadership transfer (section 3.10)."""

    sender: NodeId
    to: NodeId
    term: Term


type Message = (
    RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | InstallSnapshot
    | InstallSnapshotResponse
    | TimeoutNow
)
