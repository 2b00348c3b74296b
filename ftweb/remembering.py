"""What a node still knows of its log when it has left the epoch, or compacted it.

A bridge that begins an epoch may lack what tabs had committed without it. It asks those who follow
it later than they should have (:mod:`ftweb.relay.recalling`); so a node keeps, of its present epoch
and of the one before, the entries that may be asked for, as long as they fit into REMEMBERED_CHARS.

That is enough where its epoch is an ancestor of theirs. Of one that is not, a whole branch is
missing: the journal, and what is not applied yet (:func:`branch`). Whoever leaves such an epoch for
a later one is asked for it as well. Whoever would have to go back to an earlier one ends instead,
and hands it in, since nobody could ask it afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from ftweb import frames
from ftweb.app import commands, payload
from ftweb.app.lineage import Lineage, Replayable
from ftweb.core import Entry, EntryKind
from ftweb.limits import JOURNAL_CHARS, JOURNAL_REQUESTS, RECALL_CHARS, REMEMBERED_CHARS

type Branch = tuple[list[Replayable], bool]
"""Requests, and whether they are all of the branch."""

NO_BRANCH: Final[Branch] = ([], False)


class Remembering:
    """The entries of one node, as described above."""

    def __init__(self) -> None:
        self._compacted: deque[tuple[Entry, int]] = deque()
        self._chars = 0
        self._past: tuple[int, Sequence[Entry], Branch] = (0, (), NO_BRANCH)

    def compacted(self, entries: Iterable[Entry]) -> None:
        """These are not in the log any more; they follow those that were compacted before."""
        for entry in entries:
            chars = payload.weight(entry.data)
            self._compacted.append((entry, chars))
            self._chars += chars
        while self._chars > REMEMBERED_CHARS:
            self._chars -= self._compacted.popleft()[1]

    def left(self, epoch: int, entries: Sequence[Entry], own: Branch = NO_BRANCH) -> None:
        """An epoch was left with this in the log; what is compacted from here on is another's."""
        before = [entry for entry, _ in self._compacted]
        self._compacted.clear()
        self._chars = 0
        if epoch:
            self._past = epoch, [*before, *entries], own

    def answer(self, asked: frames.Recall) -> Iterator[frames.Recalled]:
        """What a bridge has asked for, in pieces that fit into frames; nothing about an epoch that
        is not the one before."""
        epoch, entries, (items, whole) = self._past
        if epoch != asked.epoch:
            return
        if not (asked.term or asked.index):
            yield from _pieces(epoch, items, whole=whole)
            return
        beyond = [entry for entry in entries if _is_beyond(entry, asked)]
        yield from _pieces(epoch, _requests(beyond), whole=_is_whole(entries, asked))


def branch(lineage: Lineage, unapplied: Iterable[Entry]) -> Branch:
    """What an epoch has had since it left its ancestors, as a node knows it.

    Args:
        lineage: of its state machine.
        unapplied: the entries after those that the machine has applied.
    """
    items: list[Replayable] = []
    whole, chars = lineage.since > 0, 0
    for item in chain(lineage.journal, _requests(unapplied)):
        chars += item.weight
        if len(items) == JOURNAL_REQUESTS or chars > JOURNAL_CHARS:
            whole = False  # more than the bridge takes
            break
        items.append(item)
    return items, whole


def hand_in(position: frames.Left, own: Branch) -> Iterator[frames.Recalled]:
    """What a node hands in that ends at this position of its epoch; nothing if it has nothing."""
    items, whole = own
    if items:
        pieces = _pieces(position.epoch, items, whole=whole)
        yield msgspec.structs.replace(next(pieces), left=position)
        yield from pieces


def _is_beyond(entry: Entry, asked: frames.Recall) -> bool:
    """By log matching, entries up to the bridge's last one are the bridge's own, unless they are of
    a later term: then its own were replaced."""
    return entry.term > asked.term or entry.index > asked.index


def _is_whole(entries: Sequence[Entry], asked: frames.Recall) -> bool:
    """Whether they go back, without a gap, to an entry that the bridge has."""
    after = None
    for entry in reversed(entries):
        if after is not None and entry.index != after - 1:
            return False
        if not _is_beyond(entry, asked):
            return True
        after = entry.index
    return False


def _requests(entries: Iterable[Entry]) -> Iterator[Replayable]:
    for entry in entries:
        if entry.kind is EntryKind.COMMAND:
            command = commands.parse(entry.data)
            if isinstance(command, commands.Request):
                yield Replayable.of(command)


def _pieces(
    epoch: int, requests: Iterable[Replayable], *, whole: bool
) -> Iterator[frames.Recalled]:
    """Such as fit into frames."""
    items: list[Replayable] = []
    chars = 0
    for item in requests:
        items.append(item)
        chars += item.weight
        if chars >= RECALL_CHARS:
            yield frames.Recalled(epoch=epoch, items=msgspec.to_builtins(items), last=False)
            items, chars = [], 0
    yield frames.Recalled(epoch=epoch, items=msgspec.to_builtins(items), last=True, whole=whole)
