"""The built runtime, and node workers that run it under Node."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from ftweb import codec
from tests.pyodide_app.bridge import WELCOME

ROOT = Path(__file__).resolve().parent.parent.parent
HARNESS = Path(__file__).parent / "worker.mjs"
SECONDS = 60.0
"""Longest wait for anything here: many times a boot on a busy machine."""


@pytest.fixture(scope="session")
def dist() -> Path:
    """``static/dist/pyodide``."""
    folder = ROOT / "static" / "dist" / "pyodide"
    if not folder.is_dir():
        pytest.fail("The browser runtime is not built; run 'make setup'.")
    return folder


class Worker:
    """A node worker's messages."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def post(self, message: dict[str, Any]) -> None:
        """Say something to it, as the net worker does."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def next(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), SECONDS)
        if not line:
            assert self._process.stderr is not None
            log = (await self._process.stderr.read()).decode()
            pytest.fail(f"The worker has ended:\n{log}")
        message: dict[str, Any] = json.loads(line)
        return message

    async def next_of(self, kind: str) -> dict[str, Any]:
        """What it says next of that kind."""
        while (message := await self.next())["kind"] != kind:
            pass
        return message


class BootWorker(Protocol):
    """Starts a worker with the given app; see :func:`boot_worker`."""

    async def __call__(
        self, files: dict[str, str], *, sha256: str | None = None, stock: bool = False
    ) -> Worker: ...


@asynccontextmanager
async def _running(*command: str) -> AsyncIterator[Worker]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, limit=2**24
    )
    try:
        yield Worker(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def boot_worker(dist: Path) -> AsyncIterator[BootWorker]:
    """A function that starts node workers; they are ended after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            files: dict[str, str], *, sha256: str | None = None, stock: bool = False
        ) -> Worker:
            bundle = make_zip(files)
            options = {
                "kind": "start",
                "bundleUrl": f"data:application/zip;base64,{base64.b64encode(bundle).decode()}",
                "bundle": sha256 or hashlib.sha256(bundle).hexdigest(),
                "welcome": json.loads(codec.encode(WELCOME)),
            }
            command = ["node", str(HARNESS), str(dist), json.dumps(options)]
            if stock:
                command.append("stock")
            return await stack.enter_async_context(_running(*command))

        yield start


def make_zip(files: dict[str, str]) -> bytes:
    """An app bundle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def counter_app() -> dict[str, str]:
    """An app that adds up the numbers it is sent."""
    return {
        "app.py": """
import ftweb

server = ftweb.init_server("counter", state={"sum": 0})


@server.on_receive
def receive(message, source):
    with server.change() as state:
        state["sum"] += message["add"]
    return {"sum": server.get_state()["sum"], "from": source.client_id}
"""
    }
