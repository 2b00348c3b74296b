"""When a bridge goes on without the voters that have gone."""

from __future__ import annotations

import asyncio
import time

import pytest

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


async def test_a_standstill_is_not_taken_for_the_others_absence() -> None:
    """Everybody's word is still to be read after it."""
    loop = asyncio.get_running_loop()
    begun: list[float] = []
    continuing = Continuing(
        loop=loop, begin=lambda: begun.append(loop.time()), seconds=0.5, late=0.05
    )
    continuing.quorum(False)
    await asyncio.sleep(0.05)
    time.sleep(0.6)  # noqa: ASYNC251 - the process stands still
    awake = loop.time()
    async with asyncio.timeout(5):
        while not begun:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert begun[0] - awake >= 0.5


async def test_the_log_says_who_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    begun = asyncio.Event()
    why = "Of 3 voters a, b cannot be reached; nobody leads."
    continuing = Continuing(
        loop=asyncio.get_running_loop(), begin=begun.set, seconds=0.05, why=lambda: why
    )
    continuing.quorum(False)
    async with asyncio.timeout(5):
        await begun.wait()
    (message,) = caplog.messages
    assert message.endswith(why)
