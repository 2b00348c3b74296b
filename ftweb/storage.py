"""Where a replica keeps what must survive: the interface, and the one in memory.

A tab's node lives and dies with its page, so memory is all it needs: a reloaded tab is a new
node. A bridge keeps its replica in SQLite (:mod:`ftweb.bridge.storage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ftweb.core.types import Entry, HardState, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A replica as it was saved."""

    epoch: int
    hard_state: HardState | None
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]
    """Contiguous, beginning right after the snapshot."""

    @classmethod
    def nothing(cls, *, epoch: int) -> Saved:
        """A newcomer's: it knows the epoch at most."""
        return cls(epoch=epoch, hard_state=None, snapshot=None, entries=())


class Storage(Protocol):
    """Saves a replica. Synchronous: when a call returns, the data is safe."""

    def load(self) -> Saved | None:
        """What was saved, or None if nothing was.

        Raises:
            StorageError: ``storage_untrusted``: it fails its checks.
        """

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """Save in one transaction: all of it or nothing.

        Args:
            epoch: another than the saved one discards all that was saved before.
            hard_state: replaces the saved one, unless None.
            snapshot: replaces the saved one and discards every saved entry.
            entries: replace the saved ones from the first one's index on.

        Raises:
            StorageError: ``storage_failed``: nothing was saved; nothing may be acknowledged.
        """

    def compact(self, snapshot: Snapshot) -> None:
        """Replace the saved snapshot and discard the entries it stands for, keeping the rest.

        Raises:
            StorageError: ``storage_failed``: what was saved before still stands.
        """


class MemoryStorage:
    """Keeps nothing: the node's own log in memory is the replica, and both end together."""

    def load(self) -> Saved | None:
        """Nothing was saved."""
        return None

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """Nothing to do."""

    def compact(self, snapshot: Snapshot) -> None:
        """Nothing to do."""
