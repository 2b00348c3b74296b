"""Links to other bridges: what they carry, and when one is given up.

A link begins where the handshake ends (:mod:`ftweb.relay.handshake`), over any
:class:`~ftweb.relay.wire.Wire`. It carries four kinds of frames: ``link_state``, ``routed``,
``ping`` and ``pong``.

Rules:

1. What a bridge tells of itself (``link_state``) goes to every neighbour, who passes on what is
   new to its own. Who links up gets all that is known. Those who come are told at most
   LINK_STATES_PER_SECOND times a second, losses at once.
2. A frame for a node or a bridge further on goes along the least costly path
   (:mod:`ftweb.relay.routes`), over LINK_HOPS links at most. One that would not fit into a frame
   with its envelope is dropped: no honest node makes it, and it would end the link.
3. Both ends ping. A link on which nothing came for LINK_SILENCE_SECONDS is down, and so are all
   bridges, nodes and clients to which no other path leads: their loss is told at once. Time in
   which this bridge itself stood still (a slow disk, a paused process) is nobody's silence: what
   came meanwhile is still to be read.
4. Two bridges keep one link. When both opened one at the same time, the one that was opened by the
   lower id stays; an earlier one of an earlier start, or by the same side, gives way.
5. A node that is gone from a bridge that can still be reached has died, unless that bridge said
   ``node_down`` before. One that is gone together with its bridge tells nothing about the request
   that it was handling.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from ftweb import codec, frames
from ftweb.errors import FrameError
from ftweb.limits import (
    ENVELOPE_BYTES,
    FRAME_BYTES,
    LINK_HOPS,
    LINK_PING_SECONDS,
    LINK_SILENCE_SECONDS,
    LINK_STATES_PER_SECOND,
    SLOW_READER_BYTES,
)
from ftweb.relay.connection import GOING_AWAY, REPLACED, SILENT
from ftweb.relay.handshake import Peer
from ftweb.relay.routes import Remote, Routes
from ftweb.relay.wire import Prepared, Wire

_log = logging.getLogger(__name__)

_SLOW: Final = 1013
_RTT_STEP: Final = 2.0
"""Milliseconds by which a round trip has to change before routes are looked at again."""
_LEAVERS_KEPT: Final = 256
"""Nodes of which it is remembered that they left with a word, until they are seen to be gone."""


@dataclass(kw_only=True, slots=True, eq=False)
class Link:
    """A link that is up."""

    peer: Peer
    wire: Wire
    heard_at: float
    rtt: float = 0.0
    """Milliseconds; smoothed, so that routes do not flap."""
    routed_rtt: float = 0.0
    """What the routes go by."""
    pinged_at: float = 0.0
    pings: int = 0

    def write(self, prepared: Prepared) -> None:
        """Queue a frame; a peer that does not read is cut off."""
        backlog = self.wire.backlog
        if backlog and backlog + len(prepared) > SLOW_READER_BYTES:
            self.wire.close(_SLOW, "slow_reader")
        else:
            self.wire.write(prepared)


class Listener(Protocol):
    """Who is told what links bring (:class:`ftweb.relay.relay.Relay`)."""

    def describe(self) -> frames.LinkState:
        """What to tell of this bridge now; ``seq`` and ``neighbours`` are filled in here."""

    def clock(self) -> float:
        """The clock to which ``since`` refers, in milliseconds."""

    def arrived(self, to: str, frame: frames.Frame, text: str) -> None:
        """A routed frame for this bridge, or for a node behind it, has come."""

    def lost(self, nodes: Mapping[str, bool]) -> None:
        """Nodes elsewhere are gone; each with whether it died (rule 5)."""

    def moved(self, node_id: str) -> None:
        """A node is at another bridge from now on: if it was behind a socket here, that is old."""

    def changed(self) -> None:
        """Something about the other bridges is different."""


class Links:
    """See the rules above.

    Args:
        bridge: this bridge's own id.
        start: when it started, in milliseconds since 1970.
        loop: runs the timers.
        listener: see :class:`Listener`.
    """

    def __init__(
        self, *, bridge: str, start: int, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> None:
        self.bridge = bridge
        self.start = start
        self.routes = Routes(bridge)
        self._loop = loop
        self._listener = listener
        self._links: dict[str, Link] = {}
        self._seq = 0
        self._told: frames.LinkState | None = None
        self._told_at = float("-inf")
        self._telling: asyncio.Handle | None = None
        self._telling_at = float("inf")
        self._beat: asyncio.TimerHandle | None = None
        self._beat_due = 0.0
        self._left: OrderedDict[str, None] = OrderedDict()
        self._closed = False

    # --- links ------------------------------------------------------------------------------

    def up(self, peer: Peer, wire: Wire) -> Link | None:
        """A link has come up; None if it is one too many (rule 4), and then it is closed."""
        if self._closed:
            wire.close(GOING_AWAY, "the bridge is stopping")
            return None
        older = self._links.get(peer.bridge)
        if older is not None and not older.wire.closing:
            lower = min(self.bridge, peer.bridge)
            crossed = older.peer.initiator != peer.initiator
            if older.peer.start == peer.start and crossed and older.peer.initiator == lower:
                wire.close(REPLACED, "there is a link already")
                return None
        link = Link(peer=peer, wire=wire, heard_at=self._loop.time())
        self._links[peer.bridge] = link
        if older is not None:
            older.wire.close(REPLACED, "replaced by a newer link")
            link.rtt = older.rtt
        _log.debug("Linked with bridge %s.", peer.bridge)
        self._ping(link)
        for state in self.routes.ever:
            link.write(Prepared(codec.encode(state)))
        self._rewire()
        self._told = None  # the new neighbour has to be told in any case
        self._tell()
        if self._beat is None:
            self._beat_later()
        return link

    def down(self, link: Link) -> None:
        """A link's wire has ended."""
        if self._links.get(link.peer.bridge) is link:
            del self._links[link.peer.bridge]
            _log.debug("The link with bridge %s is down.", link.peer.bridge)
            self._rewire()
            self.tell(at_once=True)

    def close(self) -> None:
        """Stop the timers and close all links."""
        self._closed = True
        for timer in (self._beat, self._telling):
            if timer is not None:
                timer.cancel()
        self._beat = self._telling = None
        for link in list(self._links.values()):
            link.wire.close(GOING_AWAY, "the bridge is stopping")

    @property
    def direct(self) -> list[Link]:
        """The links that are up."""
        return list(self._links.values())

    def linked(self, bridge: str) -> bool:
        """Whether there is a direct link with a bridge."""
        return bridge in self._links

    def _rewire(self) -> None:
        before = self.routes.nodes
        for link in self._links.values():
            link.routed_rtt = link.rtt
        self.routes.links({bridge: link.rtt for bridge, link in self._links.items()})
        self._compare(before, died_at=None)

    # --- heartbeats -------------------------------------------------------------------------

    def _beat_later(self) -> None:
        self._beat_due = self._loop.time() + LINK_PING_SECONDS
        self._beat = self._loop.call_later(LINK_PING_SECONDS, self._heartbeat)

    def _heartbeat(self) -> None:
        self._beat = None
        now = self._loop.time()
        stood_still = max(0.0, now - self._beat_due)
        for link in list(self._links.values()):
            link.heard_at = min(now, link.heard_at + stood_still)
            if now - link.heard_at > LINK_SILENCE_SECONDS:
                _log.info("Bridge %s has fallen silent.", link.peer.bridge)
                link.wire.close(SILENT, "nothing heard")
                self.down(link)
            else:
                self._ping(link)
        if self._links:
            self._beat_later()

    def _ping(self, link: Link) -> None:
        link.pings += 1
        link.pinged_at = self._loop.time()
        link.write(Prepared(codec.encode(frames.Ping(n=link.pings, rtt=link.rtt))))

    def _pong(self, link: Link, frame: frames.Pong) -> None:
        if frame.n != link.pings:
            return
        measured = (self._loop.time() - link.pinged_at) * 1000
        link.rtt = measured if link.rtt == 0 else link.rtt * 0.8 + measured * 0.2
        if abs(link.rtt - link.routed_rtt) > max(_RTT_STEP, link.routed_rtt / 2):
            self._rewire()
            self.tell()

    # --- in ---------------------------------------------------------------------------------

    def received(self, link: Link, frame: frames.Frame, text: str) -> None:
        """A frame has come over a link.

        Raises:
            FrameError: no link carries that.
        """
        link.heard_at = self._loop.time()
        match frame:
            case frames.Routed():
                self._routed(frame)
            case frames.Ping():
                link.write(Prepared(codec.encode(frames.Pong(n=frame.n))))
            case frames.Pong():
                self._pong(link, frame)
            case frames.LinkState():
                self._state(link, frame, text)
            case _:
                tag = frame.__struct_config__.tag
                raise FrameError(f"A link does not carry a {tag} frame.")

    def _state(self, link: Link, state: frames.LinkState, text: str) -> None:
        before = self.routes.nodes
        if not self.routes.told(state, self._listener.clock()):
            return
        prepared = Prepared(text)
        for other in list(self._links.values()):
            if other is not link:
                other.write(prepared)
        for node_id, remote in self.routes.nodes.items():
            was = before.get(node_id)
            if was is None or was.bridge != remote.bridge:
                self._listener.moved(node_id)
        self._compare(before, died_at=state.bridge)

    def _compare(self, before: Mapping[str, Remote], *, died_at: str | None) -> None:
        """Tell what is different; what is gone from ``died_at`` without a word has died."""
        nodes = self.routes.nodes
        reachable = {state.bridge for state in self.routes.bridges}
        gone: dict[str, bool] = {}
        for node_id, remote in before.items():
            if node_id in nodes:
                continue
            left = node_id in self._left
            self._left.pop(node_id, None)
            gone[node_id] = remote.bridge == died_at and died_at in reachable and not left
        if gone:
            self._listener.lost(gone)
        self._listener.changed()

    def left(self, node_id: str) -> None:
        """A node elsewhere said that it leaves: its end is no death (rule 5)."""
        self._left[node_id] = None
        if len(self._left) > _LEAVERS_KEPT:
            self._left.popitem(last=False)

    # --- what we tell -------------------------------------------------------------------------

    def tell(self, *, at_once: bool = False) -> None:
        """Something about this bridge is different: tell the others (rule 1)."""
        if self._closed or not self._links:
            return  # who links up later is told then
        now = self._loop.time()
        at = now if at_once else max(now, self._told_at + 1 / LINK_STATES_PER_SECOND)
        if self._telling is not None:
            if self._telling_at <= at:
                return
            self._telling.cancel()
        self._telling_at = at
        # Not in this very call: what happens in one turn of the loop is told together.
        self._telling = (
            self._loop.call_soon(self._tell)
            if at <= now
            else self._loop.call_later(at - now, self._tell)
        )

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._telling_at = float("inf")
        neighbours = [
            frames.Neighbour(bridge=bridge, rtt=round(link.routed_rtt, 3))
            for bridge, link in self._links.items()
        ]
        state = msgspec.structs.replace(
            self._listener.describe(),
            seq=self._seq,
            neighbours=neighbours,
            now=self._told.now if self._told is not None else 0.0,
        )
        if state == self._told:
            return
        self._seq += 1
        self._told_at = self._loop.time()
        self._told = msgspec.structs.replace(state, seq=self._seq, now=self._listener.clock())
        prepared = Prepared(codec.encode(self._told))
        for link in list(self._links.values()):
            link.write(prepared)

    # --- routing ------------------------------------------------------------------------------

    def send(self, to: str, text: str) -> bool:
        """Send an encoded frame to a node behind another bridge, or to another bridge.

        Returns:
            False if no path leads there, or it is too large.
        """
        encoded = text.encode()
        if len(encoded) > FRAME_BYTES - ENVELOPE_BYTES:
            return False
        return self._pass_on(frames.Routed(to=to, hops=1, frame=msgspec.Raw(encoded)))

    def broadcast(self, frame: frames.Frame) -> None:
        """Send a frame to every other bridge that can be reached."""
        text = codec.encode(frame)
        for state in self.routes.bridges:
            self.send(state.bridge, text)

    def _routed(self, routed: frames.Routed) -> None:
        if routed.to != self.bridge and self.routes.next_hop(routed.to) is not None:
            if routed.hops < LINK_HOPS:
                self._pass_on(msgspec.structs.replace(routed, hops=routed.hops + 1))
            return
        text = bytes(routed.frame).decode()
        self._listener.arrived(routed.to, codec.decode(text), text)

    def _pass_on(self, routed: frames.Routed) -> bool:
        hop = self.routes.next_hop(routed.to)
        link = None if hop is None else self._links.get(hop)
        if link is None:
            return False
        link.write(Prepared(codec.encode(routed)))
        return True
