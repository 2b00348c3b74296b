"""A tab that relays for others which have lost the bridge, as ``pyodide_app/relay.py`` does.

With the real :class:`ftweb.relay.relay.Relay`: what the bridge of a schedule is to its pages, this
is to the tabs that join here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from ftweb import codec, frames
from ftweb.driver import Driver
from ftweb.relay.connection import Connection, NodeHere, Registry
from ftweb.relay.here import Here
from ftweb.relay.relay import Relay
from ftweb.relay.wire import Prepared
from ftweb.simulation.bridge import Bridge
from ftweb.simulation.network import Socket
from ftweb.simulation.nodes import Node
from ftweb.simulation.pages import Page

if TYPE_CHECKING:
    from ftweb.simulation.cut_off import Tab


class _OwnWire:
    """Ends in the tab's own node, which takes requests only."""

    backlog = 0
    closing = False

    def __init__(self, phone: Tab) -> None:
        self._phone = phone

    def write(self, prepared: Prepared) -> None:
        node = self._phone.node
        if node is not None and prepared.text.startswith('{"type":"forward"'):
            node.replica.receive(codec.decode(prepared.text))

    def close(self, code: int, reason: str = "") -> None:
        pass


class _Heard:
    """The tab's replica as its relay has it: what the relay tells of the nodes goes another way."""

    def __init__(self, phone: Tab, node: Node) -> None:
        self._phone = phone
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node.replica, name)

    def receive(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Directory):
            self._phone.of_relay(frame)
        else:
            self._node.replica.receive(frame)


class Standing(Bridge):
    """A relay in a tab, for those who have lost the bridge."""

    bridge = "a tab"

    def __init__(self, phone: Tab, node: Node) -> None:
        self.phone = phone
        self.world = phone.room.world
        self.process = phone.process
        self.node = node
        self.sockets = {}
        self._pages: dict[Socket, Page] = {}
        self.registry = Registry()
        loop = cast(asyncio.AbstractEventLoop, phone.process)
        self.relay = Relay(
            here=Here(
                bridge="",
                device_id=phone.device,
                name="apart",
                guid="guid",
                bundle="bundle",
                runtime_url="",
                join_url="",
            ),
            registry=self.registry,
            loop=loop,
            on_hosting=lambda hosting: None,
        )
        own = Connection(
            wire=_OwnWire(phone),
            client_id=f"node {phone.node_id}",
            device_id=phone.device,
            presenter=False,
            local=False,
            last_heard=0.0,
        )
        self.registry.add(own)
        self.registry.add_node(own, NodeHere(node_id=phone.node_id, visible=True, since=0.0))
        self.relay.attach(cast(Driver, _Heard(phone, node)))

    def _take(self, socket: Socket, text: str) -> None:
        connection = self.sockets.get(socket)
        own = connection is not None and connection.client_id == self.phone.client_id
        if not (own and text.startswith('{"type":"node_')):  # it is entered already
            super()._take(socket, text)
