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
5. What counts are seconds in which this process ran. One that stood still (a laptop that slept, a
   disk that kept it waiting) has everybody's word still to read, and begins to wait anew.

An app with ``"wait"`` waits: requests are kept by their pages, which say why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ftweb.limits import LATE_SECONDS, QUORUM_LOSS_SECONDS

STEPS = 5
"""In so many steps rule 1's time is waited for; each shows whether this process ran (rule 5)."""

_log = logging.getLogger(__name__)


class Continuing:
    """Watches the quorum; see the rules above.

    Args:
        loop: runs the timer.
        begin: begins the new epoch.
        may_begin: whether this bridge is the one to do so.
        seconds: rule 1; tests give less.
        late: a step that is later by so many seconds tells of a standstill.
        why: in words what is missing, for the log.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[], None],
        may_begin: Callable[[], bool] = lambda: True,
        seconds: float = QUORUM_LOSS_SECONDS,
        late: float = LATE_SECONDS,
        why: Callable[[], str] = lambda: "",
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._may_begin = may_begin
        self._step = seconds / STEPS
        self._late = late
        self._why = why
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._left = 0

    def quorum(self, there: bool) -> None:
        """What is known of the quorum now. May be called as often as one likes."""
        if there:
            self.close()
        elif self._timer is None:
            self._wait(STEPS)

    def close(self) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, steps: int) -> None:
        self._left = steps
        self._due = self._loop.time() + self._step
        self._timer = self._loop.call_later(self._step, self._waited)

    def _waited(self) -> None:
        late = self._loop.time() - self._due
        if late > self._late:
            _log.info("This process stood still for %.1f s; the quorum is waited for anew.", late)
            self._wait(STEPS)
        elif self._left > 1:
            self._wait(self._left - 1)
        elif not self._may_begin():
            self._wait(STEPS)
        else:
            self._timer = None
            _log.warning(
                "Most of the voters have gone; going on without them, in a new epoch. %s",
                self._why(),
            )
            self._begin()
