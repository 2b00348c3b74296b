"""``ftweb browse``: the servers on this network.

For people a table that grows while it listens; with ``--json`` one object per server once the
time is over, each as it was last heard of.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from ftweb.bridge.addresses import url
from ftweb.bridge.discovery import Found, browse
from ftweb.errors import FtwebError

if TYPE_CHECKING:
    from rich.table import Table

SERVICE_TYPE = "_flyweb._tcp"


def browse_network(*, timeout: float, as_json: bool) -> None:
    """Listen for a while and print what was found.

    Raises:
        FtwebError: ``server_not_found``: multicast does not work here at all.
    """
    try:
        if as_json:
            for found in asyncio.run(_listen(timeout, lambda found: None)):
                click.echo(json.dumps(as_object(found)))
        else:
            _show(timeout)
    except OSError as error:
        raise FtwebError(
            f"Servers cannot be looked for on this network (mDNS: {error}). Open the address "
            "that the bridge prints instead.",
            code="server_not_found",
        ) from error


async def _listen(timeout: float, tell: Callable[[Iterable[Found]], None]) -> list[Found]:
    """Everything heard of that has not said goodbye, by name."""
    servers: dict[str, Found] = {}
    async for found in browse(timeout):
        servers[found.guid] = found
        tell(_present(servers))
    return _present(servers)


def _present(servers: dict[str, Found]) -> list[Found]:
    present = [found for found in servers.values() if not found.gone]
    return sorted(present, key=lambda found: (found.name.casefold(), found.guid))


def as_object(found: Found) -> dict[str, Any]:
    """A server as ``--json`` tells of it."""
    return {
        "name": found.name,
        "type": SERVICE_TYPE,
        "host": found.host,
        "addresses": list(found.addresses),
        "port": found.port,
        "url": _url(found),
        "path": found.path,
        "guid": found.guid,
        "epoch": found.epoch,
        "term": found.term,
        "node": found.node,
    }


def _url(found: Found) -> str:
    path = found.path if found.path.startswith("/") else f"/{found.path}"
    return url(found.addresses[0] if found.addresses else found.host, found.port, path)


def _show(timeout: float) -> None:
    """A table that grows on a terminal, or just the table."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    found: list[Found] = []
    if console.is_terminal:
        with (
            Live(table([]), console=console, transient=True, auto_refresh=False) as live,
            contextlib.suppress(KeyboardInterrupt),  # enough seen
        ):

            def tell(servers: Iterable[Found]) -> None:
                found[:] = servers
                live.update(table(found), refresh=True)

            asyncio.run(_listen(timeout, tell))
    else:
        found = asyncio.run(_listen(timeout, lambda servers: None))
    if found:
        console.print(table(found))
        click.echo(
            "Join by the QR code or the address that the bridge prints: they hold the token."
        )
    else:
        click.echo(
            f"No server was heard of within {timeout:g} s. Start one with `ftweb run APP_DIR`; if "
            "one runs, this network may block multicast: open the address that it prints.",
            file=sys.stderr,
        )


def table(servers: Iterable[Found]) -> Table:
    """The servers as a table. Names are other people's text: never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("name", style="bold")
    made.add_column("address", no_wrap=True)
    made.add_column("host name", overflow="fold")
    made.add_column("term", justify="right")
    made.add_column("host")
    for found in servers:
        host = found.node[:8] if found.node else "none yet"
        term = str(found.term) if found.epoch <= 1 else f"{found.epoch}.{found.term}"
        cells = (found.name, _url(found), found.host, term, host)
        made.add_row(*(Text(cell) for cell in cells))
    return made
