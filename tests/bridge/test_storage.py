"""The replica on the disk: what was saved comes back, and nothing else ever does."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ftweb.bridge import storage as storage_module
from ftweb.bridge.storage import DATABASE_FILE, SqliteStorage
from ftweb.core import Configuration, Entry, EntryKind, HardState, NodeId, Snapshot
from ftweb.core.snapshot import build
from ftweb.errors import StorageError

ME = NodeId("a" * 32)
ALONE = Configuration(voters=(ME,), successors=(ME,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / DATABASE_FILE


def entry(index: int, term: int = 1, data: object = None) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMAND, data=data or {"n": index})


def snapshot(index: int, data: str = "the state") -> Snapshot:
    return build(last_index=index, last_term=1, configuration=ALONE, data=data)


def edit(path: Path, statement: str, *arguments: object) -> None:
    """Change the file behind the storage's back."""
    db = sqlite3.connect(path)
    assert db.execute(statement, arguments).rowcount > 0
    db.commit()
    db.close()


def test_nothing_saved(path: Path) -> None:
    with SqliteStorage(path) as storage:
        assert storage.load() is None


def test_what_was_saved_comes_back(path: Path) -> None:
    entries = (entry(1), entry(2, data={"text": "ä\u0000\U0001f600", "deep": [[1.5, None, True]]}))
    with SqliteStorage(path) as storage:
        storage.save(epoch=3, hard_state=HardState(term=2, vote=ME), entries=entries)
    with SqliteStorage(path) as storage:
        saved = storage.load()
    assert saved is not None
    assert saved.epoch == 3
    assert saved.hard_state == HardState(term=2, vote=ME)
    assert saved.snapshot is None
    assert saved.entries == entries


def test_entries_replace_those_from_their_first_index_on(path: Path) -> None:
    with SqliteStorage(path) as storage:
        storage.save(epoch=1, entries=[entry(i) for i in range(1, 6)])
        storage.save(epoch=1, entries=[entry(3, term=2)])
        saved = storage.load()
    assert saved is not None
    assert [(e.index, e.term) for e in saved.entries] == [(1, 1), (2, 1), (3, 2)]


def test_a_snapshot_discards_every_entry_and_later_ones_follow_it(path: Path) -> None:
    with SqliteStorage(path) as storage:
        storage.save(epoch=1, entries=[entry(i) for i in range(1, 6)])
        storage.save(epoch=1, snapshot=snapshot(9), entries=[entry(10)])
        saved = storage.load()
    assert saved is not None
    assert saved.snapshot == snapshot(9)
    assert saved.entries == (entry(10),)


def test_compacting_keeps_what_came_after(path: Path) -> None:
    with SqliteStorage(path) as storage:
        storage.save(epoch=1, hard_state=HardState(term=1, vote=ME))
        storage.save(epoch=1, entries=[entry(i) for i in range(1, 6)])
        storage.compact(snapshot(3))
        saved = storage.load()
    assert saved is not None
    assert saved.snapshot == snapshot(3)
    assert saved.entries == (entry(4), entry(5))
    assert saved.hard_state == HardState(term=1, vote=ME)


def test_another_epoch_discards_all_that_was_saved_before(path: Path) -> None:
    with SqliteStorage(path) as storage:
        storage.save(epoch=1, hard_state=HardState(term=9, vote=ME), snapshot=snapshot(3))
        storage.save(epoch=2)
        saved = storage.load()
    assert saved is not None
    assert (saved.epoch, saved.hard_state, saved.snapshot, saved.entries) == (2, None, None, ())


def test_only_one_process_has_the_file(path: Path) -> None:
    with (
        SqliteStorage(path),
        pytest.raises(StorageError, match=r"uses that data directory\. Stop") as caught,
    ):
        SqliteStorage(path)
    assert caught.value.code == "storage_failed"


# --- crashes ----------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import Entry, EntryKind
storage = SqliteStorage(Path(sys.argv[1]))
index = 1
while True:
    entries = [Entry(index=i, term=1, kind=EntryKind.COMMAND, data="x" * 500)
               for i in range(index, index + 3)]
    storage.save(epoch=1, entries=entries)
    index += 3
    sys.stdout.write(f"{index - 1}\\n")
    sys.stdout.flush()
