"""A node worker as a tab runs it: the built runtime, Pyodide, and a bridge's replica."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ftweb import codec, frames
from tests.pyodide_app.bridge import SOURCE, Bridge
from tests.pyodide_app.conftest import BootWorker

pytestmark = pytest.mark.pyodide


async def test_hosts_an_app(
    tmp_path: Path, boot_worker: BootWorker, counter_app: dict[str, str]
) -> None:
    worker = await boot_worker(counter_app)
    up = await worker.next()
    assert up["kind"] == "up"
    assert len(bytes.fromhex(up["nodeId"])) == 16

    bridge = Bridge(tmp_path, state={"sum": 0})
    kinds = []

    def to_tab(frame: frames.Frame) -> None:
        worker.post({"kind": "frame", "text": codec.encode(frame)})

    async def listen() -> None:
        while True:
            message = await worker.next()
            kinds.append(message["kind"])
            if message["kind"] == "frame":
                bridge.receive(message["text"])

    bridge.to_tab = to_tab
    tasks = [asyncio.create_task(listen()), asyncio.create_task(bridge.driver.run())]
    try:
        bridge.join(up["nodeId"])
        await bridge.until(lambda: bridge.led_by(up["nodeId"]))
        to_tab(bridge.forward())
        await bridge.until(lambda: bridge.session is not None)
        to_tab(bridge.forward(serial=1, payload={"add": 3}))
        await bridge.until(lambda: bridge.reply(1) is not None)
        reply = bridge.reply(1)
        assert reply is not None
        assert reply.payload == {"sum": 3, "from": SOURCE.client_id}
        assert [kind for kind in kinds if kind in ("begin", "end")] == ["begin", "end"]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        bridge.storage.close()


async def test_boots_with_the_stock_library_too(
    boot_worker: BootWorker, counter_app: dict[str, str]
) -> None:
    worker = await boot_worker(counter_app, stock=True)
    assert (await worker.next())["kind"] == "up"


async def test_no_two_boots_have_the_same_id(
    boot_worker: BootWorker, counter_app: dict[str, str]
) -> None:
    workers = await asyncio.gather(boot_worker(counter_app), boot_worker(counter_app))
    first, second = [(await worker.next())["nodeId"] for worker in workers]
    assert first != second


async def test_refuses_another_bundle(boot_worker: BootWorker, counter_app: dict[str, str]) -> None:
    worker = await boot_worker(counter_app, sha256="0" * 64)
    failed = await worker.next()
    assert (failed["kind"], failed["stage"]) == ("failed", "bundle")
    assert "0" * 64 in failed["message"]


async def test_names_file_and_line_of_a_broken_app(boot_worker: BootWorker) -> None:
    worker = await boot_worker({"app.py": "import ftweb\n\nserver = undefined\n"})
    failed = await worker.next()
    assert (failed["kind"], failed["stage"]) == ("failed", "app")
    assert "app.py:3" in failed["message"]
