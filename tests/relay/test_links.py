"""Links over wires of paper: who is told what, what goes where, what is given up when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ftweb import codec, frames
from ftweb.errors import FrameError
from ftweb.limits import (
    LINK_HOPS,
    LINK_PING_SECONDS,
    LINK_SILENCE_SECONDS,
    LINK_STATES_PER_SECOND,
)
from ftweb.relay.handshake import Peer
from ftweb.relay.links import Link, Links
from ftweb.relay.wire import Prepared

from .test_routes import node


class Cable:
    """One direction of a link; what is written comes out at the other end in the loop's next turn,
    unless it is cut."""

    def __init__(self, net: Net, at: str, to: str) -> None:
        self.net, self.at, self.to = net, at, to
        self.cut = False
        self.closed: int | None = None
        self.carried: list[frames.Frame] = []
        self.other: Cable
        self.link: Link | None = None
        """As the end that writes has it."""

    backlog = 0

    @property
    def closing(self) -> bool:
        return self.closed is not None

    def write(self, prepared: Prepared) -> None:
        if self.closing or self.cut:
            return
        frame = codec.decode(prepared.text)
        self.carried.append(frame)
        asyncio.get_running_loop().call_soon(self._deliver, frame, prepared.text)

    def _deliver(self, frame: frames.Frame, text: str) -> None:
        if self.other.link is not None and not self.other.closing:
            self.net[self.to].links.received(self.other.link, frame, text)

    def close(self, code: int, reason: str = "") -> None:
        for end in (self, self.other):
            if end.closed is None:
                end.closed = code
                asyncio.get_running_loop().call_soon(end._ended)

    def _ended(self) -> None:
        if self.link is not None:
            self.net[self.at].links.down(self.link)


class Station:
    """What a relay is to its links."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[str] = []
        self.came: list[tuple[str, frames.Frame]] = []
        self.gone: dict[str, bool] = {}
        self.lost_at = 0.0
        self.moves: list[str] = []
        self.links = Links(bridge=name, start=1, loop=asyncio.get_running_loop(), listener=self)

    def describe(self) -> frames.LinkState:
        return frames.LinkState(
            bridge=self.name,
            start=1,
            seq=0,
            node_id=f"node-{self.name}",
            epoch=1,
            now=0.0,
            neighbours=[],
            nodes=[node(each) for each in (f"node-{self.name}", *self.nodes)],
            urls=[f"http://{self.name}"],
        )

    def clock(self) -> float:
        return asyncio.get_running_loop().time() * 1000

    def arrived(self, to: str, frame: frames.Frame, text: str) -> None:
        self.came.append((to, frame))

    def lost(self, nodes: Mapping[str, bool]) -> None:
        self.gone |= nodes
        self.lost_at = asyncio.get_running_loop().time()

    def moved(self, node_id: str) -> None:
        self.moves.append(node_id)

    def changed(self) -> None:
        pass

    def up(self, *nodes: str) -> None:
        self.nodes += nodes
        for each in nodes:
            self.links.routes.claimed_here(each)
        self.links.tell(at_once=True)

    def away(self, node_id: str) -> None:
        self.nodes.remove(node_id)
        self.links.tell(at_once=True)


class Net(dict[str, Station]):
    """Stations by name."""

    def __init__(self, names: str) -> None:
        super().__init__({name: Station(name) for name in names})

    def join(self, one: str, other: str, *, initiator: str | None = None) -> tuple[Cable, Cable]:
        there, back = Cable(self, one, other), Cable(self, other, one)
        there.other, back.other = back, there
        opened = initiator or one
        for cable, peer in ((there, other), (back, one)):
            cable.link = self[cable.at].links.up(
                Peer(bridge=peer, start=1, initiator=opened), cable
            )
        return there, back

    def close(self) -> None:
        for station in self.values():
            station.links.close()


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def frame(text: str) -> frames.Frame:
    return frames.Lost(node_id=text)


