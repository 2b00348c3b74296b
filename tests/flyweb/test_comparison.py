"""The same app under uvicorn and through a tab gives the same answers, over the whole table.

Differences that remain stand in ``DIFFERENT``, each with its reason, and in docs/flyweb.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

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
        ws_per_message_deflate=False, server_header=False,
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


@dataclass
class Talk:
    """What one WebSocket conversation brought."""

    subprotocol: str | None = None
    room: str | None = None
    heard: list[str | bytes] = field(default_factory=list)
    close: tuple[int, str] | None = None


async def talk(port: int, *messages: str | bytes, answers: int, subprotocols: list[str]) -> Talk:
    """Say something, hear so many answers, and go, or be closed."""
    found = Talk()
    url = f"ws://127.0.0.1:{port}/talk?x=1"
    offered = [Subprotocol(name) for name in subprotocols] or None
    async with connect(
        url, subprotocols=offered, proxy=None, compression=None, max_size=None
    ) as socket:
        found.subprotocol = socket.subprotocol
        assert socket.response is not None
        found.room = socket.response.headers.get("x-room")
        try:
            for message in messages:
                await socket.send(message)
            async with asyncio.timeout(10):
                for _ in range(answers):
                    heard = await socket.recv()
                    text = heard if isinstance(heard, bytes) else heard.replace(str(port), "PORT")
                    found.heard.append(text)
                if not answers:
                    await socket.recv()
        except ConnectionClosed as closed:
            found.close = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    return found


def without_keys(heard: list[str | bytes]) -> list[str | bytes]:
    """Messages without the handshake's random key."""
    return [
        re.sub(r'\["sec-websocket-key", ?"[^"]*"\]', "", text) if isinstance(text, str) else text
        for text in heard
    ]


@pytest.mark.parametrize(
    "messages, answers, subprotocols",
    [
        (["hé", b"\x00\xff", ""], 3, []),
        ([b""], 1, ["other", "chat"]),
        (["x" * 200_000, b"y" * 200_000], 2, ["other"]),
        (["big"], 1, []),
        (["scope"], 1, ["chat"]),
        (["close"], 0, []),
        (["fail"], 0, []),
        ([f"number {n}" for n in range(200)], 200, []),
    ],
)
async def test_every_conversation_is_the_same(
    direct: int,
    through: int,
    messages: list[str | bytes],
    answers: int,
    subprotocols: list[str],
) -> None:
    expected, got = [
        await talk(port, *messages, answers=answers, subprotocols=subprotocols)
        for port in (direct, through)
    ]
    expected.heard, got.heard = without_keys(expected.heard), without_keys(got.heard)
    assert got == expected


def test_the_table_is_wide() -> None:
    names = [name for name, _, _ in CASES]
    assert len(set(names)) == len(names) >= 60
    assert set(DIFFERENT) <= set(names)


def _short(outcome: dict[str, Any]) -> str:
    text = repr(outcome)
    return text if len(text) < 700 else f"{text[:700]}… ({len(text)})"
