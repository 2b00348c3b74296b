"""The bridge's real storage as a simulated disk.

In memory, where a crash of the process leaves it as it is; or, where power may fail while it is
written, in real files, since only those have a write-ahead log that can be torn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ftweb.bridge.storage import DATABASE_FILE, SqliteStorage


class KeptInSqlite(SqliteStorage):
    """The bridge's own storage.

    Args:
        in_files: keep it in real files, in a temporary directory that :meth:`close` removes.
    """

    def __init__(self, *, in_files: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ftweb-") if in_files else None
        super().__init__(
            Path(self._directory.name, DATABASE_FILE) if self._directory else Path(":memory:")
        )

    def damage(self, draw: Callable[[], float]) -> str:
        """See :class:`ftweb.simulation.disk.Disk`."""
        rows = self._db.execute(
            "SELECT 'meta', key, value FROM meta UNION ALL SELECT 'log', idx, value FROM log"
        ).fetchall()
        if not rows:
            return ""
        table, key, value = rows[int(draw() * len(rows))]
        place = int(draw() * len(value))
        if draw() < 0.5:
            how, damaged = "row cut short in storage", value[:place]
        else:
            how = "bit flipped in storage"
            damaged = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
        column = "key" if table == "meta" else "idx"
        self._db.execute(f"UPDATE {table} SET value = ? WHERE {column} = ?", (damaged, key))
        return how

    def tear(self, write: Callable[[], None], draw: Callable[[], float]) -> bool:
        """See :class:`ftweb.simulation.disk.Disk`: of what ``write`` appends to the write-ahead
        log, only a part is there after the power comes back.

        That part is a beginning of it, followed by nothing or, as some file systems leave it, by
        zeros up to the new length.
        """
        if self._directory is None:
            write()
            return False
        log = self._path.with_name(self._path.name + "-wal")
        main_before, before = self._path.read_bytes(), log.read_bytes()
        write()
        main, after = self._path.read_bytes(), log.read_bytes()
        if main != main_before:  # moved from the log to its place, which comes after the flush
            return False
        # A log that begins anew after such a move overwrites what it held.
        begin = len(before) if after.startswith(before) else 0
        end = len(after)
        while end <= len(before) and after[end - 1] == before[end - 1]:
            end -= 1
        cut = begin + int(draw() * (end - begin))
        tail = before[cut:] or bytes(len(after) - cut if draw() < 0.5 else 0)
        torn = after[:cut] + tail
        self._db.close()  # which would move the log to its place: so both are put back
        self._path.write_bytes(main)
        log.write_bytes(torn)
        self._db = self._open()
        return torn != after  # the end of a page may be zeros anyway

    def close(self) -> None:
        """The schedule is over; nothing is kept."""
        super().close()
        if self._directory is not None:
            self._directory.cleanup()
