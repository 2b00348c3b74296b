"""Signals that open data channels between tabs: who sent them, and from which address.

1. A signal goes to the client behind a node (an offer) or to a client (its answer), here or at
   another bridge. Where a client is, only its own bridge knows: answers go to all of them. An offer
   to nobody is refused, so that who offers need not wait; all else that finds nobody is dropped.
2. The relay vouches for the sender: what opens by these descriptions is encrypted with keys whose
   fingerprints stand in them, so a channel is as trustworthy as the relay that passed them on.
3. Browsers write ``<uuid>.local`` instead of an address, which only multicast resolves, and many
   networks block that. The relay sees the address; each such candidate gets a copy that bears
   it, with the same port. The name stays as well: behind a router that rewrites addresses the
   relay sees another one than the peers do.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ftweb import codec, frames
from ftweb.limits import SIGNAL_ADDRESSES, SIGNAL_CANDIDATES, SIGNAL_CHARS
from ftweb.relay.connection import Connection, Registry
from ftweb.relay.links import Links

_PREFIX = "a=candidate:"
_ADDRESS = 4
"""The place of the address among the fields of a candidate (RFC 8839, section 5.1)."""


def route(
    signal: frames.Signal, sender: Connection, registry: Registry, links: Links | None = None
) -> None:
    """Pass a client's signal on (rules 1 to 3)."""
    receiver = registry.with_node(signal.to) or registry.client(signal.to)
    node = sender.node
    filled = msgspec.structs.replace(
        signal,
        sdp=with_addresses(signal.sdp, sender.addresses),
        source=frames.Source(
            client_id=sender.client_id,
            device_id=sender.device_id,
            presenter=sender.presenter,
        ),
        node_id=None if node is None else node.node_id,
    )
    if receiver is not None and receiver is not sender:
        receiver.send(filled)
    elif signal.kind != "offer":
        if receiver is None and links is not None:
            links.broadcast(filled)
    elif receiver is sender or links is None or not links.send(signal.to, codec.encode(filled)):
        sender.send(frames.Signal(to=sender.client_id, link=signal.link, kind="refuse"))


def arrived(signal: frames.Signal, registry: Registry) -> None:
    """A signal has come from another bridge, which vouches for its sender."""
    receiver = registry.with_node(signal.to) or registry.client(signal.to)
    if receiver is not None:
        receiver.send(signal)


def with_addresses(sdp: str, addresses: Sequence[str]) -> str:
    """Rule 3.

    Returns:
        The description, or what was given if it would become too long.
    """
    lines: list[str] = []
    hidden = 0
    for line in sdp.split("\r\n"):
        fields = line.split(" ")
        if (
            line.startswith(_PREFIX)
            and len(fields) > _ADDRESS
            and fields[2].lower() == "udp"
            and fields[_ADDRESS].endswith(".local")
            and hidden < SIGNAL_CANDIDATES
        ):
            hidden += 1
            for address in addresses[:SIGNAL_ADDRESSES]:
                lines.append(" ".join([*fields[:_ADDRESS], address, *fields[_ADDRESS + 1 :]]))
        lines.append(line)
    filled = "\r\n".join(lines)
    return filled if len(filled) <= SIGNAL_CHARS else sdp
