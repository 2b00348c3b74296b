"""Loads an app: the directory's ``app.py``, and the one server in it.

Works alike under CPython and Pyodide. The directory is put at the *end* of the module search path:
the app's own modules can be imported, and none of them can take the place of a module of the
standard library, which the runtime shares with the app.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from ftweb.app.server import Server
from ftweb.errors import AppLoadError

APP_FILE: Final = "app.py"
MODULE: Final = "ftweb_app"
"""The name under which an app's module is known while it is loaded."""


def load_app(directory: Path | str) -> Server:
    """Import an app and give its server.

    Loading the same or another app again gives a fresh one.

    Args:
        directory: holds ``app.py``.

    Raises:
        AppLoadError: ``app_missing``, ``app_broken`` (with file and line), or ``no_handler``.
    """
    folder = Path(directory).absolute()
    path = folder / APP_FILE
    if not path.is_file():
        what = f"no {APP_FILE} in it" if folder.is_dir() else "no such directory"
        raise AppLoadError(f"There is no app at {folder}: {what}.", code="app_missing")
    servers = _servers(_import(path, folder))
    if not servers:
        raise AppLoadError(
            f"{path}: no server. Make one at the top level: server = ftweb.init_server(…)."
        )
    if len(servers) > 1:
        names = ", ".join(repr(name) for name in servers)
        raise AppLoadError(f"{path}: an app has one server, this one has several: {names}.")
    server = next(iter(servers.values()))
    if server.handler is None and server.web is None:
        raise AppLoadError(
            f"{path}: server {server.name!r} has no handler. Put @server.on_receive on the "
            "function that answers messages.",
            code="no_handler",
        )
    return server


def _import(path: Path, folder: Path) -> ModuleType:
    _forget(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _forget(folder)
        raise AppLoadError(f"{_place(error, path, folder)}: {_say(error)}") from error
    return module


def _servers(module: ModuleType) -> dict[str, Server]:
    """The servers at the top level of a module, each once, by the name of its variable."""
    found: dict[str, Server] = {}
    for name, value in vars(module).items():
        if isinstance(value, Server) and not any(value is other for other in found.values()):
            found[name] = value
    return found


def _forget(folder: Path) -> None:
    """Drop modules that were imported from the app's directory: they may have changed."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == MODULE or (isinstance(file, str) and _is_own(Path(file), folder)):
            del sys.modules[name]


def _is_own(file: Path, folder: Path) -> bool:
    """Whether a file is the app's own: within its directory, but not in an environment there."""
    return folder in file.parents and "site-packages" not in file.parts


def _place(error: BaseException, path: Path, folder: Path) -> str:
    """File and line: of a syntax error, else of the innermost line of the app's own."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_own(Path(frame.filename), folder):
            return f"{frame.filename}:{frame.lineno}"
    return str(path)


def _say(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
