"""What a second laptop's bridge needs to know, and where it gets it.

1. From the first bridge, over a link: the server's GUID, name and join token. Both have proved by
   then that they know the presenter token (:mod:`ftweb.relay.handshake`).
2. From the same address, over HTTP: the app's bundle, by its hash, checked against it.
3. Both are kept in the data directory (the tokens readable by their owner only), with the addresses
   of the bridges known, so that the next start needs none of them. The replica comes by itself:
   upkeep makes every bridge a member.
4. A data directory belongs to one server for good.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from ftweb import frames
from ftweb.bridge.bundle import Bundle, read_bundle
from ftweb.bridge.config import IDENTITY_FILE, Identity, keep_identity, load_identity
from ftweb.bridge.linking import Dialed
from ftweb.errors import AppLoadError, ConnectError, StorageError
from ftweb.limits import BUNDLE_BYTES, LINKED_BRIDGES
from ftweb.relay.handshake import Me

_log = logging.getLogger(__name__)

SERVER_FILE: Final = "server.json"
BRIDGES_FILE: Final = "bridges.json"

FETCH_SECONDS: Final = 30.0
"""How long the bundle may take: 16 MiB over a bad Wi-Fi."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Presenter:
    """Where the first bridge is, and what proves that we belong to it."""

    origin: str
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """What a bridge that joined knows of its server, apart from its identity."""

    name: str
    bundle: str
    """SHA-256 of the app's."""
    presenter_page: str
    on_quorum_loss: Literal["wait", "continue"]
    serves_http: bool


def parse_presenter(address: str, *, token: str | None = None) -> Presenter:
    """Understand what the first bridge printed: ``http://HOST:PORT/#presenter=TOKEN``.

    Args:
        address: the same, or ``HOST:PORT`` with the token given apart.
        token: the presenter token, unless it is in the address.

    Raises:
        ConnectError: ``connect_failed``: it is no address; ``bad_token``: there is no token.
    """
    given = address.strip()
    parts = urlsplit(given if "://" in given else f"http://{given}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        raise ConnectError(
            f"{address!r} is no address of a bridge. Copy the command that the first laptop's"
            " `ftweb run` printed: ftweb bridge 'http://192.0.2.7:8765/#presenter=…'."
        )
    found = token or parse_qs(parts.fragment).get("presenter", [""])[0]
    if not found:
        raise ConnectError(
            "The presenter token is missing: a further bridge needs it, the join token of the"
            " phones is not enough. Copy the whole command that the first laptop's `ftweb run`"
            " printed, in quotes, or give the token with --token.",
            code="bad_token",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Presenter(origin=f"http://{host}:{port}", token=found)


async def ask(presenter: Presenter) -> frames.LinkWelcome:
    """Have the first bridge tell about its server (rule 1).

    Raises:
        ConnectError: it cannot be reached, or the token is not its own.
    """
    me = Me(
        # Not ours yet: where that is kept depends on the server. This link ends at once.
        bridge=secrets.token_hex(16),
        start=0,
        nonce=secrets.token_hex(16),
        presenter_token=presenter.token,
    )
    async with Dialed(presenter.origin, me) as dialed:
        return dialed.welcomed.welcome


async def join(presenter: Presenter, welcome: frames.LinkWelcome, data_dir: Path) -> Bundle:
    """Keep in a data directory all that the bridge needs to start (rules 2 to 4).

    Raises:
        StorageError: it cannot be written, or belongs to another server.
        AppLoadError: the bundle did not come whole.
    """
    identity = Identity(
        guid=welcome.guid, join_token=welcome.join_token, presenter_token=presenter.token
    )
    if (data_dir / IDENTITY_FILE).exists() and load_identity(data_dir) != identity:
        raise StorageError(
            f"{data_dir} holds the data of another server than {welcome.name!r}. Give another"
            " directory with --data.",
            code="storage_untrusted",
        )
    keep_identity(data_dir, identity)
    bundle = _kept_bundle(data_dir, welcome.bundle)
    if bundle is None:
        data = await asyncio.to_thread(_fetch, presenter.origin, welcome.bundle)
        bundle = read_bundle(data, sha256=welcome.bundle)
        _write(_bundle_file(data_dir, welcome.bundle), data)
    joined = Joined(
        name=welcome.name,
        bundle=welcome.bundle,
        presenter_page=welcome.presenter_page,
        on_quorum_loss=welcome.on_quorum_loss,
        serves_http=welcome.serves_http,
    )
    _write(data_dir / SERVER_FILE, json.dumps(asdict(joined), indent=2).encode() + b"\n")
    return bundle


def recall(data_dir: Path) -> tuple[Joined, Bundle] | None:
    """What an earlier :func:`join` kept there; None if there was none.

    Raises:
        StorageError: ``storage_untrusted``: it is damaged.
        AppLoadError: the bundle is.
    """
    path = data_dir / SERVER_FILE
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        joined = Joined(**found)
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged. Delete it and join again with the first bridge's address.",
            code="storage_untrusted",
        ) from error
    bundle = _kept_bundle(data_dir, joined.bundle)
    if bundle is None:
        raise AppLoadError(
            f"The app is missing in {data_dir}. Join again with the first bridge's address.",
            code="app_missing",
        )
    return joined, bundle


def known_bridges(data_dir: Path) -> tuple[str, ...]:
    """Origins of other bridges of this server that were known once; a hint, so never an error."""
    try:
        found = json.loads((data_dir / BRIDGES_FILE).read_bytes())
    except (OSError, ValueError):
        return ()
    if not isinstance(found, list):
        return ()
    origins = [each for each in found if isinstance(each, str) and each.startswith("http://")]
    return tuple(origins[: 4 * LINKED_BRIDGES])


def keep_bridges(data_dir: Path, origins: tuple[str, ...]) -> None:
    """Keep them for :func:`known_bridges`."""
    try:
        _write(data_dir / BRIDGES_FILE, json.dumps(origins).encode() + b"\n")
    except StorageError as error:
        _log.warning("The addresses of the other bridges could not be kept: %s", error)


def _bundle_file(data_dir: Path, sha256: str) -> Path:
    return data_dir / f"app-{sha256[:16]}.zip"


def _kept_bundle(data_dir: Path, sha256: str) -> Bundle | None:
    try:
        return read_bundle(_bundle_file(data_dir, sha256).read_bytes(), sha256=sha256)
    except (OSError, AppLoadError):
        return None


def _fetch(origin: str, sha256: str) -> bytes:
    """The bundle over HTTP; in a thread, since it waits."""
    url = f"{origin}/ftweb/bundle/{sha256}.zip"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=FETCH_SECONDS) as answer:
            data: bytes = answer.read(BUNDLE_BYTES + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise AppLoadError(
            f"The app could not be fetched from {origin} ({error}). Start again.",
            code="app_missing",
        ) from error
    return data


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}. Give another directory with"
            " --data, or make room."
        ) from error
