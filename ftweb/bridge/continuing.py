"""Going on when the quorum is gone for good (``on_quorum_loss="continue"``).

A majority of the voters has left in one moment: a row of the class, say. Nothing can be committed,
and no election can be won. An app that asked for it goes on in a new epoch:

1. Only after QUORUM_LOSS_SECONDS without a break: who comes back sooner needs no new epoch.
2. It begins from this bridge's own replica, with the bridge as its only voter, exactly as after a
   restart (:mod:`ftweb.bridge.bootstrap`). Tabs that are here join it; upkeep does the rest.
3. Nothing acknowledged is lost: every acknowledgement is released by a bridge, after it had saved
   the entry. With one bridge that is this one. Of several that are linked, the one whose log
   reaches furthest begins, and the others join it (:func:`ftweb.epochs.begins`). Those that cannot
   be reached may go on elsewhere: that is what the new epoch's journal is for, and the meeting of
   the two (:mod:`ftweb.relay.meeting`).
4. Whoever is not the one to begin looks again after the same time.

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
        may_begin: whether this bridge is the one to do so.
        seconds: rule 1; tests give less.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[], None],
        may_begin: Callable[[], bool] = lambda: True,
        seconds: float = QUORUM_LOSS_SECONDS,
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._may_begin = may_begin
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
        if not self._may_begin():
            self._timer = self._loop.call_later(self._seconds, self._go_on)
            return
        _log.warning("Most of the voters have gone; going on without them, in a new epoch.")
        self._begin()
