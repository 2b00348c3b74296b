"""An ASGI application that does everything that the comparison table asks for, right and wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

HERE = Path(__file__).parent
done: list[str] = []
"""What background tasks have done."""

type Raw = Callable[[Any, Any, Any], Awaitable[None]]


SHOWN = (
    *("type", "asgi", "http_version", "method", "scheme", "root_path", "path", "raw_path"),
    *("query_string", "headers", "subprotocols"),
)


def shown(scope: Any) -> dict[str, Any]:
    """A scope as JSON, with all that does not depend on where the server is."""
    text: dict[str, Any] = {}
    for key in SHOWN:
        value = scope.get(key)
        if key == "headers":
            value = [[name.decode("latin-1"), found.decode("latin-1")] for name, found in value]
        elif isinstance(value, bytes):
            value = value.decode("latin-1")
        text[key] = value
    text["client"] = scope["client"][0]
    text["extensions"] = sorted(scope.get("extensions", ()))
    return text


async def scope(request: Request) -> Response:
    return JSONResponse(shown(request.scope))


async def body(request: Request) -> Response:
    data = await request.body()
    return JSONResponse({"size": len(data), "sha256": hashlib.sha256(data).hexdigest()})


async def form(request: Request) -> Response:
    pieces = [piece async for piece in request.stream()]
    return PlainTextResponse(b"".join(pieces).decode("latin-1")[::-1])


def sync(request: Request) -> Response:
    return PlainTextResponse(f"sync {request.query_params.get('name', '')}")


async def page(request: Request) -> Response:
    return HTMLResponse("<h1>page</h1>" * 100)


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(20):
            yield f"{number}\n".encode()
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/plain")


async def events(request: Request) -> Response:
    last = int(request.headers.get("last-event-id", "0"))

    async def pieces() -> AsyncIterator[str]:
        for number in range(last + 1, 6):
            yield f"id: {number}\ndata: {number * number}\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def ticks(request: Request) -> Response:
    """Events without an end; whoever comes back goes on after the last one seen."""
    last = int(request.headers.get("last-event-id", "0"))

    async def pieces() -> AsyncIterator[str]:
        yield "retry: 100\n\n"
        for number in count(last + 1):
            yield f"id: {number}\ndata: {number * number}\n\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def where(request: Request) -> Response:
    """Which browser this runs in; nothing under uvicorn."""
    try:
        import js
    except ImportError:
        return PlainTextResponse("")
    return PlainTextResponse(js.navigator.userAgent)


async def big(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(32):
            yield bytes([number]) * 65_536

    return StreamingResponse(pieces(), headers={"content-length": str(32 * 65_536)})


async def status(request: Request) -> Response:
    return Response(status_code=int(request.path_params["status"]))


async def cookies(request: Request) -> Response:
    response = JSONResponse(request.cookies)
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2", samesite="strict")
    return response


async def refuse(request: Request) -> Response:
    raise HTTPException(409, "no", headers={"x-why": "because"})


async def broken(request: Request) -> Response:
    raise RuntimeError("on purpose")


async def later(request: Request) -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(done.append, "later"))


async def tasks(request: Request) -> Response:
    return JSONResponse(sorted(set(done)))


async def file(request: Request) -> Response:
    return FileResponse(HERE / "static" / "lines.txt", headers={"etag": '"lines"'})


PATTERN = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(251)) * 8
"""64,256 bytes; what large files are made of."""


async def large(request: Request) -> Response:
    """A file of any size, from any byte. ``plain`` leaves out that ranges may be asked for."""
    size = int(request.path_params["size"])
    start, end, status = 0, size, 200
    headers = {"etag": f'"{size}"'}
    wanted = request.headers.get("range", "")
    if wanted.startswith("bytes="):
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end, status = int(first), min(int(last) + 1, size) if last else size, 206
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    if "plain" not in request.query_params:
        headers["accept-ranges"] = "bytes"
    headers["content-length"] = str(end - start)

    async def pieces() -> AsyncIterator[bytes]:
        at = start
        while at < end:
            offset = at % len(PATTERN)
            piece = PATTERN[offset : offset + end - at]
            yield piece
            at += len(piece)

    return StreamingResponse(pieces(), status_code=status, headers=headers)


async def redirect(request: Request) -> Response:
    return RedirectResponse("/scope?from=redirect")


async def too_much(request: Request) -> Response:
    return PlainTextResponse("never read", status_code=413, headers={"connection": "close"})


# --- without Starlette: what a careless app does -----------------------------------------------


def answering(status: int, headers: list[tuple[bytes, bytes]], *bodies: bytes) -> Raw:
    """An app that sends just that."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, piece in enumerate(bodies):
            more = number + 1 < len(bodies)
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    return app


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """Ends without a response."""


