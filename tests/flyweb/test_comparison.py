"""The same app under uvicorn and through a tab gives the same answers, over the whole table.

Differences that remain stand in ``DIFFERENT``, each with its reason, and in docs/flyweb.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import ftweb.flyweb
from tests.bridge.conftest import Bridge, bridge, config, eventually, runtime_dir

from .table import CASES, DIFFERENT, GUARDED, Case, ask, comparable

__all__ = ["bridge", "config", "runtime_dir"]


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """An app without pages: all addresses are its own."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text("# hosted by the tests' own tabs\n", encoding="utf-8")
    return folder


def load_app() -> Any:
    """The reference application, fresh."""
    path = Path(__file__).parent / "reference" / "odd.py"
    spec = importlib.util.spec_from_file_location("odd_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.fixture
async def direct() -> AsyncIterator[int]:
    """Port of uvicorn with the app, no bridge and no tab."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(
        load_app(), http="h11", ws="websockets-sansio", log_level="critical", lifespan="on",
        server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(settings)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started)
    yield int(listener.getsockname()[1])
    server.should_exit = True
    await task


@pytest.fixture
async def through(bridge: Bridge) -> int:
    """Port of a bridge whose tab serves the app."""
    tab = await bridge.tab(ftweb.flyweb.publish("reference", load_app()))
    await tab.hosts()
    return bridge.port


async def test_every_answer_is_the_same(direct: int, through: int) -> None:
    gate = asyncio.Semaphore(8)
    wrong: list[str] = []

    async def compare(case: Case) -> None:
        async with gate:
            expected = await ask("127.0.0.1", direct, case)
            got = await ask("127.0.0.1", through, case)
        name = case[0]
        if name in DIFFERENT:
            statuses = tuple([a.status for a in o.answers] for o in (expected, got))
            if statuses != DIFFERENT[name][:2]:
                wrong.append(f"{name}: {statuses}, and not {DIFFERENT[name]}")
            return
        left = comparable(expected, str(direct), drop=frozenset())
        right = comparable(got, str(through), drop=GUARDED)
        if left != right:
            wrong.append(f"{name}:\n   direct {_short(left)}\n   tab    {_short(right)}")

    await asyncio.gather(*(compare(case) for case in CASES))
    assert not wrong, "\n".join(["", *wrong])


def test_the_table_is_wide() -> None:
    names = [name for name, _, _ in CASES]
    assert len(set(names)) == len(names) >= 60
    assert set(DIFFERENT) <= set(names)


def _short(outcome: dict[str, Any]) -> str:
    text = repr(outcome)
    return text if len(text) < 700 else f"{text[:700]}… ({len(text)})"
