"""Consensus without I/O: see the modules (the theory of operation is being written here)."""

from ftweb.core.node import Node
from ftweb.core.ready import Ready
from ftweb.core.settings import Settings
from ftweb.core.types import (
    Configuration,
    DeviceId,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    NodeKind,
    PeerInfo,
    Role,
    Snapshot,
)

__all__ = [
    "Configuration",
    "DeviceId",
    "Entry",
    "EntryKind",
    "HardState",
    "Node",
    "NodeId",
    "NodeKind",
    "PeerInfo",
    "Ready",
    "Role",
    "Settings",
    "Snapshot",
]
