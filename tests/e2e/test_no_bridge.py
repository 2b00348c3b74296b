"""Data channels among the tabs, and what they are for: going on with no bridge at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Classroom, classroom

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made() -> AsyncIterator[Classroom]:
    async with classroom(APPS / "ledger") as made:
        yield made


async def test_every_tab_has_a_channel_to_every_member(made: Classroom) -> None:
    """Between hosts of the LAN, from insecure origins, with no server to help."""
    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    assert made.problems() == []
