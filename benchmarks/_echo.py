"""The baseline's server: Starlette under uvicorn, one WebSocket route that echoes."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


if __name__ == "__main__":
    app = Starlette(routes=[WebSocketRoute("/", echo)])
    uvicorn.run(
        app, host=sys.argv[1], port=int(sys.argv[2]), log_level="error", ws="websockets-sansio"
    )
