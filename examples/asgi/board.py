"""An ordinary Starlette application: a notice board. It knows nothing of ftweb.

Under uvicorn: ``uvicorn board:app``. From a tab: see ``app.py``, and ``ftweb run examples/asgi``.
"""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

KEPT = 200
"""Notes on the board; the oldest falls off."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notice board</title>
<style>
  :root {{ color-scheme: light dark; font: 1.125rem/1.5 system-ui, sans-serif; }}
  body {{ max-width: 40rem; margin: 0 auto; padding: 1rem; }}
  ul {{ padding: 0; list-style: none; }}
  li {{ padding: 0.75rem 0; border-bottom: 1px solid; overflow-wrap: anywhere; }}
  form {{ display: flex; flex-wrap: wrap; align-items: end; gap: 0.5rem; }}
  label {{ flex: 1 1 12rem; }}
  input, button {{ box-sizing: border-box; min-height: 3rem; padding: 0 0.75rem; font: inherit; }}
  input {{ display: block; width: 100%; }}
</style>
<h1>Notice board</h1>
<ul>{notes}</ul>
<form method="post" action="/notes">
  <label>Note <input name="text" maxlength="200" required autofocus></label>
  <button>Pin it</button>
</form>
<p><a href="/notes.json">as JSON</a></p>
</html>
"""


class Board:
    """The notes, and who waits for the next one."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.count = 0
        self._news = asyncio.Condition()

    async def pin(self, text: str) -> None:
        """Add a note, and wake up whoever follows."""
        async with self._news:
            self.notes = [*self.notes, text][-KEPT:]
            self.count += 1
            self._news.notify_all()

    async def follow(self, seen: int) -> AsyncIterator[tuple[int, str]]:
        """The notes after the first ``seen``, as they come, each with its number."""
        while True:
            async with self._news:
                while self.count <= seen:
                    await self._news.wait()
                seen = max(seen, self.count - len(self.notes))
                fresh = self.notes[len(self.notes) - (self.count - seen) :]
            for text in fresh:
                seen += 1
                yield seen, text


board = Board()


async def home(request: Request) -> Response:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in board.notes)
    return HTMLResponse(PAGE.format(notes=items))


def notes(request: Request) -> Response:
    """Not ``async``: in a tab such functions run in place, since there are no threads."""
    return JSONResponse({"count": board.count, "notes": board.notes})


async def pin(request: Request) -> Response:
    form = parse_qs((await request.body()).decode(), max_num_fields=10)
    text = form.get("text", [""])[0].strip()
    if not text or len(text) > 200:
        return PlainTextResponse("A note has 1 to 200 characters.", status_code=422)
    await board.pin(text)
    return RedirectResponse("/", status_code=303)


async def events(request: Request) -> Response:
    """Server-sent events. ``Last-Event-ID`` is the number of the last note seen."""
    last = request.headers.get("last-event-id", "0")
    seen = int(last) if last.isdigit() else 0

    async def stream() -> AsyncIterator[str]:
        yield ": the board\n\n"
        async for number, text in board.follow(min(seen, board.count)):
            yield f"id: {number}\ndata: {json.dumps(text)}\n\n"

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def talk(socket: WebSocket) -> None:
    """Each message is pinned; the answer is how many notes there are."""
    await socket.accept("board" if "board" in socket.scope["subprotocols"] else None)
    try:
        async for text in socket.iter_text():
            await board.pin(text[:200])
            await socket.send_json({"count": board.count})
    except WebSocketDisconnect:
        pass


app = Starlette(
    routes=[
        Route("/", home),
        Route("/notes", pin, methods=["POST"]),
        Route("/notes.json", notes),
        Route("/events", events),
        WebSocketRoute("/talk", talk),
    ]
)
