"""All of a bridge, started and stopped in order.

Start: everything that can be wrong is found out before anything runs: the app's files, the
runtime, the saved replica, and last the port, which is taken. Then the replica, then HTTP, then
mDNS.

Stop (SIGINT, SIGTERM, or the task's cancellation): the mDNS goodbye, so that nobody new comes;
every socket closed with 1001; the replica stopped; HTTP; the database closed. Everything that was
acknowledged was saved before it was, so nothing is left to flush but that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute

from ftweb.beginning import Genesis, rest_of
from ftweb.bridge import health, hostpage
from ftweb.bridge.addresses import shown_addresses, url
from ftweb.bridge.assets import Assets, find_runtime
from ftweb.bridge.bootstrap import (
    begin_epoch,
    new_node_id,
    next_epoch,
    own_nodes,
    tell_of_saved,
)
from ftweb.bridge.bundle import Bundle, make_bundle
from ftweb.bridge.channels import Channels
from ftweb.bridge.config import BridgeConfig
from ftweb.bridge.continuing import Continuing
from ftweb.bridge.elsewhere import host_elsewhere
from ftweb.bridge.files import Files
from ftweb.bridge.forwarding import Forwarder
from ftweb.bridge.front import Front
from ftweb.bridge.group import Group
from ftweb.bridge.linking import LINK_PATH
from ftweb.bridge.listening import Server, listen, serving, uvicorn_config
from ftweb.bridge.mirror import Mirror
from ftweb.bridge.moving import AddressWatch
from ftweb.bridge.page_servers import PageServers
from ftweb.bridge.publishing import host_name
from ftweb.bridge.returning import Returning, may_live_on, take_up
from ftweb.bridge.security import AllowedHosts, Guard
from ftweb.bridge.sockets import Sockets
from ftweb.bridge.storage import DATABASE_FILE, SqliteStorage
from ftweb.core import NodeId
from ftweb.driver import Clock, Driver
from ftweb.errors import FtwebError
from ftweb.limits import HTTP_CONCURRENCY
from ftweb.relay.connection import Registry
from ftweb.relay.here import Here, Hosting
from ftweb.relay.meeting import Meeting
from ftweb.relay.relay import Relay
from ftweb.storage import Saved, Switching

_log = logging.getLogger(__name__)

DESCRIPTORS = 2 * HTTP_CONCURRENCY
"""Open files wanted: one per connection, and some. Many systems allow only 1,024 at first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """What a running bridge is reached by."""

    name: str
    guid: str
    port: int
    urls: tuple[str, ...]
    """Pages for this server, best address first, without tokens."""
    local_url: str
    """The same for this machine itself: a secure origin, and the best place for a host."""
    join_url: str
    """What a phone opens; holds the join token."""
    presenter_url: str
    """What the presenter opens on this machine; holds the presenter token."""
    join_token: str
    presenter_token: str

    @property
    def origins(self) -> tuple[str, ...]:
        """Of the pages at ``urls``."""
        return tuple(address.rstrip("/") for address in self.urls)


async def serve(
    config: BridgeConfig,
    *,
    on_ready: Callable[[Started], None],
    on_moved: Callable[[Started], None] = lambda _: None,
) -> None:
    """Run a bridge until it is told to stop.

    Args:
        config: see :class:`~ftweb.bridge.BridgeConfig`.
        on_ready: called once, when the bridge can be reached.
        on_moved: called when this machine has got other addresses.

    Raises:
        AppLoadError: the app's files or the runtime are missing or not usable.
        StorageError: the data directory or the replica in it is not usable.
        FtwebError: ``port_in_use`` or ``cannot_listen``.
    """
    bundle = config.bundle or make_bundle(config.app_dir or Path())
    assets = Assets(runtime_dir=config.runtime_dir or find_runtime(), bundle=bundle)
    async with contextlib.AsyncExitStack() as stack:
        storage = stack.enter_context(SqliteStorage(config.data_dir / DATABASE_FILE))
        listener = stack.enter_context(listen(config.host, config.port))
        port: int = listener.getsockname()[1]
        genesis = Genesis(
            guid=config.guid,
            name=config.name,
            bundle=bundle.sha256,
            initial_state=config.initial_state,
            bridge=config.bridge_id,
        )
        saved = storage.load()
        returns = saved is not None and may_live_on(saved)
        if config.app_dir is None and saved is None:
            node_id = new_node_id(config.data_dir)  # joins whatever epoch the others have
        elif saved is not None and returns:
            node_id = new_node_id(config.data_dir)
            take_up(storage, saved)
        else:
            node_id = begin_epoch(storage, genesis, data_dir=config.data_dir)
        started = _started(config, port, home=_home(bundle))
        bridge = _Bridge(
            config=config,
            started=started,
            assets=assets,
            bundle=bundle,
            storage=storage,
            node_id=node_id,
            genesis=genesis,
            returns=returns,
            resumes=saved is not None and not returns and config.app_dir is not None,
            before=saved,
        )
        _raise_descriptor_limit()
        await bridge.run(listener, on_ready, on_moved)


