"""ftweb: web apps whose server lives in the audience's browser tabs, and outlives any of them.

An app imports this and nothing else of ours::

    server = ftweb.init_server("classroom-vote", state={"ballots": {}})

A script that talks to a running app uses :func:`connect`. Names are loaded when they are first
used: the bridge needs no client, a browser tab neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ftweb.app.server import Server, Source, init_server
    from ftweb.client import connect
    from ftweb.errors import ConnectError, FtwebError, Refusal, RequestError

__version__: Final = "0.1.0"

__all__ = [
    "ConnectError",
    "FtwebError",
    "Refusal",
    "RequestError",
    "Server",
    "Source",
    "__version__",
    "connect",
    "init_server",
]

_HOMES: Final = {
    "ConnectError": "ftweb.errors",
    "FtwebError": "ftweb.errors",
    "Refusal": "ftweb.errors",
    "RequestError": "ftweb.errors",
    "Server": "ftweb.app.server",
    "Source": "ftweb.app.server",
    "connect": "ftweb.client",
    "init_server": "ftweb.app.server",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ftweb' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
