"""A bridge's replica in SQLite.

Rules:

1. One save is one transaction, and it is on the disk when the call returns: write-ahead log with
   ``synchronous=FULL``. The driver saves once for everything that one turn brought, so a class
   that votes at once costs a handful of flushes, not hundreds. Measured on a virtual disk (ext4,
   two busy cores): 2 to 6 ms a save, 18 ms in the worst hundredth, with 1 entry as with 50.
   ``NORMAL`` would take 0.1 ms, and lose acknowledged votes with the laptop's power.
2. Every row carries a checksum over its meaning (what it is, its index, its content). A row that
   was damaged, swapped or left over from elsewhere is noticed when it is read.
3. What cannot be trusted is not used, in part or in whole: the file is kept aside under another
   name and :class:`~ftweb.errors.StorageError` (``storage_untrusted``) says so. An empty log
   under a known identity would be worse than none.
4. A failed save (disk full, for one) has saved nothing; the replica stops (``storage_failed``).
5. Only one process has the file: another is refused at once.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from ftweb.core import Entry, HardState, Snapshot
from ftweb.errors import StorageError
from ftweb.storage import Saved

DATABASE_FILE = "replica.sqlite3"

_APPLICATION_ID: Final = 0x66747762  # "ftwb"
_SCHEMA_VERSION: Final = 2
_READ: Final = (1, 2)
"""Version 1 had no table of replays; it is added when such a file is opened."""

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    idx INTEGER PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL
);
"""

_REPLAYS: Final = """
CREATE TABLE IF NOT EXISTS replays (
    idx INTEGER PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL
)
"""


