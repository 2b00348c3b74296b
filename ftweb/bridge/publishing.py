"""Publishing a server over mDNS.

1. A server is published twice, as ``_flyweb._tcp`` and as ``_http._tcp``, under its name, with a
   host name of its own (``<name>.local``). TXT has ``path``, ``guid``, ``epoch``, ``term`` and
   ``node`` (the host's id, empty while there is none).
2. A change of host is announced at once; the announcement it overtakes is cancelled, so no older
   one is repeated after it.
3. A name that another responder holds is not taken: this one becomes "name (2)". Unless it is
   the group's own: a bridge that takes over from another of its server claims the name at once.
4. mDNS is a hint, never a lock: nothing depends on it. Where multicast does not work there is one
   warning, and the address and the QR code do the job.
5. The interfaces are looked at every few seconds: a laptop that joined another network is
   published there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from zeroconf import (
    EventLoopBlocked,
    IPVersion,
    NonUniqueNameException,
    NotRunningException,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from ftweb.bridge.addresses import lan_addresses

_log = logging.getLogger(__name__)

FLYWEB: Final = "_flyweb._tcp.local."
HTTP: Final = "_http._tcp.local."
TYPES: Final = (FLYWEB, HTTP)

MULTICAST: Final = "224.0.0.251"

NAMES_TRIED = 9
"""How many numbered names are tried before giving up: more servers of one name are a mistake."""

LABEL_BYTES = 63
"""Longest DNS label."""

WATCH_SECONDS = 5.0
"""How often the interfaces are looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What TXT says."""

    guid: str
    epoch: int
    term: int
    node: str
    path: str = "/"

    def properties(self) -> dict[str | bytes, str | bytes | None]:
        """As zeroconf wants it."""
        return {
            "path": self.path,
            "guid": self.guid,
            "epoch": str(self.epoch),
            "term": str(self.term),
            "node": self.node,
        }


class Publisher:
    """Keeps one server published while it runs.

    Use as ``async with Publisher(...) as publisher``: leaving sends the goodbye.

    Args:
        name: the server's name.
        port: where it listens.
        record: the first TXT.
        interfaces: addresses to publish on; None for those of the LAN.
        ours: the name is this server's already; do not ask whether it is free.
        on_host_name: told which ``.local`` name was taken.
    """

    def __init__(
        self,
        *,
        name: str,
        port: int,
        record: Record,
        interfaces: Sequence[str] | None = None,
        ours: bool = False,
        on_host_name: Callable[[str], None] | None = None,
    ) -> None:
        self._ours = ours
        self._name = instance_label(name)
        self._port = port
        self._record = record
        self._fixed = tuple(interfaces) if interfaces is not None else None
        self._on_host_name = on_host_name
        self._zeroconf: AsyncZeroconf | None = None
        self._infos: dict[str, AsyncServiceInfo] = {}
        self._broadcasts: list[asyncio.Future[Any]] = []
        self._addresses: tuple[str, ...] = ()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._warned = False
        self.published_as: str | None = None
        """The instance name taken; None while nothing is published."""

    async def __aenter__(self) -> Publisher:
        self._task = asyncio.create_task(self._run(), name="mdns")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._withdraw()

    def update(self, *, epoch: int, term: int, node: str | None) -> None:
        """Tell of another host. Returns at once; the announcement follows immediately."""
        record = replace(self._record, epoch=epoch, term=term, node=node or "")
        if record != self._record:
            self._record = record
            self._changed.set()

    def announce(self) -> None:
        """Tell again what is published: somebody's goodbye took it out of everybody's cache."""
        self._changed.set()

    # --- the task that does it ----------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._publish()
                await self._keep()
                pause = 0.0
            except (OSError, NotRunningException, EventLoopBlocked) as error:
                pause = WATCH_SECONDS
                if not self._warned:
                    self._warned = True
                    _log.warning(
                        "This server cannot be found by name on this network (mDNS: %s). The"
                        " address and the QR code work all the same.",
                        error,
                    )
            await self._withdraw()
            await asyncio.sleep(pause)

    def _wanted_addresses(self) -> tuple[str, ...]:
        return self._fixed if self._fixed is not None else lan_addresses() or ("127.0.0.1",)

    async def _publish(self) -> None:
        self._addresses = self._wanted_addresses()
        check_multicast(self._addresses)
        self._zeroconf = AsyncZeroconf(
            interfaces=list(self._addresses), ip_version=IPVersion.V4Only
        )
        for number in range(1, NAMES_TRIED + 1):
            try:
                await self._register(self._zeroconf, number)
            except NonUniqueNameException:
                continue
            self.published_as = numbered(self._name, number)
            if number > 1:
                _log.warning(
                    "Another server on this network is called %r; this one is published as %r.",
                    self._name,
                    self.published_as,
                )
            return
        _log.warning(
            "%d servers on this network are called %r; this one is not published by name.",
            NAMES_TRIED,
            self._name,
        )
        await self._zeroconf.async_close()
        self._zeroconf = None

    async def _register(self, zeroconf: AsyncZeroconf, number: int) -> None:
        infos = {type_: self._info(type_, number) for type_ in TYPES}
        taken: list[AsyncServiceInfo] = []
        try:
            for info in infos.values():
                self._broadcasts.append(
                    asyncio.ensure_future(
                        await zeroconf.async_register_service(
                            info, cooperating_responders=self._ours
                        )
                    )
                )
                taken.append(info)
        except NonUniqueNameException:
            for info in taken:
                await (await zeroconf.async_unregister_service(info))
            raise
        self._infos = infos
        if self._on_host_name is not None:
            self._on_host_name(host_name(self._name, number))

    def _info(self, type_: str, number: int) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            type_,
            f"{numbered(self._name, number)}.{type_}",
            port=self._port,
            properties=self._record.properties(),
            server=host_name(self._name, number),
            parsed_addresses=list(self._addresses),
        )

    async def _keep(self) -> None:
        """Announce what changes, until the interfaces are others."""
        zeroconf = self._zeroconf
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if self._wanted_addresses() == self._addresses:
                    continue
                _log.info("The addresses of this machine changed; mDNS is set up anew.")
                return
            self._changed.clear()
            if zeroconf is None:
                continue
            self._cancel_broadcasts()
            for type_, old in list(self._infos.items()):
                info = AsyncServiceInfo(
                    type_,
                    old.name,
                    port=self._port,
                    properties=self._record.properties(),
                    server=old.server or "",
                    parsed_addresses=list(self._addresses),
                )
                self._infos[type_] = info
                self._broadcasts.append(
                    asyncio.ensure_future(await zeroconf.async_update_service(info))
                )

    def _cancel_broadcasts(self) -> None:
        broadcasts, self._broadcasts = self._broadcasts, []
        for broadcast in broadcasts:
            broadcast.cancel()

    async def _withdraw(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        self._cancel_broadcasts()
        self._infos = {}
        self.published_as = None
        if zeroconf is not None:
            with contextlib.suppress(OSError, RuntimeError):
                await zeroconf.async_close()  # sends the goodbyes


def check_multicast(addresses: Sequence[str]) -> None:
    """Find out whether the interfaces with these addresses take part in multicast.

    Raises:
        OSError: one does not; zeroconf would say the same, and leave sockets open.
    """
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            membership = socket.inet_aton(MULTICAST) + socket.inet_aton(address)
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


# --- names ------------------------------------------------------------------------------------


def instance_label(name: str) -> str:
    """A server's name as a DNS-SD instance: any text, without control characters, 63 bytes."""
    cleaned = "".join(c for c in name if unicodedata.category(c)[0] != "C").strip() or "ftweb"
    return _cut(cleaned, LABEL_BYTES - len(" (9)"))


def numbered(name: str, number: int) -> str:
    """The name to try after ``number - 1`` others."""
    return name if number == 1 else f"{name} ({number})"


def host_name(name: str, number: int = 1) -> str:
    """The ``.local`` host name of a server: letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    label = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: LABEL_BYTES - 2].strip("-") or "ftweb"
    return f"{label}.local." if number == 1 else f"{label}-{number}.local."


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
