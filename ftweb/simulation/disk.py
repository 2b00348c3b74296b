"""Where simulated replicas are kept: storage that tells what it saved, fails and is damaged.

* :class:`Kept`: plain memory that outlives its process, for bridges, and for tabs, where it
  stands for the node's own log: what a tab has taken over counts as saved as long as it lives.
* :class:`ftweb.simulation.sqlite_disk.KeptInSqlite`: the bridge's real storage over a database in
  memory. In a module of its own, since Pyodide has no SQLite.

Both are wrapped in :class:`Watched`, which is what a replica is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ftweb.core import Entry, HardState, Snapshot
from ftweb.errors import StorageError
from ftweb.storage import Saved, Storage


class Watcher(Protocol):
    """Who is told what was saved."""

    def saved(
        self,
        node: str,
        *,
        epoch: int,
        hard_state: HardState | None,
        snapshot: Snapshot | None,
        entries: Sequence[Entry],
    ) -> None:
        """All of this is safe now."""


class Kept:
    """Implements :class:`ftweb.storage.Storage` in memory."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._hard_state: HardState | None = None
        self._snapshot: Snapshot | None = None
        self._entries: list[Entry] = []

    def load(self) -> Saved | None:
        """See :class:`ftweb.storage.Storage`."""
        if self._epoch is None:
            return None
        return Saved(
            epoch=self._epoch,
            hard_state=self._hard_state,
            snapshot=self._snapshot,
            entries=tuple(self._entries),
        )

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """See :class:`ftweb.storage.Storage`."""
        if epoch != self._epoch:
            self._epoch, self._hard_state, self._snapshot = epoch, None, None
            self._entries.clear()
        if hard_state is not None:
            self._hard_state = hard_state
        if snapshot is not None:
            self._snapshot = snapshot
            self._entries.clear()
        if entries:
            first = entries[0].index
            while self._entries and self._entries[-1].index >= first:
                self._entries.pop()
            self._entries += entries

    def compact(self, snapshot: Snapshot) -> None:
        """See :class:`ftweb.storage.Storage`."""
        self._snapshot = snapshot
        self._entries = [entry for entry in self._entries if entry.index > snapshot.last_index]

    def damage(self, draw: Callable[[], float]) -> str:
        """See :class:`Disk`: nothing checks memory."""
        return ""

    def tear(self, write: Callable[[], None], draw: Callable[[], float]) -> bool:
        """See :class:`Disk`: memory has no writes that could be torn."""
        write()
        return False

    def close(self) -> None:
        """See :class:`Disk`."""


class Disk(Storage, Protocol):
    """A bridge's, which outlives its process."""

    def damage(self, draw: Callable[[], float]) -> str:
        """Change one character of what is saved, or cut a row short. Returns which; "" if nothing
        was saved yet.

        Otherwise :meth:`load` has to refuse it.
        """

    def tear(self, write: Callable[[], None], draw: Callable[[], float]) -> bool:
        """Let the power fail while something is written.

        Returns:
            Whether the disk has only a part of it, so that :meth:`load` must give what it would
            have given before. Else all of it had come to its place.
        """

    def close(self) -> None:
        """The schedule is over."""


def at_once(write: Callable[[], None]) -> None:
    """Write, and nothing goes wrong."""
    write()


class Watched:
    """What a replica saves through.

    Args:
        node: whose.
        storage: where it goes.
        watcher: told of every save.
        reach: called before and after each save, where a crash makes a difference.
    """

    def __init__(
        self, *, node: str, storage: Storage, watcher: Watcher, reach: Callable[[str], None]
    ) -> None:
        self.full = False
        """Every save fails from now on."""
        self.node = node
        """Whose it is; a bridge that changes its epoch gets another id."""
        self.write: Callable[[Callable[[], None]], None] = at_once
        """What is called with each write; it may be the last thing that the process does."""
        self._storage = storage
        self._watcher = watcher
        self._reach = reach

    def load(self) -> Saved | None:
        """See :class:`ftweb.storage.Storage`."""
        return self._storage.load()

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """See :class:`ftweb.storage.Storage`."""
        self._reach("save")
        if self.full:
            raise StorageError("The disk is full.")
        self.write(
            lambda: self._storage.save(
                epoch=epoch, hard_state=hard_state, snapshot=snapshot, entries=entries
            )
        )
        self._watcher.saved(
            self.node, epoch=epoch, hard_state=hard_state, snapshot=snapshot, entries=entries
        )
        self._reach("saved")

    def compact(self, snapshot: Snapshot) -> None:
        """See :class:`ftweb.storage.Storage`."""
        self._reach("save")
        if self.full:
            raise StorageError("The disk is full.")
        self.write(lambda: self._storage.compact(snapshot))
        self._reach("saved")