def _why(error: sqlite3.OperationalError) -> str:
    """What is wrong, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            "another `ftweb run` or `ftweb bridge` uses that data directory. Stop it, or give this"
            " one another with --data."
        )
    if code == sqlite3.SQLITE_FULL:
        return "the disk is full. Free some space, or give a directory on another disk with --data."
    return f"{error}. Make it readable and writable, or give another directory with --data."


class SqliteStorage:
    """Implements :class:`ftweb.storage.Durable`.

    Use as a context manager, or call :meth:`close`.

    Args:
        path: the database file; made if it is missing.

    Raises:
        StorageError: ``storage_failed``: it cannot be opened, or another process has it;
            ``storage_untrusted``: it is no replica of ours, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failed = False
        """The last save failed."""
        try:
            self._db = self._open()
        except sqlite3.OperationalError as error:
            raise StorageError(f"The replica {path} cannot be opened: {_why(error)}") from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=0.5)
        try:
            tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if tables:
                self._check_kind(db)  # first, so that somebody else's file stays as it is
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA journal_size_limit=8388608")
            db.execute("BEGIN IMMEDIATE")  # takes the lock, which is then kept
            if not tables:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            db.execute(_REPLAYS)
            db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            db.execute("COMMIT")
        except sqlite3.OperationalError:
            db.close()
            raise
        except sqlite3.DatabaseError as error:
            db.close()
            raise self._set_aside(f"it is no intact database ({error})") from error
        except StorageError:
            db.close()
            raise
        return db

    def _check_kind(self, db: sqlite3.Connection) -> None:
        if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise StorageError(
                f"{self._path} is not a replica of ftweb; give another data directory.",
                code="storage_untrusted",
            )
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in _READ:
            raise StorageError(
                f"{self._path} was written by another version of ftweb (schema {version}, this"
                f" one has {_SCHEMA_VERSION}). Use that version, or give another data directory.",
                code="storage_untrusted",
            )

    def __enter__(self) -> SqliteStorage:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything saved is in it."""
        self._db.close()

    # --- reading ----------------------------------------------------------------------------

    def load(self) -> Saved | None:
        """See :class:`ftweb.storage.Storage`."""
        try:
            with _as_damage():
                return self._load()
        except _DamageError as damage:
            self._db.close()
            raise self._set_aside(str(damage)) from damage

    def _load(self) -> Saved | None:
        complaint = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if complaint != "ok":
            raise _DamageError(complaint)
        meta: dict[str, str] = {}
        for key, value, checksum in self._db.execute("SELECT key, value, checksum FROM meta"):
            _verify(f"meta {key}", value, checksum)
            meta[key] = value
        entries = []
        for idx, value, checksum in self._db.execute(
            "SELECT idx, value, checksum FROM log ORDER BY idx"
        ):
            _verify(f"log {idx}", value, checksum)
            entry = msgspec.json.decode(value, type=Entry)
            if entry.index != idx:
                raise _DamageError(f"row {idx} of the log holds entry {entry.index}")
            entries.append(entry)
        if not meta:
            if entries:
                raise _DamageError("it has log entries but no epoch")
            return None
        snapshot = (
            msgspec.json.decode(meta["snapshot"], type=Snapshot) if "snapshot" in meta else None
        )
        hard_state = (
            msgspec.json.decode(meta["hard_state"], type=HardState)
            if "hard_state" in meta
            else None
        )
        expected = snapshot.last_index + 1 if snapshot else 1
        for entry in entries:
            if entry.index != expected:
                raise _DamageError(f"entry {expected} of the log is missing")
            expected += 1
        if "epoch" not in meta:
            raise _DamageError("it has no epoch")
        return Saved(
            epoch=int(meta["epoch"]),
            hard_state=hard_state,
            snapshot=snapshot,
            entries=tuple(entries),
        )

    def _set_aside(self, complaint: str) -> StorageError:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self._path.with_name(f"{self._path.stem}.untrusted-{stamp}{self._path.suffix}")
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).replace(
                    aside.with_name(aside.name + suffix)
                )
        return StorageError(
            f"The saved replica {self._path} failed its checks: {complaint}. It was kept aside as"
            f" {aside.name}. Start again to begin with an empty state.",
            code="storage_untrusted",
        )

    # --- writing ----------------------------------------------------------------------------

    def save(
        self,
        *,
        epoch: int,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """See :class:`ftweb.storage.Storage`."""
        with self._transaction():
            saved_epoch = self._db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            if saved_epoch is None or saved_epoch[0] != str(epoch):
                self._db.execute("DELETE FROM log")
                self._db.execute("DELETE FROM meta")
                self._put("epoch", str(epoch))
            if hard_state is not None:
                self._put("hard_state", _encode(hard_state))
            if snapshot is not None:
                self._db.execute("DELETE FROM log")
                self._put("snapshot", _encode(snapshot))
            if entries:
                self._db.execute("DELETE FROM log WHERE idx >= ?", (entries[0].index,))
                self._db.executemany(
                    "INSERT INTO log (idx, value, checksum) VALUES (?, ?, ?)",
                    (_log_row(entry) for entry in entries),
                )

    def compact(self, snapshot: Snapshot) -> None:
        """See :class:`ftweb.storage.Storage`."""
        with self._transaction():
            self._put("snapshot", _encode(snapshot))
            self._db.execute("DELETE FROM log WHERE idx <= ?", (snapshot.last_index,))

    # --- what is to be replayed -------------------------------------------------------------

    def replace(self, saved: Saved, replays: Sequence[str]) -> None:
        """See :class:`ftweb.storage.Durable`."""
        with self._transaction():
            for table in ("log", "meta", "replays"):
                self._db.execute(f"DELETE FROM {table}")
            self._put("epoch", str(saved.epoch))
            if saved.hard_state is not None:
                self._put("hard_state", _encode(saved.hard_state))
            if saved.snapshot is not None:
                self._put("snapshot", _encode(saved.snapshot))
            self._db.executemany(
                "INSERT INTO log (idx, value, checksum) VALUES (?, ?, ?)",
                (_log_row(entry) for entry in saved.entries),
            )
            self._add_replays(0, replays)

    def remember(self, replays: Sequence[str]) -> None:
        """See :class:`ftweb.storage.Durable`."""
        with self._transaction():
            (last,) = self._db.execute("SELECT coalesce(max(idx), -1) FROM replays").fetchone()
            self._add_replays(last + 1, replays)

    def _add_replays(self, first: int, replays: Sequence[str]) -> None:
        self._db.executemany(
            "INSERT INTO replays (idx, value, checksum) VALUES (?, ?, ?)",
            ((i, value, _checksum(f"replay {i}", value)) for i, value in enumerate(replays, first)),
        )

    def replays(self) -> list[str]:
        """See :class:`ftweb.storage.Durable`."""
        found = []
        try:
            with _as_damage():
                for idx, value, checksum in self._db.execute(
                    "SELECT idx, value, checksum FROM replays ORDER BY idx"
                ):
                    _verify(f"replay {idx}", value, checksum)
                    found.append(value)
        except _DamageError as damage:
            self._db.close()
            raise self._set_aside(str(damage)) from damage
        return found

    def replayed(self, count: int) -> None:
        """See :class:`ftweb.storage.Durable`."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM replays WHERE idx IN (SELECT idx FROM replays ORDER BY idx LIMIT ?)",
                (count,),
            )

    def keep_aside(self) -> Path:
        """Copy the whole file as it is; gives the copy's path.

        Raises:
            StorageError: ``storage_failed``: it could not be copied.
        """
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self._path.with_name(f"{self._path.stem}.given-up-{stamp}{self._path.suffix}")
        try:
            self._db.execute("VACUUM INTO ?", (str(aside),))
        except sqlite3.Error as error:
            raise StorageError(f"The replica {self._path} could not be copied: {error}.") from error
        return aside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.failed = True
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise StorageError(
                f"The replica {self._path} could not be saved: {error}. Nothing is acknowledged"
                " until it can be: make room on the disk and start the bridge again."
            ) from error

    def _put(self, key: str, value: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?, ?, ?)",
            (key, value, _checksum(f"meta {key}", value)),
        )


class _DamageError(Exception):
    """What was read cannot be what was written."""


@contextmanager
def _as_damage() -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError) as error:
        raise _DamageError(str(error)) from error


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _log_row(entry: Entry) -> tuple[int, str, bytes]:
    value = _encode(entry)
    return entry.index, value, _checksum(f"log {entry.index}", value)


def _checksum(place: str, value: str) -> bytes:
    return hashlib.blake2b(f"{place}\0{value}".encode(), digest_size=16).digest()


def _verify(place: str, value: str, checksum: bytes) -> None:
    if _checksum(place, value) != checksum:
        raise _DamageError(f"the checksum of {place} is wrong")
