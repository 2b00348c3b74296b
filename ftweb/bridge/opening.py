"""A request as the tab is told of it, and who finds the tab."""

from __future__ import annotations

from typing import Protocol

from ftweb.bridge.channels import Channel, Stream
from ftweb.bridge.security import Scope
from ftweb.flyweb import wire


class Hosts(Protocol):
    """Finds who answers (:class:`ftweb.bridge.channels.Channels`)."""

    def elsewhere(self) -> str | None:
        """The origin of another bridge, if the host is behind that one."""

    async def host(self, seconds: float) -> Channel | None:
        """Wait for the host's channel; None if there is none in time, or it is elsewhere."""

    def is_host(self, stream: Stream) -> bool:
        """Whether a stream leads to who hosts now."""

    async def changes(self) -> None:
        """Wait until another one may host."""


def opening(scope: Scope, *, window: int, headers: wire.Headers | None = None) -> wire.Open:
    """What the tab is told of a request.

    Args:
        scope: as the HTTP server parsed it.
        window: granted for the response.
        headers: other ones than the scope's.
    """
    sent: wire.Headers = list(scope["headers"]) if headers is None else headers
    return wire.Open(
        kind=scope["type"],
        http_version=scope["http_version"],
        scheme=scope["scheme"],
        method=scope.get("method", "GET"),
        path=scope["path"],
        raw_path=scope["raw_path"],
        query_string=scope["query_string"],
        headers=sent,
        client=scope["client"],
        server=scope["server"],
        subprotocols=list(scope.get("subprotocols", ())),
        window=window,
        asks=any(name == b"expect" and value.lower() == b"100-continue" for name, value in sent),
    )
