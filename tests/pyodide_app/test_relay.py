"""A tab's relay without a browser: others join at it as they do at a bridge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftweb
from ftweb import codec, frames
from ftweb.app import Server, Source
from pyodide_app.node import TabNode, Whereabouts
from tests.pyodide_app.bridge import Bridge
from tests.pyodide_app.test_node import TAB, together

HELLO = frames.Hello(
    version=frames.PROTOCOL_VERSION, client_key="0" * 32, device_key="0" * 32, token=""
)


@pytest.fixture
def server() -> Server:
    """An app that tells who asked."""
    server = ftweb.init_server("test", state={"sum": 0})

    @server.on_receive
    def receive(message: Any, source: Source) -> Any:
        with server.change() as state:
            state["sum"] += message["add"]
        return {"from": source.client_id, "presenter": source.presenter}

    return server


class Guest:
    """Who joins at the tab: plays its channel."""

    def __init__(self, node: TabNode, posts: list[Any], name: str) -> None:
        self.node = node
        self.posts = posts
        self.link = name

    def tell(self, **message: Any) -> None:
        self.node.receive(json.dumps({"link": self.link, **message}))

    def open(self, *, presenter: bool = False) -> None:
        ids = {"clientId": f"client {self.link}", "deviceId": f"device {self.link}"}
        self.tell(kind="wire_open", presenter=presenter, **ids)

    def say(self, frame: frames.Frame) -> None:
        self.tell(kind="wire_in", text=codec.encode(frame))

    @property
    def frames(self) -> list[frames.Frame]:
        return [
            codec.decode(post["text"])
            for post in self.posts
            if post["kind"] == "wire_out" and self.link in post["links"]
        ]

    @property
    def closed(self) -> int | None:
        for post in self.posts:
            if post["kind"] == "wire_close" and post["link"] == self.link:
                code: int = post["code"]
                return code
        return None

    async def wait[F](self, kind: type[F], test: Callable[[F], bool] = lambda _: True) -> F:
        async with asyncio.timeout(10):
            while True:
                for frame in self.frames:
                    if isinstance(frame, kind) and test(frame):
                        return frame
                await asyncio.sleep(0.01)  # posts tell nobody


async def test_a_guest_joins_votes_and_sees_the_change(tmp_path: Path, server: Server) -> None:
    bridge = Bridge(tmp_path, state={"sum": 0})
    async with together(bridge, server) as (node, posts):
        guest, other = Guest(node, posts, "g"), Guest(node, posts, "o")
        guest.open(presenter=True)
        guest.say(HELLO)
        other.open()
        other.say(HELLO)
        welcome = await guest.wait(frames.Welcome)
        assert (welcome.client_id, welcome.bridge, welcome.guid) == ("client g", TAB, "a" * 32)
        assert (await guest.wait(frames.State)).value == {"sum": 0}
        status = await guest.wait(frames.Status, lambda status: status.participants == 3)
        assert (status.host, status.bridges) == (TAB, [])
        guest.say(frames.OpenSession())
        session = await guest.wait(frames.Session)
        guest.say(
            frames.Request(session=session.session, serial=1, acknowledged=0, payload={"add": 2})
        )
        reply = await guest.wait(frames.Reply)
        assert reply.payload == {"from": "client g", "presenter": True}
        change = await other.wait(frames.Change)
        assert change.patch == [{"op": "replace", "path": "/sum", "value": 2}]
        # The change was posted once, for both.
        both = [post for post in posts if post["kind"] == "wire_out" and len(post["links"]) == 2]
        assert any('"change"' in post["text"] for post in both)


async def test_who_does_not_say_hello_or_breaks_the_rules_is_closed(
    tmp_path: Path, server: Server
) -> None:
    async with together(Bridge(tmp_path, state={"sum": 0}), server) as (node, posts):
        for name, words in {"early": ["{}"], "later": [codec.encode(HELLO), "nonsense"]}.items():
            guest = Guest(node, posts, name)
            guest.open()
            for text in words:
                guest.tell(kind="wire_in", text=text)
            assert (await guest.wait(frames.Error)).code == "bad_frame"
            assert guest.closed == 4400
        stranger = Guest(node, posts, "never opened")
        stranger.say(HELLO)
        assert stranger.frames == []


async def test_a_node_whose_channel_dies_is_lost_and_one_that_goes_to_a_bridge_is_not(
    tmp_path: Path, server: Server
) -> None:
    async with together(Bridge(tmp_path, state={"sum": 0}), server) as (node, posts):
        watcher = Guest(node, posts, "w")
        guests = [Guest(node, posts, name) for name in ("dies", "goes")]
        told: list[frames.Frame] = []
        for guest in (watcher, *guests):
            guest.open()
            guest.say(HELLO)
            guest.say(frames.NodeUp(node_id=f"node {guest.link}", visible=True))
        await guests[1].wait(frames.Welcome)
        driver = node._driver
        node._driver = Eavesdropper(driver, told)  # type: ignore[assignment]
        node._relay._relay._driver = node._driver  # type: ignore[union-attr]
        guests[1].tell(kind="wire_closed", lost=False)
        guests[0].tell(kind="wire_closed", lost=True)
        assert [f.node_id for f in told if isinstance(f, frames.Lost)] == ["node dies"]


class Eavesdropper:
    """The driver, with what it is told written down."""

    def __init__(self, driver: Any, told: list[frames.Frame]) -> None:
        self._driver = driver
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def receive(self, frame: frames.Frame) -> None:
        self._told.append(frame)
        self._driver.receive(frame)


def info(node_id: str) -> frames.NodeInfo:
    return frames.NodeInfo(
        node_id=node_id,
        device_id="d",
        kind="tab",
        local=False,
        visible=True,
        since=0.0,
        rtt=0.0,
    )


def listing(*nodes: frames.NodeInfo, epoch: int = 0) -> frames.Directory:
    return frames.Directory(nodes=list(nodes), epoch=epoch)


def test_whoever_either_lists_is_there() -> None:
    told: list[list[str]] = []

    def receive(frame: frames.Frame) -> None:
        assert isinstance(frame, frames.Directory)
        told.append([node.node_id for node in frame.nodes])

    whereabouts = Whereabouts(receive)
    whereabouts.of_bridge(listing(info("a"), info("b")))
    whereabouts.of_bridge(listing())
    assert told == [["a", "b"]], "that the bridge is gone says nothing of the nodes"
    whereabouts.of_relay(listing(info("a")))
    assert len(told) == 1, "the others are still arriving"
    whereabouts.settled = True
    whereabouts.of_relay(listing(info("a"), info("c")))
    whereabouts.of_bridge(listing(info("c"), info("d")))
    assert told[1:] == [["a", "c"], ["c", "d", "a"]]


def test_the_bridges_epoch_is_told_with_its_list() -> None:
    """Without it no further bridge would ever be brought into the log."""
    told: list[frames.Frame] = []
    whereabouts = Whereabouts(told.append)
    whereabouts.of_bridge(listing(info("a"), epoch=7))
    whereabouts.settled = True
    whereabouts.of_relay(listing(info("b"), epoch=6))
    assert [frame.epoch for frame in told if isinstance(frame, frames.Directory)] == [7, 7]
    whereabouts.of_bridge(listing())
    assert told[-1] == listing(info("b"), epoch=6)


def test_who_has_left_an_epoch_is_told_with_the_list() -> None:
    """Without it an epoch would stay provisional while tabs host it."""
    told: list[frames.Frame] = []
    whereabouts = Whereabouts(told.append)
    left = frames.Left(node="a" * 32, epoch=1, term=2, index=3, voters=["a" * 32])
    whereabouts.of_bridge(frames.Directory(nodes=[info("a")], epoch=7, left=[left]))
    assert told == [frames.Directory(nodes=[info("a")], epoch=7, left=[left])]


async def test_a_guest_cannot_make_the_tab_work_all_the_time(
    tmp_path: Path, server: Server
) -> None:
    async with together(Bridge(tmp_path, state={"sum": 0}), server) as (node, posts):
        greedy, honest = Guest(node, posts, "g"), Guest(node, posts, "h")
        for guest in (greedy, honest):
            guest.open()
            guest.say(HELLO)
            await guest.wait(frames.State)
        for _ in range(20):
            greedy.say(frames.Resync())
        await asyncio.sleep(0.1)
        assert len([frame for frame in greedy.frames if isinstance(frame, frames.State)]) == 2
        for number in range(1000):
            greedy.say(frames.Ping(n=number))
        assert greedy.closed == 4429
        await greedy.wait(frames.Error, lambda error: error.code == "rate_limited")
        honest.say(frames.Ping(n=1))
        await honest.wait(frames.Pong)
