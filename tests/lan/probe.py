"""A small page and its server, for tests of the browsers themselves."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from tests.lan.lan import Lan

PAGE = """<!doctype html><title>probe</title><link rel=icon href=data:,>
<button onclick="globalThis.pressed = (globalThis.pressed ?? 0) + 1" disabled>press</button><script>
const socket = new WebSocket(`ws://${location.host}/socket?${location.hash.slice(1)}`);
socket.onmessage = event => { globalThis.heard = event.data; };
addEventListener("pagehide", () => { if (socket.readyState === 1) socket.send("bye"); });
setInterval(() => { if (socket.readyState === 1) socket.send("beat"); }, 50);
</script>"""

WORKER = """
if (location.hash === "#inner") {
    setTimeout(() => { throw new Error("planted in a worker's worker"); });
    console.error("said by a worker's worker");
    postMessage("inner is up");
} else {
    const inner = new Worker("/worker.js#inner", { type: "module" });
    inner.onmessage = event => postMessage(event.data);
}
"""

SERVER = f"""
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute

async def socket(websocket):
    who = websocket.url.query
    await websocket.accept()
    async for text in websocket.iter_text():
        print(who, text, flush=True)
    print(who, "closed", flush=True)

def worker(request):
    return Response({WORKER!r}, media_type="text/javascript")

app = Starlette(routes=[
    Route("/", lambda request: HTMLResponse({PAGE!r})),
    Route("/worker.js", worker),
    WebSocketRoute("/socket", socket),
])
uvicorn.run(app, host="0.0.0.0", port=8080, log_level="error")
"""


class Probe:
    """A server that prints what each page's socket says."""

    def __init__(self, lan: Lan) -> None:
        self.process = lan.host("laptop").popen(
            sys.executable, "-c", SERVER, stdout=subprocess.PIPE
        )

    async def hears(self, line: str, timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            assert self.process.stdout is not None
            while (await asyncio.to_thread(self.process.stdout.readline)).strip() != line:
                assert self.process.poll() is None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
