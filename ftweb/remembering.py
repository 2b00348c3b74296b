"""What a node still knows of its log when it has left the epoch, or compacted it.

A bridge that begins an epoch may lack what tabs had committed without it. It asks those who follow
it later than they should have (:mod:`ftweb.relay.recalling`); so a node keeps, of its present epoch
and of the one before, the entries that may be asked for, as long as they fit into REMEMBERED_CHARS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ftweb import frames
from ftweb.app import commands, payload
from ftweb.app.lineage import Replayable
from ftweb.core import Entry, EntryKind
from ftweb.limits import RECALL_CHARS, REMEMBERED_CHARS


class Remembering:
    """The entries of one node, as described above."""

    def __init__(self) -> None:
        self._compacted: deque[tuple[Entry, int]] = deque()
        self._chars = 0
        self._past: tuple[int, Sequence[Entry]] = (0, ())

    def compacted(self, entries: Iterable[Entry]) -> None:
        """These are not in the log any more; they follow those that were compacted before."""
        for entry in entries:
            chars = payload.weight(entry.data)
            self._compacted.append((entry, chars))
            self._chars += chars
        while self._chars > REMEMBERED_CHARS:
            self._chars -= self._compacted.popleft()[1]

    def left(self, epoch: int, entries: Sequence[Entry]) -> None:
        """An epoch was left with this in the log; what is compacted from here on is another's."""
        before = [entry for entry, _ in self._compacted]
        self._compacted.clear()
        self._chars = 0
        if epoch:
            self._past = epoch, [*before, *entries]

    def answer(self, asked: frames.Recall) -> Iterator[frames.Recalled]:
        """What a bridge has asked for, in pieces that fit into frames; nothing about an epoch that
        is not the one before."""
        epoch, entries = self._past
        if epoch != asked.epoch:
            return
        whole = _is_whole(entries, asked)
        items: list[Replayable] = []
        chars = 0
        for item in _requests(entries, asked):
            items.append(item)
            chars += item.weight
            if chars >= RECALL_CHARS:
                yield _piece(epoch, items)
                items, chars = [], 0
        yield msgspec.structs.replace(_piece(epoch, items), last=True, whole=whole)


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


def _requests(entries: Sequence[Entry], asked: frames.Recall) -> Iterator[Replayable]:
    for entry in entries:
        if _is_beyond(entry, asked) and entry.kind is EntryKind.COMMAND:
            command = commands.parse(entry.data)
            if isinstance(command, commands.Request):
                yield Replayable.of(command)


def _piece(epoch: int, items: list[Replayable]) -> frames.Recalled:
    return frames.Recalled(epoch=epoch, items=msgspec.to_builtins(items), last=False)
