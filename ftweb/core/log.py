"""The log: entries after a compacted beginning, and the configurations among them.

Rules:

1. Indexes are contiguous from ``offset + 1``; everything up to ``offset`` is compacted, and it
   was committed and applied before it was.
2. Terms never fall along the log, so a term's first and last entry are found by bisection.
3. The configuration in force is the last one in the log, committed or not (section 4.1); when
   a conflict truncates it away, the one before it is in force again.
4. ``saved_index`` is the last entry that was handed out to be saved. A leader's own vote for an
   entry counts from then on, because what it sends or applies next is handed out after it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from ftweb.core import configuration as configurations
from ftweb.core.types import Configuration, Entry, EntryKind, Index, Json, Snapshot, Term

_ENCODER: Final = msgspec.json.Encoder()

ENTRY_OVERHEAD = 96
"""Bytes of an encoded entry besides its data: keys, braces and three small values."""


def data_size(data: Json) -> int:
    """About how many bytes an entry with this data has on the wire.

    Raises:
        TypeError: the data is not JSON; the proposer's fault, before anything is appended. (Some
            that is none, as bytes, would pass: :func:`ftweb.codec.check_payload` is stricter.)
    """
    return ENTRY_OVERHEAD if data is None else ENTRY_OVERHEAD + len(_ENCODER.encode(data))


def _term_of(entry: Entry) -> Term:
    return entry.term


def _index_of(item: tuple[Index, Configuration]) -> Index:
    return item[0]


class Log:
    """See the rules above."""

    __slots__ = (
        "_configurations",
        "_entries",
        "_sizes",
        "_unsaved",
        "configuration",
        "offset",
        "offset_term",
    )

    def __init__(self, snapshot: Snapshot | None = None, entries: Sequence[Entry] = ()) -> None:
        self.offset: Index = 0
        self.offset_term: Term = 0
        self._entries: list[Entry] = []
        self._sizes: list[int] = []  # 0: not yet estimated
        self._configurations: list[tuple[Index, Configuration]] = [(0, configurations.EMPTY)]
        self.configuration: Configuration = configurations.EMPTY
        """The one in force (rule 3): an attribute, since everything asks for it."""
        self._unsaved: Index = 1
        if snapshot is not None:
            self.restore(snapshot)
        for entry in entries:
            if entry.index > self.offset:
                self.append(entry)
        self._unsaved = self.last_index + 1

    # --- reading --------------------------------------------------------------------------

    @property
    def last_index(self) -> Index:
        return self.offset + len(self._entries)

    @property
    def last_term(self) -> Term:
        return self._entries[-1].term if self._entries else self.offset_term

    @property
    def saved_index(self) -> Index:
        return self._unsaved - 1

    @property
    def configuration_index(self) -> Index:
        """Where the configuration in force stands."""
        return self._configurations[-1][0]

    def configuration_at(self, index: Index) -> Configuration:
        """The latest at or before ``index``, which must not lie before the offset."""
        return self._configurations[self._configuration_place(index)][1]

    def configurations_since(self, index: Index) -> tuple[Configuration, ...]:
        """Those that were or came into force from ``index`` on, the one in force last."""
        place = max(self._configuration_place(index), 0)
        return tuple(found for _, found in self._configurations[place:])

    def term(self, index: Index) -> Term | None:
        """The term at ``index``; None if it is compacted away or beyond the end."""
        place = index - self.offset - 1
        if place < 0:
            return self.offset_term if place == -1 else None
        return self._entries[place].term if place < len(self._entries) else None

    def matches(self, index: Index, term: Term) -> bool:
        return self.term(index) == term

    def slice(self, first: Index, last: Index) -> tuple[Entry, ...]:
        """Entries ``first`` to ``last``, both included."""
        return tuple(self._entries[first - self.offset - 1 : last - self.offset])

    def batch(self, first: Index, limit: int) -> tuple[tuple[Entry, ...], int]:
        """As many entries from ``first`` on as fit into ``limit`` bytes, at least one, and their
        estimated size. Each entry is measured once in its life here."""
        entries, sizes = self._entries, self._sizes
        start = end = first - self.offset - 1
        total = 0
        while end < len(entries):
            size = sizes[end]
            if not size:
                size = sizes[end] = data_size(entries[end].data)
            if total + size > limit and end > start:
                break
            total += size
            end += 1
        return tuple(entries[start:end]), total

    def first_index_of(self, term: Term) -> Index:
        """Where ``term`` begins, or would."""
        return self.offset + 1 + bisect_left(self._entries, term, key=_term_of)

    def last_index_of(self, term: Term) -> Index | None:
        """The last entry of ``term``; None if there is none."""
        place = bisect_right(self._entries, term, key=_term_of) - 1
        if place >= 0:
            return self.offset + 1 + place if self._entries[place].term == term else None
        return self.offset if self.offset and self.offset_term == term else None

    # --- writing --------------------------------------------------------------------------

    def append(self, entry: Entry, size: int = 0) -> None:
        if entry.index != self.offset + len(self._entries) + 1:
            raise ValueError(f"entry {entry.index} does not follow {self.last_index}")
        if entry.kind is EntryKind.CONFIGURATION:
            self.configuration = configurations.from_data(entry.data)
            self._configurations.append((entry.index, self.configuration))
        self._entries.append(entry)
        self._sizes.append(size)

    def merge(self, entries: Sequence[Entry], commit_index: Index) -> None:
        """Takes over a leader's entries, whose predecessor is here: keeps what agrees, drops
        what conflicts and all after it (section 3.5). Entries after the last one given stay:
        the message may be old."""
        for place, entry in enumerate(entries):
            known = self.term(entry.index)
            if known == entry.term:
                continue
            if known is not None:
                if entry.index <= commit_index:
                    raise AssertionError(f"a leader contradicts committed entry {entry.index}")
                self._truncate(entry.index)
            for new in entries[place:]:
                self.append(new)
            return

    def _configuration_place(self, index: Index) -> int:
        return bisect_right(self._configurations, index, key=_index_of) - 1

    def _truncate(self, first: Index) -> None:
        del self._entries[first - self.offset - 1 :]
        del self._sizes[first - self.offset - 1 :]
        while self._configurations[-1][0] >= first:
            self._configurations.pop()
        self.configuration = self._configurations[-1][1]
        self._unsaved = min(self._unsaved, first)

    def take_unsaved(self) -> tuple[Entry, ...]:
        """Hands out what must be saved; from then on it counts as saved (rule 4)."""
        first, last = self._unsaved, self.offset + len(self._entries)
        if first > last:
            return ()
        self._unsaved = last + 1
        return self.slice(first, last)

    def compact(self, index: Index) -> None:
        """Forgets entries up to ``index``, which must be applied."""
        if index <= self.offset:
            return
        term = self.term(index)
        if term is None:
            raise ValueError(f"cannot compact up to {index}: the log ends at {self.last_index}")
        del self._configurations[: self._configuration_place(index)]
        del self._entries[: index - self.offset]
        del self._sizes[: index - self.offset]
        self.offset, self.offset_term = index, term

    def restore(self, snapshot: Snapshot) -> None:
        """Begins anew after a snapshot."""
        self._entries.clear()
        self._sizes.clear()
        self.offset, self.offset_term = snapshot.last_index, snapshot.last_term
        self.configuration = snapshot.configuration
        self._configurations = [(snapshot.last_index, snapshot.configuration)]
        self._unsaved = snapshot.last_index + 1
