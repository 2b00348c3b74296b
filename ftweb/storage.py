"""Where a replica keeps what must survive: the interface, and the one in memory.

A tab's node lives and dies with its page, so memory is all it needs: a reloaded tab is a new
node. A bridge keeps its replica in SQLite (:mod:`ftweb.bridge.storage`).

A bridge that gives up its epoch for another (:mod:`ftweb.relay.meeting`) must lose nothing,
wherever it is stopped on the way. So its storage is a :class:`Switching` one: what the new replica
saves is held in memory until it has caught up, and the old one stands. Then the new replica, and
the requests of the old epoch that are still to be run again, replace the old one in one
transaction.
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


class Held:
    """Implements :class:`Storage` in memory: what was saved can be loaded again."""

    def __init__(self) -> None:
        self._saved: Saved | None = None

    def load(self) -> Saved | None:
        """See :class:`Storage`."""
        return self._saved

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """See :class:`Storage`."""
        old = self._saved
        if old is None or old.epoch != epoch:
            old = Saved.nothing(epoch=epoch)
        kept = () if snapshot is not None else old.entries
        if entries:
            first = entries[0].index
            kept = (*(entry for entry in kept if entry.index < first), *entries)
        self._saved = Saved(
            epoch=epoch,
            hard_state=hard_state or old.hard_state,
            snapshot=snapshot or old.snapshot,
            entries=kept,
        )

    def compact(self, snapshot: Snapshot) -> None:
        """See :class:`Storage`."""
        old = self._saved
        assert old is not None
        self._saved = Saved(
            epoch=old.epoch,
            hard_state=old.hard_state,
            snapshot=snapshot,
            entries=tuple(entry for entry in old.entries if entry.index > snapshot.last_index),
        )


class Durable(Storage, Protocol):
    """A bridge's storage: beside the replica it keeps what is still to be replayed."""

    def replace(self, saved: Saved, replays: Sequence[str]) -> None:
        """Replace the replica, and all that is to be replayed, in one transaction.

        Raises:
            StorageError: ``storage_failed``: what was saved before still stands.
        """

    def remember(self, replays: Sequence[str]) -> None:
        """More is to be replayed, after what was there already.

        Raises:
            StorageError: ``storage_failed``: what was saved before still stands.
        """

    def replays(self) -> list[str]:
        """What is to be replayed, in order; opaque here.

        Raises:
            StorageError: ``storage_untrusted``: it fails its checks.
        """

    def replayed(self, count: int) -> None:
        """The first ``count`` of them are done."""


class Switching:
    """A bridge's storage through a change of epoch; see the module.

    Args:
        durable: where everything is in the end.
    """

    def __init__(self, durable: Durable) -> None:
        self._durable = durable
        self._held: Held | None = None

    @property
    def durable(self) -> Durable:
        """Where everything is in the end."""
        return self._durable

    def leave(self) -> None:
        """Hold what is saved from here on; what was saved before stands."""
        self._held = Held()

    def arrive(self, replays: Sequence[str]) -> None:
        """The new replica has caught up: it replaces the old one.

        Raises:
            StorageError: ``storage_failed``: the old one still stands.
        """
        saved = self._held.load() if self._held is not None else None
        assert saved is not None
        self._durable.replace(saved, replays)
        self._held = None

    def give_up(self) -> None:
        """Forget what was held: the old replica stands."""
        self._held = None

    def load(self) -> Saved | None:
        """See :class:`Storage`."""
        return (self._held or self._durable).load()

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """See :class:`Storage`."""
        storage: Storage = self._held or self._durable
        storage.save(epoch=epoch, hard_state=hard_state, snapshot=snapshot, entries=entries)

    def compact(self, snapshot: Snapshot) -> None:
        """See :class:`Storage`."""
        storage: Storage = self._held or self._durable
        storage.compact(snapshot)
