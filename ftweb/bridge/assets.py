"""Every file that this bridge serves, with its headers, decided once at the start.

=================================  ==========================================================
path                               caching
=================================  ==========================================================
``/ftweb/runtime/<build>/<file>``  one year, immutable: the build is part of the address
``/ftweb/bundle/<sha256>.zip``     one year, immutable: so is the content's hash
``/ftweb/client.js``, ``flyweb.js``  ``no-cache`` with a strong ETag: 304 when unchanged
``/ftweb/files.js``                the same
``/ftweb/host`` and its files      the same (:mod:`ftweb.bridge.hostpage`)
pages of the app                   the same
=================================  ==========================================================

Rules:

1. A request path is looked up in a table, character by character; it never becomes a path of
   the file system. Paths below ``/ftweb/`` are the runtime's, all others the app's.
2. Bodies are held compressed with gzip where that gains something: from the ``.gz`` file beside
   the built one, or compressed here once. Brotli is never used: Chromium does not accept it over
   plain HTTP.
3. A body goes out in pieces, each after the last was taken: a slow phone holds one piece, not a
   whole runtime.
4. Pages get a Content-Security-Policy under which nothing is loaded from elsewhere and no inline
   script runs. Worker scripts get their own (a worker's policy is its script's).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ftweb.bridge import hostpage
from ftweb.bridge.bundle import Bundle
from ftweb.bridge.security import Receive, Scope, Send
from ftweb.errors import AppLoadError

PIECE_BYTES = 64 * 1024
"""Uvicorn's high-water mark: a larger piece would be copied whole into its buffer."""

GZIP_MINIMUM = 512
"""Below a packet's size compressing gains nothing."""

IMMUTABLE = b"public, max-age=31536000, immutable"
REVALIDATE = b"no-cache"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
}
"""Written here, since the system's table differs from machine to machine and a module script
with the wrong type does not run."""

