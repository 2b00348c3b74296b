"""Downloads for Python scripts: from any bridge, on from where the last run stopped.

1. What came is in ``NAME.part`` beside the target, each chunk at its place. The next run checks
   what is there by its hashes and fetches the rest; so a script may be killed at any time.
2. When every chunk is right, the whole is checked once more and the file gets its name, in one
   step.
3. If another file stands in ``NAME.part``, its chunks do not fit and are overwritten: a file that
   was replaced meanwhile begins anew, and the log says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from ftweb.errors import FileError
from ftweb.files import Holders, Manifest, Transfer
from ftweb.transports.fetching import fetch

_LOG = logging.getLogger("ftweb.client")


async def download(
    manifest: Manifest,
    target: Path,
    *,
    origins: Iterable[str],
    on_progress: Callable[[int], object] | None = None,
) -> Path:
    """Fetch a file, whatever becomes of those who have it.

    It waits for as long as nobody has what is missing; use :func:`asyncio.timeout` to give up.

    Args:
        manifest: what to fetch, as in the app's state (:func:`ftweb.files.parse_manifest`).
        target: where it is to be; a directory: there, under its own name.
        origins: bridges to ask, as ``http://192.0.2.7:8765``.
        on_progress: called with the bytes that are here.

    Raises:
        FileError: ``bad_chunk``: all chunks are right and the whole is not: its manifest lies.
        OSError: the target cannot be written.
    """
    if await asyncio.to_thread(target.is_dir):
        target = target / manifest.name
    part = target.with_name(f"{target.name}.part")
    have = await asyncio.to_thread(_present, part, manifest)
    if have:
        _LOG.info("%d of %d chunks are here already.", len(have), len(manifest.chunks))
    transfer = Transfer(manifest, Holders(origins), have=have)

    async def keep(index: int, data: bytes) -> None:
        await asyncio.to_thread(_write, part, index * manifest.chunk_bytes, data)

    await fetch(transfer, keep, on_progress=on_progress)
    await asyncio.to_thread(_finish, part, target, manifest)
    return target


def _present(part: Path, manifest: Manifest) -> list[int]:
    """Chunks that an earlier run brought, by their hashes; the file gets its size."""
    with part.open("a+b") as file:
        before = file.tell()
        file.truncate(manifest.size)
        file.seek(0)
        have = [
            index
            for index, sha256 in enumerate(manifest.chunks)
            if hashlib.sha256(file.read(manifest.chunk_size(index))).hexdigest() == sha256
        ]
    if before and not have and manifest.chunks:
        _LOG.warning("%s held another file, which was replaced: it begins anew.", part.name)
    return have


def _write(part: Path, at: int, data: bytes) -> None:
    with part.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _finish(part: Path, target: Path, manifest: Manifest) -> None:
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != manifest.sha256:
        part.unlink()
        raise FileError(
            f"{manifest.name}: every chunk is right, but not the whole: whoever shared it gave a"
            " wrong hash.",
            code="bad_chunk",
        )
    part.replace(target)
