"""Files: how fast, what a dying holder costs, how much memory.

``--part sizes``: the sizes are those of the migrating-downloads paper: 223 MB, 12 MB, 49 kB and
6.6 kB. For each:

- ``direct``: one GET from plain uvicorn (Starlette's StaticFiles), the baseline;
- ``bridge``: the same GET from a bridge;
- ``download``: ``ftweb.client.downloads``: chunk by chunk from two bridges, each chunk checked, and
  the whole once more;
- ``killed``: the same, and the bridge that has given most is killed half-way (SIGKILL).

``--part deaths``: one 223 MB download during which three bridges die one after the other, until
there is none, and the first comes back.

``--part bridge``: what a bridge needs for files of ``--mb`` each, taken and then sent four times at
once.

``--part tab``: what a browser needs for the same: a file is shared by ``examples/files`` in one
Chromium, fetched and saved in another, whose only bridge is killed at a third and comes back.

Memory is the highest resident size of a process (VmHWM) above what it had before. It must be below
the stated bound for each size, and that of the largest file above that of the smallest by a quarter
of the bound at most. Every download's SHA-256 is compared. Without ``--part`` all are run; with it
each takes less than four minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it comes without
from _common import finish, machine, say
from _files import Bridge, get, make, right, start_static
from playwright.async_api import Page, Playwright, async_playwright

from ftweb.client.downloads import download
from ftweb.files import Manifest
from tests.lan import memory
from tests.lan.browsers import FLAGS, find_chromium

SIZES = {"223 MB": 223_000_000, "12 MB": 12_000_000, "49 kB": 49_000, "6.6 kB": 6_600}
LARGE = SIZES["223 MB"]
BRIDGE_BOUND_MB = 160
"""What files may add to a bridge's memory, whatever their size: 256 downloads and 32 uploads at
half a MiB each, and slack."""
TAB_BOUND_MB = 300
"""What sharing or fetching a file may add to a tab's: FILE_STREAMS chunks of 4 MiB, their copies on
the way to the disk, and what the collector lets lie while it comes at hundreds of MB a second."""


async def fetch(
    manifest: Manifest, target: Path, origins: list[str], at: dict[float, Any] | None = None
) -> float:
    """A download by the Python client; ``at``: what to do once so much of it is here."""
    steps = sorted((at or {}).items())

    def moved(received: int) -> None:
        while steps and received >= steps[0][0] * manifest.size:
            steps.pop(0)[1]()

    begin = time.perf_counter()
    await download(manifest, target, origins=origins, on_progress=moved)
    took = (time.perf_counter() - begin) * 1000
    assert not steps, "the download was over before everything had happened"
    return took


async def sizes(
    folder: Path,
    static: int,
    bridges: list[Bridge],
    files: dict[str, tuple[Path, Manifest]],
    runs: int,
) -> tuple[dict[str, Any], bool]:
    ok = True
    found: dict[str, Any] = {}
    target = folder / "got"
    for name, (path, manifest) in files.items():
        times: dict[str, list[float]] = {"direct": [], "bridge": [], "download": [], "killed": []}
        origins = [bridge.origin for bridge in bridges[:2]]

        def check(target: Path = target, manifest: Manifest = manifest) -> None:
            nonlocal ok
            ok = ok and right(target, manifest)
            target.unlink()

        for _ in range(runs):
            times["direct"].append(await asyncio.to_thread(get, static, f"/{path.name}", target))
            check()
            route = f"/ftweb/files/{manifest.id}"
            times["bridge"].append(await asyncio.to_thread(get, bridges[0].port, route, target))
            check()
            times["download"].append(await fetch(manifest, target, origins))
            check()
            # A file of one chunk is over when it is half here: there the bridge dies before.
            if len(manifest.chunks) > 1:
                killed = await fetch(manifest, target, origins, {0.5: bridges[0].kill})
            else:
                bridges[0].kill()
                killed = await fetch(manifest, target, origins)
            times["killed"].append(killed)
            check()
            await asyncio.to_thread(bridges[0].start)
        medians = {key: round(statistics.median(values), 1) for key, values in times.items()}
        found[name] = {
            "median_ms": medians,
            "bridge_throughput_of_direct": round(medians["direct"] / medians["bridge"], 2),
            "download_throughput_of_direct": round(medians["direct"] / medians["download"], 2),
            "a_kill_adds_ms": round(medians["killed"] - medians["download"], 1),
        }
        say(f"{name}: {found[name]}")
    return found, ok


async def three_deaths(
    folder: Path, bridges: list[Bridge], manifest: Manifest
) -> tuple[dict[str, Any], bool]:
    """All three die one after the other; the first comes back when there is none."""
    target = folder / "three"
    back = threading.Timer(0.5, bridges[0].start)

    def last() -> None:
        bridges[2].kill()
        back.start()

    took = await fetch(
        manifest,
        target,
        [bridge.origin for bridge in bridges],
        {0.2: bridges[0].kill, 0.4: bridges[1].kill, 0.6: last},
    )
    back.join()
    good = right(target, manifest)
    for bridge in bridges[1:]:
        await asyncio.to_thread(bridge.start)
    return {"ms": round(took, 1), "checksum_equal": good}, good


async def bridge_memory(bridge: Bridge, folder: Path, mb: int) -> tuple[dict[str, Any], bool]:
    """One file is taken, and then sent four times at once."""
    path, manifest = await asyncio.to_thread(make, folder, mb * 1_000_000)
    before = bridge.count_memory()
    await asyncio.to_thread(bridge.put, manifest, path)
    taken = bridge.peak() - before
    route = f"/ftweb/files/{manifest.id}"
    targets = [folder / f"got{number}" for number in range(4)]
    gets = (asyncio.to_thread(get, bridge.port, route, target) for target in targets)
    await asyncio.gather(*gets)
    good = all([await asyncio.to_thread(right, target, manifest) for target in targets])
    for one in (*targets, path):
        one.unlink()
    found = {"mb": mb, "taking_adds_mb": round(taken, 1)}
    return {**found, "sending_adds_mb": round(bridge.peak() - before, 1)}, good


@contextlib.asynccontextmanager
async def chromium(playwright: Playwright, bridge: Bridge) -> AsyncIterator[tuple[Page, int]]:
    """The page of ``examples/files`` in a browser of its own, and the id of its main process.

    With a profile on the disk, as people have it: a private window keeps IndexedDB in memory.
    """
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    flags = [flag for flag in FLAGS if not flag.startswith("--headless")]
    with tempfile.TemporaryDirectory(prefix="ftweb-profile-") as profile:
        browser = await playwright.chromium.launch_persistent_context(
            profile, executable_path=find_chromium(), args=flags
        )
        made = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]
        (main,) = (
            one.pid
            for one in made
            if any("--remote-debugging" in word for word in one.cmdline())
            and not any("--type=" in word for word in one.cmdline())
        )
        try:
            page = await browser.new_page()
            await page.goto(f"{bridge.origin}/#join={bridge.info['join_token']}")
            await page.wait_for_function(
                "() => { const s = globalThis.ftweb?.status(); return s?.ready && s.hostId; }",
                timeout=60_000,
            )
            yield page, main
        finally:
            await browser.close()


async def tab_memory(bridge: Bridge, folder: Path, mb: int) -> tuple[dict[str, Any], bool]:
    """One file is shared in one browser, fetched and saved in another."""
    path, manifest = await asyncio.to_thread(make, folder, mb * 1_000_000)
    found: dict[str, Any] = {"mb": mb}

    def note(what: str, idle: memory.Peaks, begin: float, pid: int) -> None:
        peaks = memory.peaks(pid)
        found[what] = {
            "seconds": round(time.perf_counter() - begin, 1),
            "idle_mb": round(idle["renderer"], 1),
            "added_mb": round(peaks["renderer"] - idle["renderer"], 1),
            "added_elsewhere_in_the_browser_mb": {
                kind: round(peak - idle.get(kind, 0.0), 1)
                for kind, peak in peaks.items()
                if kind != "renderer"
            },
        }

    async with async_playwright() as playwright:
        async with chromium(playwright, bridge) as (page, pid):
            idle, begin = memory.begin(pid), time.perf_counter()
            await page.get_by_test_id("choose").set_input_files(path)
            row = page.locator('[data-testid="file"]', has_text=path.name)
            await row.locator(".facts", has_text="the bridge").wait_for(timeout=200_000)
            note("sharing", idle, begin, pid)
        async with chromium(playwright, bridge) as (page, pid):
            row = page.locator('[data-testid="file"]', has_text=path.name)
            button = row.get_by_test_id("get")
            await button.wait_for()
            idle, begin = memory.begin(pid), time.perf_counter()
            async with page.expect_download(timeout=200_000) as saving:
                await button.click()
                await page.wait_for_function(
                    "() => document.querySelector('progress').value > 0.33", polling=20
                )
                bridge.kill()
                await asyncio.to_thread(bridge.start)
            saved = await (await saving.value).path()
            note("fetching", idle, begin, pid)
            good = await asyncio.to_thread(right, saved, manifest)
    path.unlink()
    return found, good


def within(added: Sequence[float], bound: float) -> bool:
    """Below the bound whatever the size, and not more for larger files but for noise."""
    return max(added) <= bound and added[-1] - added[0] <= bound / 4


async def measure(parts: Sequence[str], runs: int, port: int, mb: Sequence[int]) -> bool:
    result: dict[str, Any] = {"benchmark": "files", "parts": list(parts), "machine": machine()}
    ok = True
    with (
        tempfile.TemporaryDirectory(prefix="ftweb-files-") as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        timed = "sizes" in parts or "deaths" in parts
        bridges = [
            Bridge(folder / f"data{number}", port + number) for number in range(3 if timed else 1)
        ]
        for bridge in bridges:
            bridge.start()
            stack.callback(bridge.stop)
        if timed:
            files = {label: make(source, size) for label, size in SIZES.items()}
            for bridge in bridges:
                for path, manifest in files.values():
                    await asyncio.to_thread(bridge.put, manifest, path)
            say("uploaded")
        if "sizes" in parts:
            static = start_static(source)
            stack.callback(static.wait)
            stack.callback(static.kill)
            assert static.stdout is not None
            static_port = int(static.stdout.readline())
            found, right_ones = await sizes(folder, static_port, bridges, files, runs)
            large = found["223 MB"]
            result["sizes"] = found
            result["a_third_of_direct_throughput"] = large["download_throughput_of_direct"] >= 1 / 3
            result["a_kill_adds_half_a_second_at_most"] = large["a_kill_adds_ms"] <= 500
            ok = ok and right_ones
        if "deaths" in parts:
            result["three_holders_die"] = []
            for _ in range(runs):
                found, survived = await three_deaths(folder, bridges, files["223 MB"][1])
                say(f"three deaths: {found}")
                result["three_holders_die"].append(found)
                ok = ok and survived
        if "bridge" in parts:
            result["bridge_memory"] = {"bound_mb": BRIDGE_BOUND_MB, "files": []}
            for number in mb:
                found, right_ones = await bridge_memory(bridges[0], folder, number)
                say(f"bridge: {found}")
                result["bridge_memory"]["files"].append(found)
                ok = ok and right_ones
            added = [one["sending_adds_mb"] for one in result["bridge_memory"]["files"]]
            ok = ok and within(added, BRIDGE_BOUND_MB)
        if "tab" in parts:
            result["tab_memory"] = {"bound_mb": TAB_BOUND_MB, "files": []}
            for number in mb:
                found, right_ones = await tab_memory(bridges[0], folder, number)
                say(f"tab: {found}")
                result["tab_memory"]["files"].append(found)
                ok = ok and right_ones
            for what in ("sharing", "fetching"):
                added = [one[what]["added_mb"] for one in result["tab_memory"]["files"]]
                ok = ok and within(added, TAB_BOUND_MB)
    finish(result, ok=ok)
    return ok


PARTS = ("sizes", "deaths", "bridge", "tab")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this (repeatable)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", type=int, default=8940, help="the first of three")
    parser.add_argument(
        "--mb", type=int, nargs="+", default=[100, 300, 900], help="sizes, the smallest first"
    )
    arguments = parser.parse_args()
    asyncio.run(
        measure(arguments.part or PARTS, arguments.runs, arguments.port, sorted(arguments.mb))
    )
