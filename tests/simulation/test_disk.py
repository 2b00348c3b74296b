"""A torn write is none at all, and damage is noticed: the bridge's real storage, in real files."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftweb.core import Entry, EntryKind, HardState
from ftweb.errors import StorageError
from ftweb.simulation.disk import Kept
from ftweb.simulation.sqlite_disk import KeptInSqlite


@pytest.fixture
def disk() -> Iterator[KeptInSqlite]:
    kept = KeptInSqlite(in_files=True)
    kept.save(epoch=1, hard_state=HardState(term=1, vote=None))
    yield kept
    kept.close()


def vote(index: int) -> Entry:
    return Entry(term=1, index=index, kind=EntryKind.COMMAND, data={"vote": "A" * 50})


def saving(disk: KeptInSqlite | Kept, index: int) -> Callable[[], None]:
    return lambda: disk.save(
        epoch=1,
        hard_state=HardState(term=index, vote=None),
        entries=[vote(index), vote(index + 1)],
    )


@pytest.mark.parametrize("seed", range(25))
def test_of_a_torn_save_nothing_is_there(disk: KeptInSqlite, seed: int) -> None:
    draw = random.Random(seed).random
    torn = 0
    for index in range(1, 20, 2):
        before = disk.load()
        if disk.tear(saving(disk, index), draw):
            torn += 1
            assert disk.load() == before
        else:
            assert disk.load() != before
            continue
        saving(disk, index)()  # the bridge is started again, and saves as ever
        after = disk.load()
        assert after is not None
        assert after.entries[-1] == vote(index + 1)
    assert torn > 5


def test_a_write_ahead_log_that_began_anew_may_be_torn_too(disk: KeptInSqlite) -> None:
    saving(disk, 1)()
    disk._db.execute("PRAGMA wal_checkpoint(RESTART)")
    before = disk.load()
    assert disk.tear(saving(disk, 3), lambda: 0.4)
    assert disk.load() == before


@pytest.mark.parametrize("kept", [Kept, KeptInSqlite])
def test_memory_has_no_writes_to_tear(kept: type[Kept] | type[KeptInSqlite]) -> None:
    disk = kept()
    assert not disk.tear(saving(disk, 1), lambda: 0.5)
    saved = disk.load()
    assert saved is not None
    assert len(saved.entries) == 2
    disk.close()


def test_files_are_removed_at_the_end() -> None:
    disk = KeptInSqlite(in_files=True)
    assert disk._directory is not None
    path = Path(disk._directory.name)
    assert path.is_dir()
    disk.close()
    assert not path.exists()


@pytest.mark.parametrize(
    "how,drawn",
    [("row cut short in storage", [0.0, 0.5, 0.1]), ("bit flipped in storage", [0.0, 0.5, 0.9])],
)
def test_damage_is_noticed(disk: KeptInSqlite, how: str, drawn: list[float]) -> None:
    assert disk.damage(iter(drawn).__next__) == how
    with pytest.raises(StorageError, match="failed its checks"):
        disk.load()
