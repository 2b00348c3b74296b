"""Publishing and browsing through the real zeroconf, on loopback: each is what tests the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ftweb.bridge.discovery import Found, browse
from ftweb.bridge.publishing import Publisher, Record

from .conftest import PATIENCE, eventually

LOOPBACK = ("127.0.0.1",)
RECORD = Record(guid="f" * 32, epoch=1, term=2, node="n" * 32)


class Browser:
    """Collects what :func:`browse` yields, and waits for what a test wants to see."""

    def __init__(self) -> None:
        self.heard: list[Found] = []
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for found in browse(None, interfaces=LOOPBACK):
            self.heard.append(found)
            self._news.set()

    async def see(self, **fields: object) -> Found:
        async with asyncio.timeout(PATIENCE):
            while True:
                for found in self.heard:
                    if all(getattr(found, name) == value for name, value in fields.items()):
                        return found
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    browser = Browser()
    task = asyncio.create_task(browser.listen())
    try:
        yield browser
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def publisher(name: str, record: Record = RECORD, **rest: object) -> Publisher:
    return Publisher(name=name, port=8765, record=record, interfaces=LOOPBACK, **rest)  # type: ignore[arg-type]


async def published(one: Publisher) -> str:
    name = await eventually(lambda: one.published_as)
    assert name is not None
    return name


async def test_a_server_is_found_updated_and_gone() -> None:
    async with browsing() as browser:
        async with publisher("Classroom Vote ä") as mine:
            found = await browser.see(guid=RECORD.guid)
            assert found == Found(
                name="Classroom Vote ä",
                guid=RECORD.guid,
                host="classroom-vote-a.local",
                addresses=LOOPBACK,
                port=8765,
                path="/",
                epoch=1,
                term=2,
                node="n" * 32,
            )
            mine.update(epoch=1, term=3, node=None)
            await browser.see(term=3, node="")
            mine.update(epoch=1, term=4, node="m" * 32)
            mine.update(epoch=1, term=5, node="o" * 32)
            last = await browser.see(term=5, node="o" * 32)
            assert browser.heard[-1] == last
        await browser.see(gone=True)
    terms = [found.term for found in browser.heard]
    assert terms == sorted(terms), "an older announcement must not follow a newer one"


async def test_both_types_are_told_as_one() -> None:
    async with browsing() as browser, publisher("both") as mine:
        await browser.see(guid=RECORD.guid)
        await published(mine)
        mine.update(epoch=1, term=9, node=None)
        await browser.see(term=9)
    assert len([found for found in browser.heard if not found.gone]) == 2


async def test_the_second_of_a_name_gets_another(caplog: pytest.LogCaptureFixture) -> None:
    names: list[str] = []
    other = Record(guid="e" * 32, epoch=1, term=1, node="")
    async with publisher("twice") as first:
        assert await published(first) == "twice"
        async with publisher("twice", other, on_host_name=names.append) as second:
            with caplog.at_level(logging.WARNING):
                assert await published(second) == "twice (2)"
            assert names == ["twice-2.local."]
            async with browsing() as browser:
                assert (await browser.see(guid=RECORD.guid)).name == "twice"
                assert (await browser.see(guid=other.guid)).name == "twice (2)"
    assert "is called 'twice'" in caplog.text


async def test_browsing_ends_in_time_and_does_not_cut_the_consumer_off() -> None:
    loop = asyncio.get_running_loop()
    late = asyncio.Event()
    finished = 0
    async with publisher("brief") as mine:
        await published(mine)
        begun = loop.time()
        async for _ in browse(1.0, interfaces=LOOPBACK):
            loop.call_at(begun + 1.2, late.set)  # busy until after the browsing's end
            await late.wait()
            finished += 1
    assert finished >= 1
    assert 1.0 <= loop.time() - begun < PATIENCE