async def test_everybody_knows_who_is_where() -> None:
    net = Net("abc")
    net["a"].up("tab-a")
    net.join("a", "b")
    net.join("b", "c")
    await settle()
    net["c"].up("tab-c")
    await settle()
    assert set(net["a"].links.routes.nodes) == {"node-b", "node-c", "tab-c"}
    assert set(net["c"].links.routes.nodes) == {"node-b", "node-a", "tab-a"}
    assert net["a"].links.send("tab-c", codec.encode(frame("hello")))
    assert net["a"].links.send("c", codec.encode(frame("to the bridge")))
    assert not net["a"].links.send("nobody", codec.encode(frame("lost")))
    await settle()
    assert net["c"].came == [("tab-c", frame("hello")), ("c", frame("to the bridge"))]
    assert net["b"].came == [], "it only passed them on"
    net["a"].links.broadcast(frame("to all"))
    await settle()
    assert net["b"].came == [("b", frame("to all"))]
    assert net["c"].came[2:] == [("c", frame("to all"))]
    net.close()


async def test_in_a_ring_each_frame_comes_once_and_the_ring_may_break() -> None:
    net = Net("abcd")
    cables = {pair: net.join(*pair) for pair in ("ab", "bc", "cd", "da")}
    await settle()
    for name in "abcd":
        net[name].up(f"tab-{name}")
    await settle()
    for one in "abcd":
        for other in "abcd":
            if one != other:
                assert net[one].links.send(f"tab-{other}", codec.encode(frame(one)))
    await settle()
    for name in "abcd":
        senders = sorted(
            each.node_id for _, each in net[name].came if isinstance(each, frames.Lost)
        )
        assert senders == sorted(set("abcd") - {name})
    cables["ab"][0].close(1006)
    await settle()
    assert not net["a"].gone, "there is another way round"
    assert net["a"].links.send("tab-b", codec.encode(frame("the long way")))
    await settle()
    assert net["b"].came[-1] == ("tab-b", frame("the long way"))
    cables["da"][0].close(1006)
    await settle()
    assert net["a"].gone == {
        f"{kind}-{name}": False for kind in ("node", "tab") for name in "bcd"
    }, "all gone, and none of them died for what is known"
    assert set(net["b"].gone) == {"node-a", "tab-a"}
    net.close()


async def test_a_node_that_is_gone_died_unless_it_took_leave() -> None:
    net = Net("ab")
    net.join("a", "b")
    net["b"].up("killed", "left", "stays")
    await settle()
    net["a"].links.left("left")  # the relay heard its node_down
    net["b"].away("left")
    net["b"].away("killed")
    await settle()
    assert net["a"].gone == {"left": False, "killed": True}
    net.close()


async def test_a_node_that_goes_over_is_not_lost() -> None:
    net = Net("abc")
    net.join("a", "b")
    net.join("b", "c")
    net.join("a", "c")
    net["a"].up("tab")
    await settle()
    net["b"].up("tab")  # its socket at a is dead, and a does not know yet
    await settle()
    assert "tab" in net["a"].moves
    net["a"].nodes.remove("tab")
    net["a"].links.tell(at_once=True)
    await settle()
    remote = net["c"].links.routes.node("tab")
    assert remote is not None
    assert remote.bridge == "b"
    assert "tab" not in net["c"].gone
    net.close()


async def test_a_silent_link_is_given_up() -> None:
    net = Net("ab")
    there, back = net.join("a", "b")
    net["b"].up("tab")
    await settle()
    loop = asyncio.get_running_loop()
    there.cut = back.cut = True
    cut_at = loop.time()
    await asyncio.sleep(LINK_SILENCE_SECONDS + 3 * LINK_PING_SECONDS)
    assert net["a"].gone == {"node-b": False, "tab": False}
    took = net["a"].lost_at - cut_at
    assert took <= LINK_SILENCE_SECONDS + 2 * LINK_PING_SECONDS
    assert there.closed is not None
    net.close()


