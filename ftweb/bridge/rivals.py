"""Who else holds this server's name, and which of two that hold it keeps it.

1. A browser's cache cannot tell: two that publish one name are one service there, with the
   addresses of both and the TXT that came last, and it keeps for minutes what a dead one said. So
   the question is asked anew, and of each answer it is seen from where it came. Answers are
   multicast: where bridges cannot link, what is meant for one of them may not arrive either.
2. Of bridges that are linked the one that started first publishes. Of those that are not, the one
   with the higher (epoch, term); of equals the one with the lower address. Each side judges alike,
   and two never both give way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from zeroconf import (  # type: ignore[attr-defined]  # exported, but not in its __all__
    DNSIncoming,
    DNSOutgoing,
    DNSQuestion,
    DNSService,
    DNSText,
)
from zeroconf.asyncio import AsyncServiceInfo

from ftweb.bridge.addresses import url
from ftweb.bridge.discovery import number_in
from ftweb.bridge.publishing import FLYWEB, MULTICAST, NAMES_TRIED, instance_label, numbered
from ftweb.limits import NAME_ANSWERS

ASKED: Final = 2
ASK_AGAIN_SECONDS: Final = 1.1
"""Multicast is lost now and then, on Wi-Fi more often. Responders drop what looks like an echo,
and do not say the same thing twice within a second (RFC 6762, section 6)."""

_PORT: Final = 5353
_SRV, _TXT, _IN = 33, 16, 1
_QUERY = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """A bridge that publishes this server, by its own answer."""

    origin: str
    epoch: int
    term: int

    @property
    def rank(self) -> tuple[int, int]:
        """The higher one keeps the name."""
        return self.epoch, self.term


def should_publish(
    *,
    own: tuple[int, str],
    linked: Iterable[tuple[int, str]],
    rank: tuple[int, int],
    origins: Collection[str],
    rivals: Iterable[Rival],
) -> bool:
    """Whether a bridge is the one to publish (rule 2).

    Args:
        own: when it started, and its id.
        linked: the same of those that it is linked with.
        rank: its (epoch, term).
        origins: its own addresses.
        rivals: those that publish without being linked.
    """
    if any(other < own for other in linked):
        return False
    lowest = min(origins, default="")
    return not any(
        rival.rank > rank or (rival.rank == rank and rival.origin < lowest) for rival in rivals
    )


async def find_rivals(
    name: str, guid: str, *, port: int, interfaces: Sequence[str]
) -> tuple[Rival, ...]:
    """Ask who publishes a server now; takes two seconds.

    Args:
        name: of the server.
        guid: of the server.
        port: where we listen: who answers from here, for that port, is ourselves.
        interfaces: our addresses to ask from.
    """
    loop = asyncio.get_running_loop()
    answers = _Answers(guid)
    query = _query(name)
    transports: list[asyncio.DatagramTransport] = []
    try:
        for address in interfaces:
            with contextlib.suppress(OSError):  # one that has just gone, or has no multicast
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: answers, sock=_socket(address)
                )
                transports.append(transport)
        for _ in range(ASKED):
            for transport in transports:
                transport.sendto(query, (MULTICAST, _PORT))
            await asyncio.sleep(ASK_AGAIN_SECONDS)
    finally:
        for transport in transports:
            transport.close()
    own = {url(address, port, "") for address in interfaces}
    return tuple(rival for origin, rival in answers.rivals.items() if origin not in own)


class _Answers(asyncio.DatagramProtocol):
    """Reads who publishes a server; what others publish is untrusted."""

    def __init__(self, guid: str) -> None:
        self.rivals: dict[str, Rival] = {}
        self._guid = guid
        self._packets = 0
        self._ports: dict[str, int] = {}
        """Where each listens: a responder may say it apart from the rest."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._packets += 1
        if self._packets > NAME_ANSWERS:
            return
        address = addr[0]
        incoming = DNSIncoming(data)
        if not incoming.valid or not incoming.is_response():
            return
        text: dict[str, str | None] = {}
        for record in incoming.answers():
            if not record.ttl or not record.name.endswith(FLYWEB):
                continue  # a goodbye, or something else
            if isinstance(record, DNSService):
                self._ports[address] = record.port
            elif isinstance(record, DNSText):
                info = AsyncServiceInfo(FLYWEB, f"x.{FLYWEB}", properties=record.text)
                if info.decoded_properties.get("guid") == self._guid:
                    text = info.decoded_properties
        port = self._ports.get(address)
        if port is not None and text:
            self.rivals[url(address, port, "")] = Rival(
                origin=url(address, port, ""),
                epoch=number_in(text.get("epoch")),
                term=number_in(text.get("term")),
            )


def _socket(address: str) -> socket.socket:
    """One that hears what is multicast, and takes nothing that is meant for another program."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            made.bind((MULTICAST, _PORT))
        except OSError:
            made.bind(("", _PORT))  # Windows
        membership = socket.inet_aton(MULTICAST) + socket.inet_aton(address)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _query(name: str) -> bytes:
    query = DNSOutgoing(_QUERY)
    for number in range(1, NAMES_TRIED + 1):
        instance = f"{numbered(instance_label(name), number)}.{FLYWEB}"
        for type_ in (_SRV, _TXT):
            query.add_question(DNSQuestion(instance, type_, _IN))
    return bytes(query.packets()[0])
