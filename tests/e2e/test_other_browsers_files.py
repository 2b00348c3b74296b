"""Files shared by Firefox and WebKitGTK, by a drop; and one saved by Firefox."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.classroom import Classroom, MakeDevice, Tab, classroom
from tests.e2e.files import FILES, content, digest, saved, saving_to, share
from tests.lan.firefox import FirefoxDevice
from tests.lan.webkit import WebKitDevice

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 3_000_000

DROP = """([name, data]) => {
    const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], name, { type: "video/mp4" }));
    const event = type => new DragEvent(type, { bubbles: true, dataTransfer: dropped });
    for (const type of ["dragenter", "dragover", "drop"]) document.dispatchEvent(event(type));
}"""

ROW = """[...document.querySelectorAll("[data-testid=file]")]
    .find(row => row.querySelector(".name").textContent === x)"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Classroom]:
    others: dict[str, MakeDevice] = {"firefox": FirefoxDevice, "webkit": WebKitDevice}
    async with classroom(FILES, phones=1, others=others) as found:
        yield found


async def _drop(tab: Tab, name: str, seed: int) -> str:
    """Drop a file on a page, as with a mouse. Gives the SHA-256 of its content."""
    data = random.Random(seed).randbytes(SIZE)
    await tab.evaluate(DROP, [name, base64.b64encode(data).decode()])
    return hashlib.sha256(data).hexdigest()


async def _says(tab: Tab, name: str, part: str, words: str) -> None:
    """Wait until a part of the row of a file says something."""
    await tab.handle.wait_for_function(
        f"([x, part, words]) => {ROW}?.querySelector(part).textContent.includes(words)",
        arg=[name, part, words],
        timeout=60_000,
        polling=50,
    )


async def _get(tab: Tab, name: str) -> None:
    """Download it, or save what the page has fetched already to keep it for others."""
    key = await tab.evaluate(f"x => {ROW}.dataset.key", name)
    await tab.handle.click(f'[data-key="{key}"] [data-testid="get"]')


@pytest.mark.parametrize("engine", ["firefox", "webkit"])
async def test_what_it_shares_all_get(made: Classroom, tmp_path: Path, engine: str) -> None:
    name = f"from {engine}.mp4"
    right = await _drop(made.tabs[engine], name, 1)
    (phone,) = made.phone_tabs
    folder = await saving_to(phone, tmp_path / "phone")
    await _says(phone, name, ".facts", "the bridge")
    await _get(phone, name)
    assert await asyncio.to_thread(digest, await saved(folder, name, SIZE)) == right
    assert made.problems() == []


async def test_firefox_saves_what_chromium_shared(made: Classroom, tmp_path: Path) -> None:
    path = await asyncio.to_thread(content, tmp_path, "for firefox.mp4", SIZE, 2)
    (phone,) = made.phone_tabs
    firefox = made.tabs["firefox"]
    assert isinstance(firefox.holder, FirefoxDevice)
    await share(phone, path)
    await _says(firefox, path.name, ".facts", "the bridge")
    await _get(firefox, path.name)
    await _says(firefox, path.name, ".state", "Saved")
    got = await saved(firefox.holder.downloads, path.name, SIZE)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)
    assert made.problems() == []