async def test_a_standstill_of_our_own_is_not_the_others_silence() -> None:
    net = Net("ab")
    there, back = net.join("a", "b")
    await settle()
    time.sleep(LINK_SILENCE_SECONDS * 1.2)  # noqa: ASYNC251 - the process stands still
    await asyncio.sleep(2 * LINK_PING_SECONDS)
    assert net["a"].gone == {}
    assert there.closed is None
    there.cut = back.cut = True
    await asyncio.sleep(LINK_SILENCE_SECONDS + 3 * LINK_PING_SECONDS)
    assert net["a"].gone == {"node-b": False}
    net.close()


async def test_a_link_that_speaks_is_kept() -> None:
    net = Net("ab")
    there, _ = net.join("a", "b")
    await asyncio.sleep(LINK_SILENCE_SECONDS * 1.5)
    assert there.closed is None
    assert not net["a"].gone
    pings = sum(isinstance(each, frames.Ping) for each in there.carried)
    assert pings >= 3
    net.close()


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_of_two_links_opened_at_once_both_keep_the_same(order: str) -> None:
    net = Net("ab")
    cables = {}
    for initiator in order:
        other = "b" if initiator == "a" else "a"
        cables[initiator] = net.join(initiator, other)
    await settle()
    assert cables["a"][0].closed is None, "the one that the lower id opened"
    assert cables["b"][0].closed is not None
    assert net["a"].links.linked("b")
    assert net["b"].links.linked("a")
    assert not net["a"].gone
    net.close()


async def test_a_new_link_of_the_same_side_replaces_the_old() -> None:
    net = Net("ab")
    old, _ = net.join("a", "b")
    new, _ = net.join("a", "b")
    await settle()
    assert old.closed is not None
    assert new.closed is None
    assert not net["a"].gone
    assert net["b"].links.linked("a")
    net.close()


async def test_what_goes_in_circles_ends() -> None:
    net = Net("abc")
    there, _ = net.join("a", "b")
    net.join("b", "c")
    net["c"].up("tab")
    await settle()
    text = codec.encode(frame("x"))
    for hops in (LINK_HOPS - 1, LINK_HOPS):
        there.write(
            Prepared(
                codec.encode(frames.Routed(to="tab", hops=hops, frame=msgspec.Raw(text.encode())))
            )
        )
    await settle()
    assert net["c"].came == [("tab", frame("x"))], "one more link than allowed is not passed"
    net.close()


async def test_a_link_carries_no_other_frames() -> None:
    net = Net("ab")
    there, _ = net.join("a", "b")
    assert there.link is not None
    wrong: Any = frames.OpenSession()
    with pytest.raises(FrameError):
        net["a"].links.received(there.link, wrong, codec.encode(wrong))
    net.close()


async def test_many_who_come_are_told_together_losses_at_once() -> None:
    net = Net("ab")
    there, _ = net.join("a", "b")
    await settle()
    before = len([each for each in there.carried if isinstance(each, frames.LinkState)])
    started = asyncio.get_running_loop().time()
    for number in range(100):
        net["a"].nodes.append(f"tab{number}")
        net["a"].links.tell()
        await asyncio.sleep(0.002)
    async with asyncio.timeout(10):
        while len(net["b"].links.routes.nodes) < 101:  # noqa: ASYNC110 - routes tell nobody
            await asyncio.sleep(0.01)
    took = asyncio.get_running_loop().time() - started
    told = len([each for each in there.carried if isinstance(each, frames.LinkState)]) - before
    assert told <= 2 + took * LINK_STATES_PER_SECOND, "at first, at last, and at that rate"
    assert told < 50, "a hundred came"
    net["a"].away("tab5")
    net["a"].away("tab6")
    await settle()
    assert set(net["b"].gone) == {"tab5", "tab6"}
    net.close()
