"""Files on the LAN: shared by one phone, fetched by others, while their holders die."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ftweb.limits import FILE_TAB_BYTES
from tests.e2e.classroom import Classroom, Tab, classroom, until
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
from tests.lan import memory

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Classroom]:
    async with classroom(FILES, phones=2) as found:
        yield found


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def restored(made: Classroom) -> AsyncIterator[None]:
    await made.restore()
    yield
    await made.restore()  # a test may have killed the presenter's tab
    for tab in made.tabs.values():
        await tab.page.evaluate("document.querySelectorAll('[data-testid=pause]').length")
    await clear(made)
    assert made.problems() == []


async def clear(made: Classroom) -> None:
    """Remove all files, as the presenter does."""
    presenter = made.presenter.page
    while await presenter.locator('[data-testid="remove"]:visible').count():
        before = await presenter.get_by_test_id("file").count()
        await presenter.locator('[data-testid="remove"]:visible').first.click()
        await presenter.wait_for_function(
            "n => document.querySelectorAll('[data-testid=file]').length < n", arg=before
        )


async def test_everybody_sees_it_at_once_and_gets_the_right_bytes(
    made: Classroom, tmp_path: Path
) -> None:
    path = await asyncio.to_thread(content, tmp_path, "Übung – “1”.pdf", 3_000_000, 1)
    one, two = made.phone_tabs
    folder = await saving_to(two, tmp_path / "two")
    await share(one, path)
    await two.page.locator(".name", has_text=path.name).wait_for()
    await shared(two, path.name)
    await two.get("get").click()
    got = await saved(folder, path.name, 3_000_000)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)
    await two.page.locator(".facts", has_text="2 devices").wait_for(timeout=30_000)


async def test_a_download_outlives_its_bridge_and_a_pause(made: Classroom, tmp_path: Path) -> None:
    path = await asyncio.to_thread(content, tmp_path, "lecture.mp4", LARGE, 2)
    one, two = made.phone_tabs
    folder = await saving_to(two, tmp_path / "two")
    await share(one, path)
    await shared(two, path.name)
    await two.get("get").click()
    await past(two, 0.05)
    made.bridge.kill()
    await two.page.locator(".state", has_text="Waiting").wait_for(timeout=20_000)
    await made.bridge.start()
    await past(two, 0.3)
    await two.get("pause").click()
    await two.page.locator(".state", has_text="Paused").wait_for()
    await two.get("resume").click()
    await past(two, 0.5)
    made.bridge.kill()
    await made.bridge.start()
    got = await saved(folder, path.name, LARGE)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)


async def test_neither_page_nor_curl_need_the_tab_that_shared_it(
    made: Classroom, tmp_path: Path
) -> None:
    """It hosts, too, and is killed while both are at it. Nobody touches them."""
    path = await asyncio.to_thread(content, tmp_path, "lecture.mp4", LARGE, 7)
    _, two = made.phone_tabs
    folder = await saving_to(two, tmp_path / "two")
    await share(made.presenter, path)
    await shared(two, path.name)
    target = tmp_path / "got"
    file_id = await file_id_of(made)
    url = f"http://{made.bridge.host.address}:{made.bridge.port}/ftweb/files/{file_id}"
    curl = ["curl", "-sS", "--noproxy", "*", "--limit-rate", "40M", "-o", str(target), url]
    running = made.lan.host("latecomer").popen(*curl)
    await two.get("get").click()
    await past(two, 0.05)
    await made.kill_browser(made.presenter)
    got = await saved(folder, path.name, LARGE)
    right = await asyncio.to_thread(digest, path)
    assert await asyncio.to_thread(digest, got) == right
    assert await asyncio.to_thread(running.wait, 60) == 0
    assert await asyncio.to_thread(digest, target) == right
    await two.until("s.hostId && s.state === 'connected'")


NAMES = {
    "empty.txt": b"",
    "ملخص الدرس.pdf": b"right to left",
    "🎓👩‍🏫 Notizen.md": b"emoji, joined by joiners",
    "..\\up.txt": b"tries to leave its folder",
    " spaces .tar.gz": b"trimmed",
    "x" * 240 + ".txt": b"long",
    "same-1.txt": b"the same content",
    "same-2.txt": b"the same content",
}
"""Names that files may have on a disk, and content."""

CLEAN = {
    "..\\up.txt": ".._up.txt",
    " spaces .tar.gz": "spaces .tar.gz",
    "x" * 240 + ".txt": "x" * 196 + ".txt",
}


async def test_names_and_contents_of_all_kinds(made: Classroom, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    paths = [tmp_path / name for name in NAMES] + [tmp_path / "more" / "same-1.txt"]
    for path, data in zip(paths, [*NAMES.values(), b"the same name"], strict=True):
        path.write_bytes(data)
    one, two = made.phone_tabs
    await one.get("choose").set_input_files(paths)
    shown = two.page.locator(".name")
    await two.page.wait_for_function(
        "n => document.querySelectorAll('.name').length === n", arg=len(paths)
    )
    wanted = sorted([CLEAN.get(name, name) for name in NAMES] + ["same-1.txt"])
    assert sorted(await shown.all_text_contents()) == wanted
    folder = await saving_to(two, tmp_path / "two")
    for row in await two.page.get_by_test_id("file").all():
        await row.locator(".facts", has_text="the bridge").wait_for(timeout=60_000)
        await row.get_by_test_id("get").click()
        await row.locator(".state", has_text="Saved").wait_for(timeout=30_000)
    # DevTools lets a download overwrite one of the same name: either may have been the last.
    rest = [data for name, data in NAMES.items() if name != "same-1.txt"]
    either = [sorted([*rest, last]) for last in (NAMES["same-1.txt"], b"the same name")]

    def contents() -> list[bytes]:
        found = []
        for one in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # just being renamed
                found.append(one.read_bytes())
        return sorted(found)

    async def all_there() -> bool:
        return await asyncio.to_thread(contents) in either

    await until(all_there)
    assert not (tmp_path.parent / "up.txt").exists()


async def test_what_a_page_shares_or_fetches_is_not_in_its_memory(
    made: Classroom, tmp_path: Path
) -> None:
    """A file above the bound: docs/files.md states it for a tab, and the browser keeps no copy."""
    size = 450_000_000
    path = await asyncio.to_thread(large_content, tmp_path, "lecture.mp4", size)
    one, two = made.phone_tabs
    folder = await saving_to(two, tmp_path / "two")
    with taking(one) as sharing:
        await share(one, path)
        await shared(two, path.name)
    with taking(two) as fetching:
        await two.get("get").click()
        got = await saved(folder, path.name, size)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)
    for added in (sharing, fetching):
        assert 0 < added["renderer"] < FILE_TAB_BYTES / 1e6
        assert added["browser"] < FILE_TAB_BYTES / 1e6


@contextlib.contextmanager
def taking(tab: Tab) -> Iterator[dict[str, float]]:
    """At the end: how many MB its browser's processes took at most above what they had."""
    assert tab.device.process is not None
    pid = tab.device.process.pid
    before = memory.begin(pid)
    added: dict[str, float] = {}
    yield added
    added |= {kind: peak - before.get(kind, 0.0) for kind, peak in memory.peaks(pid).items()}


