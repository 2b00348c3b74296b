"""Lets an app's import find only what tabs have, as it will be there.

An app is checked by this machine's Python, which has more: other packages, and all of the standard
library. An import that works here and in no tab would leave the class without a host.

1. Only ``import`` statements of the app's own files are judged: what a library imports in turn it
   may know how to do without.
2. What tabs have is read from the files that they load.
3. Threads cannot be started, as in a tab.
4. The standard library's modules without a Python file are let pass: those are compiled into
   Pyodide, and nothing here says which.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
import threading
import zipfile
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


def guard(folder: Path, runtime: Path) -> None:
    """Make this process like a tab for an app's import. For a process that does only this.

    Args:
        folder: the app's, absolute.
        runtime: what tabs load.
    """
    known = modules(runtime)
    original = builtins.__import__

    def judged(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - so are they called
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level == 0 and _is_own((globals or {}).get("__file__"), folder):
            _judge(name, fromlist or (), folder, known)
        return original(name, globals, locals, fromlist or (), level)

    builtins.__import__ = judged
    setattr(threading.Thread, "start", _no_threads)  # noqa: B010 - mypy forbids it plainly


def _no_threads(thread: threading.Thread) -> None:
    raise RuntimeError("Tabs cannot start threads. Let the handler do it, or an async function")


def modules(runtime: Path) -> frozenset[str]:
    """All modules that tabs have as Python files, by their full names."""
    names = set()
    for archive in [runtime / "pyodide" / "python_stdlib.zip", *runtime.glob("pyodide/*.whl")]:
        with zipfile.ZipFile(archive) as opened:
            for path in opened.namelist():
                stem, _, suffix = path.rpartition(".")
                if suffix in ("py", "pyc"):
                    names.add(stem.removesuffix("/__init__").replace("/", "."))
    return frozenset(names)


def _judge(name: str, fromlist: Sequence[str], folder: Path, known: frozenset[str]) -> None:
    top = name.partition(".")[0]
    standard = top in sys.stdlib_module_names
    own = (folder / top).is_dir() or (folder / f"{top}.py").is_file()
    if own and not standard:
        return
    wanted = [name] if name not in known else [f"{name}.{item}" for item in fromlist]
    for module in wanted:
        if module in known:
            continue
        spec = _find(module)
        here = spec is not None and str(spec.origin).endswith(".py")
        if here or (module == name and not standard):
            raise ModuleNotFoundError(
                f"Tabs have no module {module!r}. An app can import its own files, Starlette, and "
                "what the standard library has without processes, sockets and databases",
                name=module,
            )


def _find(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None  # no module, but something in one


def _is_own(file: object, folder: Path) -> bool:
    if not isinstance(file, str):
        return False
    path = Path(file)
    return folder in path.parents and "site-packages" not in path.parts
