"""Files with two laptops: one dies in the middle of a download, comes back, and is used again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.classroom import Bridge, Classroom, Tab, two_laptops, until
from tests.e2e.files import (
    FILES,
    LARGE,
    content,
    digest,
    file_id_of,
    past,
    saved,
    saving_to,
    share,
    shared,
    status_of,
)

pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def class_with(
    path: Path, *, by: str = "laptop"
) -> AsyncIterator[tuple[Classroom, Bridge, Bridge]]:
    """Two laptops. The file was shared by one tab, and both bridges have all of it."""
    async with two_laptops(FILES, phones=2) as (made, second):
        await share(made.tabs[by], path)
        for tab in made.phone_tabs:
            await shared(tab, path.name)
        await mirrored(made, second)
        yield made, made.bridge, second


async def mirrored(made: Classroom, bridge: Bridge) -> None:
    """Wait until a bridge has all of the file."""
    file_id = await file_id_of(made)

    async def complete() -> bool:
        return bool((await status_of(made, file_id, bridge)).get("complete"))

    await until(complete, 60)


async def lose(made: Classroom, laptop: Bridge) -> None:
    """A laptop is gone: its bridge, and its tab, which shared the file and hosts."""
    await made.kill_browser(made.presenter)
    laptop.kill()


async def same(folder: Path, path: Path) -> None:
    size = (await asyncio.to_thread(path.stat)).st_size
    got = await saved(folder, path.name, size)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)


async def at(tab: Tab, bridge: Bridge) -> None:
    here = f"http://{bridge.host.address}:{bridge.port}"
    await tab.until("s.bridge === x && s.state === 'connected' && s.hostId", 60, here)


async def test_the_laptop_that_shared_it_dies_in_mid_download(tmp_path: Path) -> None:
    path = await asyncio.to_thread(content, tmp_path, "lecture.mp4", LARGE, 8)
    async with class_with(path) as (made, first, second):
        _, two = made.phone_tabs
        folder = await saving_to(two, tmp_path / "two")
        await two.get("get").click()
        await past(two, 0.05)
        await lose(made, first)
        await same(folder, path)  # by itself: nobody touched the page
        await at(two, second)
        assert made.problems() == []


async def test_a_dead_laptop_that_returns_is_used_again(tmp_path: Path) -> None:
    """It is the only one that is left for the second half."""
    path = await asyncio.to_thread(content, tmp_path, "lecture.mp4", LARGE, 9)
    async with class_with(path) as (made, first, second):
        _, two = made.phone_tabs
        folder = await saving_to(two, tmp_path / "two")
        await two.get("get").click()
        await past(two, 0.05)
        await two.get("pause").click()
        await two.page.locator(".state", has_text="Paused").wait_for()
        await lose(made, first)
        await at(two, second)
        await two.get("resume").click()
        await past(two, 0.3)
        await two.get("pause").click()
        await two.page.locator(".state", has_text="Paused").wait_for()
        await first.start()
        await two.until("s.bridges.length === 2", 60)
        second.kill()
        await two.get("resume").click()
        await same(folder, path)
        await at(two, first)
        assert made.problems() == []


async def test_it_is_replaced_while_a_laptop_dies(tmp_path: Path) -> None:
    """A download that is half-way begins anew at the other laptop, and the page says so."""
    (tmp_path / "new").mkdir()
    old = await asyncio.to_thread(content, tmp_path, "plan.bin", LARGE, 10)
    new = await asyncio.to_thread(content, tmp_path / "new", "plan.bin", 2_000_000, 11)
    async with class_with(old, by="phone1") as (made, first, second):
        one, two = made.phone_tabs
        folder = await saving_to(two, tmp_path / "two")
        await two.get("get").click()
        await past(two, 0.05)
        await two.get("pause").click()
        await lose(made, first)
        await at(one, second)
        async with one.page.expect_file_chooser() as chooser:
            await one.get("replace").click()
        await (await chooser.value).set_files(new)
        await two.page.locator(".state", has_text="replaced").wait_for(timeout=30_000)
        await same(folder, new)
        assert made.problems() == []
