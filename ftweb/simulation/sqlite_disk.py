"""The bridge's real storage as a simulated disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ftweb.bridge.storage import SqliteStorage


class KeptInSqlite(SqliteStorage):
    """The bridge's own storage, in memory; a crash of the process leaves it as it is."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))

    def damage(self, draw: Callable[[], float]) -> bool:
        """See :class:`ftweb.simulation.disk.Disk`."""
        rows = self._db.execute(
            "SELECT 'meta', key, value FROM meta UNION ALL SELECT 'log', idx, value FROM log"
        ).fetchall()
        if not rows:
            return False
        table, key, value = rows[int(draw() * len(rows))]
        place = int(draw() * len(value))
        damaged = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
        column = "key" if table == "meta" else "idx"
        self._db.execute(f"UPDATE {table} SET value = ? WHERE {column} = ?", (damaged, key))
        return True