def large_content(folder: Path, name: str, size: int) -> Path:
    """In pieces, or this process would need the memory."""
    dice = random.Random(size)
    with (folder / name).open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(dice.randbytes(min(1 << 20, size - start)))
    return folder / name


async def test_who_left_half_way_shares_it_again(made: Classroom, tmp_path: Path) -> None:
    """Others wait meanwhile; only what is missing is sent, and there is one file in the list."""
    path = await asyncio.to_thread(content, tmp_path, "photo.raw", 8 << 20, 13)
    one, two = made.phone_tabs
    folder = await saving_to(two, tmp_path / "two")
    one.device.host.slow_down(4_000)
    try:
        await share(one, path)
        await two.get("get").click()
        await past(two, 0.1)
        await made.kill_browser(one)
    finally:
        one.device.host.slow_down(0)
    await two.page.locator(".state", has_text="Waiting").wait_for(timeout=20_000)
    await two.until("s.hostId && s.state === 'connected'")
    one = await made.open(one.holder)
    await one.page.locator(".name", has_text=path.name).wait_for()
    await share(one, path)
    got = await saved(folder, path.name, 8 << 20)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, path)
    await shared(one, path.name)
    assert await one.get("file").count() == 1


async def test_curl_goes_on_after_the_bridge_was_killed(made: Classroom, tmp_path: Path) -> None:
    path = await asyncio.to_thread(content, tmp_path, "handout.zip", LARGE, 3)
    one, two = made.phone_tabs
    await share(one, path)
    await shared(two, path.name)
    file_id = await file_id_of(made)
    target = tmp_path / "got.zip"
    host = made.lan.host("latecomer")
    url = f"http://{made.bridge.host.address}:{made.bridge.port}/ftweb/files/{file_id}"
    curl = ["curl", "-sS", "--noproxy", "*", "-C", "-", "-o", str(target), url]
    first = host.popen(*curl, "--limit-rate", "60M", stderr=subprocess.DEVNULL)

    async def begun() -> bool:
        return target.exists() and target.stat().st_size > LARGE // 20

    await until(begun, pause=0.01)
    made.bridge.kill()
    assert await asyncio.to_thread(first.wait, 10) == 18, "a partial file, as curl says"
    had = target.stat().st_size
    assert 0 < had < LARGE
    await made.bridge.start()
    await asyncio.to_thread(host.run, *curl)
    assert target.stat().st_size == LARGE
    assert await asyncio.to_thread(digest, target) == await asyncio.to_thread(digest, path)


async def test_tabs_give_a_bridge_back_what_it_lost(made: Classroom, tmp_path: Path) -> None:
    path = await asyncio.to_thread(content, tmp_path, "slides.pdf", 5_000_000, 4)
    one, two = made.phone_tabs
    await share(one, path)
    await shared(two, path.name)
    await two.page.locator(".facts", has_text="2 devices").wait_for(timeout=60_000)
    file_id = await file_id_of(made)
    made.bridge.kill()
    await asyncio.to_thread(shutil.rmtree, made.bridge.data / "files")
    await made.bridge.start()

    async def back() -> bool:
        status = await status_of(made, file_id)
        return bool(status.get("complete"))

    await until(back, 60)


async def test_a_replaced_file_begins_anew_and_says_so(made: Classroom, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old = await asyncio.to_thread(content, tmp_path, "plan.bin", LARGE, 5)
    new = await asyncio.to_thread(content, tmp_path / "new", "plan.bin", 2_000_000, 6)
    one, two = made.phone_tabs
    folder = await saving_to(two, tmp_path / "two")
    await share(one, old)
    await shared(two, old.name)
    await two.get("get").click()
    await past(two, 0.05)
    await two.get("pause").click()
    async with one.page.expect_file_chooser() as chooser:
        await one.get("replace").click()
    await (await chooser.value).set_files(new)
    await two.page.locator(".state", has_text="replaced").wait_for(timeout=30_000)
    got = await saved(folder, new.name, 2_000_000)
    assert await asyncio.to_thread(digest, got) == await asyncio.to_thread(digest, new)
