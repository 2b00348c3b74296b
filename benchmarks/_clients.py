"""Many clients in one process, each casting one vote at a moment of its own within a second.

Run by ``load.py`` on a host of the LAN. Reads one JSON object from its command line, prints one:
``{"latencies": […], "failed": {code: n}, "connected_seconds": …, "spread_seconds": …}``. With
``gate``, a path, it makes a file there when all are connected, and votes once that is removed.

With ``kind`` ``"ftweb"`` each is an ``ftweb.connect`` client. With ``"echo"`` each is a bare
WebSocket that sends a text of the same size and waits for its echo: the baseline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any


async def ftweb_clients(
    url: str, count: int, poll_id: str, seed: int, gate: str | None = None
) -> dict[str, Any]:
    import ftweb
    from ftweb.errors import FtwebError

    opened = asyncio.Event()
    ready = asyncio.Semaphore(0)
    chooser = random.Random(seed)
    moments = [chooser.random() for _ in range(count)]
    latencies: list[float] = []
    failed: Counter[str] = Counter()
    # Connecting all at once is another experiment; a class comes in over a while.
    entrance = asyncio.Semaphore(20)

    async def client(number: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with entrance:
                connection = await stack.enter_async_context(ftweb.connect(url))
            # As a phone does: connected, told who hosts, before the vote.
            await connection.wait_for_status(lambda status: status.host_id is not None, 30)
            ready.release()
            await opened.wait()
            await asyncio.sleep(moments[number])
            started = time.perf_counter()
            message = {"type": "vote", "poll_id": poll_id, "choice": str(number % 3)}
            try:
                reply = await connection.send(message)
            except FtwebError as error:
                failed[error.code] += 1
                return
            if reply == {"accepted": True}:
                latencies.append((time.perf_counter() - started) * 1000)
            else:
                failed[str(reply)] += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(client(number))
        for _ in range(count):
            await ready.acquire()
        connected = time.perf_counter() - began
        if gate is not None:
            await asyncio.to_thread(pass_through, Path(gate))
        opened.set()
        started = time.perf_counter()
    return {
        "latencies": latencies,
        "failed": failed,
        "connected_seconds": round(connected, 2),
        "spread_seconds": round(time.perf_counter() - started, 2),
    }


def pass_through(gate: Path) -> None:
    """Say that we are there, wait until we are let through."""
    gate.touch()
    while gate.exists():
        time.sleep(0.005)


async def echo_clients(url: str, count: int, text: str, seed: int) -> dict[str, Any]:
    from websockets.asyncio.client import connect

    chooser = random.Random(seed)
    moments = [chooser.random() for _ in range(count)]
    latencies: list[float] = []
    sockets = [await connect(url, compression=None) for _ in range(count)]

    async def vote(number: int) -> None:
        await asyncio.sleep(moments[number])
        started = time.perf_counter()
        await sockets[number].send(text)
        await sockets[number].recv()
        latencies.append((time.perf_counter() - started) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(vote(number))
    for socket in sockets:
        await socket.close()
    return {"latencies": latencies, "failed": {}}


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    kind = options.pop("kind")
    run = ftweb_clients if kind == "ftweb" else echo_clients
    print(json.dumps(asyncio.run(run(**options))))
