"""The same app under uvicorn and through a tab has the same WebSocket conversations.

Differences that remain stand in ``DIFFERENT``, each with its reason, and in docs/flyweb.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bridge.conftest import bridge, config, runtime_dir

from .conversations import CONVERSATIONS, DIFFERENT, differences
from .talking import Conversation, talk
from .test_comparison import app_dir, direct, through

__all__ = ["app_dir", "bridge", "config", "direct", "runtime_dir", "through"]


async def test_every_conversation_is_the_same(
    direct: int, through: int, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Semaphore(8)
    wrong: list[str] = []

    async def compare(one: Conversation) -> None:
        async with gate:
            try:
                expected, got = [await talk("127.0.0.1", port, one) for port in (direct, through)]
            except TimeoutError as error:
                wrong.append(str(error))
                return
        wrong.extend(differences(one, expected, got, ([str(direct)], [str(through)])))

    await asyncio.gather(*(compare(one) for one in CONVERSATIONS))
    assert not wrong, "\n".join(["", *wrong])
    # Whatever a client or an app does, the bridge has no traceback of its own to show.
    assert str(Path("ftweb", "bridge")) not in caplog.text


def test_the_table_is_wide() -> None:
    names = [one.name for one in CONVERSATIONS]
    assert len(set(names)) == len(names) >= 100
    assert set(DIFFERENT) <= set(names)
    docs = Path(__file__).parents[2].joinpath("docs", "flyweb.md").read_text(encoding="utf-8")
    assert docs.count(f"{len(names)} WebSocket conversations") == 2
