"""What happens, as lines for people: who hosts, how many are here, what is wrong.

1. Changes of the host, of the quorum and of the storage are told at once.
2. Head counts are told at most every ``COUNT_SECONDS``, with what has changed since: a class that
   joins is three lines, not thirty.
3. That pages are there and none hosts is told once it has lasted longer than any tab takes to boot.
4. The facts are those of ``GET /healthz``, which scripts see as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

COUNT_SECONDS = 3.0

BOOT_SECONDS = 20.0
"""A tab that has not booted by then will not; a cold phone takes ten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    host: str | None
    epoch: int
    term: int
    clients: int
    quorum: bool
    storage: str


class Narrator:
    """Turns successive health reports into lines.

    Args:
        now: seconds, of any steady clock.
    """

    def __init__(self, *, now: float) -> None:
        self._last: _Facts | None = None
        self._last_host: str | None = None
        self._told_clients = 0
        self._told_at = now - COUNT_SECONDS
        self._hostless_since: float | None = None
        """Pages are there and none hosts; infinite once that was told."""

    def take(self, report: dict[str, Any], now: float) -> list[str]:
        """The lines to say after another report."""
        facts = _Facts(
            host=report.get("host"),
            epoch=int(report.get("epoch", 0)),
            term=int(report.get("term", 0)),
            clients=int(report.get("clients", 0)),
            quorum=bool(report.get("quorum", True)),
            storage=str(report.get("storage", "ok")),
        )
        last, self._last = self._last, facts
        lines = []
        if facts.storage != "ok" and (last is None or last.storage == "ok"):
            lines.append(
                "The server's data cannot be saved (disk full?): this bridge acknowledges nothing."
            )
        if last is not None and last.quorum != facts.quorum:
            lines.append(
                "Enough replicas are here again; requests are acknowledged."
                if facts.quorum
                else "Too few replicas are here: nothing is acknowledged until some come back."
            )
        lines += self._host_line(last, facts)
        lines += self._hostless_line(facts, now)
        if facts.clients != self._told_clients and now - self._told_at >= COUNT_SECONDS:
            change = facts.clients - self._told_clients
            lines.append(f"{_count(facts.clients)} connected ({change:+d}).")
            self._told_clients, self._told_at = facts.clients, now
        return lines

    def _hostless_line(self, facts: _Facts, now: float) -> list[str]:
        if facts.host is not None or not facts.clients:
            self._hostless_since = None
            return []
        if self._hostless_since is None:
            self._hostless_since = now
        if now - self._hostless_since < BOOT_SECONDS:
            return []
        self._hostless_since = math.inf
        return [
            "No tab hosts the app. Open the presenter's page; if it is open, its console (F12) "
            "says why the app does not start there."
        ]

    def _host_line(self, last: _Facts | None, facts: _Facts) -> list[str]:
        if last is None and facts.host is None:
            return []
        if last is not None and last.host == facts.host:
            return []
        if facts.host is None:
            if not facts.clients:
                return [
                    "The host is gone, and nobody else is here: the next page that opens hosts."
                ]
            return ["The host is gone; another tab takes over."]
        where = f"(tab {facts.host[:8]}, term {facts.term})"
        before, self._last_host = self._last_host, facts.host
        if before is None:
            return [f"A browser tab hosts the app now {where}."]
        if before == facts.host:
            return [f"The same tab hosts the app again {where}."]
        return [f"Another tab hosts the app now {where}."]


def _count(number: int) -> str:
    return "1 page or script is" if number == 1 else f"{number} pages and scripts are"
