"""One HTTP request to ``/ftweb/files/``: reading its body within a time, and answering it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from ftweb.bridge.security import Receive, Scope, Send
from ftweb.errors import FileError
from ftweb.limits import HTTP_STALL_SECONDS, PAYLOAD_BYTES

type Headers = list[tuple[bytes, bytes]]


class FileRequest:
    """One request: reading its body within a time, and answering it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, cross: Headers) -> None:
        self.scope = scope
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        self._receive = receive
        self._send = send
        self._cross = cross

    async def body(self) -> AsyncIterator[bytes]:
        """The pieces of the body.

        Raises:
            FileError: ``bad_chunk``: it broke off; ``upload_stalled``: nothing came for too long.
        """
        while True:
            try:
                async with asyncio.timeout(HTTP_STALL_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise FileError("Nothing came for too long.", code="upload_stalled") from None
            if message["type"] != "http.request":
                raise FileError("The upload broke off.", code="bad_chunk")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def json(self) -> Any:
        """The body, as JSON of at most PAYLOAD_BYTES.

        Raises:
            FileError: it is not that.
        """
        body = bytearray()
        async for piece in self.body():
            body += piece
            if len(body) > PAYLOAD_BYTES:
                raise FileError(f"This has {PAYLOAD_BYTES} bytes at most.", code="too_large")
        try:
            return json.loads(bytes(body))
        except (ValueError, RecursionError) as error:
            raise FileError("This is not JSON.") from error

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[asyncio.Event]:
        """Tells when the client has gone, so that nothing is read for nobody."""
        gone = asyncio.Event()

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            gone.set()

        task = asyncio.create_task(watch())
        try:
            yield gone
        finally:
            task.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        headers = [*headers, *self._cross]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data})

    async def send_all(
        self, status: int, body: bytes, media_type: bytes | None, more: Headers | None = None
    ) -> None:
        headers: Headers = [(b"content-length", str(len(body)).encode())] if status != 204 else []
        if media_type is not None:
            headers.append((b"content-type", media_type))
        if not any(name == b"cache-control" for name, _ in more or ()):
            headers.append((b"cache-control", b"no-store"))
        await self.start(status, [*headers, *(more or ())])
        await self.end(b"" if self.scope["method"] == "HEAD" else body)

    async def send_json(self, status: int, value: Any) -> None:
        body = json.dumps(value, separators=(",", ":")).encode()
        await self.send_all(status, body, b"application/json")