_PACKED = frozenset({".gif", ".jpeg", ".jpg", ".mp3", ".mp4", ".png", ".webp", ".whl", ".woff2"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file as it is served."""

    body: bytes
    gzipped: bytes | None
    media_type: str
    cache: bytes
    etag: bytes
    """A strong one, of the content; the compressed form has one of its own."""

    @classmethod
    def of(cls, name: str, body: bytes, *, cache: bytes, gzipped: bytes | None = None) -> Asset:
        """An asset of a file's content.

        Args:
            name: the file's name; its suffix decides the media type.
            body: the content.
            cache: the Cache-Control header.
            gzipped: the content compressed beforehand, if it was.
        """
        suffix = PurePosixPath(name).suffix.lower()
        if gzipped is None and suffix not in _PACKED and len(body) >= GZIP_MINIMUM:
            gzipped = gzip.compress(body, 6, mtime=0)
        if gzipped is not None and len(gzipped) >= len(body):
            gzipped = None
        return cls(
            body=body,
            gzipped=gzipped,
            media_type=_TYPES.get(suffix, "application/octet-stream"),
            cache=cache,
            etag=b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"',
        )


class Assets:
    """The table of everything that is served, and the ASGI application that serves it.

    Args:
        runtime_dir: where the built browser runtime is (see :func:`find_runtime`).
        bundle: the app.

    Raises:
        AppLoadError: the runtime is not built, or not complete.
    """

    def __init__(self, *, runtime_dir: Path, bundle: Bundle) -> None:
        build = _read_build(runtime_dir)
        self.runtime_url = f"/ftweb/runtime/{build}/"
        self._table: dict[str, Asset] = {}
        for name, path in _runtime_files(runtime_dir):
            body = path.read_bytes()
            packed = path.with_name(path.name + ".gz")
            asset = Asset.of(
                name,
                body,
                cache=IMMUTABLE,
                gzipped=packed.read_bytes() if packed.is_file() else None,
            )
            self._table[self.runtime_url + name] = asset
            if name in ("client.js", "files.js", "flyweb.js"):
                self._table[f"/ftweb/{name}"] = Asset.of(
                    name, body, cache=REVALIDATE, gzipped=asset.gzipped
                )
        for name, text in hostpage.FILES.items():
            address = hostpage.PATH if name == "host.html" else f"/ftweb/{name}"
            self._table[address] = Asset.of(name, text.encode(), cache=REVALIDATE)
        bundle_path = f"/ftweb/bundle/{bundle.sha256}.zip"
        self._table[bundle_path] = Asset.of("app.zip", bundle.data, cache=IMMUTABLE)
        self._add_pages(bundle.pages)

    def _add_pages(self, pages: Mapping[str, bytes]) -> None:
        for name, body in pages.items():
            path = f"/{name}"
            if path == "/healthz" or path.startswith("/ftweb/"):
                raise AppLoadError(
                    f"pages/{name} would hide one of the runtime's own addresses; rename it."
                )
            asset = Asset.of(name, body, cache=REVALIDATE)
            self._table[path] = asset
            if path.endswith("/index.html"):
                self._table[path.removesuffix("index.html")] = asset
            elif path.endswith(".html"):
                self._table.setdefault(path.removesuffix(".html"), asset)

    def find(self, path: str) -> Asset | None:
        """The asset at a path of the address, exactly."""
        return self._table.get(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close"})  # no WebSocket here: answered 403
            return
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            await _plain(
                send, 405, "Only GET and HEAD are answered here.", (b"allow", b"GET, HEAD")
            )
            return
        asset = self.find(scope["path"])
        if asset is None:
            await _plain(send, 404, "There is nothing at this address.")
            return
        accepted, if_none_match = b"", b""
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                accepted = value
            elif name == b"if-none-match":
                if_none_match = value
        use_gzip = asset.gzipped is not None and accepts_gzip(accepted)
        body = asset.gzipped if use_gzip and asset.gzipped is not None else asset.body
        etag = asset.etag[:-1] + b'-gzip"' if use_gzip else asset.etag
        headers = [
            (b"cache-control", asset.cache),
            (b"etag", etag),
            (b"vary", b"accept-encoding"),
            (b"content-security-policy", policy(scope["path"], asset.media_type)),
        ]
        if _matches(if_none_match, etag):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        headers += [
            (b"content-type", asset.media_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        if use_gzip:
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if method == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        for start in range(0, len(body), PIECE_BYTES):
            await send(
                {
                    "type": "http.response.body",
                    "body": body[start : start + PIECE_BYTES],
                    "more_body": start + PIECE_BYTES < len(body),
                }
            )
        if not body:
            await send({"type": "http.response.body", "body": b""})


def policy(path: str, media_type: str) -> bytes:
    """The Content-Security-Policy of a response.

    WebSockets may go anywhere (``ws:``): to bridges that are not known yet when the page is
    loaded, under which it has to go on when its own is gone. Nothing can be fetched from elsewhere.
    A worker's script carries the worker's own policy; ``'wasm-unsafe-eval'`` lets Pyodide compile
    WebAssembly and nothing else.

    Args:
        path: the request's.
        media_type: of the response.
    """
    if media_type.startswith("text/html"):
        return (
            b"default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';"
            b" img-src 'self' data: blob:; connect-src 'self' ws:; worker-src 'self';"
            b" object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
        )
    if path.startswith("/ftweb/runtime/") and path.endswith("/files-worker.js"):
        # Chunks come from any bridge of the group, by plain HTTP and checked by their hashes.
        return (
            b"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' http:;"
            b" base-uri 'none'; frame-ancestors 'none'"
        )
    if media_type.startswith("text/javascript") and path.startswith("/ftweb/"):
        return (
            b"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws:;"
            b" worker-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    # An SVG or XML file opened by itself is a document that could run scripts.
    return b"default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"


def accepts_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, section 12.5.3)."""
    best: float | None = None
    for part in header.decode("latin-1").lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() not in ("gzip", "x-gzip", "*"):
            continue
        quality = 1.0
        name, _, value = parameters.strip().partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
        if coding.strip() != "*":
            return quality > 0
        best = quality
    return best is not None and best > 0


def _matches(if_none_match: bytes, etag: bytes) -> bool:
    candidates = (part.strip().removeprefix(b"W/") for part in if_none_match.split(b","))
    return any(candidate in (etag, b"*") for candidate in candidates if candidate)


async def _plain(send: Send, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    body = (text + "\n").encode()
    start: MutableMapping[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *more,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


# --- the built runtime ----------------------------------------------------------------------


def find_runtime() -> Path:
    """Where the built browser runtime is: in an installed package, else in the source tree.

    Raises:
        AppLoadError: ``app_missing``: in neither.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "_dist", package.parent / "static" / "dist"):
        if (candidate / "manifest.json").is_file():
            return candidate
    raise AppLoadError(
        "The browser runtime has not been built. Run `make setup` in the source tree, or install"
        " the ftweb wheel, which contains it.",
        code="app_missing",
    )


def _read_build(runtime_dir: Path) -> str:
    try:
        build = json.loads((runtime_dir / "manifest.json").read_bytes())["build"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AppLoadError(
            f"{runtime_dir / 'manifest.json'} is missing or damaged; run `make setup` again.",
            code="app_missing",
        ) from error
    if not isinstance(build, str) or not build.isalnum():
        raise AppLoadError(
            f"{runtime_dir / 'manifest.json'} names no build; run `make setup` again.",
            code="app_missing",
        )
    return build


def _runtime_files(runtime_dir: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(runtime_dir.rglob("*")):
        if path.is_file() and path.suffix != ".gz" and not path.name.startswith("."):
            yield path.relative_to(runtime_dir).as_posix(), path
