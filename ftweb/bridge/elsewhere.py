"""Where the host is, if it is behind another bridge: HTTP requests are sent there."""

from __future__ import annotations

from ftweb.relay.connection import Registry
from ftweb.relay.relay import Relay


def host_elsewhere(relay: Relay, registry: Registry) -> str | None:
    """The origin of the bridge behind which the host is; None if it is this one, or unknown.

    Args:
        relay: of this bridge.
        registry: of the connections to this bridge.
    """
    host = relay.host_id()
    if host is None or registry.with_node(host) is not None:
        return None
    remote = relay.links.routes.node(host)
    if remote is None:
        return None
    states = relay.links.routes.bridges
    urls = next((state.urls for state in states if state.bridge == remote.bridge), [])
    return urls[0] if urls else None
