"""What a relay tells of itself, and of who hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ftweb import frames
from ftweb.core.types import Record
from ftweb.limits import (
    FRAME_BYTES,
    HANDLER_SECONDS,
    JSON_DEPTH,
    JSON_KEY_CHARS,
    PAYLOAD_BYTES,
    PENDING_REQUESTS,
    PING_SECONDS,
)
from ftweb.relay.connection import Connection, Registry

LIMITS: Final = frames.Limits(
    frame_bytes=FRAME_BYTES,
    payload_bytes=PAYLOAD_BYTES,
    json_depth=JSON_DEPTH,
    json_key_chars=JSON_KEY_CHARS,
    pending_requests=PENDING_REQUESTS,
    ping_seconds=PING_SECONDS,
    handler_seconds=HANDLER_SECONDS,
)


DEVICE_CHARS: Final = 12
"""Of a device's id, to count devices by: with a thousand the count is wrong once in 500 million."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """What a bridge tells of itself, but for its node's id, which is the driver's."""

    bridge: str
    """Its own id: unlike its node's it outlives restarts and epochs. Empty for a tab, which relays
    when no bridge is left, and whose node is behind one of the connections."""
    device_id: str
    name: str
    guid: str
    bundle: str
    runtime_url: str
    join_url: str
    urls: tuple[str, ...] = ()
    """Origins at which pages reach it, best first."""
    start: int = 0
    """When it started, in milliseconds since 1970."""


class Hosting(Record, frozen=True, kw_only=True):
    """Who hosts, as this bridge sees it."""

    epoch: int
    term: int
    host: str | None
    quorum: bool


def welcome(here: Here, connection: Connection, *, node_id: str) -> frames.Welcome:
    """What a client that joins is told; ``node_id`` is the relay's own node's, now."""
    return frames.Welcome(
        version=frames.PROTOCOL_VERSION,
        client_id=connection.client_id,
        device_id=connection.device_id,
        presenter=connection.presenter,
        bridge=node_id,
        name=here.name,
        guid=here.guid,
        bundle=here.bundle,
        runtime=here.runtime_url,
        join_url=here.join_url if connection.presenter else "",
        local=connection.local,
        limits=LIMITS,
    )


def participants(registry: Registry, others: Sequence[frames.LinkState]) -> int:
    """Devices online, at this and all other bridges together, each counted once."""
    if not others:
        return registry.participants
    devices = {device[:DEVICE_CHARS] for device in registry.devices}
    for state in others:
        devices.update(state.devices)
    return len(devices)


def bridges(
    here: Here, node_id: str, registry: Registry, others: Sequence[frames.LinkState]
) -> list[frames.BridgeAddress]:
    """What clients are told of the bridges that can be reached, this one first."""
    own = frames.BridgeAddress(node_id=node_id, urls=list(here.urls), clients=len(registry))
    return [
        own,
        *(
            frames.BridgeAddress(node_id=state.node_id, urls=state.urls, clients=state.clients)
            for state in others
        ),
    ]
