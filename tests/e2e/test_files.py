"""Files on the LAN: shared by one phone, fetched by others, while their holders die."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.classroom import Classroom, classroom, until
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

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Classroom]:
    async with classroom(FILES, phones=2) as found:
        yield found


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def restored(made: Classroom) -> AsyncIterator[None]:
    await made.restore()
    yield
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
    await two.page.locator(
        '[data-testid="get"]:visible, [data-testid="save"]:visible'
    ).first.click()
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
