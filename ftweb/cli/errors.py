"""Errors as people get them: one line, an exit status, no traceback."""

from __future__ import annotations

import os
import sys

import click

from ftweb.errors import FtwebError

FAILED = 1
MISUSED = 2


def debugging() -> bool:
    """Whether ``FTWEB_DEBUG`` asks for tracebacks and debug logs."""
    return os.environ.get("FTWEB_DEBUG", "") not in ("", "0")


def report(error: BaseException) -> int:
    """Tell of an error on stderr.

    Returns:
        The exit status.
    """
    found = _find(error)
    if isinstance(found, click.UsageError):
        command = found.ctx.command_path if found.ctx is not None else "ftweb"
        _say(f"{found.format_message()} See `{command} --help`.")
        return MISUSED
    if isinstance(found, click.ClickException):
        _say(found.format_message())
        return found.exit_code
    if isinstance(found, FtwebError):
        _say(f"{found.message} ({found.code})")
        return FAILED
    _say(
        f"{type(found).__name__}: {found}. This should not happen; FTWEB_DEBUG=1 shows where it "
        "came from."
    )
    return FAILED


def _find(error: BaseException) -> BaseException:
    """The error to tell of: the first in a group, one of ours before others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_find(inner) for inner in error.exceptions]
    return next((inner for inner in found if isinstance(inner, FtwebError)), found[0])


def _say(text: str) -> None:
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(" ".join(text.split()), file=sys.stderr)
