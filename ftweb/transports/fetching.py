"""Fetching a file over HTTP from whoever has it: for bridges and Python scripts.

:class:`ftweb.files.Transfer` decides what is asked of whom; here it is asked, by the standard
library's HTTP client in threads. A request that brings nothing for FILE_STALL_SECONDS is given
up. Nothing but being cancelled ends :func:`fetch` before the file is there: holders come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from ftweb.errors import FileError
from ftweb.files import Fetch, Manifest, Transfer, parse_manifest
from ftweb.limits import FILE_STALL_SECONDS, PAYLOAD_BYTES

PIECE_BYTES = 256 * 1024

type Keep = Callable[[int, bytes], Awaitable[None]]
"""Saves a chunk that is complete and right. What it raises ends the transfer."""


async def fetch(
    transfer: Transfer, keep: Keep, *, on_progress: Callable[[int], object] | None = None
) -> None:
    """Fetch what is missing of a file.

    Args:
        transfer: what is fetched from whom.
        keep: see :data:`Keep`; chunks come in any order.
        on_progress: called with the bytes that are here.
    """
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()
    try:
        while not transfer.done or under_way:
            wanted = transfer.next(loop.time())
            if wanted is not None:
                under_way.add(asyncio.create_task(_fetch_part(transfer, wanted, keep)))
                continue
            wait = transfer.wait(loop.time())
            if under_way:
                done, under_way = await asyncio.wait(
                    under_way, timeout=wait, return_when=asyncio.FIRST_COMPLETED
                )
                for error in [task.exception() for task in done]:
                    if error is not None:
                        raise error
            else:
                await asyncio.sleep(0.1 if wait is None else wait)
            if on_progress is not None:
                on_progress(transfer.received)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _fetch_part(transfer: Transfer, wanted: Fetch, keep: Keep) -> None:
    now = asyncio.get_running_loop().time
    path = f"/ftweb/files/{transfer.manifest.id}/chunks/{wanted.index}"
    headers = {"Range": f"bytes={wanted.start}-"} if wanted.start else {}
    whole: bytes | None = None
    try:
        async with get(wanted.holder, path, headers) as (status, pieces):
            if status == (206 if wanted.start else 200):
                async for piece in pieces:
                    whole = transfer.take(wanted, piece, now())
                    if not transfer.alive(wanted):
                        break
    except (OSError, http.client.HTTPException):
        pass
    finally:
        transfer.failed(wanted, now())  # unless it is complete
    if whole is not None:
        await keep(wanted.index, whole)


async def get_manifest(origin: str, file_id: str) -> Manifest:
    """A file's manifest, from one holder.

    Raises:
        FileError: ``unknown_file``: it does not have it; ``bad_manifest``: what came is not it.
        OSError: it cannot be reached.
    """
    manifest = parse_manifest(await _get_json(origin, file_id, "manifest"))
    if manifest.id != file_id:
        raise FileError("What came is the manifest of another file.")
    return manifest


async def get_chunks(origin: str, manifest: Manifest) -> set[int]:
    """Which chunks of a file one holder says that it has.

    Raises:
        FileError: ``unknown_file``: none at all; ``bad_manifest``: what came says nothing of it.
        OSError: it cannot be reached.
    """
    said = await _get_json(origin, manifest.id, "status")
    runs = said.get("missing") if isinstance(said, dict) else None
    if not isinstance(runs, list):
        raise FileError("What came is no status of a file.")
    have = set(range(len(manifest.chunks)))
    for run in runs:
        match run:
            case [int(first), int(last)]:
                have -= {index for index in have if first <= index <= last}
            case _:
                raise FileError("What came is no status of a file.")
    return have


async def _get_json(origin: str, file_id: str, what: str) -> Any:
    body = bytearray()
    try:
        async with get(origin, f"/ftweb/files/{file_id}/{what}", {}) as (status, pieces):
            async for piece in pieces:
                body += piece
                if len(body) > PAYLOAD_BYTES:
                    break
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    if status != 200:
        raise FileError("That bridge does not know the file.", code="unknown_file")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise FileError("What came is no JSON.") from error


@contextlib.asynccontextmanager
async def get(
    origin: str, path: str, headers: dict[str, str]
) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
    """One GET: its status and the pieces of its body, read as they are asked for.

    Raises:
        OSError: it cannot be reached, or breaks off.
        http.client.HTTPException: what answers does not speak HTTP.
    """
    parts = urlsplit(origin)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=FILE_STALL_SECONDS
    )

    def begin() -> http.client.HTTPResponse:
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    async def in_thread[T](call: Callable[[], T]) -> T:
        running = asyncio.ensure_future(asyncio.to_thread(call))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The thread knows nothing of it: it is cut off, and what it still opens is closed.
            running.add_done_callback(_heard)
            running.add_done_callback(lambda _: connection.close())
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            raise

    async def pieces(response: http.client.HTTPResponse) -> AsyncIterator[bytes]:
        while piece := await in_thread(lambda: response.read1(PIECE_BYTES)):
            yield piece

    try:
        response = await in_thread(begin)
        yield response.status, pieces(response)
    finally:
        connection.close()


def _heard(task: asyncio.Future[Any]) -> None:
    """Nobody waits for its outcome any more."""
    if not task.cancelled():
        task.exception()
