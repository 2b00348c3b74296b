"""What of a file is still to be fetched, and from which byte.

1. Each chunk is fetched by one stream at a time; ``FILE_STREAMS`` chunks at once.
2. A stream that breaks off keeps what it brought: the chunk goes on from the next byte, from
   another holder if there is one.
3. A complete chunk is checked by its hash. If it is wrong, all of it is thrown away and everybody
   who contributed has failed; the next attempt takes the whole chunk from one holder, so that a
   liar is found and cannot spoil what the others send.
4. The order is that of the file, since that lets a reader begin before the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from ftweb.files.holders import Holders
from ftweb.files.manifest import Manifest
from ftweb.limits import FILE_STREAMS


@dataclass(eq=False, kw_only=True, slots=True)
class Fetch:
    """One request that is to be made: bytes ``start`` to the end of a chunk, from a holder."""

    holder: str
    index: int
    start: int


@dataclass(eq=False, kw_only=True, slots=True)
class _Part:
    data: bytearray = field(default_factory=bytearray)
    givers: set[str] = field(default_factory=set)
    last: str | None = None
    """Who failed at it last."""
    alone: bool = False
    """To be taken from one holder only, since what several gave together was wrong."""


class Transfer:
    """One file on its way.

    Args:
        manifest: what is fetched.
        holders: whom to ask.
        have: chunks that are here already.
        streams: chunks fetched at the same time.
    """

    def __init__(
        self,
        manifest: Manifest,
        holders: Holders,
        *,
        have: Iterable[int] = (),
        streams: int = FILE_STREAMS,
    ) -> None:
        self.manifest = manifest
        self.holders = holders
        self._streams = streams
        self._have = set(have)
        self._parts: dict[int, _Part] = {}
        self._under_way: dict[int, Fetch] = {}

    @property
    def done(self) -> bool:
        """Everything is here."""
        return len(self._have) == len(self.manifest.chunks)

    @property
    def received(self) -> int:
        """Bytes that are here, parts of chunks included."""
        whole = sum(self.manifest.chunk_size(index) for index in self._have)
        return whole + sum(len(part.data) for part in self._parts.values())

    def next(self, now: float) -> Fetch | None:
        """A request to make now, or None: everything is asked for, or nobody can be asked."""
        if len(self._under_way) >= self._streams:
            return None
        index = self._next_index()
        if index is None:
            return None
        part = self._parts.setdefault(index, _Part())
        holder = self.holders.pick(now, besides=part.last)
        if holder is None:
            return None
        self.holders.asked(holder)
        fetch = Fetch(holder=holder, index=index, start=len(part.data))
        self._under_way[index] = fetch
        return fetch

    def wait(self, now: float) -> float | None:
        """Seconds after which :meth:`next` may have more; None: when something has come in."""
        if self.done or len(self._under_way) >= self._streams or self._next_index() is None:
            return None
        return self.holders.wait(now)

    def take(self, fetch: Fetch, data: bytes, now: float) -> bytes | None:
        """Bytes of a request have come. Returns the whole chunk when it is complete and right;
        the request has then ended, as it has when ``fetch`` is not :meth:`alive` afterwards."""
        if self._under_way.get(fetch.index) is not fetch:
            return None
        part = self._parts[fetch.index]
        part.data += data
        part.givers.add(fetch.holder)
        size = self.manifest.chunk_size(fetch.index)
        if len(part.data) < size:
            return None
        if (
            len(part.data) > size
            or hashlib.sha256(part.data).hexdigest() != self.manifest.chunks[fetch.index]
        ):
            del self._under_way[fetch.index]
            self._parts[fetch.index] = _Part(last=fetch.holder, alone=True)
            self.holders.failed(fetch.holder, now)
            for giver in part.givers - {fetch.holder}:
                self.holders.distrust(giver, now)
            return None
        del self._under_way[fetch.index], self._parts[fetch.index]
        self._have.add(fetch.index)
        self.holders.served(fetch.holder)
        return bytes(part.data)

    def alive(self, fetch: Fetch) -> bool:
        """Whether more bytes of this request are wanted."""
        return self._under_way.get(fetch.index) is fetch

    def failed(self, fetch: Fetch, now: float) -> None:
        """A request ended before its chunk was complete. What came is kept."""
        if self._under_way.get(fetch.index) is not fetch:
            return
        del self._under_way[fetch.index]
        part = self._parts[fetch.index]
        part.last = fetch.holder
        if part.alone:
            part.data.clear()
            part.givers.clear()
        self.holders.failed(fetch.holder, now)

    def _next_index(self) -> int | None:
        for index in range(len(self.manifest.chunks)):
            if index not in self._have and index not in self._under_way:
                return index
        return None
