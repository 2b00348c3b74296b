"""The network: one socket between each page and the bridge, and what can go wrong with it.

A socket is TCP, so frames arrive in order or the socket breaks. The protocol promises more than
it would need on TCP: consensus, requests and replies may be lost, repeated, delayed and
reordered. So there are two classes:

1. *Loose* frames (consensus, ``request``, ``forward``, ``reply``): each may be lost, repeated and
   overtaken. During a cut they are lost.
2. *Ordered* frames (all others): in order; during a cut they wait, as in TCP's buffers.

A cut is either of one direction of a page's link (its Wi-Fi), or of consensus between two nodes,
in one direction (:attr:`Network.severed`): all frames of a star pass the bridge, so partitions
among tabs are made there. A clogged direction holds everything until it is freed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ftweb.simulation.world import World

LOOSE: Final = ('{"type":"raft"', '{"type":"request"', '{"type":"forward"', '{"type":"reply"')

RETRANSMIT: Final = 3.0
"""A lost ordered frame comes after so many times the usual delay: TCP sent it again."""


@dataclass(kw_only=True, slots=True)
class Weather:
    """How the network is at present. All chances are per frame and hop."""

    low: float = 1.0
    high: float = 5.0
    """Delays, in milliseconds."""
    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    damage: float = 0.0
    """Snapshot chunks with a flipped bit, and ordered frames cut short."""


class End(Protocol):
    """Who is told what comes out of a socket."""

    def took(self, socket: Socket, text: str) -> None:
        """A frame has arrived."""

    def lost(self, socket: Socket, code: int) -> None:
        """The other end has closed it, or it broke."""


@dataclass(kw_only=True, slots=True)
class Direction:
    """One way of a link, whatever socket uses it."""

    name: str
    cut: bool = False
    clogged: bool = False
    slow: float = 1.0
    last: float = 0.0
    """When the last ordered frame arrives: the next one comes later."""
    ordered: deque[tuple[Callable[[Any], None], Any]] = field(default_factory=deque)
    """The ordered frames on their way, and who is given each. Whenever one is due the first of
    them arrives, so no cut can change their order."""
    held: list[tuple[Callable[[Any], None], Any] | None] = field(default_factory=list)
    """What waits for the end of a cut or a clog; None stands for the first of ``ordered``."""


class Link:
    """A page's way to the bridge: outlives its sockets."""

    def __init__(self, network: Network, name: str, *, local: bool) -> None:
        self.network = network
        self.local = local
        self.up = Direction(name=f"{name} to the bridge")
        self.down = Direction(name=f"the bridge to {name}")

    def repair(self) -> None:
        """No cut, no clog; what waited goes on."""
        for way in (self.up, self.down):
            way.slow = 1.0
            self.network.release(way)


class Socket:
    """One connection over a link."""

    def __init__(self, link: Link, page: End, bridge: End) -> None:
        self.link = link
        self._page: End | None = page
        self._bridge: End | None = bridge
        self.unread = 0
        """Characters on their way to the page: the bridge's backlog while that is cut."""

    @property
    def open(self) -> bool:
        """Neither end has closed it."""
        return self._page is not None and self._bridge is not None

    def to_bridge(self, text: str) -> None:
        """The page sends a frame."""
        if self._page is not None and self._bridge is not None:
            link = self.link
            link.network.carry(link, link.up, text, self._reaches_bridge)

    def to_page(self, text: str) -> None:
        """The bridge sends a frame."""
        if self._page is not None and self._bridge is not None:
            self.unread += len(text)
            link = self.link
            link.network.carry(link, link.down, text, self._reaches_page)

    def close_page(self) -> None:
        """The page closes, or is gone: the bridge is told, in order."""
        self._page = None
        if self._bridge is not None:
            self.link.network.in_order(self.link, self.link.up, self._tell_bridge, 1000)

    def close_bridge(self, code: int) -> None:
        """The bridge closes, or is gone: the page is told, in order."""
        self._bridge = None
        if self._page is not None:
            self.link.network.in_order(self.link, self.link.down, self._tell_page, code)

    def sever(self) -> None:
        """The connection breaks; both ends notice."""
        page, bridge = self._page, self._bridge
        self._page = self._bridge = None
        if bridge is not None:
            bridge.lost(self, 1006)
        if page is not None:
            page.lost(self, 1006)

    def _reaches_bridge(self, text: str) -> None:
        if self._bridge is not None:
            self._bridge.took(self, text)

    def _reaches_page(self, text: str) -> None:
        self.unread = max(0, self.unread - len(text))
        if self._page is not None:
            self._page.took(self, text)

    def _tell_bridge(self, code: int) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.lost(self, code)

    def _tell_page(self, code: int) -> None:
        page, self._page = self._page, None
        if page is not None:
            page.lost(self, code)


