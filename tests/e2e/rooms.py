"""Many tabs with Pyodide, a device each, in few browsers: a whole class on one machine.

A *room* is one Chromium on one host of the LAN. Each of its tabs has a browser context of its own,
so storage of its own, so a device id of its own: to ftweb they are as many phones. Chromium gives
each a renderer of its own, and all of them die with the room.

Rules:

1. Tabs are opened by rooms in parallel, one after the other in each: two cores boot 40 in the time
   that 40 take at once, and none has to wait for so long that it gives up.
2. A tab is there when its replica is (``ready``) and it knows of a host. One that is not there in
   BOOT_SECONDS is loaded once more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import psutil  # type: ignore[import-untyped]  # it comes without

from tests.e2e.classroom import Classroom, Tab, until
from tests.lan.browsers import PHONE, Device

BOOT_SECONDS = 45.0

ASK_SECONDS = 0.25
"""How often a booting tab is asked: what asks more often slows 40 of them down."""


class Room:
    """One Chromium full of tabs."""

    def __init__(self, made: Classroom, name: str) -> None:
        self.made = made
        self.device = Device(made.lan.host(name), name, PHONE)
        self.tabs: list[Tab] = []

    async def start(self) -> None:
        await self.device.start(self.made.playwright)

    async def open(self) -> Tab:
        """One more tab, once it is there (rule 2)."""
        context = await self.device.browser.new_context(no_viewport=True)
        context.on("page", self.device.watch)
        page = await context.new_page()
        await page.goto(self.made.bridge.join_url, wait_until="domcontentloaded")
        tab = Tab(self.device, page)

        async def there() -> bool:
            status = await tab.status()
            return bool(status.get("ready") and status["hostId"])

        try:
            await until(there, BOOT_SECONDS, ASK_SECONDS)
        except TimeoutError:
            await page.reload(wait_until="domcontentloaded")
            await until(there, BOOT_SECONDS, ASK_SECONDS)
        self.tabs.append(tab)
        self.made.tabs[f"{self.device.name} {len(self.tabs)}"] = tab
        return tab

    def kill(self) -> None:
        """SIGKILL, with all its tabs."""
        self.device.kill()
        for number in range(len(self.tabs)):
            del self.made.tabs[f"{self.device.name} {number + 1}"]


async def fill(
    rooms: Sequence[Room],
    wanted: Sequence[int],
    chooser: random.Random,
    tell: Callable[[int], None] = lambda count: None,
) -> None:
    """Open tabs until each room has as many as wanted, in an order drawn by chance.

    Who comes first is a member first: so each room gets its members by chance.

    Args:
        rooms: started.
        wanted: for each how many.
        chooser: draws the order.
        tell: is told how many tabs there are, at each that has come.
    """
    order = [
        number
        for number, (room, count) in enumerate(zip(rooms, wanted, strict=True))
        for _ in range(count - len(room.tabs))
    ]
    chooser.shuffle(order)
    # Two at a time, for two cores; a room opens one at a time.
    locks = [asyncio.Lock() for _ in rooms]
    entrance = asyncio.Semaphore(2)

    async def one(number: int) -> None:
        async with entrance, locks[number]:
            await rooms[number].open()
        tell(sum(len(room.tabs) for room in rooms))

    await asyncio.gather(*(one(number) for number in order))


async def close(rooms: Sequence[Room]) -> list[str]:
    """End them; gives what went wrong in their pages."""
    problems = [problem for room in rooms for problem in room.device.problems]
    await asyncio.gather(*(room.device.stop() for room in rooms))
    return problems


def memory(rooms: Sequence[Room]) -> float:
    """What the rooms' processes hold, in MB, shared pages counted once."""
    total = 0.0
    for room in rooms:
        for pid in room.device.host.pids():
            try:
                total += psutil.Process(pid).memory_full_info().pss / 1e6
            except psutil.Error:
                continue
    return round(total)
