"""Going on when the quorum is gone for good (``on_quorum_loss="continue"``).

A majority of the voters has left in one moment: a row of the class, say. Nothing can be committed,
and no election can be won. An app that asked for it goes on in a new epoch:

1. Only after QUORUM_LOSS_SECONDS without a break: who comes back sooner needs no new epoch.
2. It begins from this bridge's own replica, with the bridge as its only voter, exactly as after a
   restart (:mod:`ftweb.bridge.bootstrap`). Tabs that are here join it; upkeep does the rest.
3. Nothing acknowledged is lost: with one bridge every acknowledgement was released by it, after it
   had saved the entry. Voters that were cut off have acknowledged nothing to anybody, since all
   ways led through this bridge; when they return, they give up the old epoch.

An app with ``"wait"`` waits: requests are kept by their pages, which say why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ftweb.limits import QUORUM_LOSS_SECONDS

_log = logging.getLogger(__name__)


class Continuing:
    """Watches the quorum; see the rules above.

    Args:
        loop: runs the timer.
        begin: begins the new epoch.
        seconds: rule 1; tests give less.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[], None],
        seconds: float = QUORUM_LOSS_SECONDS,
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def quorum(self, there: bool) -> None:
        """What is known of the quorum now. May be called as often as one likes."""
        if there:
            self.close()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._go_on)

    def close(self) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self) -> None:
        self._timer = None
        _log.warning("Most of the voters have gone; going on without them, in a new epoch.")
        self._begin()