class Network:
    """Carries frames.

    Args:
        world: time and chance.
        weather: as it is at first; may be changed at any time.
    """

    def __init__(self, world: World, weather: Weather) -> None:
        self.world = world
        self.weather = weather
        self.severed: set[tuple[str, str]] = set()
        """(sender, addressee): consensus frames between these nodes are lost."""
        self.deaf: str | None = None
        """This node is given no consensus frames; kept apart, since cuts end at times of their
        own."""

    def passes(self, sender: str, to: str) -> bool:
        """Whether consensus from one node to another gets through."""
        if (sender, to) not in self.severed and to != self.deaf:
            return True
        self.world.counts["severed"] += 1
        return False

    def carry(self, link: Link, way: Direction, text: str, deliver: Callable[[str], None]) -> None:
        """Take a frame at one end."""
        weather, draw, counts = self.weather, self.world.random.random, self.world.counts
        if not text.startswith(LOOSE):
            if weather.damage and draw() < weather.damage / 20:
                counts["frame cut short"] += 1
                text = text[: max(1, int(len(text) * draw()))]
            self.in_order(link, way, deliver, text)
            return
        if way.cut:
            counts["cut"] += 1
            return
        if weather.loss and draw() < weather.loss:
            counts["loss"] += 1
            return
        if weather.damage and '"install_snapshot"' in text and draw() < weather.damage:
            text = self._flip(text)
        delay = self._delay(link, way)
        if weather.reorder and draw() < weather.reorder:
            counts["reorder"] += 1
            delay += 4 * weather.high * draw()
        self._arrive(way, delay, deliver, text)
        if weather.repeat and draw() < weather.repeat:
            counts["repeat"] += 1
            again = delay + 10 * weather.high * draw()
            self._arrive(way, again, deliver, text)

    def in_order[T](
        self, link: Link, way: Direction, deliver: Callable[[T], None], what: T
    ) -> None:
        """Deliver after everything that was given to this before, over this way."""
        way.ordered.append((deliver, what))
        if way.cut or way.clogged:
            way.held.append(None)
            return
        delay = self._delay(link, way)
        if self.weather.loss and self.world.random.random() < self.weather.loss:
            delay *= RETRANSMIT
        way.last = max(way.last, self.world.now + delay)
        self.world.at(way.last, self._next, way)

    def release(self, way: Direction) -> None:
        """End a cut or a clog: what was held goes on, in order."""
        way.cut = way.clogged = False
        held, way.held = way.held, []
        for loose in held:
            way.last = max(way.last, self.world.now + 0.1)
            if loose is None:
                self.world.at(way.last, self._next, way)
            else:
                self.world.at(way.last, self._deliver, way, *loose)

    def _arrive(
        self, way: Direction, delay: float, deliver: Callable[[str], None], text: str
    ) -> None:
        if way.clogged:
            way.held.append((deliver, text))
        else:
            self.world.after(delay, deliver, text)

    def _next(self, way: Direction) -> None:
        if way.cut or way.clogged:  # since it was sent
            way.held.append(None)
        else:
            deliver, what = way.ordered.popleft()
            deliver(what)

    def _deliver(self, way: Direction, deliver: Callable[[str], None], text: str) -> None:
        if way.cut or way.clogged:  # since it was freed
            way.held.append((deliver, text))
        else:
            deliver(text)

    def _delay(self, link: Link, way: Direction) -> float:
        weather = self.weather
        span = weather.low + (weather.high - weather.low) * self.world.random.random()
        return (0.2 * span if link.local else span) * way.slow

    def _flip(self, text: str) -> str:
        """Change one character of a chunk's data. Elsewhere the change might be a valid frame
        that says something else, which no checksum of ours claims to notice."""
        start = text.find('"data":"') + len('"data":"')
        end = text.find('","checksum"', start)
        places = [place for place in range(start, end) if text[place].isalpha()]
        if start < len('"data":"') or not places:
            return text
        self.world.counts["bit flipped in a snapshot"] += 1
        place = self.world.random.choice(places)
        return text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
