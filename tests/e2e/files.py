"""What tests of files share: content, sharing it in a page, saving it, asking a bridge."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from ftweb.files import find_manifests
from tests.e2e.classroom import ROOT, Bridge, Classroom, Tab, until

FILES = ROOT / "examples" / "files"
LARGE = 160_000_000
"""Bytes that take long enough for something to happen meanwhile."""


def content(folder: Path, name: str, size: int, seed: int) -> Path:
    path = folder / name
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def share(tab: Tab, path: Path) -> None:
    await tab.get("choose").set_input_files(path)
    await tab.page.locator(".name", has_text=path.name).wait_for()


async def shared(tab: Tab, name: str) -> None:
    """Wait until a bridge has all of it."""
    row = tab.page.locator('[data-testid="file"]', has_text=name)
    await row.locator(".facts", has_text="the bridge").wait_for(timeout=60_000)


async def saving_to(tab: Tab, folder: Path) -> Path:
    """Have this page's browser save downloads into a folder, as a person's does."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    session = await tab.page.context.new_cdp_session(tab.page)
    await session.send(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
    )
    return folder


async def saved(folder: Path, name: str, size: int, timeout: float = 90) -> Path:
    path = folder / name

    async def there() -> bool:
        return path.exists() and path.stat().st_size == size

    await until(there, timeout)
    return path


async def past(tab: Tab, share_of_it: float) -> None:
    """Wait until the download that is under way has come so far, and is not at its end."""
    await tab.page.wait_for_function(
        "x => [...document.querySelectorAll('progress')].some(p => !p.hidden && p.value > x)",
        arg=share_of_it,
        polling=10,
    )


async def file_id_of(made: Classroom) -> str:
    state = (await made.script())["state"]
    (manifest,) = find_manifests(state)
    return manifest.id


async def status_of(made: Classroom, file_id: str, bridge: Bridge | None = None) -> dict[str, Any]:
    """What a bridge says of a file; ``{}`` while it does not know it or cannot be reached."""
    host = made.lan.host("latecomer")
    asked = bridge or made.bridge
    url = f"http://{asked.host.address}:{asked.port}/ftweb/files/{file_id}/status"
    said = await asyncio.to_thread(host.run, "curl", "-s", "--noproxy", "*", url, check=False)
    try:
        got: dict[str, Any] = json.loads(said)
    except ValueError:
        return {}
    return got
