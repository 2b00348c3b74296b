"""A token bucket: a rate with some patience."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate`` events a second on average, and ``burst`` at once.

    Args:
        rate: tokens that come back each second.
        burst: tokens there at the start and at most.
        now: the clock's time in seconds; the caller passes it so that one reading serves many.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def change(self, *, rate: float, burst: float) -> None:
        """Set another rate, with all its patience at once."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
