"""Where a server's data are kept when nobody says where.

One directory for each app (by its path) and server name, among the user's data as the platform
has it. The same command finds the same server again: its tokens, its GUID and its votes.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path


def user_data_dir(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """The directory for programs' data of this user."""
    if platform == "win32":
        local = environment.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    xdg = environment.get("XDG_DATA_HOME", "")
    if Path(xdg).is_absolute():  # the specification: a relative one is to be ignored
        return Path(xdg)
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path.home() / ".local" / "share"


def default_data_dir(app_dir: Path, name: str, *, base: Path | None = None) -> Path:
    """Where the data of this server are kept.

    Args:
        app_dir: of the app.
        name: of the server.
        base: instead of the user's data directory.
    """
    identity = f"{app_dir.resolve()}\0{name}".encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(identity).hexdigest()[:8]
    return (base or user_data_dir()) / "ftweb" / f"{_slug(name)}-{digest}"


def joined_data_dir(name: str, guid: str, *, base: Path | None = None) -> Path:
    """Where a further bridge of a server keeps its data.

    Args:
        name: of the server.
        guid: of the server.
        base: instead of the user's data directory.
    """
    return (base or user_data_dir()) / "ftweb" / f"bridge-{_slug(name)}-{guid[:8]}"


def _slug(name: str) -> str:
    """A part of a file name that says which one it is; the digest tells them apart."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "server"
