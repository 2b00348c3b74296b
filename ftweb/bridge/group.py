"""This bridge among the others of its server.

1. It links with all that it hears of: those given at the start, those kept from an earlier time,
   those that linked ones tell of, those that mDNS finds. Their addresses are kept.
2. Pages of all of them, also of those that are gone, may connect here. Those of the other laptops'
   own tabs (``localhost``) and of the server's ``.local`` name are counted in.
3. One of those that are linked publishes the server over mDNS: the one that started first, so that
   the name goes elsewhere only when it has to. When it is gone the next claims its name at once,
   without asking whether it is free: it was the group's.
4. Two that publish without being linked (a net that was in parts): the higher (epoch, term) keeps
   the name, the other withdraws until it is linked or the name is free. What a browser hears says
   only that it is time to ask who answers for the name (:mod:`ftweb.bridge.rivals`); whoever has
   withdrawn asks again and again, since the other may die without a word.
5. A goodbye takes the records that two publish alike out of every cache: whoever still publishes
   announces them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from zeroconf import EventLoopBlocked, NotRunningException

from ftweb import frames
from ftweb.bridge.addresses import lan_addresses, url
from ftweb.bridge.config import BridgeConfig
from ftweb.bridge.discovery import Found, browse
from ftweb.bridge.joining import keep_bridges, known_bridges
from ftweb.bridge.linking import Dialer, LinkEndpoint, new_nonce
from ftweb.bridge.publishing import Publisher, Record, host_name
from ftweb.bridge.rivals import Rival, find_rivals, should_publish
from ftweb.bridge.security import AllowedHosts
from ftweb.limits import LINKED_BRIDGES
from ftweb.relay.connection import Registry
from ftweb.relay.handshake import Me
from ftweb.relay.here import Here, Hosting
from ftweb.relay.relay import Relay

_log = logging.getLogger(__name__)

LINK_FIRST_SECONDS: Final = 2.0
"""A bridge that knows others gives a link this long before it publishes by itself."""

RECHECK_SECONDS: Final = 5.0
"""How often it is asked whether another bridge still has the name."""

BROWSE_AGAIN_SECONDS: Final = 30.0
"""Multicast that does not work now may do so on the next network."""


class Group:
    """See the rules above.

    Args:
        config: of this bridge.
        here: what it tells of itself.
        port: where it listens.
        presenter_page: its path.
        registry: counts sockets.
        hosts: whose pages may connect.
        relay: has the links.
    """

    def __init__(
        self,
        *,
        config: BridgeConfig,
        here: Here,
        port: int,
        presenter_page: str,
        registry: Registry,
        hosts: AllowedHosts,
        relay: Relay,
    ) -> None:
        self._config = config
        self._here = here
        self._port = port
        self._presenter_page = presenter_page
        self._hosts = hosts
        self._relay = relay
        self._links = relay.links
        self._dialer = Dialer(links=relay.links, me=self._me, own=here.urls)
        self._kept: tuple[str, ...] = ()
        self._publisher: Publisher | None = None
        self._rivals: tuple[Rival, ...] = ()
        """Bridges that publish this server and are not linked."""
        self._asked_from: list[str] = []
        """Our own addresses then."""
        self._doubt = asyncio.Event()
        """Somebody else may hold the name, or may hold it no more."""
        self._others = False
        """There were others: what they published is the group's to claim."""
        self._changed = asyncio.Event()
        self.endpoint = LinkEndpoint(
            registry=registry, links=relay.links, me=self._me, welcome=self._welcome
        )

    async def run(self) -> None:
        """Link and publish until cancelled; ends with the mDNS goodbye."""
        async with self._dialer:
            for origin in (*self._config.links, *known_bridges(self._config.data_dir)):
                self._dialer.add([origin])
            if not self._config.mdns:
                await asyncio.Event().wait()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._browse(), name="browse for bridges")
                tasks.create_task(self._find_rivals(), name="find rivals")
                tasks.create_task(self._publish(), name="publish")

    # --- told by the relay --------------------------------------------------------------------

    def links_changed(self) -> None:
        """Something about the other bridges is different."""
        self._dialer.learn()
        known = self._links.routes.ever
        origins = [origin for state in known for origin in state.urls]
        self._hosts.set_linked(self._pages(origins))
        self._others = self._others or bool(known)
        kept = tuple(origins[: 4 * LINKED_BRIDGES])
        if kept and set(kept) != set(self._kept):
            self._kept = kept
            keep_bridges(self._config.data_dir, kept)
        self._rivals = self._unlinked(self._rivals)
        self._changed.set()

    def hosting_changed(self, hosting: Hosting) -> None:
        """Another host, epoch or term."""
        if self._publisher is not None:
            self._publisher.update(epoch=hosting.epoch, term=hosting.term, node=hosting.host)
        self._changed.set()

    def _pages(self, origins: list[str]) -> set[str]:
        """Origins that pages of other bridges may have (rule 2)."""
        found = set(origins)
        for origin in origins:
            port = urlsplit(origin).port or 80
            for name in ("localhost", host_name(self._config.name).rstrip(".")):
                found.add(f"http://{name}" if port == 80 else f"http://{name}:{port}")
        return found

    # --- handshakes ---------------------------------------------------------------------------

    def _me(self) -> Me:
        return Me(
            bridge=self._here.bridge,
            start=self._here.start,
            nonce=new_nonce(),
            presenter_token=self._config.identity.presenter_token,
            guid=self._config.guid,
        )

    def _welcome(self) -> frames.LinkWelcome:
        config = self._config
        return frames.LinkWelcome(
            guid=config.guid,
            name=config.name,
            join_token=config.identity.join_token,
            bundle=self._here.bundle,
            presenter_page=self._presenter_page,
            on_quorum_loss=config.on_quorum_loss,
            serves_http=config.serves_http,
            epoch=self._relay.hosting.epoch,
        )

    # --- mDNS ---------------------------------------------------------------------------------

    def _should_publish(self) -> bool:
        hosting = self._relay.hosting
        return should_publish(
            own=(self._here.start, self._here.bridge),
            linked=[(state.start, state.bridge) for state in self._links.routes.bridges],
            rank=(hosting.epoch, hosting.term),
            origins=self._asked_from,
            rivals=self._rivals,
        )

    def _unlinked(self, rivals: Iterable[Rival]) -> tuple[Rival, ...]:
        linked = {origin for state in self._links.routes.bridges for origin in state.urls}
        return tuple(rival for rival in rivals if rival.origin not in linked)

    async def _find_rivals(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECHECK_SECONDS if self._rivals else None):
                    await self._doubt.wait()
            self._doubt.clear()
            addresses = self._config.mdns_interfaces or lan_addresses() or ("127.0.0.1",)
            found = await find_rivals(
                self._config.name, self._config.guid, port=self._port, interfaces=addresses
            )
            self._asked_from = [url(address, self._port, "") for address in addresses]
            self._rivals = self._unlinked(found)
            for rival in self._rivals:
                self._dialer.add([rival.origin])
            self._changed.set()

    async def _publish(self) -> None:
        if self._config.links or known_bridges(self._config.data_dir):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINK_FIRST_SECONDS):
                    while not self._links.routes.bridges:
                        self._changed.clear()
                        await self._changed.wait()
        while True:
            self._changed.clear()
            if not self._should_publish():
                await self._changed.wait()
                continue
            hosting = self._relay.hosting
            async with Publisher(
                name=self._config.name,
                port=self._port,
                record=Record(
                    guid=self._config.guid,
                    epoch=hosting.epoch,
                    term=hosting.term,
                    node=hosting.host or "",
                ),
                interfaces=self._config.mdns_interfaces,
                ours=self._others,
                on_host_name=self._hosts.add_name,
            ) as self._publisher:
                try:
                    while self._should_publish():
                        await self._changed.wait()
                        self._changed.clear()
                finally:
                    self._publisher = None

    async def _browse(self) -> None:
        while True:
            with contextlib.suppress(OSError, NotRunningException, EventLoopBlocked):
                async for found in browse(None, interfaces=self._config.mdns_interfaces):
                    if found.guid == self._config.guid:
                        self._heard(found)
            await asyncio.sleep(BROWSE_AGAIN_SECONDS)

    def _heard(self, found: Found) -> None:
        """Somebody publishes this server: ourselves, a linked bridge, or one to link with."""
        if found.gone:
            if self._publisher is not None:
                self._publisher.announce()
            self._doubt.set()
            return
        own = set(self._relay.urls)
        linked = {origin for state in self._links.routes.bridges for origin in state.urls}
        origins = {url(address, found.port, "") for address in found.addresses}
        if not origins & (own | linked):
            self._dialer.add(sorted(origins))  # at once: whoever answers is dialled anyway
        if origins - own - linked:
            self._doubt.set()
