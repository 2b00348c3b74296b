"""A bridge that comes back: first it listens whether the group has gone on without it.

With no bridge left the tabs go on from device to device. What they acknowledged meanwhile is not in
the bridge's storage, so a new epoch begun from there would compete with theirs. Rules:

1. If the last voters that were saved are more than this bridge could have been alone, it begins
   nothing at first. Its replica is taken up as it is, by a new node that belongs to nobody's
   configuration: it holds a part of that epoch's log and has promised nothing in it.
2. Tabs look for bridges where they were known. A host that finds this one has it listed, upkeep
   makes it a member, and it gets what it lacks like any follower: the epoch goes on, and what
   happened meanwhile is in its storage.
3. If nobody who hosts has been heard of after LISTEN_SECONDS, a new epoch begins, as ever. There
   may still be such a group that cannot reach us: the epoch is provisional until enough of those
   voters have been heard (:mod:`ftweb.beginning`), and when the group comes after all, the two
   epochs meet (:mod:`ftweb.relay.meeting`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ftweb.beginning import last_configurations
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import HardState
from ftweb.limits import LISTEN_SECONDS
from ftweb.storage import Saved


def may_live_on(saved: Saved | None) -> bool:
    """Whether a group may have gone on without the bridge that saved this (rule 1)."""
    if saved is None:
        return False
    return any(len(configuration.voters) > 1 for configuration in last_configurations(saved))


def take_up(storage: SqliteStorage, saved: Saved) -> None:
    """Keep the log for a new node, which has voted for nobody."""
    term = saved.hard_state.term if saved.hard_state is not None else 0
    storage.save(epoch=saved.epoch, hard_state=HardState(term=term, vote=None))


class Returning:
    """Listens; see the rules above.

    Args:
        loop: runs the timer.
        begin: begins a new epoch.
        seconds: rule 3; tests give less.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[], None],
        seconds: float = LISTEN_SECONDS,
    ) -> None:
        self._begin = begin
        self._timer: asyncio.TimerHandle | None = loop.call_later(seconds, self._give_up)

    @property
    def listening(self) -> bool:
        """It is not known yet whether there is a group."""
        return self._timer is not None

    def hosted(self) -> None:
        """Somebody hosts, and can be reached: rule 2."""
        self.close()

    def close(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        self._begin()
