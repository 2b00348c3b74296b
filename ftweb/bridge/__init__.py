"""The bridge: the process on a laptop that joins browser tabs into one group.

It serves the pages and the runtime, relays frames between the tabs (:mod:`ftweb.relay`), publishes
the server over mDNS and keeps a durable replica. It never runs an app's handlers.

In dependency order::

    config       what a bridge is told, and the secrets kept in its data directory
    addresses    which addresses this machine has, and which to show
    moving       notices that they have changed
    bucket       a rate with some patience
    bundle       the app as one deterministic zip
    assets       every file that is served, with its headers
    security     exact Host and Origin checks, token comparison, derived ids
    wire         a WebSocket as the bridge needs it, below what ASGI offers
    sockets      joining, limits and the reading loop
    storage      the replica in SQLite
    bootstrap    how a history begins, and how it goes on after a restart
    continuing   going on when the quorum is gone for good
    health       how the bridge is
    publishing   the server on the LAN, by mDNS
    discovery    finding servers, by mDNS
    server       all of it, started and stopped in order

What is named here is imported when it is asked for: who only looks for servers loads no web server.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ftweb.bridge.config import BridgeConfig, Identity, load_identity
    from ftweb.bridge.discovery import Found, browse
    from ftweb.bridge.server import Started, serve

__all__ = ["BridgeConfig", "Found", "Identity", "Started", "browse", "load_identity", "serve"]

_HOMES: Final = {
    "BridgeConfig": "config",
    "Found": "discovery",
    "Identity": "config",
    "Started": "server",
    "browse": "discovery",
    "load_identity": "config",
    "serve": "server",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ftweb.bridge' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ftweb.bridge.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
