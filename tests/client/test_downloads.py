"""Python downloads from holders that die, lie, stall and come back, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftweb.client.downloads import download
from ftweb.errors import FileError
from ftweb.files import Manifest, describe, parse_manifest
from ftweb.transports import fetching

CONTENT = random.Random(7).randbytes(9 * 65536 + 77)
MANIFEST = describe("lecture.mp4", "video/mp4", [CONTENT], chunk_bytes=65536)


class Holder:
    """A holder that can be made to misbehave. Speaks just enough HTTP."""

    def __init__(self, content: bytes = CONTENT, manifest: Manifest = MANIFEST) -> None:
        self.content = content
        self.manifest = manifest
        self.asked: list[tuple[int, int]] = []
        """Index and first byte of each request."""
        self.breaks_after: int | None = None
        """Bytes after which each response breaks off."""
        self.lies = False
        self.silent = False
        self.raw: bytes | None = None
        """What it answers whatever it is asked."""
        self.lacks: set[int] = set()
        self.server: asyncio.Server | None = None
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self.server.wait_closed()
            self.server = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        index = int(head.split(" ")[1].rsplit("/", 1)[1])
        start = int(head.split("range: bytes=")[1].split("-")[0]) if "range:" in head else 0
        self.asked.append((index, start))
        if self.silent:
            await reader.read()
            return
        if self.raw is not None:
            writer.write(self.raw)
            await writer.drain()
            return
        if index in self.lacks:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        at = index * self.manifest.chunk_bytes
        body = self.content[at + start : at + self.manifest.chunk_size(index)]
        if self.lies:
            body = bytes(len(body))
        status = "206 Partial Content" if start else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body[: self.breaks_after])
        await writer.drain()


@pytest.fixture
async def holders() -> AsyncIterator[list[Holder]]:
    made = [Holder() for _ in range(3)]
    for one in made:
        await one.start()
    yield made
    for one in made:
        await one.stop()


async def get(target: Path, *holders: Holder, manifest: Manifest = MANIFEST) -> Path:
    async with asyncio.timeout(30):
        return await download(manifest, target, origins=[one.origin for one in holders])


async def test_from_all_of_them(tmp_path: Path, holders: list[Holder]) -> None:
    told: list[int] = []
    origins = [one.origin for one in holders]
    got = await download(MANIFEST, tmp_path, origins=origins, on_progress=told.append)
    assert got == tmp_path / "lecture.mp4"
    assert got.read_bytes() == CONTENT
    assert all(one.asked for one in holders)
    assert sorted(index for one in holders for index, _ in one.asked) == list(range(10))
    assert told[-1] == len(CONTENT)
    assert told == sorted(told)
    assert not (tmp_path / "lecture.mp4.part").exists()


async def test_an_empty_file(tmp_path: Path, holders: list[Holder]) -> None:
    empty = describe("nothing", "text/plain", [], chunk_bytes=65536)
    assert (await get(tmp_path, *holders, manifest=empty)).read_bytes() == b""


async def test_on_from_the_next_byte(tmp_path: Path, holders: list[Holder]) -> None:
    breaking, other, _ = holders
    breaking.breaks_after = 1000
    assert (await get(tmp_path / "x", breaking, other)).read_bytes() == CONTENT
    assert (0, 1000) in other.asked, "what the first had sent was not fetched again"


async def test_three_die_one_after_the_other_and_the_first_returns(
    tmp_path: Path, holders: list[Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def get_counting(origin: str, *words: Any) -> AsyncIterator[Any]:
        try:
            async with fetching_get(origin, *words) as answer:
                yield answer
        except ConnectionRefusedError:
            refused[origin] += 1
            raise

    fetching_get = fetching.get
    monkeypatch.setattr(fetching, "get", get_counting)
    for one in holders:
        one.breaks_after = 30_000
    task = asyncio.create_task(get(tmp_path / "x", *holders))
    for one in holders:
        while not one.asked:  # noqa: ASYNC110 - what a server was asked
            await asyncio.sleep(0.01)
        await one.stop()
    # Nobody is left: each is tried once more in vain, and the download waits.
    while min(refused[one.origin] for one in holders) < 1:  # noqa: ASYNC110 - what a client tried
        await asyncio.sleep(0.01)
    assert not task.done()
    holders[0].breaks_after = None
    await holders[0].start()
    assert (await task).read_bytes() == CONTENT


async def test_a_liar_and_one_that_lacks_some(tmp_path: Path, holders: list[Holder]) -> None:
    liar, partial, honest = holders
    liar.lies = True
    partial.lacks = {2, 3, 5}
    assert (await get(tmp_path / "x", *holders)).read_bytes() == CONTENT
    assert {2, 3, 5} <= {index for index, _ in honest.asked} | {i for i, _ in liar.asked}


WHOLE = CONTENT[:65536]
HOSTILE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "an error": b"HTTP/1.1 500 Oops\r\nContent-Length: 65536\r\n\r\n" + WHOLE,
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
    "a part of what was asked for whole": b"HTTP/1.1 206 Partial Content\r\n\r\n" + WHOLE,
    "another chunk": b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT[1000:66536],
    "too much": b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE + b"more",
    "too little": b"HTTP/1.1 200 OK\r\nContent-Length: 65535\r\n\r\n" + WHOLE[:-1],
    "less than it says": b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + WHOLE[:999],
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
    "an absurd length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + WHOLE,
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n",
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
async def test_whatever_one_answers_the_other_is_enough(
    tmp_path: Path, holders: list[Holder], raw: bytes
) -> None:
    hostile, honest, _ = holders
    hostile.raw = raw
    assert (await get(tmp_path / "x", hostile, honest)).read_bytes() == CONTENT
    assert hostile.asked


async def test_one_that_says_nothing_is_left(
    tmp_path: Path, holders: list[Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FILE_STALL_SECONDS", 0.2)
    holders[0].silent = True
    assert (await get(tmp_path / "x", *holders)).read_bytes() == CONTENT


async def test_on_from_where_the_last_run_stopped(tmp_path: Path, holders: list[Holder]) -> None:
    target = tmp_path / "x"
    (tmp_path / "x.part").write_bytes(CONTENT[: 4 * 65536 + 100])
    assert (await get(target, holders[0])).read_bytes() == CONTENT
    assert sorted(index for index, _ in holders[0].asked) == [4, 5, 6, 7, 8, 9]


async def test_a_replaced_file_begins_anew(
    tmp_path: Path, holders: list[Holder], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x.part").write_bytes(bytes(500_000))
    with caplog.at_level(logging.WARNING):
        assert (await get(tmp_path / "x", holders[0])).read_bytes() == CONTENT
    assert "begins anew" in caplog.text


async def test_a_manifest_that_lies_about_the_whole(tmp_path: Path, holders: list[Holder]) -> None:
    lying = parse_manifest({**MANIFEST.to_dict(), "sha256": "0" * 64})
    with pytest.raises(FileError) as caught:
        await get(tmp_path / "x", holders[0], manifest=lying)
    assert caught.value.code == "bad_chunk"
    assert not (tmp_path / "x").exists()


async def test_giving_up(tmp_path: Path, holders: list[Holder]) -> None:
    await holders[0].stop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await download(MANIFEST, tmp_path / "x", origins=[holders[0].origin])
