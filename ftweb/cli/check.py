"""``python -m ftweb.cli.check APP_DIR [RUNTIME]``: imports an app and tells about it, as JSON on
stdout; with the browser runtime's directory it may import only what tabs have (:mod:`.tabs`).

In a process of its own, for three reasons: whatever the app does on import cannot harm the
bridge; an import that never ends can be ended; and what the app prints does not get between the
bridge's own output. On success ``{"name", "state", "options", "messages", "serves_http"}``; else
``{"code", "message"}`` and status 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftweb.app.server import handler_name
from ftweb.cli.tabs import guard
from ftweb.errors import AppLoadError

IMPORT_SECONDS = 30.0
"""An app that is not imported by then will not be ready to take over in a tab either."""

SHOWN_CHARS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class AppFacts:
    """What the bridge has to know of an app, without importing it itself."""

    name: str
    state: Any
    """Before anything happened."""
    options: dict[str, str]
    """``on_quorum_loss``, ``replication``, ``ack``."""
    messages: str | None
    """The function that answers messages; None if nothing does."""
    serves_http: bool
    """It answers HTTP, not only messages."""


def check_app(app_dir: Path, *, timeout: float = IMPORT_SECONDS) -> AppFacts:
    """Import an app in another process.

    Raises:
        AppLoadError: ``app_missing``, ``app_broken`` (with file and line) and so on.
    """
    if not (app_dir / "app.py").is_file():
        what = "it has no app.py" if app_dir.is_dir() else "there is no such directory"
        if app_dir.is_file():
            what = "that is a file"
        raise AppLoadError(
            f"There is no app at {app_dir}: {what}. Give the directory that holds app.py.",
            code="app_missing",
        )
    # -P: what lies in the current directory must not stand in for the standard library.
    command = [sys.executable, "-P", "-m", "ftweb.cli.check", str(app_dir.absolute())]
    from ftweb.bridge.assets import find_runtime  # here: the other process must not load it

    with contextlib.suppress(AppLoadError):  # not built: told by whoever wants to serve it
        command.append(str(find_runtime()))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AppLoadError(
            f"{app_dir / 'app.py'} was not imported within {timeout:g} s. Does it wait for "
            "something, or loop, at its top level?"
        ) from None
    try:
        told = json.loads(done.stdout)
        if done.returncode == 0:
            return AppFacts(
                name=told["name"],
                state=told["state"],
                options=told["options"],
                messages=told["messages"],
                serves_http=told["serves_http"],
            )
        message, code = str(told["message"]), str(told["code"])
    except (ValueError, KeyError, TypeError):
        said = " ".join(done.stderr.split())[-SHOWN_CHARS:]
        raise AppLoadError(
            f"{app_dir / 'app.py'} ended Python while it was imported (status "
            f"{done.returncode}){f': {said}' if said else '.'}"
        ) from None
    raise AppLoadError(message, code=code)


def _tell(app_dir: str, runtime: str | None = None) -> int:
    """The other process."""
    # What the app prints, also through C, goes to stderr.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from ftweb.app.loader import load_app

    if runtime is not None:
        guard(Path(app_dir), Path(runtime))
    try:
        server = load_app(Path(app_dir))
        facts: dict[str, Any] = {
            "name": server.name,
            "state": server.initial_state,
            "options": {
                "on_quorum_loss": server.on_quorum_loss,
                "replication": server.replication,
                "ack": server.ack,
            },
            "messages": None if server.handler is None else handler_name(server.handler),
            "serves_http": server.web is not None,
        }
        status = 0
    except AppLoadError as error:
        facts, status = {"code": error.code, "message": error.message}, 1
    json.dump(facts, told)
    told.close()
    sys.stdout.flush()
    # Without waiting for threads that the app may have started.
    os._exit(status)


if __name__ == "__main__":
    _tell(*sys.argv[1:])
