"""The notice board: an ordinary ASGI application, served from a tab."""

from __future__ import annotations

from pathlib import Path

import httpx
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from ftweb.app import load_app
from tests.bridge.conftest import Bridge, bridge, config, runtime_dir
from tests.flyweb.test_comparison import app_dir

__all__ = ["app_dir", "bridge", "config", "runtime_dir"]

BOARD = Path(__file__).parents[2] / "examples" / "asgi"


async def test_form_json_events_and_websocket(bridge: Bridge) -> None:
    tab = await bridge.tab(load_app(BOARD))
    await tab.hosts()
    base = f"127.0.0.1:{bridge.port}"
    async with httpx.AsyncClient(
        trust_env=False, base_url=f"http://{base}", follow_redirects=True
    ) as http:
        page = await http.post("/notes", data={"text": "<b>hello</b>"})
        assert "<li>&lt;b&gt;hello&lt;/b&gt;</li>" in page.text
        assert (await http.post("/notes", data={"text": " "})).status_code == 422
        async with connect(
            f"ws://{base}/talk", subprotocols=[Subprotocol("board")], proxy=None
        ) as socket:
            assert socket.subprotocol == "board"
            await socket.send("second")
            assert await socket.recv() == '{"count":2}'
        assert (await http.get("/notes.json")).json()["notes"] == ["<b>hello</b>", "second"]
        seen = []
        async with http.stream("GET", "/events", headers={"Last-Event-ID": "1"}) as events:
            async for line in events.aiter_lines():
                seen.append(line)
                if line.startswith("data"):
                    break
        assert seen == [": the board", "", "id: 2", 'data: "second"']
