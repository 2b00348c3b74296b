"""A tab's node without a browser: it joins a bridge's replica, gets the lead and hosts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import ftweb
from ftweb import codec, frames
from ftweb.app import Server, Source
from ftweb.core import NodeId
from pyodide_app.node import TabNode
from tests.pyodide_app.bridge import CLOCK, SOURCE, WELCOME, Bridge

TAB = NodeId("f" * 32)


@pytest.fixture
def server() -> Server:
    """An app that adds up the numbers it is sent."""
    server = ftweb.init_server("test", state={"sum": 0})

    @server.on_receive
    def receive(message: Any, source: Source) -> Any:
        with server.change() as state:
            state["sum"] += message["add"]
        return {"sum": server.get_state()["sum"], "from": source.client_id}

    return server


@asynccontextmanager
async def together(bridge: Bridge, server: Server) -> AsyncIterator[tuple[TabNode, list[Any]]]:
    """A bridge and a tab that hosts, and all that the tab has told its net worker."""
    posts: list[dict[str, Any]] = []

    def post(text: str) -> None:
        posts.append(message := json.loads(text))
        if message["kind"] == "frame":
            bridge.receive(message["text"])

    node = TabNode(node_id=TAB, server=server, clock=CLOCK, welcome=WELCOME, post=post)

    def to_tab(frame: frames.Frame) -> None:
        node.receive(json.dumps({"kind": "frame", "text": codec.encode(frame)}))

    bridge.to_tab = to_tab
    running = asyncio.create_task(bridge.driver.run())
    node.start()
    bridge.join(TAB)
    to_tab(bridge.directory)
    try:
        await bridge.until(lambda: bridge.led_by(TAB))
        yield node, posts
    finally:
        running.cancel()
        await node.stop()
        bridge.storage.close()


async def test_hosts_and_replies_through_the_bridge(tmp_path: Path, server: Server) -> None:
    bridge = Bridge(tmp_path, state={"sum": 0})
    async with together(bridge, server) as (node, posts):
        assert posts[0] == {"kind": "up", "nodeId": TAB}

        def ask(forward: frames.Forward) -> None:
            node.receive(json.dumps({"kind": "frame", "text": codec.encode(forward)}))

        ask(bridge.forward())
        await bridge.until(lambda: bridge.session is not None)
        ask(bridge.forward(serial=1, payload={"add": 2}))
        await bridge.until(lambda: bridge.reply(1) is not None)
        reply = bridge.reply(1)
        assert reply is not None
        assert (reply.payload, reply.error) == ({"sum": 2, "from": SOURCE.client_id}, None)
        assert bridge.driver.machine.state == {"sum": 2}

        session = reply.session
        runs = [post for post in posts if post["kind"] in ("begin", "end")]
        assert runs == [
            {"kind": "begin", "clientId": SOURCE.client_id, "session": session, "serial": 1},
            {"kind": "end"},
        ]
        statuses = [post for post in posts if post["kind"] == "status"]
        assert statuses[-1]["role"] == "leader"
        assert statuses[-1]["hosting"]
        assert statuses[-1]["leaderId"] == TAB
        assert statuses[-1]["quorum"]


async def test_a_frame_that_is_none_is_dropped(tmp_path: Path, server: Server) -> None:
    bridge = Bridge(tmp_path, state={"sum": 0})
    async with together(bridge, server) as (node, posts):
        node.receive(json.dumps({"kind": "frame", "text": "{"}))
        node.receive(json.dumps({"kind": "visible", "visible": False}))
        node.receive(json.dumps({"kind": "frame", "text": codec.encode(bridge.forward())}))
        await bridge.until(lambda: bridge.session is not None)
        assert not any(post["kind"] == "failed" for post in posts)


async def test_stop_gives_the_lead_away(tmp_path: Path, server: Server) -> None:
    bridge = Bridge(tmp_path, state={"sum": 0})
    async with together(bridge, server) as (node, _posts):
        node.receive(json.dumps({"kind": "stop"}))
        await bridge.until(lambda: not bridge.led_by(TAB))


async def test_a_node_whose_epoch_is_over_hands_in_what_nobody_else_may_know(
    tmp_path: Path, server: Server
) -> None:
    """Here a request that no other node has accepted yet."""
    bridge = Bridge(tmp_path, state={"sum": 0})
    async with together(bridge, server) as (node, posts):
        node.receive(json.dumps({"kind": "frame", "text": codec.encode(bridge.forward())}))
        await bridge.until(lambda: bridge.session is not None)
        bridge.deaf = True
        request = bridge.forward(serial=1, payload={"add": 2})
        node.receive(json.dumps({"kind": "frame", "text": codec.encode(request)}))
        await bridge.until(lambda: any('"add":2' in text for text in bridge.missed))
        del posts[:]
        node.receive(json.dumps({"kind": "over"}))
        assert [post["kind"] for post in posts] == ["frame", "handed_in"]
        piece = codec.decode(posts[0]["text"])
        assert isinstance(piece, frames.Recalled)
        assert piece.last
        assert piece.left is not None
        assert (piece.left.node, piece.left.epoch) == (TAB, bridge.driver.epoch)
        (item,) = piece.items
        assert (item["serial"], item["request"], item["reply"]["sum"]) == (1, {"add": 2}, 2)
        bridge.deaf = False
        node.receive(json.dumps({"kind": "frame", "text": codec.encode(request)}))
        await bridge.until(lambda: not bridge.led_by(TAB))
        assert not any(post["kind"] in ("frame", "begin") for post in posts[2:])
