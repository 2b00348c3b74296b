"""HTTP through a tab: downloads of the papers' sizes, also with hosts killed on the way, and JSON.

The same Starlette application (``tests/flyweb/reference``) answers directly under uvicorn and in a
Chromium tab behind a bridge; curl on the laptop asks both over loopback. Content is compared with
what it must be, byte for byte.

Baseline: uvicorn, in turns with the tab in the same run. ``--kill`` adds downloads of the largest
during which the browser that hosts is killed half-way, and such during which three are, in turns
with undisturbed ones: the client is a plain curl that knows nothing of that.

No browser has a debugger attached: one is shown every frame of every WebSocket, which costs more
than all the rest. Which of them hosts the application says itself (``/where``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from _common import finish, machine, percentile, say, summary

from tests.e2e.classroom import Bridge, until
from tests.lan.browsers import find_chromium
from tests.lan.lan import Host, Lan

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "flyweb" / "reference"

SIZES = (223_000_000, 12_000_000, 49_000, 6_600)
"""Of the paper on migrating downloads."""

DIRECT_PORT = 9000

PHONES = 4
"""Browsers besides the laptop's own while hosts are killed: three may die, and two are left."""

MEMORY_BOUND = 64 * 1024 * 1024
"""What a download may add to the memory of the bridge, and to that of the tab's process, whatever
its size: the windows of all responses are 16 MiB (``HTTP_BUFFER_BYTES``), and the rest is copies of
what is under way, and what the collectors have not yet come to."""


