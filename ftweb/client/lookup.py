"""A server's name → the URL of its socket, by mDNS.

1. mDNS is a hint, never a lock: several bridges may answer for one name. The one that tells of
   the highest (epoch, term) is taken, and the token decides whether it was the right one.
2. Answers are collected for a little longer than it takes to hear the first, not for the whole
   time.
3. Of several addresses of one bridge the first that accepts a connection is taken: a laptop
   also tells of networks that only its own containers are in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Protocol, cast

from ftweb.client.address import SOCKET_PATH
from ftweb.errors import ConnectError

LOOK_UP_SECONDS = 4.0
"""How long a name is looked for: a bridge answers within 120 ms, and a question that was lost is
repeated after one second, and two seconds later."""

COLLECT_SECONDS = 0.5
"""How long other answers are waited for after the first."""

PROBE_SECONDS = 2.0


class Service(Protocol):
    """What a browser tells of a server (``ftweb.bridge.discovery.Found``)."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...
    @property
    def port(self) -> int: ...
    @property
    def guid(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def gone(self) -> bool: ...


type Browse = Callable[[float | None], AsyncIterator[Service]]


async def find_server(name: str, *, browse: Browse | None = None) -> str:
    """Look up a server on this network.

    Args:
        name: as the server was called; capitals do not count. Or its GUID.
        browse: another browser, in tests.

    Returns:
        The URL of its socket.

    Raises:
        ConnectError: ``server_not_found``.
    """
    if browse is None:
        # Imported here: only this needs zeroconf, and most scripts give an address.
        from ftweb.bridge.discovery import browse as browse_network

        browse = browse_network
    try:
        services = await _collect(name, browse)
    except OSError as error:
        raise ConnectError(
            f"Names cannot be looked up on this network (mDNS: {error}). Give the address that "
            "the bridge prints.",
            code="server_not_found",
        ) from error
    for service in sorted(services, key=lambda s: (s.epoch, s.term), reverse=True):
        address = await _reachable(service.addresses, service.port)
        if address is not None:
            return f"ws://{address}:{service.port}{SOCKET_PATH}"
    if services:
        raise ConnectError(
            f"The network tells of a server named {name!r}, but it cannot be reached. Is this "
            "device on the same network?"
        )
    raise ConnectError(
        f"No server named {name!r} answers on this network. `ftweb browse` lists those that do; "
        "where multicast is blocked, give the address that the bridge prints.",
        code="server_not_found",
    )


async def _collect(name: str, browse: Browse) -> list[Service]:
    found: dict[str, Service] = {}
    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_UP_SECONDS) as limit:
            async with aclosing(cast(AsyncGenerator[Service], browse(None))) as services:
                async for service in services:
                    if name.casefold() not in (service.name.casefold(), service.guid):
                        continue
                    if service.gone:
                        found.pop(service.guid, None)
                        continue
                    if not found:
                        limit.reschedule(loop.time() + COLLECT_SECONDS)
                    found[service.guid] = service
    return list(found.values())


async def _reachable(addresses: Iterable[str], port: int) -> str | None:
    """The first address that accepts a connection."""

    async def probe(address: str) -> str:
        _, writer = await asyncio.open_connection(address, port)
        writer.close()
        return address

    probes = {asyncio.create_task(probe(address)) for address in addresses}
    waiting = probes
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.exception() is None:
                        return task.result()
    except TimeoutError:
        pass
    finally:
        for task in waiting:
            task.cancel()
    return None
