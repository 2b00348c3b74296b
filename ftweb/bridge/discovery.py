"""Finding servers that are published over mDNS.

1. Both service types are browsed; what is heard is merged by GUID, and the highest (epoch, term)
   counts: after a takeover the old record may still be about.
2. What others publish is untrusted text: it is bounded and stripped of control characters.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from ftweb.bridge.addresses import lan_addresses
from ftweb.bridge.publishing import LABEL_BYTES, TYPES, check_multicast

RESOLVE_MILLISECONDS: Final = 1500
"""How long a browser asks for what a service did not say by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A server as the network tells of it now."""

    name: str
    guid: str
    host: str
    """Its ``.local`` name, without the last dot."""
    addresses: tuple[str, ...]
    port: int
    path: str
    epoch: int
    term: int
    node: str
    """Node id of its host; empty while there is none."""
    gone: bool = False
    """It said goodbye, or its announcements have expired."""


@dataclass(kw_only=True, slots=True)
class _Seen:
    found: Found
    services: set[tuple[str, str]] = field(default_factory=set)


async def browse(
    timeout: float | None, *, interfaces: Sequence[str] | None = None
) -> AsyncIterator[Found]:
    """Yield each server found, and again whenever something about it changes.

    Args:
        timeout: how many seconds to listen; None for ever.
        interfaces: addresses to listen on; None for those of the LAN.

    Raises:
        OSError: multicast does not work here at all.
    """
    queue: asyncio.Queue[tuple[str, str, ServiceStateChange]] = asyncio.Queue()

    def heard(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        queue.put_nowait((service_type, name, state_change))

    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    listen_on = list(interfaces if interfaces is not None else lan_addresses() or ("127.0.0.1",))
    check_multicast(listen_on)
    seen: dict[str, _Seen] = {}
    async with AsyncZeroconf(interfaces=listen_on, ip_version=IPVersion.V4Only) as zeroconf:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, list(TYPES), handlers=[heard])
        try:
            while True:
                # Around the waiting only: the consumer's own time must not be cut off.
                async with asyncio.timeout_at(deadline):
                    event = await queue.get()
                found = await _take(zeroconf, seen, *event)
                if found is not None:
                    yield found
        except TimeoutError:
            return
        finally:
            await browser.async_cancel()


async def _take(
    zeroconf: AsyncZeroconf,
    seen: dict[str, _Seen],
    type_: str,
    name: str,
    change: ServiceStateChange,
) -> Found | None:
    """Merge one event; returns what to tell, if anything."""
    service = (type_, name)
    if change is ServiceStateChange.Removed:
        for holder in seen.values():
            if service in holder.services:
                holder.services.discard(service)
                if not holder.services and not holder.found.gone:
                    holder.found = replace(holder.found, gone=True)
                    return holder.found
        return None
    info = AsyncServiceInfo(type_, name)
    if not info.load_from_cache(zeroconf.zeroconf):
        await info.async_request(zeroconf.zeroconf, RESOLVE_MILLISECONDS)
    found = _found(info)
    if found is None:
        return None
    entry = seen.get(found.guid)
    if entry is None:
        seen[found.guid] = _Seen(found=found, services={service})
        return found
    entry.services.add(service)
    known = entry.found
    if known == found:
        return None
    if not known.gone and (found.epoch, found.term) < (known.epoch, known.term):
        return None
    entry.found = found
    return found


def _found(info: AsyncServiceInfo) -> Found | None:
    properties = info.decoded_properties
    guid = properties.get("guid")
    if not guid or len(guid) > LABEL_BYTES or info.port is None:
        return None
    return Found(
        name=_printable(info.get_name()),
        guid=_printable(guid),
        host=_printable((info.server or "").rstrip(".")),
        addresses=tuple(sorted(info.parsed_addresses(IPVersion.V4Only))),
        port=info.port,
        path=_printable(properties.get("path") or "/"),
        epoch=number_in(properties.get("epoch")),
        term=number_in(properties.get("term")),
        node=_printable(properties.get("node") or ""),
    )


def number_in(text: str | None) -> int:
    """A number of a TXT record; 0 for what is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


def _printable(text: str) -> str:
    """Without control characters: this text ends up in a terminal."""
    return "".join(c for c in text if unicodedata.category(c)[0] != "C")
