"""An ASGI application that does everything that the comparison table asks for, right and wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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
    text["server"] = "{}:{}".format(*scope["server"])
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


class Part:
    """An application's part in a WebSocket conversation, as the query string has it.

    It is a list of lines, each a verb and what belongs to it. ``log`` has what came back: messages,
    and whether ``send`` raised (ASGI promises an OSError when the client has gone).
    """

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.log: list[list[Any]] = []

    async def play(self) -> None:
        for verb, *words in json.loads(unquote(self._scope["query_string"].decode())):
            await getattr(self, verb)(*words)

    async def receive(self) -> Any:
        message = await self._receive()
        match message["type"]:
            case "websocket.receive" if message.get("text") is not None:
                self.log.append(["text", *brief(message["text"])])
            case "websocket.receive":
                self.log.append(["bytes", *brief(message["bytes"].decode("latin-1"))])
            case "websocket.disconnect":
                reason = message.get("reason") or ""  # optional in ASGI
                self.log.append(["disconnect", message["code"], reason])
            case kind:
                self.log.append([kind])
        return message

    async def message(self, message: Any) -> None:
        try:
            await self._send(message)
        except BaseException as error:
            self.log.append(["raised", "OSError" if isinstance(error, OSError) else "an error"])
            raise

    async def accept(self, subprotocol: str | None = None, *headers: list[str]) -> None:
        told = {"subprotocol": subprotocol, "headers": encoded(headers)}
        await self.message({"type": "websocket.accept", **told})

    async def text(self, text: str, times: int = 1) -> None:
        for _ in range(times):
            await self.message({"type": "websocket.send", "text": text})

    async def binary(self, text: str, times: int = 1) -> None:
        data = text.encode("latin-1") * times
        await self.message({"type": "websocket.send", "bytes": data})

    async def count(self, to: int) -> None:
        for number in range(to):
            await self.text(f"server {number}")

    async def echo(self, times: int = 1_000_000) -> None:
        """So many messages, or to the disconnect."""
        for _ in range(times):
            message = await self.receive()
            if message["type"] == "websocket.disconnect":
                return
            await self.message({**message, "type": "websocket.send"})

    async def both(self, times: int) -> None:
        await asyncio.gather(self.echo(times), self.count(times))

    async def show(self) -> None:
        await self.text(json.dumps(shown(self._scope)))

    async def close(self, *words: Any) -> None:
        told = dict(zip(("code", "reason"), words, strict=False))
        await self.message({"type": "websocket.close", **told})

    async def deny(self, status: int, headers: list[list[str]], *bodies: str | None) -> None:
        """A None among the bodies is where it breaks off."""
        start = {"status": status, "headers": encoded(headers)}
        await self.message({"type": "websocket.http.response.start", **start})
        for number, body in enumerate(bodies):
            if body is None:
                return
            piece = {"body": body.encode(), "more_body": number + 1 < len(bodies)}
            await self.message({"type": "websocket.http.response.body", **piece})

    async def fail(self) -> None:
        raise RuntimeError("on purpose")


def brief(text: str) -> list[Any]:
    """A text, or the length and hash of a long one."""
    if len(text) <= 200:
        return [text]
    return [len(text), hashlib.sha256(text.encode()).hexdigest()[:16]]


def encoded(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


parts: dict[str, asyncio.Future[list[list[Any]]]] = {}
"""By path: what the part there was told, once it has ended."""


async def part(scope: Any, receive: Any, send: Any) -> None:
    """On a WebSocket it plays; a GET waits for the end of that, and gives its log."""
    future = parts.setdefault(scope["path"], asyncio.get_running_loop().create_future())
    if scope["type"] == "http":
        log = json.dumps(await asyncio.shield(future))
        await answering(200, [], log.encode())(scope, receive, send)
        return
    playing = Part(scope, receive, send)
    try:
        await playing.receive()
        await playing.play()
    finally:
        if not future.done():
            future.set_result(playing.log)


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
        _mount("/part", part),
        WebSocketRoute("/talk", talk),
        WebSocketRoute("/talk/{rest:path}", talk),
        WebSocketRoute("/no", no),
        WebSocketRoute("/deny", deny),
        WebSocketRoute("/fails", fails),
    ],
)