class _Bridge:
    """The parts of a running bridge, joined."""

    def __init__(
        self,
        *,
        config: BridgeConfig,
        started: Started,
        assets: Assets,
        bundle: Bundle,
        storage: SqliteStorage,
        node_id: NodeId,
        genesis: Genesis,
        returns: bool,
        resumes: bool,
        before: Saved | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._genesis = genesis
        self._resumes = resumes
        self._continuing = Continuing(
            loop=loop,
            begin=self._go_on,
            may_begin=lambda: self._meeting.may_begin(),
            why=lambda: self._relay.voters_in_words(),
        )
        self._config = config
        self._started = started
        self._storage = storage
        self._replica_ended = False
        self._registry = Registry()
        self._hosts = AllowedHosts(
            port=started.port, names=[host_name(config.name).rstrip("."), *_names(config.host)]
        )
        here = Here(
            bridge=config.bridge_id,
            device_id=config.bridge_id,
            name=config.name,
            guid=config.guid,
            bundle=bundle.sha256,
            runtime_url=assets.runtime_url,
            join_url=started.join_url,
            urls=started.origins,
            start=time.time_ns() // 1_000_000,
        )
        self._relay = Relay(
            here=here,
            registry=self._registry,
            loop=loop,
            on_hosting=self._on_hosting,
            on_links=lambda: self._group.links_changed(),
        )
        self._group = Group(
            config=config,
            here=here,
            port=started.port,
            presenter_page=_presenter_page(bundle),
            registry=self._registry,
            hosts=self._hosts,
            relay=self._relay,
        )
        switching = Switching(storage)
        self._driver = Driver(
            node_id=node_id,
            storage=switching,
            send=self._relay.send,
            clock=Clock(
                monotonic=lambda: loop.time() * 1000,
                wall=lambda: time.time() * 1000,
                jitter=random.SystemRandom().random,
            ),
            listener=self._relay,
            settings=config.settings,
        )
        self._sockets = Sockets(
            registry=self._registry,
            router=self._relay,
            identity=config.identity,
            owns_ip=self._hosts.owns_ip,
            each_second=self._relay.evening.consider,
            own_addresses=lambda: shown_addresses(config.host),
        )
        self._relay.attach(self._driver)
        if before is not None:
            earlier = [one for one in own_nodes(config.data_dir) if one != node_id]
            self._relay.leavers.ended(earlier, rest_of(before))
        self._meeting = Meeting(
            bridge=config.bridge_id,
            storage=switching,
            replica=self._driver,
            relay=self._relay,
            loop=loop,
            begin=lambda: self._begin_epoch(self._new_node_id()),
            new_node_id=self._new_node_id,
            keep_aside=storage.keep_aside,
            on_quorum=self._on_quorum,
        )
        self._relay.meet(self._meeting)
        self._returning = Returning(loop=loop, begin=self._begin_anew) if returns else None
        self._channels = Channels(
            registry=self._registry,
            identity=config.identity,
            host=lambda: self._relay.hosting.host,
            elsewhere=lambda: host_elsewhere(self._relay, self._registry),
        )
        self._files = Files(
            config.data_dir / "files",
            identity=config.identity,
            hosts=self._hosts,
            state=lambda: self._driver.machine.state,
        )
        self._page_servers = PageServers(
            identity=config.identity,
            listen=lambda: listen(config.host, 0),
            serve=serving,
            mdns=config.mdns,
            interfaces=config.mdns_interfaces,
        )
        own = Starlette(
            routes=[
                Route("/healthz", health.endpoint(self._report), methods=["GET"]),
                WebSocketRoute("/ftweb/socket", self._sockets),
                WebSocketRoute("/ftweb/socket/{attempt:int}", self._sockets),
                WebSocketRoute("/ftweb/http", self._channels),
                WebSocketRoute("/ftweb/publish", self._page_servers),
                WebSocketRoute(LINK_PATH, self._group.endpoint),
                Mount("/ftweb/files", app=self._files),
                Mount("/", app=assets),
            ]
        )
        self._app = Guard(
            Front(
                own=own,
                app=Forwarder(self._channels),
                is_page=lambda path: assets.find(path) is not None,
                serves=self._serves_http,
            ),
            self._hosts,
        )

    async def run(
        self,
        listener: socket.socket,
        on_ready: Callable[[Started], None],
        on_moved: Callable[[Started], None],
    ) -> None:
        """Serve on a listening socket until told to stop."""
        stop = asyncio.Event()

        def moved(addresses: tuple[str, ...]) -> None:
            self._move(addresses)
            on_moved(self._started)

        addresses = AddressWatch(read=lambda: shown_addresses(self._config.host), moved=moved)
        server = Server(uvicorn_config(self._app))
        with _stop_on_signals(stop):
            async with asyncio.TaskGroup() as tasks:
                replica = tasks.create_task(self._replica(), name="replica")
                http = tasks.create_task(server.serve(sockets=[listener]), name="http")
                watch = tasks.create_task(self._sockets.watch(), name="watch sockets")
                files = tasks.create_task(Mirror(self._files, self._others).run(), name="files")
                moving = tasks.create_task(addresses.run(), name="watch addresses")
                group = tasks.create_task(self._group.run(), name="group")
                if self._resumes:
                    tell_of_saved(self._driver.machine.state, self._config)
                try:
                    on_ready(self._started)
                    await stop.wait()
                    _log.info("Stopping.")
                finally:
                    group.cancel()
                    await asyncio.wait([group])  # the mDNS goodbye
                    self._channels.close()
                    self._page_servers.close()
                    await self._sockets.close()
                    watch.cancel()
                    moving.cancel()
                    files.cancel()
                    replica.cancel()
                    server.should_exit = True
                    await http
                    for connection in list(server.server_state.connections):
                        connection.transport.abort()  # downloads that outlasted STOP_SECONDS
                    self._continuing.close()
                    if self._returning is not None:
                        self._returning.close()
                    self._meeting.close()
                    self._relay.close()

    def _move(self, addresses: tuple[str, ...]) -> None:
        before = self._started
        _, _, page = before.join_url.removeprefix("http://").partition("/")
        self._started = dataclasses.replace(
            before,
            urls=tuple(url(address, before.port) for address in addresses),
            join_url=url(addresses[0], before.port, f"/{page}"),
        )
        _log.info("The addresses of this machine have changed: %s.", ", ".join(addresses))
        self._hosts.keep_former(before.origins)
        self._relay.move(urls=self._started.origins, join_url=self._started.join_url)

    async def _replica(self) -> None:
        """Run the bridge's own replica. Its end is not the bridge's: pages are still served, and
        say what is wrong."""
        try:
            await self._driver.run()
        except Exception:
            _log.exception("The bridge's replica met what it cannot apply, and has stopped.")
        self._replica_ended = True
        self._relay.replica_ended()

    def _serves_http(self) -> bool:
        """Whether the app answers HTTP; a bridge that came without the app sends requests to the
        host's, which knows."""
        if self._config.serves_http or self._channels.ever:
            return True
        return self._config.app_dir is None and self._channels.elsewhere() is not None

    def _on_hosting(self, hosting: Hosting) -> None:
        self._channels.hosting_changed()
        if self._returning is not None and hosting.host is not None:
            self._returning.hosted()
        self._group.hosting_changed(hosting)

    def _others(self) -> list[str]:
        return [url for each in self._relay.links.routes.bridges for url in each.urls]

    def _on_quorum(self, there: bool) -> None:
        if self._returning is not None and self._returning.listening:
            return  # whether it is gone is not known yet
        if self._config.on_quorum_loss == "continue":
            self._continuing.quorum(there)

    def _begin_anew(self) -> None:
        """No group has gone on while this bridge was away."""
        try:
            self._begin_epoch(self._new_node_id())
        except FtwebError as error:
            _log.error("No new epoch could begin: %s", error)

    def _go_on(self) -> None:
        """The quorum is gone for good."""
        try:
            self._begin_epoch(self._driver.node_id)
        except FtwebError as error:
            _log.error("No new epoch could begin: %s", error)

    def _new_node_id(self) -> NodeId:
        return new_node_id(self._config.data_dir)

    def _begin_epoch(self, node_id: NodeId) -> None:
        if self._replica_ended or self._driver.status.failed:
            return
        beginning = next_epoch(
            self._storage,
            self._genesis,
            data_dir=self._config.data_dir,
            node_id=node_id,
            left=self._relay.leavers.said,
        )
        self._driver.begin(beginning, node_id=node_id)

    def _report(self) -> dict[str, Any]:
        return health.report(
            name=self._config.name,
            relay=self._relay,
            registry=self._registry,
            failed=self._replica_ended or self._driver.status.failed,
            storage_failed=self._storage.failed,
        )


@contextlib.contextmanager
def _stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not in every thread, and not on Windows: there the task is cancelled instead.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _home(bundle: Bundle) -> str:
    """Where a phone joins: the app's first page, or the runtime's if it has none."""
    return "/" if "index.html" in bundle.pages else hostpage.PATH


def _presenter_page(bundle: Bundle) -> str:
    return "/presenter.html" if "presenter.html" in bundle.pages else _home(bundle)


def _started(config: BridgeConfig, port: int, *, home: str) -> Started:
    identity = config.identity
    addresses = shown_addresses(config.host)
    everywhere = config.host in ("", "0.0.0.0", "::", "127.0.0.1", "localhost")
    local = "localhost" if everywhere else config.host
    return Started(
        name=config.name,
        guid=config.guid,
        port=port,
        urls=tuple(url(address, port) for address in addresses),
        local_url=url(local, port),
        join_url=url(addresses[0], port, f"{home}#join={identity.join_token}"),
        presenter_url=url(local, port, f"/presenter.html#presenter={identity.presenter_token}"),
        join_token=identity.join_token,
        presenter_token=identity.presenter_token,
    )


def _names(host: str) -> list[str]:
    """A listening address that is a name is one by which the bridge may be addressed."""
    return [host] if host and not host[0].isdigit() and ":" not in host else []


def _raise_descriptor_limit() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
