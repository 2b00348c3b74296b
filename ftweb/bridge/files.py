"""Files over HTTP: ``/ftweb/files/…``. docs/files.md has the table of routes.

1. To read a file is to know its id, which is the hash of its manifest; who has joined sees
   manifests in the app's state. Everything else takes a token (``Authorization: Bearer``).
2. ``…/<id>`` never changes, so its ETag is the id. ``…/at/<path in the state>`` is whichever file
   stands there now: if it is replaced, the ETag differs and a download with ``If-Range`` restarts.
3. Content goes from the disk to the socket in pieces, each after the last was taken. Memory is
   bounded by FILE_DOWNLOADS × READ_BYTES and FILE_UPLOADS × READ_BYTES, whatever the files' size.
4. Nothing that people upload may run as a page or a script of this origin: it is always an
   attachment, sandboxed, and of a media type that no browser executes.
5. Pages that another bridge served may read, if :meth:`AllowedHosts.allows_page` knows them.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ftweb.bridge.config import Identity
from ftweb.bridge.file_requests import FileRequest, Headers
from ftweb.bridge.filestore import READ_BYTES, FileStore
from ftweb.bridge.keepers import Keepers, Told
from ftweb.bridge.ranges import Span, decide
from ftweb.bridge.security import AllowedHosts, Receive, Scope, Send, check_token
from ftweb.errors import FileError
from ftweb.files import Manifest, find_manifests, parse_manifest
from ftweb.limits import FILE_DOWNLOADS, FILE_UPLOADS

PREFIX: Final = "/ftweb/files/"

NAMED_SECONDS: Final = 1.0
"""How old the list of files in the state may be that tabs' reports are compared with."""

_INERT = re.compile(r"(?:audio|font|image|video)/.+|text/plain|application/(?:pdf|zip)")
_STATUS: Final = {
    "bad_token": 401,
    "unknown_file": 404,
    "chunk_missing": 404,
    "upload_stalled": 408,
    "too_large": 413,
    "bad_range": 416,
    "bad_chunk": 422,
    "bad_manifest": 422,
    "too_many_connections": 503,
    "files_full": 507,
}


