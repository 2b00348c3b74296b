"""A bridge fetches what it lacks of the app's files from the other bridges.

1. The app's state says which files there are, and it is replicated: no list is exchanged.
2. It looks every MIRROR_SECONDS. One file at a time, with two streams: people's downloads come
   first, and all bridges do this at once.
3. A file that no other bridge has all of is left after PATIENCE seconds without a byte, for the
   next round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable

from ftweb.bridge.files import Files
from ftweb.errors import FileError
from ftweb.files import Holders, Manifest, Transfer, find_manifests
from ftweb.transports.fetching import fetch

MIRROR_SECONDS = 2.0
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
        if not tuple(self._origins()):
            return
        for manifest in list(find_manifests(self._files.state())):
            try:
                if self._files.store.missing(manifest):
                    await self._fetch(manifest)
            except FileError as error:
                _log.warning("%s is not mirrored: %s", manifest.id[:8], error)

    async def _fetch(self, manifest: Manifest) -> None:
        store = self._files.store
        missing = set(store.missing(manifest))
        have = set(range(len(manifest.chunks))) - missing
        transfer = Transfer(manifest, Holders(self._origins()), have=have, streams=STREAMS)
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


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