async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    raise RuntimeError("on purpose")


async def stops(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})


async def wrong_order(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"first"})


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("on purpose")


async def twice(scope: Any, receive: Any, send: Any) -> None:
    """Reads to the disconnect that follows a complete response."""
    seen = [(await receive())["type"]]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
    assert (await receive())["type"] == "http.disconnect"
    done.append("twice")


# --- WebSockets ---------------------------------------------------------------------------------


async def talk(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    await socket.accept("chat" if "chat" in offered else None, headers=[(b"x-room", b"1")])
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        text = message.get("text")
        if text == "close":
            await socket.close(4001, "as you wish")
            return
        if text == "scope":
            await socket.send_json(shown(socket.scope))
        elif text == "fail":
            raise RuntimeError("on purpose")
        elif text == "big":
            await socket.send_bytes(b"\x01" * 3_000_000)
        elif text is not None:
            await socket.send_text(text)
        else:
            await socket.send_bytes(message["bytes"])


async def no(socket: WebSocket) -> None:
    await socket.close()


async def deny(socket: WebSocket) -> None:
    await socket.send_denial_response(JSONResponse({"why": "full"}, status_code=429))


async def fails(socket: WebSocket) -> None:
    raise RuntimeError("on purpose")


def _mount(path: str, app: Raw) -> Mount:
    return Mount(path, app=app)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/scope", scope, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"]),
        Route("/scope/{rest:path}", scope),
        Route("/body", body, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        Route("/form", form, methods=["POST"]),
        Route("/sync", sync),
        Route("/stream", stream),
        Route("/events", events),
        Route("/ticks", ticks),
        Route("/where", where),
        Route("/big", big),
        Route("/status/{status:int}", status),
        Route("/cookies", cookies),
        Route("/refuse", refuse),
        Route("/broken", broken),
        Route("/later", later),
        Route("/tasks", tasks),
        Route("/file", file),
        Route("/large/{size:int}", large),
        Route("/redirect", redirect),
        Route("/slash/", page),
        Route("/too-much", too_much, methods=["POST"]),
        Mount("/static", StaticFiles(directory=HERE / "static")),
        Mount(
            "/packed",
            routes=[Route("/", page)],
            middleware=[Middleware(GZipMiddleware, minimum_size=10)],
        ),
        _mount("/raw/silent", silent),
        _mount("/raw/breaks-off", breaks_off),
        _mount("/raw/stops", stops),
        _mount("/raw/wrong-order", wrong_order),
        _mount("/raw/raises", raises),
        _mount("/raw/twice", twice),
        _mount("/raw/plain", answering(200, [], b"plain")),
        _mount("/raw/empty", answering(200, [], b"")),
        _mount("/raw/pieces", answering(200, [], b"a", b"", b"b", b"")),
        _mount("/raw/odd-status", answering(299, [(b"x-odd", b"yes")], b"odd")),
        _mount("/raw/latin", answering(200, [(b"x-name", "Zoë".encode("latin-1"))], b"")),
        _mount("/raw/many", answering(200, [(b"X-A", b"1"), (b"x-a", b"2")], b"")),
        _mount("/raw/own", answering(200, [(b"server", b"mine"), (b"date", b"today")], b"")),
        _mount("/raw/close", answering(200, [(b"connection", b"close")], b"last")),
        _mount("/raw/long", answering(200, [(b"content-length", b"3")], b"four")),
        _mount("/raw/short", answering(200, [(b"content-length", b"5")], b"four")),
        _mount("/raw/bad-header", answering(200, [(b"x-bad", b"a\r\nb: c")], b"")),
        _mount("/raw/bad-name", answering(200, [(b"x bad", b"a")], b"")),
        _mount("/raw/body-of-204", answering(204, [], b"body")),
        _mount("/raw/body-of-304", answering(304, [(b"etag", b'"x"')], b"")),
        _mount("/raw/chunked", answering(200, [(b"transfer-encoding", b"chunked")], b"a", b"b")),
        WebSocketRoute("/talk", talk),
        WebSocketRoute("/no", no),
        WebSocketRoute("/deny", deny),
        WebSocketRoute("/fails", fails),
    ],
)
