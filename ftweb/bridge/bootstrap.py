"""How a history begins, and how it goes on after the bridge was away.

1. With nothing saved a new history begins: entry 1 is the genesis (which app, which initial
   state), entry 2 the configuration in which this bridge is the only voter.
2. With something saved a new *epoch* begins from it: the saved log is applied to its end, and
   the result is the snapshot in which this bridge is the only voter. A bridge that restarts is a
   new node (its id is never used again), and tabs that are still there join the new epoch.
   Nothing acknowledged is lost: a bridge releases a reply only after having saved its entry.
   Entries at the log's end of which it is unknown whether they were committed count as
   committed; a client that repeats such a request gets the reply in them.
3. Log indexes go on some way after where they were: they number client sessions, and whoever
   begins another epoch from the same replica must not give the same numbers
   (:mod:`ftweb.epochs`). If other bridges may hold a replica, all requests of the saved log go
   into the new epoch's journal (:mod:`ftweb.app.lineage`).
4. The same happens to a running bridge whose quorum is gone for good, if the app wants to go on
   (:mod:`ftweb.bridge.continuing`).
5. Epochs only rise, also when a replica was lost or set aside: the last one is kept in a file of
   its own beside it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftweb.app import Machine, commands
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import Configuration, Entry, EntryKind, HardState, NodeId, Snapshot
from ftweb.core.configuration import to_data
from ftweb.core.snapshot import build
from ftweb.epochs import SALTS, Fork, first_index
from ftweb.epochs import next_epoch as number_after
from ftweb.errors import FtwebError, StorageError
from ftweb.storage import Saved

EPOCH_FILE = "epoch"

_FIRST_TERM = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Genesis:
    """What a history begins with."""

    guid: str
    name: str
    bundle: str
    """SHA-256 of the app's bundle."""
    initial_state: Any
    bridge: str = ""
    """The own id of the bridge that begins it."""


def begin_epoch(storage: SqliteStorage, genesis: Genesis, *, data_dir: Path) -> NodeId:
    """Make the saved replica the beginning of a new epoch with a new node as its only voter.

    Args:
        storage: what was saved is taken up.
        genesis: the app as it is now; the initial state counts only when nothing was saved.
        data_dir: where the last epoch is kept.

    Returns:
        The id of the node that the new epoch begins with.

    Raises:
        StorageError: the saved replica cannot be trusted, or the new one cannot be saved.
        LimitError: the initial state is too large.
    """
    node_id = NodeId(secrets.token_hex(16))
    first = next_epoch(storage, genesis, data_dir=data_dir, node_id=node_id)
    storage.save(
        epoch=first.epoch,
        hard_state=first.hard_state,
        snapshot=first.snapshot,
        entries=first.entries,
    )
    return node_id


def next_epoch(
    storage: SqliteStorage, genesis: Genesis, *, data_dir: Path, node_id: NodeId
) -> Saved:
    """What the next epoch would begin with; its number is used up, nothing else changes.

    Raises:
        StorageError: the saved replica cannot be trusted.
        LimitError: the initial state is too large.
    """
    saved = storage.load()
    before = max(saved.epoch if saved else 0, _last_epoch(data_dir))
    epoch = number_after(before, secrets.randbelow(SALTS))
    _keep_epoch(data_dir, epoch)
    return beginning(saved, genesis, epoch=epoch, node_id=node_id, at=time.time() * 1000)


def beginning(
    saved: Saved | None,
    genesis: Genesis,
    *,
    epoch: int,
    node_id: NodeId,
    at: float,
    new_machine: Callable[[], Machine] = Machine,
) -> Saved:
    """What a new epoch begins with (rules 1 to 3). Changes nothing.

    Args:
        saved: the replica that it goes on from, if there is one.
        genesis: see :func:`begin_epoch`.
        epoch: the new one.
        node_id: of its first and only voter.
        at: wall clock, milliseconds since 1970.
        new_machine: makes an empty state machine.

    Raises:
        StorageError: the saved replica cannot be trusted.
        LimitError: the initial state is too large.
    """
    configuration = Configuration(voters=(node_id,), successors=(node_id,))
    machine = replayed(saved, new_machine()) if saved else new_machine()
    snapshot: Snapshot | None = None
    entries: tuple[Entry, ...] = ()
    if machine.guid:
        machine.guid, machine.name, machine.bundle = genesis.guid, genesis.name, genesis.bundle
        assert saved is not None
        term, index = end_of(saved)
        base = first_index(index, epoch)
        machine.applied_index = base
        machine.lineage.fork(
            Fork(epoch=saved.epoch, term=term, index=index, base=base), genesis.bridge
        )
        snapshot = build(
            last_index=base,
            last_term=_FIRST_TERM,
            configuration=configuration,
            data=machine.snapshot(),
        )
    else:
        entries = _first(genesis, configuration, at)
    return Saved(
        epoch=epoch,
        hard_state=HardState(term=_FIRST_TERM, vote=None),
        snapshot=snapshot,
        entries=entries,
    )


def _first(genesis: Genesis, configuration: Configuration, at: float) -> tuple[Entry, Entry]:
    command = commands.genesis(
        guid=genesis.guid,
        name=genesis.name,
        bundle=genesis.bundle,
        state=genesis.initial_state,
        at=at,
        bridge=genesis.bridge,
    )
    return (
        Entry(index=1, term=_FIRST_TERM, kind=EntryKind.COMMAND, data=command),
        Entry(
            index=2,
            term=_FIRST_TERM,
            kind=EntryKind.CONFIGURATION,
            data=to_data(configuration),
        ),
    )


def replayed(saved: Saved, machine: Machine) -> Machine:
    """The saved log, applied to its end on an empty machine, its requests journaled.

    Raises:
        StorageError: the saved replica cannot be trusted.
    """
    try:
        if saved.snapshot is not None:
            machine.restore(saved.snapshot.data)
        machine.lineage.start_journal(saved.epoch)
        for entry in saved.entries:
            if entry.kind is EntryKind.COMMAND:
                machine.apply(entry.index, entry.data)
    except FtwebError as error:
        raise StorageError(
            f"The saved replica cannot be taken up: {error}. Move the data directory away to"
            " begin with an empty state.",
            code="storage_untrusted",
        ) from error
    return machine


def end_of(saved: Saved) -> tuple[int, int]:
    """Term and index of the last entry."""
    if saved.entries:
        return saved.entries[-1].term, saved.entries[-1].index
    if saved.snapshot is not None:
        return saved.snapshot.last_term, saved.snapshot.last_index
    return 0, 0


def _last_epoch(data_dir: Path) -> int:
    try:
        text = (data_dir / EPOCH_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(text) if text.isdigit() and len(text) < 16 else 0


def _keep_epoch(data_dir: Path, epoch: int) -> None:
    path = data_dir / EPOCH_FILE
    temporary = path.with_name(f".{EPOCH_FILE}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(f"{epoch}\n", encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"The data directory {data_dir} cannot be written: {error.strerror}."
        ) from error
