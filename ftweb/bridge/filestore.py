"""Chunks of files on a bridge's disk.

::

    files/manifests/<id>.json     what each file consists of
    files/chunks/ab/<sha256>      each chunk once, however many files have it
    files/incoming/               what is being written; emptied at the start

1. A chunk gets its name when all of it is there and its hash is right, in one step. So there are
   no halves, and two that send the same chunk do no harm.
2. Nothing is flushed to the disk on purpose: a chunk that a power cut spoiled is found when it is
   looked at, since each is checked once per start before its first byte leaves. A spoiled one is
   dropped, and others bring it again.
3. Room is reserved before the first byte is written. The quota, the number of files, and what
   must stay free on the disk are in :mod:`ftweb.limits`.
4. A file that the app's state does not name any more is forgotten, see :meth:`FileStore.sweep`.
5. The tables are kept in memory and belong to the event loop; only reading and writing chunks
   runs in threads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from ftweb.errors import FileError, StorageError
from ftweb.files import Manifest, parse_manifest
from ftweb.limits import (
    FILES_DISK_BYTES,
    FILES_FREE_BYTES,
    FILES_KEPT,
    FILES_UNNAMED_SECONDS,
)

_log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
"""How much is read at once in a thread."""


class FileStore:
    """What a bridge has of which files.

    Args:
        folder: made if it is missing.
        clock: seconds since 1970.
        quota: bytes that chunks may take.
        free: bytes that must stay free on the disk.

    Raises:
        StorageError: the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float],
        quota: int = FILES_DISK_BYTES,
        free: int = FILES_FREE_BYTES,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._quota = quota
        self._free = free
        self._manifests: dict[str, Manifest] = {}
        self._touched: dict[str, float] = {}
        self._chunks: dict[str, int] = {}
        self._checked: set[str] = set()
        self._used = 0
        try:
            for name in ("manifests", "chunks", "incoming"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            self._load()
        except OSError as error:
            raise StorageError(
                f"The folder {folder} cannot be used for files: {error.strerror or error}. Make it"
                " writable, or delete it."
            ) from error

    def _load(self) -> None:
        for path in (self._folder / "incoming").iterdir():
            path.unlink()
        for path in (self._folder / "chunks").glob("??/*"):
            self._chunks[path.name] = path.stat().st_size
        self._used = sum(self._chunks.values())
        for path in (self._folder / "manifests").glob("*.json"):
            try:
                manifest = parse_manifest(json.loads(path.read_bytes()))
            except (ValueError, FileError):
                manifest = None
            if manifest is None or f"{manifest.id}.json" != path.name:
                _log.warning("%s is damaged; that file is forgotten here.", path)
                path.unlink()
                continue
            self._manifests[manifest.id] = manifest
            self._touched[manifest.id] = path.stat().st_mtime
            for index, sha256 in enumerate(manifest.chunks):
                if self._chunks.get(sha256, -1) not in (-1, manifest.chunk_size(index)):
                    self._drop(sha256)
        self._drop_orphans()

    # --- manifests --------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes of all chunks, those that are being written included."""
        return self._used

    def get(self, file_id: str) -> Manifest | None:
        """The manifest of a file, if this bridge knows it."""
        return self._manifests.get(file_id)

    def keep(self, manifest: Manifest) -> bool:
        """Know this file from now on. Returns whether it is new here.

        Raises:
            FileError: ``files_full``.
        """
        self._touched[manifest.id] = self._clock()
        if manifest.id in self._manifests:
            return False
        if len(self._manifests) >= FILES_KEPT:
            raise FileError(
                f"This bridge keeps {FILES_KEPT} files; remove some first.", code="files_full"
            )
        path = self._folder / "manifests" / f"{manifest.id}.json"
        temporary = self._new_path()
        try:
            temporary.write_text(json.dumps(manifest.to_dict()), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise _full(error) from error
        self._manifests[manifest.id] = manifest
        return True

    def missing(self, manifest: Manifest) -> list[int]:
        """Indexes of the chunks that are not here."""
        return [at for at, sha256 in enumerate(manifest.chunks) if sha256 not in self._chunks]

    def sweep(self, named: Iterable[str]) -> None:
        """Forget files that are not named, unless something of them came within the last
        FILES_UNNAMED_SECONDS: they may not have been announced yet."""
        now = self._clock()
        for file_id in self._manifests.keys() - set(named):
            if now - self._touched[file_id] >= FILES_UNNAMED_SECONDS:
                del self._manifests[file_id], self._touched[file_id]
                (self._folder / "manifests" / f"{file_id}.json").unlink(missing_ok=True)
        self._drop_orphans()

    # --- chunks -----------------------------------------------------------------------------

    def has(self, sha256: str) -> bool:
        """Whether a chunk is here."""
        return sha256 in self._chunks

    def path(self, sha256: str) -> Path:
        """Where a chunk is."""
        return self._folder / "chunks" / sha256[:2] / sha256

    def is_checked(self, sha256: str) -> bool:
        """Whether a chunk was found right since the start."""
        return sha256 in self._checked

    def check(self, sha256: str) -> bool:
        """Read a chunk and compare its hash. For a thread; tell :meth:`checked` the outcome."""
        digest = hashlib.sha256()
        try:
            with self.path(sha256).open("rb") as file:
                while piece := file.read(READ_BYTES):
                    digest.update(piece)
        except OSError:
            return False
        return digest.hexdigest() == sha256

    def checked(self, sha256: str, *, right: bool) -> None:
        """The outcome of :meth:`check`. A chunk that is not right is dropped."""
        if right:
            self._checked.add(sha256)
        elif sha256 in self._chunks:
            _log.warning("The chunk %s was damaged on the disk; it is fetched anew.", sha256)
            self._drop(sha256)

    def receive(self, sha256: str, size: int) -> Incoming:
        """Begin to write a chunk.

        Raises:
            FileError: ``files_full``.
        """
        if self._used + size > self._quota:
            raise FileError(
                f"This bridge's room for files ({self._quota >> 20} MiB) is full; remove some.",
                code="files_full",
            )
        try:
            free = shutil.disk_usage(self._folder).free
            if free - size < self._free:
                raise FileError(
                    "The bridge's disk is nearly full; free some space on it.", code="files_full"
                )
            incoming = Incoming(self, sha256, size, self._new_path())
        except OSError as error:
            raise _full(error) from error
        self._used += size
        return incoming

    def _arrived(self, sha256: str, size: int, temporary: Path) -> None:
        path = self.path(sha256)
        path.parent.mkdir(exist_ok=True)
        temporary.replace(path)
        if sha256 in self._chunks:
            self._used -= size  # somebody else was faster
        self._chunks[sha256] = size
        self._checked.add(sha256)

    def _released(self, size: int, temporary: Path) -> None:
        self._used -= size
        temporary.unlink(missing_ok=True)

    def _drop(self, sha256: str) -> None:
        self._used -= self._chunks.pop(sha256, 0)
        self._checked.discard(sha256)
        self.path(sha256).unlink(missing_ok=True)

    def _drop_orphans(self) -> None:
        wanted = {sha256 for manifest in self._manifests.values() for sha256 in manifest.chunks}
        for sha256 in self._chunks.keys() - wanted:
            self._drop(sha256)

    def _new_path(self) -> Path:
        return self._folder / "incoming" / secrets.token_hex(8)


class Incoming:
    """One chunk on its way to the disk; :meth:`close` it whatever happens."""

    def __init__(self, store: FileStore, sha256: str, size: int, path: Path) -> None:
        self._store = store
        self._sha256 = sha256
        self._size = size
        self._path = path
        self._digest = hashlib.sha256()
        self._written = 0
        self._open = True
        self._lock = threading.Lock()
        """Who closes waits for a thread that writes: the number of a closed file may be that of
        another one, of the database even, a moment later."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, data: bytes) -> None:
        """Add bytes. For a thread, one call at a time.

        Raises:
            FileError: ``files_full``; ``bad_chunk``: these are too many, or it is closed.
        """
        with self._lock:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if not self._open:
            raise FileError("Nobody waits for this chunk any more.", code="bad_chunk")
        self._written += len(data)
        if self._written > self._size:
            raise FileError(f"This chunk has {self._size} bytes, not more.", code="bad_chunk")
        self._digest.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise _full(error) from error

    def finish(self) -> None:
        """All has been written: give it its name, if it is what it should be.

        Raises:
            FileError: ``bad_chunk``; ``files_full``.
        """
        if self._written != self._size or self._digest.hexdigest() != self._sha256:
            raise FileError(
                "These bytes are not the chunk that the manifest names; send it again.",
                code="bad_chunk",
            )
        with self._lock:
            self._open = False
            os.close(self._file)
        try:
            self._store._arrived(self._sha256, self._size, self._path)
        except OSError as error:
            self._store._released(self._size, self._path)
            raise _full(error) from error

    def close(self) -> None:
        """Throw away what was written, unless it is finished."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            os.close(self._file)
        self._store._released(self._size, self._path)


def _full(error: OSError) -> FileError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text = "The bridge's disk is full; free some space on it."
    else:
        text = f"The bridge cannot write to its disk: {error.strerror or error}."
    return FileError(text, code="files_full")
