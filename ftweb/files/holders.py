"""Whom to ask for the next part of a file.

1. Any number of holders, and the set may change at any time.
2. The one with the fewest requests under way is asked; among equals the one that was asked the
   longest ago. So the busiest comes last, and new ones are tried at once.
3. A holder that failed is let alone for a pause that doubles with each failure in a row, up to a
   bound, and is then asked again like any other. One success forgets all its failures.
4. A failure says nothing about the others: if all of them fail, the one whose pause ends first is
   waited for. Giving up is somebody else's decision.

``static/src/holders.ts`` is the same in the page; ``tests/vectors/holders.json`` is run by both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ftweb.limits import FILE_PAUSE_SECONDS, FILE_PAUSE_SECONDS_MOST


@dataclass(kw_only=True, slots=True)
class _Holder:
    busy: int = 0
    failures: int = 0
    free_at: float = 0.0
    asked: int = 0
    """Which request it was last asked by; 0 for none."""


class Holders:
    """The holders of a file, as one who fetches it sees them.

    Args:
        names: whatever tells holders apart: origins.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._all: dict[str, _Holder] = {}
        self._requests = 0
        self.update(names)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, those in a pause included."""
        return tuple(self._all)

    def update(self, names: Iterable[str]) -> None:
        """These are the holders now. Those that stay keep what is known of them."""
        self._all = {name: self._all.get(name) or _Holder() for name in names}

    def pick(self, now: float, *, besides: str | None = None) -> str | None:
        """Whom to ask now, or None if all are in a pause.

        Args:
            now: a clock in seconds that never goes back.
            besides: one not to ask if there is another, since it has just failed at this very
                part.
        """
        free = [name for name, holder in self._all.items() if holder.free_at <= now]
        others = [name for name in free if name != besides]
        return min(others or free, key=self._rank, default=None)

    def wait(self, now: float) -> float | None:
        """Seconds until one may be asked; None if there is no holder at all."""
        ends = [holder.free_at for holder in self._all.values()]
        return max(0.0, min(ends) - now) if ends else None

    def asked(self, name: str) -> None:
        """A request to it begins."""
        self._requests += 1
        if holder := self._all.get(name):
            holder.busy += 1
            holder.asked = self._requests

    def served(self, name: str) -> None:
        """It gave what it was asked for."""
        if holder := self._all.get(name):
            holder.busy = max(0, holder.busy - 1)
            holder.failures = 0
            holder.free_at = 0.0

    def failed(self, name: str, now: float) -> None:
        """It did not answer, broke off, or sent what was not asked for."""
        if holder := self._all.get(name):
            holder.busy = max(0, holder.busy - 1)
        self.distrust(name, now)

    def distrust(self, name: str, now: float) -> None:
        """It had a part in something wrong, whatever it is asked for just now: let it alone."""
        if holder := self._all.get(name):
            pause = min(FILE_PAUSE_SECONDS * 2**holder.failures, FILE_PAUSE_SECONDS_MOST)
            holder.free_at = now + pause
            holder.failures = min(holder.failures + 1, 16)

    def returned(self, name: str) -> None:
        """It is known to be back: no need to wait."""
        if holder := self._all.get(name):
            holder.failures = 0
            holder.free_at = 0.0

    def _rank(self, name: str) -> tuple[int, int]:
        holder = self._all[name]
        return holder.busy, holder.asked
