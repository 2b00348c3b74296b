"""``GET /healthz``: how this bridge is, for scripts and monitors.

===========  ==================================================================================
field        meaning
===========  ==================================================================================
``status``   ``ok``; ``waiting`` without a host; ``no_quorum``; ``failed`` when the bridge's own
             replica has stopped, as it does when nothing can be saved
``version``  of ftweb
``name``     of the server
``epoch``    and ``term``: of the present host
``host``     its node id, or null
``nodes``    replicas that are reachable, this bridge's own included
``clients``  that have joined, each page or script once
``quorum``   whether requests can be acknowledged
``spare``    how many voters may be lost before they cannot; the lost ones are replaced within
             about a second, and then it counts anew
``storage``  ``ok`` or ``failed``
===========  ==================================================================================

It is answered with 200 unless ``status`` is ``failed`` (503). It tells nothing that the mDNS
record does not tell as well, apart from counts, so it needs no token.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ftweb.relay.connection import Registry
from ftweb.relay.relay import Relay


def version() -> str:
    """The installed version of ftweb."""
    try:
        return metadata.version("ftweb")
    except metadata.PackageNotFoundError:
        return "unknown"


def report(
    *, name: str, relay: Relay, registry: Registry, failed: bool, storage_failed: bool
) -> dict[str, Any]:
    """The fields of the table above."""
    hosting = relay.hosting
    if failed or storage_failed:
        status = "failed"
    elif not hosting.quorum:
        status = "no_quorum"
    else:
        status = "waiting" if hosting.host is None else "ok"
    return {
        "status": status,
        "version": version(),
        "name": name,
        "epoch": hosting.epoch,
        "term": hosting.term,
        "host": hosting.host,
        "nodes": 1 + len(registry.nodes()),
        "clients": len(registry),
        "quorum": hosting.quorum,
        "spare": relay.spare(),
        "storage": "failed" if storage_failed else "ok",
    }


def endpoint(read: Callable[[], dict[str, Any]]) -> Callable[[Request], Any]:
    """The route's handler.

    Args:
        read: makes the report.
    """

    async def healthz(request: Request) -> Response:
        found = read()
        return JSONResponse(
            found,
            status_code=503 if found["status"] == "failed" else 200,
            headers={"cache-control": "no-store"},
        )

    return healthz
