"""``ftweb bridge``: join a running server with another laptop.

What is known counts in this order: ADDRESS, what ``--data`` (or the default directory) holds from
an earlier time, what mDNS tells and the user answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from ftweb.bridge import BridgeConfig
from ftweb.bridge.config import load_identity
from ftweb.bridge.discovery import Found, browse
from ftweb.bridge.joining import (
    Joined,
    Presenter,
    ask,
    join,
    keep_bridges,
    known_bridges,
    parse_presenter,
    recall,
)
from ftweb.cli.datadir import joined_data_dir, user_data_dir
from ftweb.cli.run import check_port, serve_and_tell, set_up_logs
from ftweb.errors import ConnectError

LOOK_SECONDS = 3.0
"""How long a server is looked for by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeOptions:
    """The options of ``ftweb bridge``, as given."""

    address: str | None
    token: str | None = dataclasses.field(repr=False)
    host: str
    port: int
    data: Path | None
    mdns: bool
    as_json: bool


def run_bridge(options: BridgeOptions) -> None:
    """Run a further bridge until SIGINT or SIGTERM.

    Raises:
        FtwebError: the server cannot be joined, or the port or the data directory not be used.
    """
    set_up_logs()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(options))


async def _run(options: BridgeOptions) -> None:
    check_port(options.host, options.port)
    data_dir, presenter = await _whom_to_join(options)
    if presenter is not None:
        data_dir = await _join(presenter, data_dir)
    assert data_dir is not None, "either is known"
    kept = recall(data_dir)
    assert kept is not None
    joined, bundle = kept
    config = BridgeConfig.create(
        name=joined.name,
        app_dir=None,
        bundle=bundle,
        data_dir=data_dir,
        initial_state=None,
        links=known_bridges(data_dir),
        on_quorum_loss=joined.on_quorum_loss,
        serves_http=joined.serves_http,
        host=options.host,
        port=options.port,
        mdns=options.mdns,
    )
    await serve_and_tell(
        config, presenter_page=joined.presenter_page, as_json=options.as_json, open_browser=False
    )


async def _whom_to_join(options: BridgeOptions) -> tuple[Path | None, Presenter | None]:
    """The data directory, as far as it is known, and the bridge to ask, if one has to be."""
    data_dir = options.data.absolute() if options.data else None
    if options.address is not None:
        return data_dir, parse_presenter(options.address, token=options.token)
    if data_dir is not None and recall(data_dir) is not None:
        return data_dir, None
    found = await _find() if options.mdns else []
    if not found:
        kept = _kept_by_default() if data_dir is None else []
        if len(kept) == 1:
            return kept[0], None
        raise ConnectError(
            "No server was found on this network. Give its address: the first laptop's `ftweb run`"
            " prints the whole command, ftweb bridge 'http://192.0.2.7:8765/#presenter=…'."
            " To go on alone with what was saved, give its directory with --data.",
            code="server_not_found",
        )
    if len(found) > 1:
        names = ", ".join(sorted(repr(each.name) for each in found))
        raise ConnectError(
            f"There are several servers on this network: {names}. Give the address of the one to"
            " join, as its `ftweb run` printed it.",
            code="server_not_found",
        )
    server = found[0]
    known = data_dir or joined_data_dir(server.name, server.guid)
    origin = f"{server.addresses[0]}:{server.port}"
    if recall(known) is not None:
        return known, parse_presenter(origin, token=load_identity(known).presenter_token)
    return data_dir, parse_presenter(origin, token=options.token or _prompt(server.name))


async def _find() -> list[Found]:
    servers: dict[str, Found] = {}
    try:
        async for found in browse(LOOK_SECONDS):
            if found.gone or not found.addresses:
                servers.pop(found.guid, None)
            else:
                servers[found.guid] = found
    except OSError:
        return []  # no multicast here
    return list(servers.values())


def _prompt(name: str) -> str:
    if not sys.stdin.isatty():
        raise ConnectError(
            f"The server {name!r} was found, but its presenter token is needed to join it. Give it"
            " with --token, or copy the whole command that the first laptop's `ftweb run` printed.",
            code="bad_token",
        )
    token: str = click.prompt(f"Presenter token of {name!r}", hide_input=True, err=True)
    return token.strip()


def _kept_by_default() -> list[Path]:
    """Servers joined earlier without --data."""
    folder = user_data_dir() / "ftweb"
    return sorted(path.parent for path in folder.glob("bridge-*/server.json"))


async def _join(presenter: Presenter, data_dir: Path | None) -> Path:
    """Ask the first bridge; should it be gone, what is known of its server already will do."""
    try:
        welcome = await ask(presenter)
    except ConnectError as error:
        known = _known(presenter, data_dir)
        if error.code != "connect_failed" or known is None:
            raise
        click.echo(f"{error.message} Going on with what was saved.", err=True)
        return known
    if data_dir is None:
        data_dir = joined_data_dir(welcome.name, welcome.guid)
    await join(presenter, welcome, data_dir)
    others = [origin for origin in known_bridges(data_dir) if origin != presenter.origin]
    keep_bridges(data_dir, (presenter.origin, *others))
    return data_dir


def _known(presenter: Presenter, data_dir: Path | None) -> Path | None:
    for folder in [data_dir] if data_dir is not None else _kept_by_default():
        found: tuple[Joined, object] | None = recall(folder)
        if found is not None and load_identity(folder).presenter_token == presenter.token:
            return folder
    return None
