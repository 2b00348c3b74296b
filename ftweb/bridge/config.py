"""What a bridge is told, and what it keeps so that a restart is the same server.

The identity of a server is its GUID and its two tokens. They live in ``identity.json`` in the
data directory, readable by its owner only: a QR code that was printed or photographed stays
valid after a restart. Whoever deletes that file has a new server.

Several bridges of one server share that identity. What tells them apart is the *bridge id*, in a
file of its own: it stays the same over restarts, unlike the id of the bridge's node.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ftweb.bridge.bundle import Bundle
from ftweb.core import Settings
from ftweb.errors import StorageError

IDENTITY_FILE = "identity.json"
BRIDGE_ID_FILE = "bridge-id"

_HEX = re.compile(r"[0-9a-f]{32}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who a server is, across restarts."""

    guid: str
    join_token: str
    """128 random bits: whoever has it may join."""
    presenter_token: str
    """Whoever has it may join as a presenter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeConfig:
    """Everything that :func:`ftweb.bridge.serve` needs to know.

    Use :meth:`create`, which reads the identity from the data directory.
    """

    name: str
    """The server's name, shown to people and published over mDNS."""
    identity: Identity = field(repr=False)
    bridge_id: str
    """Which of the server's bridges this is; see the module."""
    app_dir: Path | None
    """Holds ``app.py`` and ``pages/``; None for a bridge that joined others: it has ``bundle``."""
    data_dir: Path
    initial_state: Any
    """The app's state before anything happened; used only when a history begins."""
    bundle: Bundle | None = None
    """The app as it was fetched from another bridge."""
    links: tuple[str, ...] = ()
    """Origins of other bridges of this server, to link with."""
    host: str = "0.0.0.0"
    port: int = 8765
    """0 lets the system choose."""
    on_quorum_loss: Literal["wait", "continue"] = "wait"
    """What the app wants when a majority of the voters is gone (:mod:`.continuing`)."""
    serves_http: bool = False
    """The app answers HTTP (:mod:`ftweb.flyweb`): a request waits for its host instead of 404."""
    mdns: bool = True
    mdns_interfaces: tuple[str, ...] | None = None
    """Addresses of the interfaces to publish on; None for all that reach the LAN."""
    runtime_dir: Path | None = None
    """Where the built browser runtime is; None finds it."""
    settings: Settings = field(default_factory=Settings)
    """The times of the consensus core."""

    @classmethod
    def create(
        cls, *, name: str, app_dir: Path | None, data_dir: Path, **rest: Any
    ) -> BridgeConfig:
        """A configuration with the identity that the data directory holds, or a new one.

        Args:
            name: see the field.
            app_dir: see the field.
            data_dir: created if it is missing.
            **rest: the other fields.

        Raises:
            StorageError: the data directory cannot be used, or its identity file is damaged.
        """
        return cls(
            name=name,
            identity=load_identity(data_dir),
            bridge_id=load_bridge_id(data_dir),
            app_dir=app_dir,
            data_dir=data_dir,
            **rest,
        )

    @property
    def guid(self) -> str:
        """The server's identity on the wire."""
        return self.identity.guid


def load_bridge_id(data_dir: Path) -> str:
    """Read the bridge id kept in a data directory, or make and keep a new one: 32 hex digits.

    Raises:
        StorageError: ``storage_failed``: the directory cannot be read or written.
    """
    path = data_dir / BRIDGE_ID_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        found = path.read_text(encoding="ascii").strip() if path.exists() else ""
        if _HEX.fullmatch(found):
            return found
        made = secrets.token_hex(16)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        temporary.write_text(f"{made}\n", encoding="ascii")
        temporary.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"The file {path} cannot be used: {error}. Give another data directory, or make it"
            " writable."
        ) from error
    return made


def load_identity(data_dir: Path) -> Identity:
    """Read the identity kept in a data directory, or make and keep a new one.

    Raises:
        StorageError: ``storage_failed``: the directory cannot be read or written;
            ``storage_untrusted``: the file is there but damaged.
    """
    path = data_dir / IDENTITY_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return _parse(path)
        identity = Identity(
            guid=secrets.token_hex(16),
            join_token=secrets.token_urlsafe(16),
            presenter_token=secrets.token_urlsafe(16),
        )
        _write(path, identity)
    except OSError as error:
        raise StorageError(
            f"The data directory {data_dir} cannot be used: {error.strerror or error}. Give"
            " another one, or make it writable."
        ) from error
    return identity


def keep_identity(data_dir: Path, identity: Identity) -> None:
    """Keep the identity that another bridge of the server told.

    Raises:
        StorageError: ``storage_failed``: the directory cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        _write(data_dir / IDENTITY_FILE, identity)
    except OSError as error:
        raise StorageError(
            f"The data directory {data_dir} cannot be used: {error.strerror or error}. Give"
            " another one, or make it writable."
        ) from error


def _parse(path: Path) -> Identity:
    try:
        found = json.loads(path.read_bytes())
        identity = Identity(
            guid=str(found["guid"]),
            join_token=str(found["join_token"]),
            presenter_token=str(found["presenter_token"]),
        )
    except (ValueError, KeyError, TypeError):
        identity = None
    if (
        identity is None
        or not _HEX.fullmatch(identity.guid)
        or not _TOKEN.fullmatch(identity.join_token)
        or not _TOKEN.fullmatch(identity.presenter_token)
        or identity.join_token == identity.presenter_token
    ):
        raise StorageError(
            f"The file {path} is damaged. Restore it, or delete it to get a new server identity"
            " (old QR codes will then no longer work).",
            code="storage_untrusted",
        )
    path.chmod(0o600)  # tokens are secrets also when the file was copied carelessly
    return identity


def _write(path: Path, identity: Identity) -> None:
    """Write so that the file is either there in whole or not at all, and never world-readable."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(
            {
                "guid": identity.guid,
                "join_token": identity.join_token,
                "presenter_token": identity.presenter_token,
            },
            file,
            indent=2,
        )
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
