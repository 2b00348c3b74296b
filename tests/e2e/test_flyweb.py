"""HTTP from another host of the LAN to Python in a real tab: the table, curl, a killed tab."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn

from tests.e2e.classroom import Classroom, Tab, until
from tests.e2e.classroom import classroom as make_classroom
from tests.flyweb.conversations import CONVERSATIONS, differences
from tests.flyweb.table import CASES, DIFFERENT, GUARDED, Case, ask, comparable
from tests.flyweb.talking import Conversation, talk
from tests.lan.lan import Host

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFERENCE = Path(__file__).parents[1] / "flyweb" / "reference"

FILE_TIMES = frozenset({"etag", "last-modified"})
"""Headers that tell when a file was unpacked, which was not at the same time."""


def load_reference() -> Any:
    """The reference application's module."""
    spec = importlib.util.spec_from_file_location("odd_direct", REFERENCE / "odd.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ODD = load_reference()


def content(size: int) -> bytes:
    """What ``/large/SIZE`` is."""
    pattern: bytes = ODD.PATTERN
    return (pattern * (size // len(pattern) + 1))[:size]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Classroom]:
    async with make_classroom(REFERENCE, phones=2) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def classroom(shared: Classroom) -> AsyncIterator[Classroom]:
    await shared.restore()
    yield shared
    assert shared.problems() == []


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def direct() -> AsyncIterator[int]:
    """Port of uvicorn with the app, in this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(
        ODD.app, http="h11", ws="websockets-sansio", log_level="critical", server_header=False
    )
    server = uvicorn.Server(settings)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    yield int(listener.getsockname()[1])
    server.should_exit = True
    await task


def outsider(classroom: Classroom) -> Host:
    """A host of the LAN that has nothing to do with ftweb."""
    return classroom.lan.host("outsider")


async def curl(classroom: Classroom, *words: str | Path, timeout: float = 60) -> tuple[int, bytes]:
    """Run curl there; gives its exit code and output. ``URL`` stands for the server."""
    host = classroom.bridge.host
    base = f"http://{host.address}:{classroom.bridge.port}"
    command = ["curl", "-sS", *(str(word).replace("URL", base) for word in words)]
    process = outsider(classroom).popen(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said, _ = await asyncio.to_thread(process.communicate, timeout=timeout)
    return process.returncode, said.encode()


async def test_a_person_sends_a_form(classroom: Classroom) -> None:
    """As a browser does it, with the headers that it makes of the page's own."""
    phone = classroom.phones[0]
    page = await phone.open(f"http://{classroom.bridge.host.address}:{classroom.bridge.port}/")
    async with page.expect_navigation():
        await page.evaluate(
            """() => {
                const form = document.createElement("form");
                form.method = "post";
                form.action = "/form";
                form.append(Object.assign(document.createElement("input"),
                    { name: "note", value: "Bring a calculator" }));
                document.body.append(form);
                form.submit();
            }"""
        )
    said = await page.inner_text("body")
    assert said[::-1] == "note=Bring+a+calculator", said
    await page.close()
    # The app has no icon, for which the browser asks by itself.
    phone.problems[:] = [one for one in phone.problems if "404 (Not Found)" not in one]


async def test_the_whole_table_through_pyodide(classroom: Classroom, direct: int) -> None:
    bridge = classroom.bridge
    other = outsider(classroom)
    gate = asyncio.Semaphore(4)
    wrong: list[str] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made = await asyncio.to_thread(other.connect, bridge.host.address, bridge.port)
        return await asyncio.open_connection(sock=made)

    async def compare(case: Case) -> None:
        async with gate:
            expected = await ask("127.0.0.1", direct, case)
            got = await ask(bridge.host.address, bridge.port, case, connect=connect)
        if case[0] in DIFFERENT:
            statuses = tuple([a.status for a in o.answers] for o in (expected, got))
            assert statuses == DIFFERENT[case[0]][:2], case[0]
            return
        drop = FILE_TIMES | {"content-length"}  # addresses in bodies differ in length
        left = comparable(expected, f"127.0.0.1:{direct}", "127.0.0.1", drop=drop)
        names = (f"{bridge.host.address}:{bridge.port}", other.address)
        right = comparable(got, *names, drop=drop | GUARDED)
        if left != right:
            wrong.append(f"{case[0]}:\n   direct {left!r:.700}\n   tab    {right!r:.700}")

    await asyncio.gather(*(compare(case) for case in CASES))
    assert not wrong, "\n".join(["", *wrong])


async def test_every_conversation_through_pyodide(classroom: Classroom, direct: int) -> None:
    bridge = classroom.bridge
    other = outsider(classroom)
    gate = asyncio.Semaphore(8)
    wrong: list[str] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made = await asyncio.to_thread(other.connect, bridge.host.address, bridge.port)
        return await asyncio.open_connection(sock=made)

    async def compare(one: Conversation) -> None:
        async with gate:
            expected = await talk("127.0.0.1", direct, one)
            got = await talk(bridge.host.address, bridge.port, one, connect=connect)
        there = [f"127.0.0.1:{direct}", "127.0.0.1"]
        here = [f"{bridge.host.address}:{bridge.port}", other.address]
        wrong.extend(differences(one, expected, got, (there, here)))

    await asyncio.gather(*(compare(one) for one in CONVERSATIONS))
    assert not wrong, "\n".join(["", *wrong])


async def test_curl_gets_pages_ranges_heads_and_keeps_its_connection(classroom: Classroom) -> None:
    code, page = await curl(classroom, "URL/")
    assert (code, page) == (0, b"<h1>page</h1>" * 100)
    assert (await curl(classroom, "-r", "10-19", "URL/file"))[1] == b"line 0001\n"
    code, head = await curl(classroom, "-I", "URL/large/1000")
    assert b"content-length: 1000" in head.lower()
    wanted = ["-w", " %{num_connects};", "URL/sync?name=1", "URL/sync?name=2"]
    assert (await curl(classroom, *wanted))[1] == b"sync 1 1;sync 2 0;"


async def test_curl_uploads(classroom: Classroom, tmp_path: Path) -> None:
    data = content(3_000_000)
    (tmp_path / "data").write_bytes(data)
    code, said = await curl(classroom, "--data-binary", f"@{tmp_path / 'data'}", "URL/body")
    assert code == 0
    assert hashlib.sha256(data).hexdigest().encode() in said


async def test_an_aborted_transfer_leaves_the_tab_well(classroom: Classroom) -> None:
    code, _ = await curl(
        classroom,
        "--max-time",
        "1",
        "--limit-rate",
        "100k",
        "-o",
        "/dev/null",
        "URL/large/50000000",
    )
    assert code == 28
    assert (await curl(classroom, "URL/sync?name=x"))[1] == b"sync x"


async def kill_within(classroom: Classroom, path: Path, size: int) -> Tab:
    """Kill the browser that hosts once the download has begun."""
    async with asyncio.timeout(30):
        while not path.exists() or path.stat().st_size < size // 5:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
    tab = await classroom.host_tab()
    await classroom.kill_browser(tab)
    assert path.stat().st_size < size  # noqa: ASYNC240
    return tab


async def test_a_download_outlives_its_tab(classroom: Classroom, tmp_path: Path) -> None:
    size = 60_000_000
    path = tmp_path / "file"
    target = f"URL/large/{size}"
    running = asyncio.create_task(curl(classroom, "--limit-rate", "20M", "-o", path, target))
    await kill_within(classroom, path, size)
    assert (await running)[0] == 0
    assert path.read_bytes() == content(size)


async def test_curl_goes_on_where_it_was_broken_off(classroom: Classroom, tmp_path: Path) -> None:
    size = 60_000_000
    path = tmp_path / "file"
    target = f"URL/large/{size}?plain"
    running = asyncio.create_task(curl(classroom, "--limit-rate", "20M", "-o", path, target))
    await kill_within(classroom, path, size)
    assert (await running)[0] == 18  # a part of the file
    assert (await curl(classroom, "-C", "-", "-o", path, target))[0] == 0
    assert path.read_bytes() == content(size)


def ids_of(stream: str) -> list[int]:
    """The ids of the events that came whole."""
    whole = stream[: stream.rfind("\n\n")]
    return [int(line[4:]) for line in whole.splitlines() if line.startswith("id: ")]


async def test_curl_goes_on_with_events_after_the_last_one(
    classroom: Classroom, tmp_path: Path
) -> None:
    path = tmp_path / "events"
    listening = asyncio.create_task(curl(classroom, "-N", "-o", path, "URL/ticks"))

    async def ten() -> bool:
        return path.exists() and len(ids_of(path.read_text())) >= 10

    await until(ten)
    await classroom.kill_browser(await classroom.host_tab())
    assert (await listening)[0] == 18  # it ended before its end
    last = ids_of(path.read_text())[-1]
    wanted = ["-N", "-m", "2", "-H", f"Last-Event-ID: {last}", "URL/ticks"]
    code, said = await curl(classroom, *wanted)
    assert code == 28
    assert ids_of(said.decode())[:5] == list(range(last + 1, last + 6))


async def test_a_browser_goes_on_with_events_by_itself(classroom: Classroom) -> None:
    device = classroom.phones[0]
    page = await device.open(f"http://{classroom.bridge.host.address}:{classroom.bridge.port}/")
    await page.evaluate(
        """() => {
            globalThis.seen = [];
            globalThis.opened = 0;
            const source = new EventSource("/ticks");
            source.onopen = () => { opened += 1; };
            source.onmessage = (event) => seen.push([Number(event.lastEventId), event.data]);
        }"""
    )
    await page.wait_for_function("seen.length >= 10")
    await classroom.kill_browser(classroom.presenter)
    died_at = await page.evaluate("seen.length")
    await page.wait_for_function("n => seen.length >= n + 20", arg=died_at)
    seen = await page.evaluate("seen")
    assert seen == [[number, str(number * number)] for number in range(1, len(seen) + 1)]
    assert await page.evaluate("opened") == 2
    await page.close()
    # The browser itself logs what it could not load: the stream that broke, and the page's icon.
    told = classroom.problems()
    assert [each for each in told if "Failed to load resource" not in each] == []


@pytest.mark.parametrize("way", ["--data-binary", "-T"])
async def test_curl_waits_for_100_and_uploads(
    classroom: Classroom, tmp_path: Path, way: str
) -> None:
    data = content(2_000_000)
    (tmp_path / "data").write_bytes(data)
    file = f"{'@' if way == '--data-binary' else ''}{tmp_path / 'data'}"
    wanted = ["-H", "Expect: 100-continue", "-w", " %{http_code}", way, file, "URL/body"]
    code, said = await curl(classroom, *wanted)
    assert (code, said[-4:]) == (0, b" 200")
    assert hashlib.sha256(data).hexdigest().encode() in said
