"""Every file is kept by two browsers and the bridge, and the app does nothing for it.

The app of these tests only shares and downloads: it names no files to keep and asks for none.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.classroom import APPS, Classroom, Tab, classroom, until
from tests.e2e.files import content, digest, file_id_of, saved, saving_to, status_of

pytestmark = pytest.mark.asyncio

SIZE = 5_000_000


async def share(tab: Tab, path: Path) -> None:
    """Choose a file, and wait until everybody's state names it."""
    await tab.get("choose").set_input_files(path)
    await tab.page.wait_for_function("() => globalThis.state?.files.length === 1", polling=50)


async def kept_by(made: Classroom, file_id: str, wanted: int, timeout: float = 60) -> None:
    """Wait until the bridge has all of it and so many browsers say that they have."""

    async def so() -> bool:
        status = await status_of(made, file_id)
        return status.get("complete") is True and status["browsers"] == wanted

    await until(so, timeout, 0.25)


async def holds(tab: Tab, path: Path) -> bool:
    """Whether its browser has all of the file."""
    held = await tab.evaluate("held()")
    return await asyncio.to_thread(digest, path) in held


async def test_the_sharer_and_the_bridge_s_disk_may_both_be_lost(tmp_path: Path) -> None:
    path = await asyncio.to_thread(content, tmp_path, "slides.pdf", SIZE, 31)
    async with classroom(APPS / "shelf", phones=2) as made:
        one, two = made.phone_tabs
        third = made.presenter
        await share(one, path)
        file_id = await file_id_of(made)
        await kept_by(made, file_id, 2)
        assert await holds(two, path), "the phone, for the laptop may be lost with its bridge"
        assert not await holds(third, path), "one more, not all"

        await made.kill_browser(one)
        made.bridge.kill()
        await asyncio.to_thread(shutil.rmtree, made.bridge.data / "files")
        await made.bridge.start()
        await kept_by(made, file_id, 1)

        folder = await saving_to(third, tmp_path / "third")
        await third.evaluate("fetchFirst()")
        got = await saved(folder, path.name, SIZE)
        assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)
        assert made.problems() == []
