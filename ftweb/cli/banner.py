"""What ``ftweb run`` says first: one JSON object for scripts, or a page for people."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from typing import Any, TextIO
from urllib.parse import urlsplit

import click

from ftweb.bridge import Started
from ftweb.cli.qr import qr_lines


def as_json(started: Started, *, data_dir: str) -> str:
    """The one line of ``--json``."""
    facts: dict[str, Any] = dataclasses.asdict(started)
    return json.dumps({**facts, "data": data_dir, "bridge_command": bridge_command(started)})


def bridge_command(started: Started) -> str:
    """What to type on another laptop, so that the server no longer depends on this one."""
    origin = started.join_url.partition("#")[0].rstrip("/")
    parts = urlsplit(origin)
    return f"ftweb bridge '{parts.scheme}://{parts.netloc}/#presenter={started.presenter_token}'"


def for_people(started: Started, *, second: bool = False, out: TextIO | None = None) -> str:
    """Name, QR code, addresses, and how to stop.

    Args:
        started: the bridge.
        second: it has joined another laptop's.
        out: where it will be printed.
    """
    out = out or sys.stdout
    terminal = out.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def bold(text: str) -> str:
        return click.style(text, bold=True) if colour else text

    lines = [""]
    if _can_print(out, "▀▄█"):
        width = shutil.get_terminal_size().columns if terminal else None
        lines += [*qr_lines(started.join_url, colour=colour, width=width), ""]
    joined = ", with this laptop as a further bridge" if second else ""
    lines += [
        f"{bold(started.name)} is running{joined}.",
        "",
        f"  Phones       {bold(started.join_url)}",
        f"  Presenter    {started.presenter_url}",
    ]
    others = [url for url in started.urls if not started.join_url.startswith(url)]
    lines += [f"  Also at      {url}#join={started.join_token}" for url in others]
    if not _only_here(started):
        lines += [
            "",
            "On another laptop, so that nobody depends on this one:"
            if not second
            else "On a third laptop:",
            f"  {bridge_command(started)}",
        ]
    lines += ["", _reach(started), "Press Ctrl-C to stop.", ""]
    return "\n".join(lines)


def _only_here(started: Started) -> bool:
    host = urlsplit(started.join_url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _reach(started: Started) -> str:
    if _only_here(started):
        return (
            "Only this machine can open these: it is on no network, or --host keeps others out.\n"
            "Join the phones' network (it needs no internet); the new address is told here then."
        )
    return (
        "Phones have to be on the same network. A guest network may keep them apart: then use a "
        "hotspot."
    )


def _can_print(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
