"""A bridge fetches what it lacks of the app's files from the other bridges.

1. The app's state says which files there are, and it is replicated: no list is exchanged. Of
   more than FILES_KEPT those that stand last in it count.
2. It looks every MIRROR_SECONDS. One file at a time, with two streams: people's downloads come
   first, and all bridges do this at once.
3. The others are asked first what they have of a file, so that one that nobody has holds nobody up.
   If nothing comes of it, it is asked for less and less often, up to once in RETRY_SECONDS_MOST,
   and at once when there is another bridge.
4. What the others do not give after all is left after PATIENCE seconds without a byte.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice

from ftweb.bridge.files import Files
from ftweb.errors import FileError
from ftweb.files import Holders, Manifest, Transfer, find_manifests
from ftweb.limits import FILES_KEPT
from ftweb.transports.fetching import fetch, get_chunks

MIRROR_SECONDS = 2.0
RETRY_SECONDS_MOST = 60.0
PATIENCE = 5.0
STREAMS = 2
SWEEP_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Mirror:
    """Keeps one bridge's files complete.

    Args:
        files: where they are kept.
        origins: gives the origins of the other bridges.
    """

    def __init__(self, files: Files, origins: Callable[[], Iterable[str]]) -> None:
        self._files = files
        self._origins = origins
        self._asked: set[str] = set()
        """The bridges that were there in the last round."""
        self._failures: Counter[str] = Counter()
        """Of each file, how often in a row nothing came of it."""
        self._later: dict[str, float] = {}
        """Of these, when they are asked for again."""
        self._refused: set[str] = set()
        """Why files were not mirrored in the last round."""

    async def run(self) -> None:
        """Look after the files for as long as the bridge runs: forget some, fetch others."""
        swept = time.monotonic()
        while True:
            await asyncio.sleep(MIRROR_SECONDS)
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()
                self._files.sweep()
            await self.round()

    async def round(self) -> None:
        """Look at each file of the state once."""
        origins = set(self._origins())
        if origins - self._asked:
            self._failures.clear()
            self._later.clear()
        self._asked = origins
        if not origins:
            return
        refused: Counter[str] = Counter()
        manifests = {m.id: m for m in islice(find_manifests(self._files.state()), FILES_KEPT)}
        for file_id, manifest in manifests.items():
            if self._later.get(file_id, 0.0) > time.monotonic():
                continue
            if not self._files.store.missing(manifest):
                self._failures.pop(file_id, None)
                continue
            try:
                complete = await self._fetch(manifest)
            except FileError as error:
                refused[error.message] += 1
                complete = False
            if complete:
                continue
            self._failures[file_id] += 1
            wait = min(2.0 ** (self._failures[file_id] - 1) - 1, RETRY_SECONDS_MOST)
            self._later[file_id] = time.monotonic() + wait
        for file_id in self._failures.keys() - manifests.keys():
            del self._failures[file_id], self._later[file_id]
        for message in refused.keys() - self._refused:
            _log.warning("Files that are not mirrored: %d. %s", refused[message], message)
        self._refused = set(refused)

    async def _fetch(self, manifest: Manifest) -> bool:
        """Fetch what is missing. Returns whether all of it came."""
        store = self._files.store
        missing = set(store.missing(manifest))
        holders = [origin for origin in self._asked if await _gives(origin, manifest, missing)]
        if not holders:
            return False
        have = set(range(len(manifest.chunks))) - missing
        transfer = Transfer(manifest, Holders(holders), have=have, streams=STREAMS)
        store.keep(manifest)
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(PATIENCE)
        seen = transfer.received

        def moved(received: int) -> None:
            nonlocal seen
            if received > seen:
                seen = received
                limit.reschedule(loop.time() + PATIENCE)

        async def keep(index: int, data: bytes) -> None:
            if not store.has(manifest.chunks[index]):
                await self._files.write_chunk(manifest, index, _once(data))

        try:
            async with limit:
                await fetch(transfer, keep, on_progress=moved)
        except TimeoutError:
            _log.debug("No other bridge has all of %s yet.", manifest.id[:8])
        return transfer.done


async def _gives(origin: str, manifest: Manifest, missing: set[int]) -> bool:
    """Whether another bridge has anything that is missing here."""
    try:
        return bool(missing & await get_chunks(origin, manifest))
    except (OSError, FileError):
        return False


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
