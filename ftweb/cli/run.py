"""``ftweb run``: check everything, start the bridge, say where it is, tell what happens.

Whatever can be wrong is told before anything starts, in this order: the app, the name, the port,
the data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import logging
import os
import signal
import socket
import threading
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ftweb.app.server import check_name
from ftweb.bridge import BridgeConfig, Started, hostpage, serve
from ftweb.cli import banner
from ftweb.cli.check import check_app
from ftweb.cli.datadir import default_data_dir
from ftweb.cli.errors import debugging
from ftweb.cli.narrator import Narrator
from ftweb.cli.report import notes
from ftweb.errors import FtwebError

_LOG = logging.getLogger("ftweb.cli")

LOOK_SECONDS = 1.0
"""How often the bridge is asked how it is."""

PORTS_TRIED = 20
"""How many ports after the one in use are tried for a suggestion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """The options of ``ftweb run``, as given."""

    app_dir: Path
    name: str | None
    host: str
    port: int
    data: Path | None
    open_browser: bool
    mdns: bool
    as_json: bool


def run_app(options: RunOptions) -> None:
    """Run a bridge until SIGINT or SIGTERM.

    Raises:
        FtwebError: the app, the port or the data directory cannot be used.
        click.UsageError: ``--name`` is no name.
    """
    set_up_logs()
    # Until the bridge takes both signals itself there is nothing to stop but us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        _run(options)


def _run(options: RunOptions) -> None:
    app_dir = options.app_dir.absolute()
    facts = check_app(app_dir)
    try:
        name = check_name(options.name if options.name is not None else facts.name)
    except ValueError as error:
        raise click.UsageError(f"--name: {error}", click.get_current_context(silent=True)) from None
    check_port(options.host, options.port)
    data_dir = options.data.absolute() if options.data else default_data_dir(app_dir, name)
    config = BridgeConfig.create(
        name=name,
        app_dir=app_dir,
        data_dir=data_dir,
        initial_state=facts.state,
        on_quorum_loss=facts.options["on_quorum_loss"],
        host=options.host,
        port=options.port,
        mdns=options.mdns,
        serves_http=facts.serves_http,
    )
    for note in notes(app_dir, facts):
        click.echo(f"Note: {note}", err=True)
    asyncio.run(_serve(config, options))


async def _serve(config: BridgeConfig, options: RunOptions) -> None:
    await serve_and_tell(
        config,
        presenter_page=presenter_page(options.app_dir),
        as_json=options.as_json,
        open_browser=options.open_browser,
    )


async def serve_and_tell(
    config: BridgeConfig, *, presenter_page: str, as_json: bool, open_browser: bool
) -> None:
    """Run a bridge, say where it is and what happens.

    Args:
        config: of the bridge.
        presenter_page: the path of the presenter's page.
        as_json: for scripts.
        open_browser: open that page in this machine's browser.
    """
    watching: list[asyncio.Task[None]] = []

    def with_page(started: Started) -> Started:
        page = f"{started.local_url}{presenter_page.lstrip('/')}"
        url = f"{page}#presenter={started.presenter_token}"
        return dataclasses.replace(started, presenter_url=url)

    def moved(started: Started) -> None:
        if not as_json:
            click.echo("This laptop's address has changed. From now on:")
            click.echo(banner.for_people(with_page(started), second=config.app_dir is None))

    def ready(started: Started) -> None:
        started = with_page(started)
        if as_json:
            click.echo(banner.as_json(started, data_dir=str(config.data_dir)))
        else:
            click.echo(banner.for_people(started, second=config.app_dir is None))
        if open_browser and os.environ.get("BROWSER", "").lower() != "none":
            open_page(started.presenter_url)
        watching.append(asyncio.create_task(_watch(started), name="narrator"))

    try:
        await serve(config, on_ready=ready, on_moved=moved)
    finally:
        for task in watching:
            task.cancel()
    if not as_json:
        click.echo("Stopped. What was acknowledged is saved; the same command goes on from there.")


def presenter_page(app_dir: Path) -> str:
    """Its path. An app without a presenter's page of its own has one page for everybody."""
    if (app_dir / "pages" / "presenter.html").is_file():
        return "/presenter.html"
    return "/" if (app_dir / "pages" / "index.html").is_file() else hostpage.PATH


def check_port(host: str, port: int) -> None:
    """Find out whether a port can be had, without keeping it.

    Raises:
        FtwebError: ``port_in_use`` or ``cannot_listen``.
    """
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise FtwebError(
                f"Cannot listen on {host or 'all addresses'}, port {port}: "
                f"{error.strerror or error}. Choose another with --host or --port.",
                code="cannot_listen",
            ) from None
        for other in range(port + 1, min(port + PORTS_TRIED, 65535) + 1):
            with contextlib.suppress(OSError):
                _bind(host, other)
                break
        else:
            other = 0
        raise FtwebError(
            f"Another program listens on port {port}, maybe another `ftweb run`. Stop it, or "
            f"choose another port: --port {other}.",
            code="port_in_use",
        ) from None


def _bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # there it would let us take a port in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def open_page(url: str) -> None:
    """Open a page in the user's browser, if there is one, without waiting for it."""

    def run() -> None:
        try:
            browser = webbrowser.get()
            # A text browser would take over this terminal; one that the user chose may.
            if type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER"):
                opened = False
            else:
                opened = browser.open(url)
        except (webbrowser.Error, OSError):
            opened = False
        if not opened:
            _LOG.info("No browser could be opened here: open the presenter's address yourself.")

    threading.Thread(target=run, name="browser", daemon=True).start()


# --- telling what happens -----------------------------------------------------------------------


async def _watch(started: Started) -> None:
    clock = asyncio.get_running_loop().time
    narrator = Narrator(now=clock())
    while True:
        report = await _ask(started)
        if report is not None:
            for line in narrator.take(report, clock()):
                _LOG.info("%s", line)
        await asyncio.sleep(LOOK_SECONDS)


async def _ask(started: Started) -> dict[str, Any] | None:
    """``GET /healthz``; None when it cannot be had just now."""
    here = urlsplit(started.local_url)
    try:
        async with asyncio.timeout(LOOK_SECONDS * 5):
            reader, writer = await asyncio.open_connection(here.hostname, started.port)
            try:
                request = (
                    f"GET /healthz HTTP/1.1\r\nHost: {here.netloc}\r\nConnection: close\r\n\r\n"
                )
                writer.write(request.encode("ascii"))
                answer = await reader.read(64 * 1024)
                while more := await reader.read(64 * 1024):
                    answer += more
            finally:
                writer.close()
        report = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def set_up_logs() -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("ftweb").setLevel(logging.DEBUG if debugging() else logging.INFO)
