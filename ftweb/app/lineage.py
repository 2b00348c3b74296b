"""What a history knows of its own origin, and of those who may have another one.

It is part of the replicated state: every replica and every snapshot has it, so any bridge can take
part in a meeting of two epochs, also after restarts. Rules:

1. ``forks`` are the ancestors, each with where this branch left it (:mod:`ftweb.epochs`).
2. ``bridges`` are all that ever held this history; a bridge enters by a log entry before it is
   given any other. ``unheard`` are those that had not come along when this epoch began and have
   not been heard since: they may hold an epoch of their own. While there are any, this epoch is
   *provisional*.
3. While it is, every request that was run stands in the ``journal``, with its reply. So all that
   happened since ``since`` was left can be run again in another branch.
4. Requests that stood in the saved log when the epoch began are in the journal too: it is not
   known which of them a quorum had accepted. Where they had been, running them again is noticed.
   That holds also if, by an entry of that very log, the epoch before had become firm.
5. When the last one of ``unheard`` has been heard, the epoch is firm, and the journal is dropped.
6. A journal that is full is dropped as well. The epoch is firm from then on: it will not be given
   up for another one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ftweb.app import commands, payload
from ftweb.core.types import Index, Json, Term
from ftweb.epochs import GAP, Fork, Summary
from ftweb.frames import Failure
from ftweb.limits import JOURNAL_CHARS, JOURNAL_REQUESTS, KNOWN_BRIDGES, LINEAGE


class Replayable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request of the journal, with what its client was told."""

    client_id: str
    device_id: str = ""
    presenter: bool = False
    session: int
    serial: int
    request: Any = None
    reply: Any = None
    error: Failure | None = None


class Lineage:
    """See the rules above. All methods but the reading ones must be called in log order.

    Args:
        most, chars: the journal's limits; tests give small ones.
    """

    def __init__(self, *, most: int = JOURNAL_REQUESTS, chars: int = JOURNAL_CHARS) -> None:
        self._most = most
        self._most_chars = chars
        self._chars = 0
        self.forks: list[Fork] = []
        self.bridges: list[str] = []
        self.unheard: list[str] = []
        self.since = 0
        """The journal holds everything since this epoch was left; 0: there is none."""
        self.journal: list[Replayable] = []
        self._tail: tuple[int, list[Replayable]] | None = None
        """While a saved log is taken up: the epoch, and the requests in it (rule 4)."""

    def empty(self) -> Lineage:
        """A new one with the same limits."""
        return Lineage(most=self._most, chars=self._most_chars)

    # --- reading ------------------------------------------------------------------------------

    @property
    def provisional(self) -> bool:
        """Others of the group have not been heard, who may have decided otherwise."""
        return bool(self.unheard)

    def is_foreign(self, number: Index, applied: Index) -> bool:
        """Whether a session number was given in another branch: it lies in a gap between two
        epochs, or far ahead of the log. (A little ahead is what others may have applied already.)
        """
        if number > applied + GAP:
            return True
        return any(fork.index < number <= fork.base for fork in self.forks)

    def summary(
        self, *, bridge: str, epoch: int, term: Term, index: Index, applied: Index, quorum: bool
    ) -> Summary:
        """What a bridge that holds this history tells others."""
        return Summary(
            bridge=bridge,
            epoch=epoch,
            lineage=list(self.forks),
            since=self.since,
            term=term,
            index=index,
            applied=applied,
            quorum=quorum,
        )

    # --- in log order -------------------------------------------------------------------------

    def start_journal(self, epoch: int) -> None:
        """``epoch`` is about to be left; what is applied from here on may be missing elsewhere."""
        self._tail = epoch, []

    def fork(self, fork: Fork, bridge: str) -> None:
        """A bridge begins a new epoch from this replica."""
        self.forks.append(fork)
        del self.forks[:-LINEAGE]
        self._join(bridge)
        self.unheard = [other for other in self.bridges if other != bridge]
        tail, self._tail = self._tail, None
        if not self.unheard:
            self._settle()
        elif not self.since and tail is not None:
            self.since, self.journal = tail
            self._chars = sum(map(_weight, self.journal))
            self._bound()

    def record(self, command: commands.Request) -> None:
        """A request was run."""
        if not self.since and self._tail is None:
            return
        item = Replayable(
            client_id=command.client_id,
            device_id=command.device_id,
            presenter=command.presenter,
            session=command.session,
            serial=command.serial,
            request=command.request,
            reply=command.reply,
            error=command.error,
        )
        if self._tail is not None:
            self._tail[1].append(item)
        if self.since:
            self.journal.append(item)
            self._chars += _weight(item)
            self._bound()

    def _bound(self) -> None:
        """Rule 6."""
        if len(self.journal) > self._most or self._chars > self._most_chars:
            self._settle()

    def heard(self, joined: list[str], heard: list[str]) -> None:
        """Bridges have joined, or come back with nothing more to add."""
        for bridge in joined:
            self._join(bridge)
        if self.unheard:
            self.unheard = [bridge for bridge in self.unheard if bridge not in heard]
            if not self.unheard:
                self._settle()

    def _join(self, bridge: str) -> None:
        if not bridge or bridge in self.bridges:
            return
        self.bridges.append(bridge)
        if len(self.bridges) > KNOWN_BRIDGES:
            firm = [other for other in self.bridges if other not in self.unheard]
            self.bridges.remove(firm[0] if firm else self.bridges[0])

    def _settle(self) -> None:
        self.unheard = []
        self.since = 0
        self._drop()

    def _drop(self) -> None:
        self.journal = []
        self._chars = 0

    # --- the whole ----------------------------------------------------------------------------

    def to_json(self) -> dict[str, Json]:
        """As JSON, for snapshots and digests."""
        content: dict[str, Json] = msgspec.to_builtins(
            {
                "forks": self.forks,
                "bridges": self.bridges,
                "unheard": self.unheard,
                "since": self.since,
                "journal": self.journal,
            }
        )
        return content

    def load(self, data: Any) -> None:
        """Take over what :meth:`to_json` gave.

        Raises:
            Exception: it is something else (whatever kind comes first; the caller wraps it).
        """
        forks = msgspec.convert(data["forks"], list[Fork])
        bridges = msgspec.convert(data["bridges"], list[str])
        unheard = msgspec.convert(data["unheard"], list[str])
        journal = msgspec.convert(data["journal"], list[Replayable])
        self.since = int(data["since"])
        self.forks, self.bridges, self.unheard, self.journal = forks, bridges, unheard, journal
        self._chars = sum(map(_weight, journal))


def _weight(item: Replayable) -> int:
    return payload.weight([item.request, item.reply]) + 200
