"""When a bridge goes on without the voters that have gone."""

from __future__ import annotations

import asyncio

from ftweb.bridge.continuing import Continuing


async def test_a_quorum_that_stays_away_is_given_up_once() -> None:
    begun = asyncio.Event()
    times = 0

    def begin() -> None:
        nonlocal times
        times += 1
        begun.set()

    continuing = Continuing(loop=asyncio.get_running_loop(), begin=begin, seconds=0.05)
    for there in (True, False, False, False):
        continuing.quorum(there)
    async with asyncio.timeout(5):
        await begun.wait()
    assert times == 1


async def test_a_quorum_that_comes_back_in_time_is_waited_for() -> None:
    loop = asyncio.get_running_loop()
    begun: list[float] = []
    continuing = Continuing(loop=loop, begin=lambda: begun.append(loop.time()), seconds=0.05)
    continuing.quorum(False)
    continuing.quorum(True)
    last = asyncio.Event()
    loop.call_later(0.1, last.set)
    await last.wait()
    assert begun == []
    continuing.quorum(False)
    continuing.close()
    last.clear()
    loop.call_later(0.1, last.set)
    await last.wait()
    assert begun == []
