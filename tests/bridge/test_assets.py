"""The table of files and its headers. Over a real socket: test_server.py."""

from __future__ import annotations

import gzip
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from ftweb.bridge.assets import PIECE_BYTES, Assets, accepts_gzip, policy
from ftweb.bridge.bundle import make_bundle
from ftweb.errors import AppLoadError


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "pyodide").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"build": "abc123"}), encoding="utf-8")
    (folder / "client.js").write_text("export const x = 1;\n" * 100, encoding="utf-8")
    (folder / "net-worker.js").write_text("// worker", encoding="utf-8")
    wasm = folder / "pyodide" / "pyodide.asm.wasm"
    wasm.write_bytes(bytes(range(256)) * 1000)
    wasm.with_name(wasm.name + ".gz").write_bytes(gzip.compress(wasm.read_bytes(), 1, mtime=7))
    return folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "pages" / "help").mkdir(parents=True)
    (folder / "app.py").write_text("", encoding="utf-8")
    (folder / "pages" / "index.html").write_text("<!doctype html>" + "x" * 1000, encoding="utf-8")
    (folder / "pages" / "presenter.html").write_text("<!doctype html>", encoding="utf-8")
    (folder / "pages" / "help" / "index.html").write_text("help", encoding="utf-8")
    (folder / "pages" / "photo.png").write_bytes(b"\x89PNG" + bytes(2000))
    return folder


@pytest.fixture
def assets(runtime: Path, app: Path) -> Assets:
    return Assets(runtime_dir=runtime, bundle=make_bundle(app))


