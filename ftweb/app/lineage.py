"""What a history knows of its own origin, and of those who may have another one.

It is part of the replicated state: every replica and every snapshot has it, so any bridge can take
part in a meeting of two epochs, also after restarts. Rules:

1. ``forks`` are the ancestors, each with where this branch left it (:mod:`ftweb.epochs`).
2. ``bridges`` are all that ever held this history; a bridge enters by a log entry before it is
   given any other. ``unheard`` are those that had not come along when this epoch began and have
   not been heard since: they may hold an epoch of their own.
3. ``rests`` are those epochs before in which voters may be going on by themselves, from tab to
   tab (:class:`Rest`).
4. While anybody is unheard, or a rest may live, this epoch is *provisional*, and every request
   that was run stands in the ``journal``, with its reply. So all that happened since ``since``
   was left can be run again in another branch.
5. Requests that stood in the saved log when the epoch began are in the journal too: it is not
   known which of them a quorum had accepted. Where they had been, running them again is noticed.
   That holds also if, by an entry of that very log, the epoch before had become firm.
6. When the last of them has been heard, the epoch is firm, and the journal is dropped.
7. A journal that is full is dropped as well. The epoch is firm from then on: it will not be given
   up for another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ftweb.app import commands, payload
from ftweb.core.types import Index, Json, Term
from ftweb.epochs import GAP, Fork, Summary
from ftweb.frames import Failure, Left
from ftweb.limits import JOURNAL_CHARS, JOURNAL_REQUESTS, KNOWN_BRIDGES, LINEAGE, RESTS


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

    @classmethod
    def of(cls, command: commands.Request) -> Replayable:
        """A request as a log entry has it."""
        return cls(
            client_id=command.client_id,
            device_id=command.device_id,
            presenter=command.presenter,
            session=command.session,
            serial=command.serial,
            request=command.request,
            reply=command.reply,
            error=command.error,
        )

    @property
    def weight(self) -> int:
        """About how many characters it has as JSON."""
        return payload.weight([self.request, self.reply]) + 200


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch that was left, as far as it is known: may others still be going on in it?

    1. Known is who has left it (``gone``): they accept nothing there any more. Of their logs the
       longest, by (term, index), is known, with the voters of the last configuration in it.
    2. Whoever goes on there has committed an entry that is in none of these logs. The first of
       those was accepted by at least half of these voters: by a majority of them; or, if the leader
       has since added or removed one, by what two majorities have at least in common; or, if its
       log lacks that last configuration, by a majority of the one before, since it has to commit
       an entry of its own term before it may change anything.
    3. None of those who accepted it is gone, for each has a longer log: with a later term, or a
       higher index in the same. So nobody goes on if more than half of the voters are gone.
    """

    epoch: int
    term: int
    index: int
    voters: list[str]
    gone: list[str] = []

    @property
    def lives(self) -> bool:
        """Others may be going on (rule 3)."""
        return bool(self.voters) and 2 * len(self.missed) >= len(self.voters)

    @property
    def missed(self) -> set[str]:
        """Whose word would count."""
        return {voter for voter in self.voters if voter not in self.gone}

    def without(self, left: Left) -> Rest:
        """The same, now that this one is known to have left."""
        if left.epoch != self.epoch or left.node in self.gone:
            return self
        gone = [*self.gone, left.node]
        if (left.term, left.index) <= (self.term, self.index):
            return msgspec.structs.replace(self, gone=gone)
        if not left.voters:
            return self
        return Rest(
            epoch=self.epoch, term=left.term, index=left.index, voters=left.voters, gone=gone
        )


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
        self.rests: list[Rest] = []
        self.since = 0
        """The journal holds everything since this epoch was left; 0: there is none."""
        self.journal: list[Replayable] = []
        self._tail: tuple[int, list[Replayable]] | None = None
        """While a saved log is taken up: the epoch, and the requests in it (rule 5)."""

    def empty(self) -> Lineage:
        """A new one with the same limits."""
        return Lineage(most=self._most, chars=self._most_chars)

    # --- reading ------------------------------------------------------------------------------

    @property
    def provisional(self) -> bool:
        """Others of the group have not been heard, who may have decided otherwise."""
        return bool(self.unheard or self.rests)

    def wants(self, left: Left) -> bool:
        """Whether this is a word of somebody who is missed."""
        return any(left.epoch == rest.epoch and left.node in rest.missed for rest in self.rests)

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

    def fork(self, fork: Fork, bridge: str, rest: Rest | None = None) -> None:
        """A bridge begins a new epoch from this replica; ``rest`` is what may go on in the old
        one."""
        self.forks.append(fork)
        del self.forks[:-LINEAGE]
        self._join(bridge)
        self.unheard = [other for other in self.bridges if other != bridge]
        if rest is not None and rest.lives:
            self.rests.append(rest)
            del self.rests[:-RESTS]
        tail, self._tail = self._tail, None
        if not self.provisional:
            self._settle()
        elif not self.since and tail is not None:
            self.since, self.journal = tail
            self._chars = sum(item.weight for item in self.journal)
            self._bound()

    def record(self, command: commands.Request) -> None:
        """A request was run."""
        if not self.since and self._tail is None:
            return
        item = Replayable.of(command)
        if self._tail is not None:
            self._tail[1].append(item)
        if self.since:
            self.journal.append(item)
            self._chars += item.weight
            self._bound()

    def _bound(self) -> None:
        """Rule 7."""
        if len(self.journal) > self._most or self._chars > self._most_chars:
            self._settle()

    def forget_rests(self) -> None:
        """They have been away for so long that no tab of theirs can be open any more."""
        self.rests = []

    def heard(self, joined: list[str], heard: list[str], left: Sequence[Left] = ()) -> None:
        """Bridges have joined, or come back with nothing more to add; voters have left the epoch
        before."""
        for bridge in joined:
            self._join(bridge)
        if not (self.unheard or self.rests):
            return
        self.unheard = [bridge for bridge in self.unheard if bridge not in heard]
        for one in left:
            self.rests = [rest.without(one) for rest in self.rests]
        self.rests = [rest for rest in self.rests if rest.lives]
        if not self.provisional:
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
        self.rests = []
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
                "rests": self.rests,
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
        rests = msgspec.convert(data.get("rests", []), list[Rest])
        journal = msgspec.convert(data["journal"], list[Replayable])
        self.since, self.rests = int(data["since"]), rests
        self.forks, self.bridges, self.unheard, self.journal = forks, bridges, unheard, journal
        self._chars = sum(item.weight for item in journal)