class Chromium:
    """A browser with the page that hosts, and nobody attached to it.

    Args:
        host: where it runs.
        name: its user agent, by which the application in it is known.
        url: of the page.
        profile: its folder.
    """

    def __init__(self, host: Host, name: str, url: str, profile: Path) -> None:
        self.name = name
        self._process = host.popen(
            *(find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", f"--user-agent={name}", f"--user-data-dir={profile}", url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """SIGKILL for all of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def renderers(self) -> list[int]:
        """The processes in which its pages run."""
        parents: dict[int, int] = {}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text().rpartition(")")[2].split()[1]
                )
                if "--type=renderer" in (folder / "cmdline").read_text():
                    found.append(int(folder.name))

        def mine(pid: int) -> bool:
            while pid in parents and pid != self._process.pid:
                pid = parents[pid]
            return pid == self._process.pid

        return [pid for pid in found if mine(pid)]


class Memory:
    """The most memory that processes have had since they were last asked."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    def begin(self) -> None:
        """Forget what was; what they have now is the start."""
        for pid in self._pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._start = self._total("VmRSS")

    def added(self) -> int:
        """Bytes that came on top at most."""
        return self._total("VmHWM") - self._start

    def _total(self, field: str) -> int:
        total = 0
        for pid in self._pids:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
        return total * 1024


class Measuring:
    """One run's means: a bridge, uvicorn on the same host, a place for a download."""

    def __init__(self, bridge: Bridge, folder: Path) -> None:
        self.bridge = bridge
        self.laptop: Host = bridge.host
        self.path = folder / "download"

    def content(self, size: int) -> bytes:
        """What ``/large/SIZE`` is."""
        sys.path.insert(0, str(REFERENCE))
        import odd  # type: ignore[import-not-found]

        pattern: bytes = odd.PATTERN
        return (pattern * (size // len(pattern) + 1))[:size]

    def start(self, port: int, size: int, *words: str) -> subprocess.Popen[str]:
        """A download that has begun."""
        self.path.unlink(missing_ok=True)
        url = f"http://localhost:{port}/large/{size}"
        return self.laptop.popen("curl", "-sS", "--fail", *words, "-o", self.path, url)

    async def download(self, port: int, size: int) -> float:
        """Milliseconds of one download by curl, as curl counts them."""
        url = f"http://localhost:{port}/large/{size}"
        words = ("curl", "-sS", "--fail", "-o", str(self.path), "-w", "%{time_total}", url)
        told = await asyncio.to_thread(self.laptop.run, *words, timeout=120)
        return float(told) * 1000

    def right(self, size: int) -> bool:
        """Whether what was downloaded is what it must be."""
        return self.path.read_bytes() == self.content(size)

    async def where(self) -> str:
        """The name of the browser that hosts."""
        url = f"http://localhost:{self.bridge.port}/where"
        return await asyncio.to_thread(self.laptop.run, "curl", "-sS", "--fail", url)

    async def killed(self, browsers: Browsers, size: int, kills: int) -> dict[str, Any]:
        """A download during which so many hosts die, evenly spread.

        With several deaths it is slowed down: a group that has lost two of five voters within a
        second, and a third one before it could replace them, has no majority. A small file is so
        too, or it would be over before anybody dies: it takes a second.
        """
        hosting = await self.where() if kills else ""
        started = time.monotonic()
        slow = ("--limit-rate", "30M") if kills > 1 else ()
        if size < SIZES[0]:
            slow = ("--limit-rate", str(size))
        process = self.start(self.bridge.port, size, *slow)
        for number in range(1, kills + 1):
            wanted = size * number // (kills + 1)

            async def reached(wanted: int = wanted) -> bool:
                return self.path.exists() and self.path.stat().st_size >= wanted

            await until(reached, pause=0.001)
            if number > 1:
                await until(browsers.can_lose_one)
            browsers.kill(hosting)
            if number < kills:
                hosting = await self.where()  # waits for the next one
        code = await asyncio.to_thread(process.wait, 120)
        took = (time.monotonic() - started) * 1000
        right = code == 0 and self.right(size)
        await browsers.restore()
        return {"milliseconds": round(took, 1), "right": right}

    async def json(self, port: int, *, connections: int = 8, each: int = 150) -> dict[str, Any]:
        """Requests a second for a small JSON route, over kept connections."""
        times: list[float] = []
        request = f"GET /cookies HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()

        async def ask() -> None:
            made = await asyncio.to_thread(self.laptop.connect, "127.0.0.1", port)
            reader, writer = await asyncio.open_connection(sock=made)
            for _ in range(each):
                before = time.perf_counter()
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                assert await reader.readexactly(2) == b"{}"
                times.append((time.perf_counter() - before) * 1000)
            writer.close()

        started = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(connections)))
        took = time.perf_counter() - started
        return {
            "requests_a_second": round(len(times) / took),
            "p50": round(percentile(times, 50), 2),
            "p99": round(percentile(times, 99), 2),
        }


class Browsers:
    """The laptop's browser and the phones', each one able to take over."""

    def __init__(self, lan: Lan, bridge: Bridge, phones: int) -> None:
        self._lan = lan
        self._bridge = bridge
        self._names = ["laptop", *(f"phone{number}" for number in range(1, phones + 1))]
        self._profiles = 0
        self.running: dict[str, Chromium] = {}

    async def restore(self) -> None:
        """All of them run and are members, and a majority is left if two of them go."""
        for name in self._names:
            if name not in self.running:
                self._profiles += 1
                self.running[name] = Chromium(
                    self._lan.host(name),
                    name,
                    self._bridge.presenter_url if name == "laptop" else self._bridge.join_url,
                    self._lan.directory / f"profile{self._profiles}",
                )

        async def settled() -> bool:
            health = await self._bridge.healthz()
            whole = health["nodes"] == len(self._names) + 1 and health["host"] is not None
            return whole and (len(self._names) < 4 or health["spare"] >= 2)

        await until(settled, timeout=90)

    async def can_lose_one(self) -> bool:
        """Whether there is a majority without one more of them."""
        return int((await self._bridge.healthz())["spare"]) >= 1

    def kill(self, name: str) -> None:
        """SIGKILL for one of them."""
        self.running.pop(name).kill()

    def close(self) -> None:
        """The end."""
        for name in list(self.running):
            self.kill(name)


@contextlib.asynccontextmanager
async def running(phones: int) -> AsyncIterator[tuple[Measuring, Browsers]]:
    """A LAN, a bridge, uvicorn beside it, and browsers."""
    with Lan() as lan:
        bridge = Bridge(lan.host("laptop"), REFERENCE)
        await bridge.start()
        browsers = Browsers(lan, bridge, phones)
        measuring = Measuring(bridge, lan.directory)
        uvicorn = bridge.host.popen(
            *(sys.executable, "-m", "uvicorn", "--app-dir", REFERENCE, "odd:app"),
            *("--http", "h11", "--log-level", "error", "--port", str(DIRECT_PORT)),
        )
        try:
            await browsers.restore()
            await until(lambda: _answers(measuring, DIRECT_PORT))
            await until(lambda: _answers(measuring, bridge.port))
            yield measuring, browsers
        finally:
            uvicorn.terminate()
            uvicorn.wait()
            browsers.close()
            await bridge.stop()


async def undisturbed(runs: int) -> tuple[dict[str, Any], bool]:
    """Files and JSON, and what they add to the memory of bridge and tab."""
    ok = True
    async with running(phones=0) as (measuring, browsers):
        process = measuring.bridge.process
        assert process is not None
        memories = {
            "bridge": Memory([process.pid]),
            "tab": Memory(browsers.running["laptop"].renderers()),
        }
        files: dict[str, Any] = {}
        added = dict.fromkeys(memories, 0)
        for size in SIZES:
            direct, through = [], []
            for _ in range(runs):
                direct.append(await measuring.download(DIRECT_PORT, size))
                for memory in memories.values():
                    memory.begin()
                through.append(await measuring.download(measuring.bridge.port, size))
                added = {name: max(added[name], memories[name].added()) for name in memories}
                ok &= measuring.right(size)
            files[str(size)] = {
                "direct": summary(direct),
                "through_the_tab": summary(through),
                "share_of_direct": round(min(direct) / min(through), 2),
                "share_of_direct_by_medians": round(
                    statistics.median(direct) / statistics.median(through), 2
                ),
            }
            say(f"{size} bytes: {files[str(size)]}")
        json = {
            "direct": await measuring.json(DIRECT_PORT),
            "through_the_tab": await measuring.json(measuring.bridge.port),
        }
        say(f"JSON: {json}")
        say(f"Memory that a download added at most: {added}")
        ok &= all(one <= MEMORY_BOUND for one in added.values())
    return {
        "files": files,
        "json": json,
        "memory_added_bytes": added,
        "memory_bound_bytes": MEMORY_BOUND,
    }, ok


async def with_kills(runs: int) -> tuple[dict[str, Any], bool]:
    """Downloads during which hosts are killed, and such during which none is."""
    found: dict[str, Any] = {}
    ok = True
    size = SIZES[0]
    async with running(phones=PHONES) as (measuring, browsers):
        await measuring.killed(browsers, size, 0)  # the first one compiles
        times: dict[int, list[float]] = {0: [], 1: [], 3: []}
        for _ in range(runs):
            for kills, each in times.items():
                one = await measuring.killed(browsers, size, kills)
                say(f"{kills} killed: {one}")
                ok &= bool(one["right"])
                each.append(one["milliseconds"])
        for kills, each in times.items():
            found[f"{kills} killed"] = summary(each)
        found["one_kill_adds_milliseconds"] = round(
            statistics.median(times[1]) - statistics.median(times[0]), 1
        )
        for small in SIZES[1:]:
            took: dict[int, list[float]] = {0: [], 1: []}
            for _ in range(runs):
                for kills in took:
                    one = await measuring.killed(browsers, small, kills)
                    say(f"{small} bytes in a second, {kills} killed: {one}")
                    ok &= bool(one["right"])
                    took[kills].append(one["milliseconds"])
            found[f"{small} bytes in a second"] = {
                "none killed": summary(took[0]),
                "one killed": summary(took[1]),
                "one_kill_adds_milliseconds": round(
                    statistics.median(took[1]) - statistics.median(took[0]), 1
                ),
            }
    return found, ok


async def _answers(measuring: Measuring, port: int) -> bool:
    try:
        await measuring.download(port, 10)
    except Exception:
        return False
    return True


async def measure(runs: int, *, files: bool, kills: bool) -> tuple[dict[str, Any], bool]:
    """What was asked for, in one run."""
    result: dict[str, Any] = {"machine": machine()}
    ok = True
    if files:
        found, well = await undisturbed(runs)
        result |= found
        ok &= well
    if kills:
        result["hosts_killed"], well = await with_kills(runs)
        ok &= well
    return result, ok


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5, help="downloads of each kind")
    parser.add_argument("--kill", action="store_true", help="also kill hosts on the way")
    parser.add_argument("--only-kill", action="store_true", help="nothing but that")
    options = parser.parse_args()
    kills = options.kill or options.only_kill
    result, ok = asyncio.run(measure(options.runs, files=not options.only_kill, kills=kills))
    finish(result, ok=ok)


if __name__ == "__main__":
    main()
