"""Load: a lecture hall votes within one second; the host is a tab in Chromium.

N Python clients on another host of the LAN (one process) join, wait until told who hosts, and cast
one vote each at a random moment of the same second. Every vote must be acknowledged, and the tally
must hold every voter once. The bridge's memory is read while all are connected. With ``--tabs``
there are so many tabs with Pyodide as well, which show every change and vote in the same second:
all of them on this one machine, where a class has a processor for each.

Baseline: as many bare WebSockets send a text of a vote's size to a Starlette echo route, on the
same hosts, spread in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it comes without
from _common import count, finish, machine, say, summary

from tests.e2e.classroom import VOTING, Classroom, Tab, classroom, until
from tests.e2e.rooms import Room, close, fill, memory
from tests.lan.lan import Host

ECHO_PORT = 9009
VOTE_BYTES = 170
"""A ``request`` frame with a vote in it."""

POLL = {"type": "create_poll", "kind": "single", "question": "Load?", "options": ["A", "B", "C"]}


async def run_clients(host: Host, **options: Any) -> dict[str, Any]:
    script = Path(__file__).with_name("_clients.py")
    said = await asyncio.to_thread(
        host.run, sys.executable, script, json.dumps(options), timeout=180.0
    )
    got: dict[str, Any] = json.loads(said)
    return got


async def watch_memory(pid: int, peak: list[float]) -> None:
    """The most that the bridge's process held, in MB, asked every 50 ms."""
    process = psutil.Process(pid)
    while True:
        peak[0] = max(peak[0], process.memory_info().rss / 1e6)
        await asyncio.sleep(0.05)


VOTE = """async ([pollId, choice, wait]) => {
    const { connect } = await import("/ftweb/client.js");
    const connection = await connect();
    await new Promise((resolve) => setTimeout(resolve, wait));
    const started = performance.now();
    const reply = await connection.send({ type: "vote", poll_id: pollId, choice });
    return reply.accepted ? performance.now() - started : null;
}"""
"""A tab's own vote, after so many milliseconds, by the connection that its page has."""


async def tabs_vote(tabs: list[Tab], poll_id: str, chooser: random.Random) -> list[float]:
    """Each at a moment of its own within a second; gives the milliseconds that each took."""
    took = await asyncio.gather(
        *(
            tab.evaluate(VOTE, [poll_id, str(number % 3), chooser.random() * 1000])
            for number, tab in enumerate(tabs)
        )
    )
    return [value for value in took if value is not None]


class Cpu:
    """Seconds of processor that groups of processes use inside the block, by threads' names."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        self._groups = groups
        self.used: dict[str, Any] = {}

    def _read(self) -> dict[str, dict[str, float]]:
        return {name: seconds_of(pids) for name, pids in self._groups.items()}

    def __enter__(self) -> Cpu:
        self._before, self._began = self._read(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        for name, after in self._read().items():
            before = self._before[name]
            used = {thread: now - before.get(thread, 0.0) for thread, now in after.items()}
            most = dict(sorted(used.items(), key=lambda one: -one[1])[:THREADS])
            most = {thread: round(seconds, 2) for thread, seconds in most.items()}
            self.used[name] = {"all": round(sum(used.values()), 2), **most}
        self.used["wall"] = round(time.perf_counter() - self._began, 2)


THREADS = 6
"""Names of threads told of each group: those that use most."""


def seconds_of(pids: list[int]) -> dict[str, float]:
    """By name of the thread: a tab's workers are called DedicatedWorker."""
    found: dict[str, float] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                name, _, rest = task.read_text().partition("(")[2].rpartition(")")
                user, system = rest.split()[11:13]
                found[name] = found.get(name, 0.0) + (int(user) + int(system)) / ticks
    return found


