"""The machine's addresses change: another Wi-Fi, a renewed lease, a cable plugged in.

1. They are read again every ADDRESSES_SECONDS: no system tells of changes in a way that all have.
2. While the machine has none that phones can reach, what was shown stays: with the Wi-Fi off nobody
   could be told, and mostly it comes back as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from ftweb.bridge.addresses import is_lan

ADDRESSES_SECONDS: Final = 3.0
"""Reading them takes a millisecond; a person who changes the Wi-Fi looks at the screen by then."""


class AddressWatch:
    """See the rules above.

    Args:
        read: gives the addresses to show, best first.
        moved: called with those that are new.
        every: seconds between two looks; ADDRESSES_SECONDS if None.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Sequence[str]],
        moved: Callable[[tuple[str, ...]], None],
        every: float | None = None,
    ) -> None:
        self._read = read
        self._moved = moved
        self._every = ADDRESSES_SECONDS if every is None else every
        self._shown = tuple(read())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self.look()

    def look(self) -> None:
        """Compare now."""
        found = tuple(self._read())
        if found == self._shown or not any(is_lan(address) for address in found):
            return
        self._shown = found
        self._moved(found)
