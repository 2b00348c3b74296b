"""The notice board, an ordinary Starlette application, in a real tab, and its visitors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.e2e.classroom import ROOT, Classroom
from tests.e2e.classroom import classroom as make_classroom
from tests.lan.browsers import PHONE
from tests.lan.firefox import FirefoxDevice

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def classroom() -> AsyncIterator[Classroom]:
    async with make_classroom(ROOT / "examples" / "asgi", phones=1) as made:
        yield made
        assert made.problems() == []


def address(classroom: Classroom) -> str:
    return f"{classroom.bridge.host.address}:{classroom.bridge.port}"


async def test_websockets_talks_to_python_in_the_tab(classroom: Classroom) -> None:
    host, port = classroom.bridge.host.address, classroom.bridge.port
    made = await asyncio.to_thread(classroom.lan.host("outsider").connect, host, port)
    made.setblocking(False)
    url = f"ws://{address(classroom)}/talk"
    offered = [Subprotocol("other"), Subprotocol("board")]
    async with connect(url, sock=made, subprotocols=offered, compression=None) as socket:
        assert socket.subprotocol == "board"
        await socket.send("héllo")
        first = json.loads(await socket.recv())["count"]
        await socket.send("again")
        assert json.loads(await socket.recv()) == {"count": first + 1}
        # The tab's browser is killed: the board is another's now, and the socket ends.
        await classroom.kill_browser(classroom.presenter)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    await classroom.restore()


async def test_firefox_pins_a_note_and_follows_the_board(classroom: Classroom) -> None:
    firefox = FirefoxDevice(classroom.lan.host("visitor"), "visitor", PHONE)
    await firefox.start()
    try:
        page = await firefox.open(f"http://{address(classroom)}/")
        heard = await page.evaluate(
            """() => new Promise((resolve, reject) => {
                const heard = {};
                const events = new EventSource("/events");
                events.onmessage = ({ data, lastEventId }) => {
                    heard.event = JSON.parse(data);
                    heard.id = Number(lastEventId);
                    events.close();
                    const url = `ws://${location.host}/talk`;
                    const socket = new WebSocket(url, ["other", "board"]);
                    socket.onopen = () => socket.send("over a socket");
                    socket.onmessage = ({ data }) => {
                        heard.protocol = socket.protocol;
                        heard.count = JSON.parse(data).count;
                        socket.close(3001, "thanks");
                    };
                    socket.onclose = ({ code }) => resolve({ ...heard, code });
                    socket.onerror = reject;
                };
                events.onerror = () => { if (events.readyState === 2) reject("no events"); };
                events.onopen = async () => {
                    const body = new URLSearchParams({ text: "<b>from Firefox</b>" });
                    const answer = await fetch("/notes", { method: "POST", body });
                    heard.page = await answer.text();
                };
            })"""
        )
        assert "<li>&lt;b&gt;from Firefox&lt;/b&gt;</li>" in heard["page"]
        assert heard["event"] == "<b>from Firefox</b>"
        assert (heard["protocol"], heard["count"]) == ("board", heard["id"] + 1)
        assert heard["code"] == 3001
    finally:
        await firefox.stop()
