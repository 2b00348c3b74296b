"""Signals that open data channels between tabs: who sent them, and from which address.

1. A signal goes to the client behind a node (an offer) or to a client (its answer). An offer to
   nobody is refused, so that who offers need not wait; all else that finds nobody is dropped.
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

from ftweb import frames
from ftweb.limits import SIGNAL_ADDRESSES, SIGNAL_CANDIDATES, SIGNAL_CHARS
from ftweb.relay.connection import Connection, Registry

_PREFIX = "a=candidate:"
_ADDRESS = 4
"""The place of the address among the fields of a candidate (RFC 8839, section 5.1)."""


def route(signal: frames.Signal, sender: Connection, registry: Registry) -> None:
    """Pass a signal on (rules 1 to 3)."""
    receiver = registry.with_node(signal.to) or registry.client(signal.to)
    if receiver is None or receiver is sender:
        if signal.kind == "offer":
            sender.send(frames.Signal(to=sender.client_id, link=signal.link, kind="refuse"))
        return
    node = sender.node
    receiver.send(
        msgspec.structs.replace(
            signal,
            sdp=with_addresses(signal.sdp, sender.addresses),
            source=frames.Source(
                client_id=sender.client_id,
                device_id=sender.device_id,
                presenter=sender.presenter,
            ),
            node_id=None if node is None else node.node_id,
        )
    )


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
