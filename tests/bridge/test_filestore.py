"""Chunks on the disk: whole and right, or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from ftweb.bridge.filestore import FileStore
from ftweb.errors import FileError, StorageError
from ftweb.files import Manifest, describe
from ftweb.limits import FILES_KEPT, FILES_UNNAMED_SECONDS

CONTENT = os.urandom(150_000)


def cut(content: bytes = CONTENT, name: str = "x") -> Manifest:
    return describe(name, "text/plain", [content], chunk_bytes=65536)


MANIFEST = cut()


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.store = self.open()

    def open(self, **limits: int) -> FileStore:
        self.store = FileStore(self.folder, clock=lambda: self.now, **limits)
        return self.store

    def put(self, index: int, data: bytes | None = None, manifest: Manifest = MANIFEST) -> None:
        if data is None:
            data = CONTENT[index * 65536 : (index + 1) * 65536]
        incoming = self.store.receive(manifest.chunks[index], manifest.chunk_size(index))
        try:
            incoming.write(data[:1000])
            incoming.write(data[1000:])
            incoming.finish()
        finally:
            incoming.close()

    def on_disk(self) -> set[str]:
        return {path.name for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "files")


def test_chunks_come_and_stay(rig: Rig) -> None:
    assert rig.store.keep(MANIFEST)
    assert not rig.store.keep(MANIFEST)
    assert rig.store.missing(MANIFEST) == [0, 1, 2]
    rig.put(2)
    rig.put(0)
    assert rig.store.missing(MANIFEST) == [1]
    assert rig.store.used == 65536 + MANIFEST.chunk_size(2)
    store = rig.open()
    assert store.get(MANIFEST.id) == MANIFEST
    assert store.missing(MANIFEST) == [1]
    assert store.used == 65536 + MANIFEST.chunk_size(2)
    assert store.path(MANIFEST.chunks[0]).read_bytes() == CONTENT[:65536]


@pytest.mark.parametrize("data", [b"", CONTENT[:65535], CONTENT[1:65537], CONTENT[:65537]])
def test_what_is_not_the_chunk_leaves_nothing(rig: Rig, data: bytes) -> None:
    rig.store.keep(MANIFEST)
    with pytest.raises(FileError) as caught:
        rig.put(0, data)
    assert caught.value.code == "bad_chunk"
    assert rig.store.used == 0
    assert rig.on_disk() == {f"{MANIFEST.id}.json"}


def test_two_at_once_are_one(rig: Rig) -> None:
    rig.store.keep(MANIFEST)
    one = rig.store.receive(MANIFEST.chunks[0], 65536)
    rig.put(0)
    one.write(CONTENT[:65536])
    one.finish()
    one.close()
    assert rig.store.used == 65536


def test_halves_of_an_earlier_run_are_gone(rig: Rig) -> None:
    rig.store.keep(MANIFEST)
    incoming = rig.store.receive(MANIFEST.chunks[0], 65536)
    incoming.write(CONTENT[:100])
    store = rig.open()
    assert store.used == 0
    assert rig.on_disk() == {f"{MANIFEST.id}.json"}


def test_what_the_disk_spoiled_is_found_and_dropped(rig: Rig) -> None:
    rig.store.keep(MANIFEST)
    for index in range(3):
        rig.put(index)
    first, second, third = MANIFEST.chunks
    rig.store.path(first).write_bytes(CONTENT[:65535] + b"!")
    rig.store.path(second).write_bytes(b"")
    store = rig.open()
    assert store.missing(MANIFEST) == [1], "a wrong size is seen at the start"
    for sha256 in (first, third):
        assert not store.is_checked(sha256)
        store.checked(sha256, right=store.check(sha256))
    assert store.missing(MANIFEST) == [0, 1]
    assert store.is_checked(third)
    rig.put(0)
    assert store.is_checked(first)


def test_a_damaged_manifest_is_forgotten(rig: Rig) -> None:
    rig.store.keep(MANIFEST)
    rig.put(0)
    (rig.folder / "manifests" / f"{MANIFEST.id}.json").write_text("{}")
    store = rig.open()
    assert store.get(MANIFEST.id) is None
    assert rig.on_disk() == set()
    assert store.used == 0


def test_the_quota(rig: Rig) -> None:
    store = rig.open(quota=100_000)
    store.keep(MANIFEST)
    rig.put(0)
    with pytest.raises(FileError, match="is full") as caught:
        rig.put(1)
    assert caught.value.code == "files_full"
    rig.put(2)  # smaller: there is room for it


def test_the_disk_keeps_room_for_the_replica(rig: Rig) -> None:
    rig.open(free=2**60)
    with pytest.raises(FileError, match="nearly full") as caught:
        rig.put(0)
    assert caught.value.code == "files_full"
    assert rig.store.used == 0


def test_a_full_disk_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    rig.store.keep(MANIFEST)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FileError, match="disk is full") as caught:
        rig.put(0)
    assert caught.value.code == "files_full"
    monkeypatch.undo()
    assert rig.store.used == 0
    assert rig.on_disk() == {f"{MANIFEST.id}.json"}


def test_the_number_of_files(rig: Rig) -> None:
    for number in range(FILES_KEPT):
        rig.store.keep(cut(b"", f"{number}"))
    with pytest.raises(FileError) as caught:
        rig.store.keep(MANIFEST)
    assert caught.value.code == "files_full"
    assert not rig.store.keep(cut(b"", "7"))


def test_what_nobody_names_is_forgotten_after_a_while(rig: Rig) -> None:
    other = cut(CONTENT[:65536] + b"other", "other")
    rig.store.keep(MANIFEST)
    rig.store.keep(other)
    rig.put(0)
    rig.put(1)
    rig.put(1, b"other", other)
    rig.now += FILES_UNNAMED_SECONDS - 1
    rig.store.sweep([])
    assert rig.store.get(MANIFEST.id) is not None
    rig.now += 1
    rig.store.sweep([other.id])
    assert rig.store.get(MANIFEST.id) is None
    assert rig.store.missing(other) == [], "what they share stays"
    assert not rig.store.has(MANIFEST.chunks[1])
    assert rig.store.used == 65536 + 5
    rig.store.sweep([])
    assert rig.on_disk() == set()
    assert rig.store.used == 0


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("")
    with pytest.raises(StorageError, match="Make it writable"):
        Rig(tmp_path / "files")


def test_hashes_are_those_of_the_content() -> None:
    assert MANIFEST.chunks[0] == hashlib.sha256(CONTENT[:65536]).hexdigest()


def test_what_is_closed_while_a_thread_writes_goes_into_no_other_file(
    rig: Rig, tmp_path: Path
) -> None:
    """The system gives the number of a closed file to the next one that is opened."""
    incoming = rig.store.receive(MANIFEST.chunks[0], 65536)
    hashing, go_on = threading.Event(), threading.Event()

    class Slow:
        def update(self, data: bytes) -> None:
            hashing.set()
            go_on.wait()

    incoming._digest = Slow()  # type: ignore[assignment]
    other = tmp_path / "database"

    def close_and_open() -> None:
        incoming.close()
        with other.open("wb"):
            writer.join()

    def write() -> None:
        with contextlib.suppress(FileError):
            incoming.write(CONTENT[:1000])

    writer = threading.Thread(target=write)
    closer = threading.Thread(target=close_and_open)
    writer.start()
    hashing.wait()
    closer.start()
    closer.join(0.2)
    go_on.set()
    closer.join()
    assert other.read_bytes() == b""
    with pytest.raises(FileError):
        incoming.write(b"late")
    assert rig.store.used == 0