"""


def test_whatever_was_reported_saved_survives_a_kill(path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    reported = 0
    for line in writer.stdout:
        reported = int(line)
        if reported >= 150:
            break
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate()
    reported = max(
        [reported, *(int(line) for line in rest.splitlines(keepends=True) if "\n" in line)]
    )
    with SqliteStorage(path) as storage:
        saved = storage.load()
    assert saved is not None
    assert saved.entries[-1].index >= reported
    assert saved.entries[-1].index % 3 == 0, "a save is all or nothing"


# --- damage -----------------------------------------------------------------------------------


def fill(path: Path) -> None:
    with SqliteStorage(path) as storage:
        storage.save(
            epoch=2,
            hard_state=HardState(term=4, vote=ME),
            snapshot=snapshot(3),
            entries=[entry(4), entry(5), entry(6)],
        )


def refuse(path: Path, complaint: str) -> None:
    """Opening or loading must refuse, keep the file aside, and begin anew only when told to."""
    with pytest.raises(StorageError, match=complaint) as caught, SqliteStorage(path) as storage:
        storage.load()
    assert caught.value.code == "storage_untrusted"
    aside = [p for p in path.parent.iterdir() if ".untrusted-" in p.name]
    assert aside, "the damaged file must be kept"
    assert aside[0].name.partition(".sqlite3")[0] in str(caught.value)
    with SqliteStorage(path) as storage:
        assert storage.load() is None


@pytest.mark.parametrize(
    "statement, complaint",
    [
        ("UPDATE log SET value = replace(value, '5', '7') WHERE idx = 5", "checksum of log 5"),
        ("UPDATE log SET checksum = x'00' WHERE idx = 6", "checksum of log 6"),
        ("UPDATE log SET idx = 7 WHERE idx = 6", "checksum of log 7"),
        ("DELETE FROM log WHERE idx = 5", "entry 5 of the log is missing"),
        ("DELETE FROM log WHERE idx = 4", "entry 4 of the log is missing"),
        ("DELETE FROM meta WHERE key = 'epoch'", "no epoch"),
        ("DELETE FROM meta", "log entries but no epoch"),
        ("DELETE FROM meta WHERE key = 'snapshot'", "entry 1 of the log is missing"),
        ("UPDATE meta SET value = '9' WHERE key = 'epoch'", "checksum of meta epoch"),
        ("UPDATE meta SET value = '{}' WHERE key = 'snapshot'", "checksum of meta snapshot"),
        ("UPDATE meta SET key = 'hard_state2' WHERE key = 'hard_state'", "checksum of meta"),
    ],
)
def test_a_changed_row_is_noticed(path: Path, statement: str, complaint: str) -> None:
    fill(path)
    edit(path, statement)
    refuse(path, complaint)


def test_two_rows_that_changed_places_are_noticed(path: Path) -> None:
    fill(path)
    db = sqlite3.connect(path)
    rows = dict(db.execute("SELECT idx, value FROM log"))
    sums = dict(db.execute("SELECT idx, checksum FROM log"))
    for a, b in ((4, 5), (5, 4)):
        db.execute("UPDATE log SET value = ?, checksum = ? WHERE idx = ?", (rows[b], sums[b], a))
    db.commit()
    db.close()
    refuse(path, "checksum of log 4")


def test_flipped_bits_in_the_file_are_noticed(path: Path) -> None:
    fill(path)
    data = bytearray(path.read_bytes())
    at = data.find(b'"n":5')
    assert at > 0
    data[at + 4] ^= 0x02
    path.write_bytes(data)
    refuse(path, "checksum of log 5")


@pytest.mark.parametrize("kept", [30, 100, 5000])
def test_a_truncated_file_is_noticed(path: Path, kept: int) -> None:
    fill(path)
    os.truncate(path, kept)
    refuse(path, "failed its checks")


def test_a_file_that_is_no_database_is_kept_aside(path: Path) -> None:
    path.write_bytes(b"something else entirely, " * 100)
    refuse(path, "failed its checks")


def test_a_database_of_somebody_else_is_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="not a replica") as caught:
        SqliteStorage(path)
    assert caught.value.code == "storage_untrusted"
    assert path.read_bytes() == before


def test_another_schema_is_refused_and_left_alone(path: Path) -> None:
    fill(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()
    with pytest.raises(StorageError, match="another version of ftweb"):
        SqliteStorage(path)
    assert path.exists()


# --- a full disk ------------------------------------------------------------------------------


def test_a_full_disk_fails_the_save_and_keeps_what_was_there(path: Path) -> None:
    with SqliteStorage(path) as storage:
        storage.save(epoch=1, entries=[entry(1)])
        pages = storage._db.execute("PRAGMA page_count").fetchone()[0]
        storage._db.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StorageError, match="make room on the disk") as caught:
            storage.save(epoch=1, entries=[entry(2, data="x" * 100_000)])
        assert caught.value.code == "storage_failed"
        assert storage.failed
        saved = storage.load()
        assert saved is not None
        assert saved.entries == (entry(1),)
        storage.save(epoch=1, entries=[entry(2)])
    with SqliteStorage(path) as storage:
        saved = storage.load()
    assert saved is not None
    assert saved.entries == (entry(1), entry(2))


LIMITED = """
import resource, signal, sys
from pathlib import Path
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import Entry, EntryKind
from ftweb.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
storage = SqliteStorage(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
index = 0
try:
    while True:
        storage.save(epoch=1, entries=[
            Entry(index=index + 1, term=1, kind=EntryKind.COMMAND, data="x" * 20_000)])
        index += 1
except StorageError as error:
    print(error.code, index)
"""


def test_a_file_system_without_room(path: Path) -> None:
    """The operating system itself refuses to write: what was acknowledged before is all there."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    code, acknowledged = done.stdout.split()
    assert code == "storage_failed"
    with SqliteStorage(path) as storage:
        saved = storage.load()
    assert saved is not None
    assert len(saved.entries) == int(acknowledged) > 0


def test_why_it_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"unable to open database file\. Make it readable"):
        SqliteStorage(tmp_path)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert storage_module._why(full).startswith("the disk is full. Free some space")
