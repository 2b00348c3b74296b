"""Beginnings: the first epoch, and those after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ftweb.app import Machine, commands
from ftweb.beginning import Genesis
from ftweb.bridge.bootstrap import EPOCH_FILE, begin_epoch
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import Configuration, Entry, EntryKind, HardState, NodeId
from ftweb.core.snapshot import is_intact
from ftweb.epochs import first_index, generation_of
from ftweb.errors import LimitError, StorageError
from ftweb.storage import Saved

GENESIS = Genesis(guid="a" * 32, name="vote", bundle="b" * 64, initial_state={"count": 0})
CLIENT = "c" * 32


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    with SqliteStorage(tmp_path / "replica.sqlite3") as opened:
        yield opened


def load(storage: SqliteStorage) -> Saved:
    saved = storage.load()
    assert saved is not None
    return saved


def machine_of(saved: Saved) -> Machine:
    machine = Machine()
    if saved.snapshot is not None:
        machine.restore(saved.snapshot.data)
    for entry in saved.entries:
        if entry.kind is EntryKind.COMMAND:
            machine.apply(entry.index, entry.data)
    return machine


def work(storage: SqliteStorage, epoch: int, first: int) -> int:
    """A session and a vote, as a host would have appended them. Returns the session."""
    add = [{"op": "replace", "path": "/count", "value": 1}]
    storage.save(
        epoch=epoch,
        hard_state=HardState(term=7, vote=None),
        entries=[
            Entry(index=first, term=7, kind=EntryKind.NOOP),
            Entry(
                index=first + 1,
                term=7,
                kind=EntryKind.COMMAND,
                data=commands.open_session(client_id=CLIENT, at=1000),
            ),
            Entry(
                index=first + 2,
                term=7,
                kind=EntryKind.COMMAND,
                data=commands.request(
                    client_id=CLIENT,
                    session=first + 1,
                    serial=1,
                    acknowledged=0,
                    at=2000,
                    change=add,
                    reply="counted",
                ),
            ),
            Entry(index=first + 3, term=7, kind=EntryKind.NOOP),
        ],
    )
    return first + 1


def test_the_first_epoch(storage: SqliteStorage, tmp_path: Path) -> None:
    node_id = begin_epoch(storage, GENESIS, data_dir=tmp_path)
    saved = load(storage)
    assert (generation_of(saved.epoch), saved.snapshot) == (1, None)
    genesis, configuration = saved.entries
    assert (genesis.index, genesis.kind) == (1, EntryKind.COMMAND)
    assert configuration.kind is EntryKind.CONFIGURATION
    assert configuration.data["voters"] == [node_id]
    machine = machine_of(saved)
    assert (machine.guid, machine.name, machine.bundle) == ("a" * 32, "vote", "b" * 64)
    assert machine.state == {"count": 0}


def test_a_later_epoch_keeps_state_sessions_and_replies(
    storage: SqliteStorage, tmp_path: Path
) -> None:
    first = begin_epoch(storage, GENESIS, data_dir=tmp_path)
    session = work(storage, load(storage).epoch, 3)
    second = begin_epoch(storage, GENESIS, data_dir=tmp_path)
    assert second != first, "a node id is never used again"
    saved = load(storage)
    assert (generation_of(saved.epoch), saved.entries) == (2, ())
    assert saved.hard_state == HardState(term=1, vote=None)
    assert saved.snapshot is not None
    assert is_intact(saved.snapshot)
    assert saved.snapshot.last_index == first_index(6, saved.epoch), "indexes number the sessions"
    assert saved.snapshot.configuration == Configuration(voters=(second,), successors=(second,))
    machine = machine_of(saved)
    assert machine.state == {"count": 1}
    reply = machine.reply_for(CLIENT, session, 1)
    assert reply is not None
    assert reply.payload == "counted"


def test_the_app_may_have_changed_meanwhile(storage: SqliteStorage, tmp_path: Path) -> None:
    begin_epoch(storage, GENESIS, data_dir=tmp_path)
    work(storage, load(storage).epoch, 3)
    changed = replace(GENESIS, bundle="d" * 64, name="votes", initial_state={"other": True})
    begin_epoch(storage, changed, data_dir=tmp_path)
    machine = machine_of(load(storage))
    assert (machine.name, machine.bundle, machine.state) == ("votes", "d" * 64, {"count": 1})


def test_many_restarts(storage: SqliteStorage, tmp_path: Path) -> None:
    for epoch in range(1, 6):
        begin_epoch(storage, GENESIS, data_dir=tmp_path)
        saved = load(storage)
        assert generation_of(saved.epoch) == epoch
        assert machine_of(saved).state == {"count": 0}


def test_epochs_rise_also_when_the_replica_was_lost(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        with SqliteStorage(tmp_path / f"lost-{epoch}.sqlite3") as storage:
            begin_epoch(storage, GENESIS, data_dir=tmp_path)
            assert generation_of(load(storage).epoch) == epoch


@pytest.mark.parametrize("content", ["", "nonsense", "-3", "9" * 400, "\xff"])
def test_a_damaged_epoch_file_counts_as_none(
    storage: SqliteStorage, tmp_path: Path, content: str
) -> None:
    begin_epoch(storage, GENESIS, data_dir=tmp_path)
    (tmp_path / EPOCH_FILE).write_text(content, encoding="latin-1")
    begin_epoch(storage, GENESIS, data_dir=tmp_path)
    assert generation_of(load(storage).epoch) == 2, "the replica knows its epoch by itself"


def test_a_replica_that_was_emptied_begins_anew(storage: SqliteStorage, tmp_path: Path) -> None:
    storage.save(epoch=5)
    begin_epoch(storage, GENESIS, data_dir=tmp_path)
    saved = load(storage)
    assert saved.epoch > 5
    assert machine_of(saved).state == {"count": 0}


def test_a_log_that_cannot_be_applied_is_not_used(storage: SqliteStorage, tmp_path: Path) -> None:
    begin_epoch(storage, GENESIS, data_dir=tmp_path)
    epoch = load(storage).epoch
    storage.save(
        epoch=epoch, entries=[Entry(index=3, term=1, kind=EntryKind.COMMAND, data={"kind": "x"})]
    )
    with pytest.raises(StorageError, match="cannot be taken up") as caught:
        begin_epoch(storage, GENESIS, data_dir=tmp_path)
    assert caught.value.code == "storage_untrusted"
    assert load(storage).epoch == epoch, "what was saved is left as it was"


def test_an_initial_state_that_is_too_large(storage: SqliteStorage, tmp_path: Path) -> None:
    large = replace(GENESIS, initial_state={"text": "x" * 1_000_000})
    with pytest.raises(LimitError):
        begin_epoch(storage, large, data_dir=tmp_path)


def test_ids_are_random(tmp_path: Path) -> None:
    ids: set[NodeId] = set()
    for number in range(3):
        with SqliteStorage(tmp_path / f"{number}.sqlite3") as storage:
            ids.add(begin_epoch(storage, GENESIS, data_dir=tmp_path))
    assert len(ids) == 3
    assert all(len(node_id) == 32 for node_id in ids)