class Answer:
    """What came out of the ASGI application."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


async def get(assets: Assets, path: str, *, method: str = "GET", **headers: str) -> Answer:
    answer = Answer()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            names = [name.decode() for name, _ in message["headers"]]
            assert len(names) == len(set(names)), "a header was sent twice"
            answer.headers = {n.decode(): v.decode() for n, v in message["headers"]}
        else:
            answer.pieces.append(message["body"])

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"host", b"localhost:8765"))
    await assets({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    return answer


async def test_pages_are_found_by_their_usual_addresses(assets: Assets) -> None:
    assert (await get(assets, "/")).body.startswith(b"<!doctype html>x")
    assert (await get(assets, "/index.html")).status == 200
    assert (await get(assets, "/presenter.html")).status == 200
    assert (await get(assets, "/presenter")).headers["content-type"] == "text/html; charset=utf-8"
    assert (await get(assets, "/help/")).body == b"help"


@pytest.mark.parametrize(
    "path",
    [
        "/app.py",
        "/pages/index.html",
        "/../app.py",
        "/..%2fapp.py",
        "//index.html",
        "/./index.html",
        "/help/../index.html",
        "\\index.html",
        "/index.html\x00",
        "/index.html/",
        "",
        "/ftweb/runtime/abc123/../abc123/client.js",
        "/ftweb/runtime/other/client.js",
        "/ftweb/runtime/abc123/pyodide/pyodide.asm.wasm.gz",
        "/ftweb/bundle/0.zip",
        "/ftweb/",
        "/etc/passwd",
        "/\ud800",
    ],
)
async def test_nothing_else_is_served(assets: Assets, path: str) -> None:
    answer = await get(assets, path)
    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-store"


async def test_the_runtime_is_immutable_and_its_entry_is_revalidated(assets: Assets) -> None:
    assert assets.runtime_url == "/ftweb/runtime/abc123/"
    worker = await get(assets, "/ftweb/runtime/abc123/net-worker.js")
    assert worker.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert worker.headers["content-type"] == "text/javascript; charset=utf-8"
    for path in ("/ftweb/client.js", "/"):
        assert (await get(assets, path)).headers["cache-control"] == "no-cache"


async def test_the_bundle_has_its_hash_in_its_address(app: Path, assets: Assets) -> None:
    bundle = make_bundle(app)
    answer = await get(assets, f"/ftweb/bundle/{bundle.sha256}.zip")
    assert answer.body == bundle.data
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "application/zip"


async def test_unchanged_is_304_and_changed_is_not(assets: Assets) -> None:
    first = await get(assets, "/")
    etag = first.headers["etag"]
    assert not etag.startswith("W/")
    again = await get(assets, "/", if_none_match=f'"other", {etag}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == etag
    assert "content-security-policy" in again.headers
    assert (await get(assets, "/", if_none_match='"other"')).status == 200
    assert (await get(assets, "/", if_none_match="*")).status == 304


async def test_gzip_has_an_etag_of_its_own(assets: Assets) -> None:
    plain = await get(assets, "/")
    packed = await get(assets, "/", accept_encoding="gzip, deflate")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body)
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "accept-encoding"
    crossed = await get(assets, "/", if_none_match=packed.headers["etag"])
    assert crossed.status == 200


async def test_the_gz_file_beside_the_built_one_is_used(assets: Assets, runtime: Path) -> None:
    path = "/ftweb/runtime/abc123/pyodide/pyodide.asm.wasm"
    packed = await get(assets, path, accept_encoding="gzip")
    assert packed.body == (runtime / "pyodide" / "pyodide.asm.wasm.gz").read_bytes()
    assert packed.headers["content-type"] == "application/wasm"


async def test_never_brotli_and_never_what_was_not_asked_for(assets: Assets) -> None:
    for accepted in ("br", "br, zstd", "gzip;q=0", "identity", "deflate"):
        answer = await get(assets, "/", accept_encoding=accepted)
        assert "content-encoding" not in answer.headers, accepted
    assert (
        "content-encoding" not in (await get(assets, "/photo.png", accept_encoding="gzip")).headers
    )


@pytest.mark.parametrize(
    "header, accepted",
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"deflate, gzip;q=0.5", True),
        (b"*", True),
        (b"*;q=0", False),
        (b"gzip;q=0, *", False),
        (b"gzip;q=nonsense", False),
        (b"", False),
        (b"gzipped", False),
        (b"\xff\xfe", False),
    ],
)
def test_accept_encoding(header: bytes, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_large_files_go_out_in_pieces(assets: Assets) -> None:
    answer = await get(assets, "/ftweb/runtime/abc123/pyodide/pyodide.asm.wasm")
    assert max(map(len, answer.pieces)) <= PIECE_BYTES
    assert answer.body == bytes(range(256)) * 1000
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_head_and_other_methods(assets: Assets) -> None:
    head = await get(assets, "/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        answer = await get(assets, "/", method=method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"


async def test_every_page_has_a_policy_without_inline_or_foreign_code(assets: Assets) -> None:
    found = (await get(assets, "/")).headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in found.split(";"))
    assert directives["default-src"] == "'self'"
    assert directives["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert directives["connect-src"] == "'self' ws:"
    assert directives["frame-ancestors"] == "'none'"
    assert "unsafe-inline" not in found
    assert "unsafe-eval'" not in found.replace("wasm-unsafe-eval'", "")


def test_a_picture_opened_by_itself_can_run_nothing() -> None:
    found = policy("/photo.svg", "image/svg+xml")
    assert b"default-src 'none'" in found
    assert b"sandbox" in found


@pytest.mark.parametrize("manifest", [None, "", "{}", '{"build": ""}', '{"build": "../x"}', "[]"])
def test_a_runtime_that_is_not_built(runtime: Path, app: Path, manifest: str | None) -> None:
    path = runtime / "manifest.json"
    path.unlink()
    if manifest is not None:
        path.write_text(manifest, encoding="utf-8")
    with pytest.raises(AppLoadError, match="make setup"):
        Assets(runtime_dir=runtime, bundle=make_bundle(app))


@pytest.mark.parametrize("name", ["healthz", "ftweb/x.js"])
def test_pages_may_not_hide_the_runtimes_addresses(runtime: Path, app: Path, name: str) -> None:
    path = app / "pages" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x", encoding="utf-8")
    with pytest.raises(AppLoadError, match="rename"):
        Assets(runtime_dir=runtime, bundle=make_bundle(app))


def test_only_the_files_worker_may_fetch_from_other_bridges() -> None:
    kind = "text/javascript; charset=utf-8"
    worker = policy("/ftweb/runtime/abc/files-worker.js", kind)
    assert b"connect-src 'self' http:;" in worker
    assert b"'wasm-unsafe-eval'" in worker
    for path in ("/files-worker.js", "/ftweb/files.js", "/ftweb/runtime/abc/net-worker.js"):
        assert b"http:" not in policy(path, kind)
    assert b"http:" not in policy("/", "text/html; charset=utf-8")