async def baseline(made: Classroom, clients: int) -> dict[str, Any]:
    laptop, crowd = made.bridge.host, made.lan.host("crowd")
    server = laptop.popen(
        sys.executable, Path(__file__).with_name("_echo.py"), laptop.address, str(ECHO_PORT)
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    (await asyncio.to_thread(crowd.connect, laptop.address, ECHO_PORT)).close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        url = f"ws://{laptop.address}:{ECHO_PORT}/"
        return await run_clients(
            crowd, kind="echo", url=url, count=clients, text="v" * VOTE_BYTES, seed=1
        )
    finally:
        server.kill()
        server.wait()


@contextlib.asynccontextmanager
async def filled(made: Classroom, tabs: int) -> AsyncIterator[list[Room]]:
    """Rooms with so many tabs."""
    rooms = [Room(made, f"room{number}") for number in range(2)] if tabs else []
    try:
        await asyncio.gather(*(room.start() for room in rooms))
        if rooms:
            started = time.perf_counter()
            await fill(rooms, (tabs // 2, tabs - tabs // 2), random.Random(1), count)
            seconds = time.perf_counter() - started
            say(f"{tabs} tabs after {seconds:.0f} s, {memory(rooms):.0f} MB")
        yield rooms
    finally:
        await close(rooms)


async def measure(clients: int, tabs: int) -> tuple[dict[str, Any], bool]:
    before = machine()
    # One phone beside the laptop, so that a vote is committed by three voters, one over the LAN.
    async with classroom(VOTING, phones=1) as made, filled(made, tabs) as rooms:
        assert made.bridge.process is not None
        pid = made.bridge.process.pid
        idle = psutil.Process(pid).memory_info().rss / 1e6
        peak = [idle]
        watcher = asyncio.create_task(watch_memory(pid, peak))
        created = await made.script(POLL, presenter=True)
        poll_id = created["replies"][0]["poll_id"]
        say(f"{clients} clients join")
        crowd = made.lan.host("crowd")
        gate = made.lan.directory / "gate"
        started = time.perf_counter()
        running = asyncio.create_task(
            run_clients(
                crowd,
                kind="ftweb",
                url=made.bridge.join_url,
                count=clients,
                poll_id=poll_id,
                seed=1,
                gate=str(gate),
            )
        )

        async def joined() -> bool:
            return gate.exists() or running.done()

        await until(joined, 120, 0.02)
        voters = [tab for room in rooms for tab in room.tabs]
        for tab in voters:
            await tab.until("s.state === 'connected'")
        groups = {"bridge and host": made.bridge.host.pids()}
        groups["tabs"] = [pid for room in rooms for pid in room.device.host.pids()]
        groups["this script"] = [os.getpid()]
        with Cpu(groups) as cpu:
            gate.unlink(missing_ok=True)
            of_tabs = await tabs_vote(voters, poll_id, random.Random(2))
            voted = await running
        say(f"voted, {time.perf_counter() - started:.1f} s in all; CPU: {cpu.used}")
        late = await made.script({"type": "tally", "poll_id": poll_id})
        watcher.cancel()
        problems = made.problems() + [p for room in rooms for p in room.device.problems]
        hosting = (await made.presenter.status())["hosting"]
        say("baseline")
        echoed = await baseline(made, clients)
    tally = late["replies"][0]
    of_clients = voted["latencies"]
    votes, echo = summary(of_clients + of_tabs), summary(echoed["latencies"])
    result = {
        "benchmark": "load",
        "clients": clients,
        "tabs": tabs,
        "vote_ms": votes,
        "acknowledged": len(of_clients) + len(of_tabs),
        "failed": voted["failed"],
        "voters_in_tally": tally["voters"],
        "votes_in_tally": sum(tally["counts"].values()),
        "joined_seconds": voted["connected_seconds"],
        "bridge_idle_mb": round(idle, 1),
        "bridge_peak_mb": round(peak[0], 1),
        "cpu_seconds_while_voting": cpu.used,
        "baseline_echo_ms": echo,
        "ratio": round(votes["median"] / echo["median"], 1),
        "host_unchanged": hosting,
        "page_problems": problems,
        "machine": before,
    }
    if of_tabs:
        result["clients_vote_ms"], result["tabs_vote_ms"] = summary(of_clients), summary(of_tabs)
    complete = (
        len(of_clients) + len(of_tabs)
        == tally["voters"]
        == sum(tally["counts"].values())
        == clients + tabs
    )
    return result, complete and not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--tabs", type=int, default=0, help="with Pyodide, beside the clients")
    arguments = parser.parse_args()
    result, ok = asyncio.run(measure(arguments.clients, arguments.tabs))
    finish(result, ok=ok)
