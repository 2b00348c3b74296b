"""What a history begins with, and what it goes on with after the bridge was away. Touches no disk.

1. With nothing saved a new history begins: entry 1 is the genesis (which app, which initial
   state), entry 2 the configuration in which this bridge is the only voter.
2. With something saved a new *epoch* begins from it: the saved log is applied to its end, and
   the result is the snapshot in which this bridge is the only voter.
3. Log indexes go on some way after where they were: they number client sessions, and whoever
   begins another epoch from the same replica must not give the same numbers
   (:mod:`ftweb.epochs`). If others may go on in the old epoch, all requests of the saved log go
   into the new epoch's journal (:mod:`ftweb.app.lineage`).
4. Who may go on: other bridges, and also tabs by themselves, over data channels, if enough of the
   voters are neither this bridge nor known to have left that epoch
   (:class:`ftweb.app.lineage.Rest`). After REST_SECONDS without an entry nobody is counted on any
   more.

A bridge does this in :mod:`ftweb.bridge.bootstrap`, which says why nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ftweb.app import Machine, commands
from ftweb.app.lineage import Rest
from ftweb.core import Configuration, Entry, EntryKind, HardState, NodeId, Snapshot
from ftweb.core.configuration import from_data, to_data
from ftweb.core.snapshot import build
from ftweb.epochs import Fork, first_index
from ftweb.errors import FtwebError, StorageError
from ftweb.frames import Left
from ftweb.limits import REST_SECONDS
from ftweb.storage import Saved

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


def beginning(
    saved: Saved | None,
    genesis: Genesis,
    *,
    epoch: int,
    node_id: NodeId,
    at: float,
    new_machine: Callable[[], Machine] = Machine,
    own: Collection[str] = (),
    left: Iterable[Left] = (),
) -> Saved:
    """What a new epoch begins with (rules 1 to 4). Changes nothing.

    Args:
        saved: the replica that it goes on from, if there is one.
        genesis: the app as it is now; the initial state counts only when nothing was saved.
        epoch: the new one.
        node_id: of its first and only voter.
        at: wall clock, milliseconds since 1970.
        new_machine: makes an empty state machine.
        own: ids of nodes that this bridge was.
        left: nodes that are known to have left an epoch.

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
        rest: Rest | None = rest_of(saved, own=own, left=left)
        if at - machine.clock > 1000 * REST_SECONDS:
            machine.lineage.forget_rests()
            rest = None
        machine.lineage.fork(
            Fork(epoch=saved.epoch, term=term, index=index, base=base), genesis.bridge, rest
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


def last_configurations(saved: Saved) -> list[Configuration]:
    """The newest, and the one before: the newest may never be committed."""
    found = [saved.snapshot.configuration] if saved.snapshot is not None else []
    found += [
        from_data(entry.data) for entry in saved.entries if entry.kind is EntryKind.CONFIGURATION
    ]
    return found[-2:]


def rest_of(saved: Saved, *, own: Collection[str] = (), left: Iterable[Left] = ()) -> Rest:
    """What is known of the epoch that was saved (rule 4)."""
    term, index = end_of(saved)
    rest = Rest(
        epoch=saved.epoch,
        term=term,
        index=index,
        voters=[voter for found in last_configurations(saved)[-1:] for voter in found.voters],
        gone=list(own),
    )
    for one in left:
        rest = rest.without(one)
    return rest


def end_of(saved: Saved) -> tuple[int, int]:
    """Term and index of the last entry."""
    if saved.entries:
        return saved.entries[-1].term, saved.entries[-1].index
    if saved.snapshot is not None:
        return saved.snapshot.last_term, saved.snapshot.last_index
    return 0, 0
