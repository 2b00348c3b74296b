"""How a history begins, and how it goes on after the bridge was away.

1. What it begins with is in :mod:`ftweb.beginning`: this bridge is the only voter at first.
2. A bridge that restarts is a new node (its id is never used again), and tabs that are still
   there join the new epoch. Nothing acknowledged is lost: a bridge releases a reply only after
   having saved its entry. Entries at the log's end of which it is unknown whether they were
   committed count as committed; a client that repeats such a request gets the reply in them.
3. The same happens to a running bridge whose quorum is gone for good, if the app wants to go on
   (:mod:`ftweb.bridge.continuing`).
4. Epochs only rise, also when a replica was lost or set aside: the last one is kept in a file of
   its own beside it. So are the ids of the last nodes that this bridge was: voters by these names
   are nobody who may go on without it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ftweb.beginning import Genesis, beginning
from ftweb.bridge.config import BridgeConfig
from ftweb.bridge.storage import SqliteStorage
from ftweb.core import NodeId
from ftweb.epochs import SALTS
from ftweb.epochs import next_epoch as number_after
from ftweb.errors import StorageError
from ftweb.frames import Left
from ftweb.storage import Saved

_log = logging.getLogger(__name__)

EPOCH_FILE = "epoch"
NODES_FILE = "nodes"
OWN_NODES: Final = 16
"""Ids kept: more than there are starts while one of them is still a voter."""


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
    node_id = new_node_id(data_dir)
    first = next_epoch(storage, genesis, data_dir=data_dir, node_id=node_id)
    storage.save(
        epoch=first.epoch,
        hard_state=first.hard_state,
        snapshot=first.snapshot,
        entries=first.entries,
    )
    return node_id


def new_node_id(data_dir: Path) -> NodeId:
    """128 random bits: a node's id is never used again.

    Raises:
        StorageError: it cannot be kept.
    """
    node_id = NodeId(secrets.token_hex(16))
    _keep(data_dir, NODES_FILE, "\n".join([*own_nodes(data_dir), node_id][-OWN_NODES:]))
    return node_id


def own_nodes(data_dir: Path) -> list[str]:
    """Ids of the last nodes that the bridge of this directory was."""
    return _read(data_dir, NODES_FILE).split()


def next_epoch(
    storage: SqliteStorage,
    genesis: Genesis,
    *,
    data_dir: Path,
    node_id: NodeId,
    left: Iterable[Left] = (),
) -> Saved:
    """What the next epoch would begin with; its number is used up, nothing else changes.

    Args:
        storage: what was saved is taken up.
        genesis: the app as it is now.
        data_dir: where the last epoch is kept.
        node_id: of its first voter.
        left: nodes that are known to have left an epoch.

    Raises:
        StorageError: the saved replica cannot be trusted.
        LimitError: the initial state is too large.
    """
    saved = storage.load()
    before = max(saved.epoch if saved else 0, _last_epoch(data_dir))
    epoch = number_after(before, secrets.randbelow(SALTS))
    _keep(data_dir, EPOCH_FILE, str(epoch))
    return beginning(
        saved,
        genesis,
        epoch=epoch,
        node_id=node_id,
        at=time.time() * 1000,
        own=own_nodes(data_dir),
        left=left,
    )


def tell_of_saved(state: Any, config: BridgeConfig) -> None:
    """Say that an app goes on with a saved state, and whether that lacks what ``app.py`` begins
    with: an author who adds to the initial state would wonder why it is not there."""
    initial = config.initial_state
    missing = []
    if isinstance(state, dict) and isinstance(initial, dict):
        missing = [repr(key) for key in initial if key not in state]
    _log.info("Goes on with the state saved in %s.", config.data_dir)
    if missing:
        _log.warning(
            "That state has no %s, with which app.py begins: it is of an earlier app.py, or of "
            "another app. Let the app do without, or begin anew with another --data.",
            ", ".join(missing),
        )


def _last_epoch(data_dir: Path) -> int:
    text = _read(data_dir, EPOCH_FILE)
    return int(text) if text.isdigit() and len(text) < 16 else 0


def _read(data_dir: Path, name: str) -> str:
    try:
        return (data_dir / name).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _keep(data_dir: Path, name: str, text: str) -> None:
    path = data_dir / name
    temporary = path.with_name(f".{name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(f"{text}\n", encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"The data directory {data_dir} cannot be written: {error.strerror}."
        ) from error
