"""Which addresses this machine has, which of them to show, and in what order.

1. Shown are IPv4 addresses only: people type them, and every phone has IPv4 on a LAN.
2. Only addresses that a LAN uses are shown and published: private ones, link-local ones, the
   documentation ranges (laboratories use them) and the shared range of carriers. A public
   address would make Chrome ask each visitor for permission, and would publish the class.
3. The address by which the default route leaves comes first, then other LAN addresses; those
   of container and virtual-machine bridges last, since no phone reaches them.
4. Loopback only when there is nothing else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import ifaddr

_VIRTUAL = re.compile(r"(docker|br-|veth|virbr|vmnet|vboxnet|cni|flannel|lxc|podman|utun|tun|tap)")
_DOCUMENTATION = tuple(
    ipaddress.IPv4Network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")
)
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """An address of this machine."""

    ip: str
    interface: str


def machine_addresses() -> tuple[Address, ...]:
    """All addresses of this machine, IPv4 and IPv6, loopback included, read anew."""
    found = []
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            ip = address.ip if isinstance(address.ip, str) else address.ip[0]
            found.append(Address(ip=ip, interface=str(adapter.nice_name)))
    return tuple(found)


def lan_addresses(addresses: Sequence[Address] | None = None) -> tuple[str, ...]:
    """The IPv4 addresses by which a phone may reach this machine, best first.

    Args:
        addresses: what the machine has; read anew when None.
    """
    if addresses is None:
        addresses = machine_addresses()
    first = default_route_address()

    def rank(address: Address) -> tuple[bool, bool]:
        return address.ip != first, bool(_VIRTUAL.match(address.interface))

    candidates = [a for a in addresses if is_lan(a.ip)]
    return tuple(dict.fromkeys(a.ip for a in sorted(candidates, key=rank)))


def shown_addresses(host: str) -> tuple[str, ...]:
    """The addresses to show for a server that listens on ``host``; never empty."""
    if host in ("", "0.0.0.0", "::"):
        return lan_addresses() or ("127.0.0.1",)
    return (host,)


def is_lan(ip: str) -> bool:
    """Whether an IPv4 address is one that a LAN uses (rule 2)."""
    try:
        address = ipaddress.IPv4Address(ip)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    return (
        address.is_private
        or address.is_link_local
        or address in _SHARED
        or any(address in network for network in _DOCUMENTATION)
    )


def default_route_address() -> str | None:
    """The address that the default route would use. Nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.255", 9))  # documentation range: routed, never answered
            return str(probe.getsockname()[0])
        except OSError:
            return None


def url(host: str, port: int, path: str = "/") -> str:
    """An ``http`` URL; port 80 is left out, IPv6 literals are put in brackets."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}{'' if port == 80 else f':{port}'}{path}"
