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
    return json.dumps({**facts, "data": data_dir})


def for_people(started: Started, *, out: TextIO | None = None) -> str:
    """Name, QR code, addresses, and how to stop."""
    out = out or sys.stdout
    terminal = out.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def bold(text: str) -> str:
        return click.style(text, bold=True) if colour else text

    lines = [""]
    if _can_print(out, "▀▄█"):
        width = shutil.get_terminal_size().columns if terminal else None
        lines += [*qr_lines(started.join_url, colour=colour, width=width), ""]
    lines += [
        f"{bold(started.name)} is running.",
        "",
        f"  Phones       {bold(started.join_url)}",
        f"  Presenter    {started.presenter_url}",
    ]
    others = [url for url in started.urls if not started.join_url.startswith(url)]
    lines += [f"  Also at      {url}#join={started.join_token}" for url in others]
    lines += ["", f"{_reach(started)} Press Ctrl-C to stop.", ""]
    return "\n".join(lines)


def _reach(started: Started) -> str:
    host = urlsplit(started.join_url).hostname or ""
    if host == "localhost" or host == "::1" or host.startswith("127."):
        return "Only this machine can open these: it listens on no address of a network."
    return "Phones have to be on the same network."


def _can_print(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