class Files:
    """The ASGI application of all routes, and the upkeep of the store.

    Args:
        folder: where chunks are kept.
        identity: whose tokens open it.
        hosts: which pages may read from here.
        state: gives the app's state as this bridge knows it.

    Raises:
        StorageError: the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        identity: Identity,
        hosts: AllowedHosts,
        state: Callable[[], Any],
    ) -> None:
        self.store = FileStore(folder, clock=time.time)
        self._identity = identity
        self._hosts = hosts
        self.state = state
        self.keepers = Keepers(
            clock=time.monotonic, lacks=lambda manifest: bool(self.store.missing(manifest))
        )
        self._named: dict[str, Manifest] = {}
        self._named_at = -NAMED_SECONDS
        self._downloads = 0
        self._uploads = 0

    def sweep(self) -> None:
        """Forget what nobody names any more."""
        self.store.sweep(manifest.id for manifest in find_manifests(self.state()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close"})
            return
        request = FileRequest(scope, receive, send, cross=self._cross(scope))
        try:
            await self._answer(request)
        except _BrokenError:
            pass  # the server closes a connection whose response is not complete
        except FileError as error:
            more: Headers = []
            if error.code == "bad_token":
                more = [(b"www-authenticate", b"Bearer")]
            elif error.code == "too_many_connections":
                more = [(b"retry-after", b"1")]
            elif isinstance(error, _RangeError):
                more = [(b"content-range", f"bytes */{error.size}".encode())]
            body = f"{error.code}: {error.message}\n".encode()
            await request.send_all(_STATUS[error.code], body, b"text/plain; charset=utf-8", more)

    def _cross(self, scope: Scope) -> Headers:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(origins) == 1 and self._hosts.allows_page(origins[0]):
            return [
                (b"access-control-allow-origin", origins[0]),
                (b"access-control-expose-headers", b"content-range, etag"),
                (b"vary", b"origin"),
            ]
        return [(b"vary", b"origin")]

    async def _answer(self, request: FileRequest) -> None:
        path: str = request.scope["path"]
        parts = path.removeprefix(PREFIX).split("/")
        method = request.scope["method"]
        if method == "OPTIONS":
            await request.send_all(204, b"", None, _PREFLIGHT)
            return
        if parts == ["kept"] and method == "PUT":
            await self._put_kept(request)
            return
        if parts[0] == "at":
            self._check_token(request)
            manifest, rest = self._at(parts[1:]), ["at"]
        else:
            file_id, rest = parts[0], parts[1:]
            if method == "PUT" and not rest:
                await self._put_manifest(request, file_id)
                return
            manifest = self._find(file_id)
        match rest:
            case [] | ["as", _] | ["at"] if method in ("GET", "HEAD"):
                await self._get(request, manifest, 0, manifest.size, fixed=rest != ["at"])
            case ["manifest"] if method in ("GET", "HEAD"):
                await request.send_json(200, manifest.to_dict())
            case ["status"] if method in ("GET", "HEAD"):
                await request.send_json(200, self._status(manifest))
            case ["chunks", text] if (index := _index(text, manifest)) is not None:
                start = index * manifest.chunk_bytes
                if method in ("GET", "HEAD"):
                    end = start + manifest.chunk_size(index)
                    await self._get(request, manifest, start, end, fixed=True)
                elif method == "PUT":
                    await self._put_chunk(request, manifest, index)
                else:
                    await request.send_all(405, b"", None, [(b"allow", b"GET, HEAD, PUT")])
            case [] | ["as", _] | ["at"] | ["manifest"] | ["status"]:
                await request.send_all(405, b"", None, [(b"allow", b"GET, HEAD")])
            case _:
                raise FileError("There is no such address.", code="unknown_file")

    # --- finding ----------------------------------------------------------------------------

    def _find(self, file_id: str) -> Manifest:
        manifest = self.store.get(file_id)
        if manifest is None:
            raise FileError("This bridge does not know that file.", code="unknown_file")
        return manifest

    def _at(self, names: list[str]) -> Manifest:
        """The file whose manifest stands at a place in the app's state, or just below it."""
        value = self.state()
        for name in names:
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list) and _is_index(name) and int(name) < len(value):
                value = value[int(name)]
            else:
                value = None
        if isinstance(value, dict) and "manifest" in value:
            value = value["manifest"]
        try:
            return parse_manifest(value)
        except FileError:
            raise FileError("No file stands there in the state.", code="unknown_file") from None

    def _status(self, manifest: Manifest) -> dict[str, Any]:
        missing = self.store.missing(manifest)
        return {
            "id": manifest.id,
            "size": manifest.size,
            "chunks": len(manifest.chunks),
            "missing": _runs(missing),
            "complete": not missing,
            "browsers": self.keepers.browsers(manifest.id),
        }

    def _check_token(self, request: FileRequest) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        joins, _ = check_token(token.strip(), self._identity)
        if scheme.lower() != "bearer" or not joins:
            raise FileError("This takes the join token: scan the code again.", code="bad_token")

    # --- uploads ----------------------------------------------------------------------------

    async def _put_kept(self, request: FileRequest) -> None:
        """A tab tells which files it holds, and is told what to do: see :mod:`.keepers`."""
        self._check_token(request)
        told = Told.parse(await request.json())
        now = time.monotonic()
        if now - self._named_at >= NAMED_SECONDS:
            self._named = {one.id: one for one in find_manifests(self.state())}
            self._named_at = now
        client = request.scope.get("client")
        near = client is not None and self._hosts.owns_ip(client[0])
        answer = self.keepers.hear(told, self._named, near=near)
        await request.send_json(200, answer.to_dict())

    async def _put_manifest(self, request: FileRequest, file_id: str) -> None:
        self._check_token(request)
        manifest = parse_manifest(await request.json())
        if manifest.id != file_id:
            raise FileError("This manifest has another id than the address.")
        new = self.store.keep(manifest)
        await request.send_json(201 if new else 200, self._status(manifest))

    async def _put_chunk(self, request: FileRequest, manifest: Manifest, index: int) -> None:
        self._check_token(request)
        sha256, size = manifest.chunks[index], manifest.chunk_size(index)
        length = request.headers.get("content-length")
        if length is not None and length != str(size):
            raise FileError(f"This chunk has {size} bytes, not {length}.", code="bad_chunk")
        if self.store.has(sha256):
            async for _ in request.body():
                pass  # read to its end, since a browser would else call the upload a failure
            await request.send_all(204, b"", None)
            return
        if self._uploads >= FILE_UPLOADS:
            raise FileError("Too many uploads at once; wait.", code="too_many_connections")
        self._uploads += 1
        try:
            await self.write_chunk(manifest, index, request.body())
        finally:
            self._uploads -= 1
        await request.send_all(204, b"", None)

    async def write_chunk(self, manifest: Manifest, index: int, body: AsyncIterator[bytes]) -> None:
        """Save a chunk that arrives in pieces.

        Raises:
            FileError: ``bad_chunk`` or ``files_full``; nothing of it is kept then.
        """
        incoming = self.store.receive(manifest.chunks[index], manifest.chunk_size(index))
        try:
            waiting = bytearray()
            async for piece in body:
                waiting += piece
                if len(waiting) >= READ_BYTES:
                    await asyncio.to_thread(incoming.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(incoming.write, bytes(waiting))
            incoming.finish()
            self.store.keep(manifest)
        finally:
            incoming.close()

    # --- downloads --------------------------------------------------------------------------

    async def _get(
        self, request: FileRequest, manifest: Manifest, start: int, end: int, *, fixed: bool
    ) -> None:
        """Answer with bytes ``start`` to ``end`` of a file, or what was asked for of them."""
        etag = f'"{manifest.id}"'
        size = end - start
        answer = decide(request.headers, etag=etag, size=size)
        headers: Headers = [
            (b"etag", etag.encode()),
            (b"cache-control", b"private, max-age=31536000, immutable" if fixed else b"no-cache"),
            (b"accept-ranges", b"bytes"),
            (b"content-security-policy", b"default-src 'none'; sandbox; frame-ancestors 'none'"),
        ]
        if not fixed:
            headers.append((b"content-location", f"{PREFIX}{manifest.id}".encode()))
        match answer.status:
            case 304:
                await request.start(304, headers)
                await request.end()
                return
            case 412:
                body = b"file_replaced: The file is another one now; begin anew.\n"
                await request.send_all(412, body, b"text/plain; charset=utf-8", headers)
                return
            case 416:
                raise _RangeError(size)
            case _:
                pass
        media_type = manifest.media_type
        if not _INERT.fullmatch(media_type):
            media_type = "application/octet-stream"
        name = quote(manifest.name, safe="")
        headers.append((b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()))
        spans = [(start + first, start + last) for first, last in answer.spans]
        await self._check_spans(manifest, spans)
        parts: list[tuple[bytes, Span]] = [(b"", span) for span in spans]
        tail = b""
        if len(spans) == 1:
            headers.append((b"content-type", media_type.encode()))
            if answer.status == 206:
                first, last = answer.spans[0]
                headers.append((b"content-range", f"bytes {first}-{last - 1}/{size}".encode()))
        else:
            boundary = secrets.token_hex(16)
            kind = f"multipart/byteranges; boundary={boundary}"
            headers.append((b"content-type", kind.encode()))
            parts = [
                (
                    f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
                    f"Content-Range: bytes {first}-{last - 1}/{size}\r\n\r\n".encode(),
                    span,
                )
                for (first, last), span in zip(answer.spans, spans, strict=True)
            ]
            tail = f"\r\n--{boundary}--\r\n".encode()
        length = len(tail) + sum(len(head) + span[1] - span[0] for head, span in parts)
        headers.append((b"content-length", str(length).encode()))
        if request.scope["method"] == "HEAD":
            await request.start(answer.status, headers)
            await request.end()
            return
        if self._downloads >= FILE_DOWNLOADS:
            raise FileError("Too many downloads at once; try again.", code="too_many_connections")
        self._downloads += 1
        try:
            await request.start(answer.status, headers)
            async with request.watched() as gone:
                for head, span in parts:
                    if head:
                        await request.piece(head)
                    await self._stream(request, manifest, span, gone)
            await request.end(tail)
        finally:
            self._downloads -= 1

    async def _check_spans(self, manifest: Manifest, spans: Iterable[Span]) -> None:
        """See that every chunk is here before anything is promised, and the first is right."""
        for first, last in spans:
            if first == last:
                continue
            indexes = range(first // manifest.chunk_bytes, (last - 1) // manifest.chunk_bytes + 1)
            for index in indexes:
                sha256 = manifest.chunks[index]
                if not self.store.has(sha256) or (
                    index == indexes[0] and not await self._is_right(sha256)
                ):
                    raise FileError(
                        "This bridge does not have all of that yet.", code="chunk_missing"
                    )

    async def _is_right(self, sha256: str) -> bool:
        if not self.store.is_checked(sha256):
            self.store.checked(sha256, right=await asyncio.to_thread(self.store.check, sha256))
        return self.store.has(sha256)

    async def _stream(
        self, request: FileRequest, manifest: Manifest, span: Span, gone: asyncio.Event
    ) -> None:
        """Send bytes of a file.

        Raises:
            _BrokenError: they cannot all be sent. The client sees a body that is too short, and
                asks for the rest.
        """
        at, end = span
        while at < end:
            index, within = divmod(at, manifest.chunk_bytes)
            sha256 = manifest.chunks[index]
            if not self.store.has(sha256) or not await self._is_right(sha256):
                raise _BrokenError
            try:
                file = await asyncio.to_thread(self.store.path(sha256).open, "rb")
            except OSError:
                raise _BrokenError from None
            with file:
                file.seek(within)
                left = min(manifest.chunk_size(index) - within, end - at)
                while left:
                    piece = await asyncio.to_thread(file.read, min(READ_BYTES, left))
                    if not piece or gone.is_set():
                        raise _BrokenError
                    await request.piece(piece)
                    left -= len(piece)
                    at += len(piece)


class _RangeError(FileError):
    code = "bad_range"

    def __init__(self, size: int) -> None:
        super().__init__(f"That is not in the {size} bytes of it, or is too many ranges.")
        self.size = size


class _BrokenError(Exception):
    """A response cannot be completed."""


_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"GET, HEAD, PUT"),
    (b"access-control-allow-headers", b"authorization, content-type, if-match, if-range, range"),
    (b"access-control-max-age", b"600"),
    (b"allow", b"GET, HEAD, PUT, OPTIONS"),
]


def _index(text: str, manifest: Manifest) -> int | None:
    if not _is_index(text):
        return None
    index = int(text)
    return index if index < len(manifest.chunks) else None


def _is_index(text: str) -> bool:
    """Of something that exists here, and no number that Python would refuse to read."""
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _runs(indexes: list[int]) -> list[list[int]]:
    """Consecutive indexes as pairs of first and last."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return runs
