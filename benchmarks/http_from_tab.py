"""HTTP through a tab: downloads of the papers' sizes, also with hosts killed on the way, and JSON.

The same Starlette application (``tests/flyweb/reference``) answers directly under uvicorn and in a
Chromium tab behind a bridge; curl on the laptop asks both over loopback. Content is compared with
what it must be, byte for byte.

Baseline: uvicorn, before and after in the same run. ``--kill`` adds the downloads during which one
browser, and then three, are killed: the client is a plain curl that knows nothing of that.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _common import finish, machine, percentile, say, summary

from tests.e2e.classroom import Bridge, Classroom, until
from tests.e2e.classroom import classroom as make_classroom
from tests.lan.browsers import find_chromium
from tests.lan.lan import Host, Lan

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "flyweb" / "reference"

SIZES = (223_000_000, 12_000_000, 49_000, 6_600)
"""Of the paper on migrating downloads."""

DIRECT_PORT = 9000


class Measuring:
    """One run's means: a bridge, uvicorn on the same host, a folder for downloads."""

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

    def start(self, port: int, size: int) -> subprocess.Popen[str]:
        """A download that has begun."""
        self.path.unlink(missing_ok=True)
        url = f"http://localhost:{port}/large/{size}"
        return self.laptop.popen("curl", "-sS", "--fail", "-o", self.path, url)

    async def download(self, port: int, size: int) -> float:
        """Milliseconds of one download by curl, as curl counts them."""
        url = f"http://localhost:{port}/large/{size}"
        words = ("curl", "-sS", "--fail", "-o", str(self.path), "-w", "%{time_total}", url)
        told = await asyncio.to_thread(self.laptop.run, *words, timeout=120)
        return float(told) * 1000

    def right(self, size: int) -> bool:
        """Whether what was downloaded is what it must be."""
        return self.path.read_bytes() == self.content(size)

    async def killed(self, classroom: Classroom, size: int, kills: int) -> dict[str, Any]:
        """A download during which so many hosts die, evenly spread."""
        started = time.monotonic()
        process = self.start(self.bridge.port, size)
        for number in range(1, kills + 1):
            wanted = size * number // (kills + 1)

            async def reached(wanted: int = wanted) -> bool:
                return self.path.exists() and self.path.stat().st_size >= wanted

            await until(reached, pause=0.001)
            await classroom.kill_browser(await classroom.host_tab())
        code = await asyncio.to_thread(process.wait, 120)
        took = (time.monotonic() - started) * 1000
        right = code == 0 and self.right(size)
        await classroom.restore()
        return {"milliseconds": round(took, 1), "kills": kills, "right": right}

    def bridge_peak(self) -> int:
        """Most memory that the bridge has had, in bytes."""
        assert self.bridge.process is not None
        status = Path(f"/proc/{self.bridge.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

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


async def measure(runs: int, *, kill: bool) -> tuple[dict[str, Any], bool]:
    """Everything, in one run."""
    result, ok = await undisturbed(runs)
    if kill:
        result["hosts_killed"] = killed = await with_kills()
        ok &= all(bool(one["right"]) for one in killed.values())
    return result, ok


async def undisturbed(runs: int) -> tuple[dict[str, Any], bool]:
    """Files and JSON, with a Chromium to which no debugger is attached: one is shown every frame
    of every WebSocket, which costs more than all the rest."""
    before = machine()
    ok = True
    with Lan() as lan:
        bridge = Bridge(lan.host("laptop"), REFERENCE)
        await bridge.start()
        measuring = Measuring(bridge, lan.directory)
        chromium = bridge.host.popen(
            *(find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", f"--user-data-dir={lan.directory / 'profile'}"),
            bridge.presenter_url,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        uvicorn = bridge.host.popen(
            *(sys.executable, "-m", "uvicorn", "--app-dir", REFERENCE, "odd:app"),
            *("--http", "h11", "--log-level", "error", "--port", str(DIRECT_PORT)),
        )
        try:
            await until(lambda: _answers(measuring, DIRECT_PORT))
            await until(lambda: _answers(measuring, bridge.port))
            files: dict[str, Any] = {}
            for size in SIZES:
                direct, through = [], []
                for _ in range(runs):
                    direct.append(await measuring.download(DIRECT_PORT, size))
                    through.append(await measuring.download(bridge.port, size))
                    ok &= measuring.right(size)
                files[str(size)] = {
                    "direct": summary(direct),
                    "through_the_tab": summary(through),
                    "share_of_direct": round(min(direct) / min(through), 2),
                }
                say(f"{size} bytes: {files[str(size)]}")
            json = {
                "direct": await measuring.json(DIRECT_PORT),
                "through_the_tab": await measuring.json(bridge.port),
            }
            say(f"JSON: {json}")
            peak = measuring.bridge_peak()
        finally:
            for process in (uvicorn, chromium):
                process.terminate()
                process.wait()
            await bridge.stop()
    return {"machine": before, "files": files, "json": json, "bridge_peak_bytes": peak}, ok


async def with_kills() -> dict[str, Any]:
    """Downloads during which hosts are killed. Their browsers have a debugger attached, which is
    how it is known who hosts, and are slower for it: compare with none killed."""
    killed = {}
    async with make_classroom(REFERENCE, phones=3) as classroom:
        measuring = Measuring(classroom.bridge, classroom.lan.directory)
        for size, kills in (
            (SIZES[1], 0),
            (SIZES[1], 1),
            (SIZES[0], 0),
            (SIZES[0], 1),
            (SIZES[0], 3),
        ):
            one = killed[f"{size}, {kills}"] = await measuring.killed(classroom, size, kills)
            say(f"{size} bytes, {kills} killed: {one}")
    return killed


async def _answers(measuring: Measuring, port: int) -> bool:
    try:
        await measuring.download(port, 10)
    except Exception:
        return False
    return True


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5, help="downloads of each size")
    parser.add_argument("--kill", action="store_true", help="also kill hosts on the way")
    options = parser.parse_args()
    result, ok = asyncio.run(measure(options.runs, kill=options.kill))
    finish(result, ok=ok)


if __name__ == "__main__":
    main()
