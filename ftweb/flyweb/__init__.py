"""FlyWeb in today's browsers: a tab that answers HTTP and WebSocket from any client on the network.

Any ASGI application can be served from a tab::

    import ftweb.flyweb
    from board import app  # an ordinary Starlette application

    server = ftweb.flyweb.publish("board", app)

Theory of operation
===================

::

    curl, browsers ──HTTP──▶ bridge ──frames over /ftweb/http──▶ tab that hosts ──ASGI──▶ app
                             (uvicorn)                           (Pyodide)

==============================  ============================================================
module                          concept
==============================  ============================================================
:mod:`~ftweb.flyweb.wire`       the frames between bridge and tab
:mod:`~ftweb.flyweb.streams`    credit, and frames joined to messages; both sides use it
:mod:`~ftweb.flyweb.exchange`   one HTTP request as ASGI
:mod:`~ftweb.flyweb.socket`     one WebSocket as ASGI
:mod:`~ftweb.flyweb.replicated` requests that may change the state, as requests of the host
:mod:`~ftweb.flyweb.submitting` how they get there
:mod:`~ftweb.flyweb.service`    the app's lifespan and its open exchanges
:mod:`~ftweb.flyweb.port`       the tab's socket for all that
==============================  ============================================================

The bridge's side is :mod:`ftweb.bridge.forwarding`.
"""

from __future__ import annotations

from typing import Any

from ftweb.app import Server, init_server
from ftweb.flyweb.exchange import App

__all__ = ["App", "publish"]


def publish(name: str, app: App, **options: Any) -> Server:
    """Serve an ASGI application from the tab that hosts.

    What the application keeps in its own variables lives in that tab: another one that takes over
    begins anew. To keep it, use a state that is replicated: :func:`ftweb.init_server` and
    :meth:`ftweb.Server.mount`.

    Args:
        name: under which it is found on the network.
        app: any ASGI 3 application.
        **options: those of :func:`ftweb.init_server`.

    Returns:
        The server. Keep it in a variable at the top level of ``app.py``.
    """
    server = init_server(name, **options)
    server.mount(app)
    server.replicates_http = False
    return server
