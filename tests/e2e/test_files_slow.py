"""Files on the LAN from a phone with a slow link."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.classroom import classroom
from tests.e2e.files import FILES, content, share, shared


async def test_a_slow_upload_is_not_given_up(tmp_path: Path) -> None:
    """At 2 Mbit/s each of four chunks takes 16 s: four times the time that nothing may move."""
    path = await asyncio.to_thread(content, tmp_path, "photo.raw", 4 << 20, 12)
    async with classroom(FILES, phones=2) as made:
        one, two = made.phone_tabs
        one.device.host.slow_down(2_000)
        await share(one, path)
        await shared(two, path.name)
        assert made.problems() == []
