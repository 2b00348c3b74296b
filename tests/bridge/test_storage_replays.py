"""What is still to be replayed is kept as carefully as the replica."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ftweb.bridge.storage import SqliteStorage
from ftweb.core import Entry, EntryKind, HardState
from ftweb.errors import StorageError
from ftweb.storage import Saved, Switching


def saved(epoch: int) -> Saved:
    entry = Entry(index=1, term=1, kind=EntryKind.NOOP)
    return Saved(
        epoch=epoch, hard_state=HardState(term=1, vote=None), snapshot=None, entries=(entry,)
    )


def test_leaving_is_not_arriving(tmp_path: Path) -> None:
    """Until the new replica has caught up, the old one stands on the disk."""
    path = tmp_path / "replica.sqlite3"
    with SqliteStorage(path) as durable:
        switching = Switching(durable)
        switching.save(epoch=7, hard_state=HardState(term=3, vote=None))
        switching.leave()
        new = saved(5)
        switching.save(epoch=5, hard_state=new.hard_state, entries=new.entries)
        assert switching.load() == new
    with SqliteStorage(path) as durable:  # killed in between
        found = durable.load()
        assert found is not None
        assert (found.epoch, durable.replays()) == (7, [])
        switching = Switching(durable)
        switching.leave()
        switching.save(epoch=5, hard_state=new.hard_state, entries=new.entries)
        switching.arrive(["first", "second", "third"])
        switching.save(epoch=5, hard_state=HardState(term=2, vote=None))
    with SqliteStorage(path) as durable:
        found = durable.load()
        assert found is not None
        assert (found.epoch, found.entries) == (5, new.entries)
        assert durable.replays() == ["first", "second", "third"]
        durable.replayed(2)
        durable.save(epoch=9)  # another epoch, as after a restart: the replay outlives it
        assert durable.replays() == ["third"]


def test_more_to_replay_follows_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "replica.sqlite3"
    with SqliteStorage(path) as durable:
        durable.save(epoch=5)
        durable.remember(["first", "second"])
        durable.replayed(1)
        durable.remember(["third"])
        durable.remember([])
        assert durable.replays() == ["second", "third"]
    with SqliteStorage(path) as durable:
        assert durable.replays() == ["second", "third"]


def test_giving_up_goes_back(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path / "replica.sqlite3") as durable:
        switching = Switching(durable)
        switching.save(epoch=7)
        switching.leave()
        switching.save(epoch=5)
        switching.give_up()
        found = switching.load()
        assert found is not None
        assert found.epoch == 7


def test_a_damaged_replay_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "replica.sqlite3"
    with SqliteStorage(path) as durable:
        durable.replace(saved(5), ["what was asked"])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE replays SET value = 'what was asken'")
    db.close()
    storage = SqliteStorage(path)
    with pytest.raises(StorageError, match="kept aside") as caught:
        storage.replays()
    assert caught.value.code == "storage_untrusted"


def test_a_file_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "replica.sqlite3"
    with SqliteStorage(path) as durable:
        durable.save(epoch=3, hard_state=HardState(term=2, vote=None))
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE replays")
        db.execute("PRAGMA user_version=1")
    db.close()
    with SqliteStorage(path) as durable:
        found = durable.load()
        assert found is not None
        assert (found.epoch, durable.replays()) == (3, [])


def test_what_cannot_be_merged_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "replica.sqlite3"
    with SqliteStorage(path) as durable:
        durable.save(epoch=3)
        aside = durable.keep_aside()
        durable.save(epoch=4)
    with SqliteStorage(aside) as copy:
        found = copy.load()
        assert found is not None
        assert found.epoch == 3
