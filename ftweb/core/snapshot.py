"""Snapshots in pieces: cut by the leader, put together and checked by the follower (section 5).

Rules:

1. One chunk is under way at a time; the answer names the next character wanted. Loss and
   repetition cost time, never correctness.
2. The SHA-256 of the whole text decides. After a mismatch the assembly starts anew at 0; a
   damaged snapshot is never handed on.
3. A snapshot of another index, term or checksum starts a new assembly: pieces of two are never
   mixed.
"""

from __future__ import annotations

import hashlib

from ftweb.core.messages import InstallSnapshot
from ftweb.core.types import Configuration, Index, Milliseconds, NodeId, Snapshot, Term


def checksum(data: str) -> str:
    """SHA-256 of the text, as hex."""
    return hashlib.sha256(data.encode("utf-8", "surrogatepass")).hexdigest()


def build(
    *, last_index: Index, last_term: Term, configuration: Configuration, data: str
) -> Snapshot:
    """A snapshot with its checksum."""
    return Snapshot(
        last_index=last_index,
        last_term=last_term,
        configuration=configuration,
        data=data,
        checksum=checksum(data),
    )


def is_intact(snapshot: Snapshot) -> bool:
    return checksum(snapshot.data) == snapshot.checksum


class Sending:
    """A snapshot on its way to one peer. It stays the same one, whatever is compacted meanwhile."""

    __slots__ = ("offset", "sent_at", "snapshot", "waiting")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.offset = 0
        self.waiting = False
        """A chunk is under way and unanswered."""
        self.sent_at: Milliseconds = 0.0

    def chunk(
        self, *, sender: NodeId, to: NodeId, term: Term, size: int, now: Milliseconds
    ) -> InstallSnapshot:
        """The chunk at ``offset``; it counts as under way."""
        self.waiting = True
        self.sent_at = now
        snapshot = self.snapshot
        return InstallSnapshot(
            sender=sender,
            to=to,
            term=term,
            last_index=snapshot.last_index,
            last_term=snapshot.last_term,
            configuration=snapshot.configuration,
            offset=self.offset,
            total=len(snapshot.data),
            data=snapshot.data[self.offset : self.offset + size],
            checksum=snapshot.checksum,
            sent_at=now,
        )

    def answered(self, offset: int) -> bool:
        """The peer wants ``offset`` next. Returns whether it has everything."""
        if offset >= len(self.snapshot.data):
            # An empty text is wanted at 0 from the start, so only an answer completes it.
            return True
        if offset != self.offset:
            self.offset = offset
            self.waiting = False
        return False


class Assembly:
    """The chunks of one snapshot as they come."""

    __slots__ = ("_chunks", "_identity", "_length")

    def __init__(self) -> None:
        self._identity: tuple[Index, Term, str, int] | None = None
        self._chunks: list[str] = []
        self._length = 0

    def add(self, message: InstallSnapshot) -> tuple[int, Snapshot | None]:
        """Takes a chunk. Returns the next offset wanted, and the snapshot once it is complete
        and its checksum right."""
        identity = (message.last_index, message.last_term, message.checksum, message.total)
        if identity != self._identity:
            self._begin(identity)
        if message.offset == self._length and len(message.data) <= message.total - self._length:
            self._chunks.append(message.data)
            self._length += len(message.data)
        if self._length < message.total:
            return self._length, None
        data = "".join(self._chunks)
        self._begin(None)
        if checksum(data) != message.checksum:
            return 0, None
        return message.total, Snapshot(
            last_index=message.last_index,
            last_term=message.last_term,
            configuration=message.configuration,
            data=data,
            checksum=message.checksum,
        )

    def _begin(self, identity: tuple[Index, Term, str, int] | None) -> None:
        self._identity = identity
        self._chunks = []
        self._length = 0
