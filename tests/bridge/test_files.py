"""Files over HTTP, by real sockets: upload, status, ranges, conditions, refusals, restarts."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftweb.bridge import file_requests
from ftweb.bridge import files as files_module
from ftweb.bridge.config import BridgeConfig
from ftweb.bridge.security import AllowedHosts
from ftweb.files import Manifest, describe

from .conftest import PATIENCE, Bridge

CONTENT = os.urandom(200_000)
MANIFEST = describe("Folien “2”.pdf", "application/pdf", [CONTENT], chunk_bytes=65536)


class Remote:
    """A bridge's files, as somebody who has joined uses them."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.base = f"http://127.0.0.1:{bridge.port}/ftweb/files"
        self.http = httpx.AsyncClient(trust_env=False, timeout=PATIENCE)
        self.token = {"authorization": f"Bearer {bridge.config.identity.join_token}"}

    async def put_manifest(self, manifest: Manifest = MANIFEST, **headers: str) -> httpx.Response:
        return await self.http.put(
            f"{self.base}/{manifest.id}",
            json=manifest.to_dict(),
            headers=headers or self.token,
        )

    async def put_chunk(
        self, index: int, data: bytes | None = None, manifest: Manifest = MANIFEST, **headers: str
    ) -> httpx.Response:
        start = index * manifest.chunk_bytes
        if data is None:
            data = CONTENT[start : start + manifest.chunk_bytes]
        return await self.http.put(
            f"{self.base}/{manifest.id}/chunks/{index}",
            content=data,
            headers=headers or self.token,
        )

    async def put_all(self) -> None:
        assert (await self.put_manifest()).status_code == 201
        for index in range(len(MANIFEST.chunks)):
            assert (await self.put_chunk(index)).status_code == 204

    async def get(self, path: str = "", method: str = "GET", **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, f"{self.base}/{MANIFEST.id}{path}", headers=sent)


@pytest.fixture
async def remote(bridge: Bridge) -> AsyncIterator[Remote]:
    made = Remote(bridge)
    yield made
    await made.http.aclose()


@pytest.fixture
async def full(remote: Remote) -> Remote:
    await remote.put_all()
    return remote


async def test_the_page_s_module_is_served(bridge: Bridge) -> None:
    found = await bridge.get("/ftweb/files.js")
    assert (found.status_code, found.headers["cache-control"]) == (200, "no-cache")


# --- uploads ------------------------------------------------------------------------------------


async def test_a_file_comes_in_chunks_in_any_order(remote: Remote) -> None:
    first = await remote.put_manifest()
    assert (first.status_code, first.json()["missing"]) == (201, [[0, 3]])
    assert (await remote.put_manifest()).status_code == 200
    for index in (3, 1):
        assert (await remote.put_chunk(index)).status_code == 204
    status = (await remote.get("/status")).json()
    assert status == {
        "id": MANIFEST.id,
        "size": 200_000,
        "chunks": 4,
        "missing": [[0, 0], [2, 2]],
        "complete": False,
        "browsers": 0,
    }
    whole = await remote.get()
    assert (whole.status_code, whole.text.split(":")[0]) == (404, "chunk_missing")
    assert (await remote.get(range="bytes=70000-80000")).content == CONTENT[70000:80001]
    assert (await remote.get(range="bytes=60000-80000")).status_code == 404
    for index in (0, 2):
        assert (await remote.put_chunk(index)).status_code == 204
    assert (await remote.put_chunk(2)).status_code == 204
    assert (await remote.get("/status")).json()["complete"]
    assert (await remote.get()).content == CONTENT
    assert (await remote.get("/manifest")).json() == MANIFEST.to_dict()


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", "Basic {token}", "{token}"])
async def test_without_a_token_nothing_is_taken(remote: Remote, token: str) -> None:
    given = token.format(token=remote.bridge.config.identity.join_token)
    refused = await remote.put_manifest(authorization=given)
    assert (refused.status_code, refused.text.split(":")[0]) == (401, "bad_token")
    assert refused.headers["www-authenticate"] == "Bearer"
    await remote.put_manifest()
    assert (await remote.put_chunk(0, authorization=given)).status_code == 401


async def test_a_page_of_another_origin_may_not_upload(remote: Remote) -> None:
    token = remote.token["authorization"]
    refused = await remote.put_manifest(authorization=token, origin="http://evil.example")
    assert (refused.status_code, refused.text.split(":")[0]) == (403, "bad_origin")


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b'{"name":1}', b"[" * 50_000, b"null"])
async def test_what_is_no_manifest(remote: Remote, body: bytes) -> None:
    refused = await remote.http.put(
        f"{remote.base}/{MANIFEST.id}", content=body, headers=remote.token
    )
    assert (refused.status_code, refused.text.split(":")[0]) == (422, "bad_manifest")


async def test_a_manifest_under_another_id(remote: Remote) -> None:
    refused = await remote.http.put(
        f"{remote.base}/{'0' * 64}", json=MANIFEST.to_dict(), headers=remote.token
    )
    assert refused.status_code == 422


async def test_a_manifest_that_is_too_large(remote: Remote) -> None:
    refused = await remote.http.put(
        f"{remote.base}/{MANIFEST.id}", content=b" " * 70_000, headers=remote.token
    )
    assert (refused.status_code, refused.text.split(":")[0]) == (413, "too_large")


@pytest.mark.parametrize("data", [b"", CONTENT[:65535], CONTENT[:65537], bytes(65536)])
async def test_what_is_not_the_chunk(remote: Remote, data: bytes) -> None:
    await remote.put_manifest()
    refused = await remote.put_chunk(0, data)
    assert (refused.status_code, refused.text.split(":")[0]) == (422, "bad_chunk")
    assert (await remote.get("/status")).json()["missing"] == [[0, 3]]


async def test_an_upload_that_breaks_off_leaves_nothing(remote: Remote) -> None:
    await remote.put_manifest()
    _, writer = await asyncio.open_connection("127.0.0.1", remote.bridge.port)
    head = (
        f"PUT /ftweb/files/{MANIFEST.id}/chunks/0 HTTP/1.1\r\nHost: localhost:{remote.bridge.port}"
        f"\r\nAuthorization: {remote.token['authorization']}\r\nContent-Length: 65536\r\n\r\n"
    )
    writer.write(head.encode() + CONTENT[:30000])
    incoming = remote.bridge.config.data_dir / "files" / "incoming"
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(os.listdir, incoming):  # noqa: ASYNC110 - a folder
            await asyncio.sleep(0.01)
        writer.close()
        while await asyncio.to_thread(os.listdir, incoming):  # noqa: ASYNC110 - a folder
            await asyncio.sleep(0.01)
    assert (await remote.put_chunk(0)).status_code == 204


async def test_an_upload_that_stalls_may_be_tried_again(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not called wrong: pages take that as final."""
    monkeypatch.setattr(file_requests, "HTTP_STALL_SECONDS", 0.1)
    await remote.put_manifest()
    reader, writer = await asyncio.open_connection("127.0.0.1", remote.bridge.port)
    head = (
        f"PUT /ftweb/files/{MANIFEST.id}/chunks/0 HTTP/1.1\r\nHost: localhost:{remote.bridge.port}"
        f"\r\nAuthorization: {remote.token['authorization']}\r\nContent-Length: 65536\r\n\r\n"
    )
    writer.write(head.encode() + CONTENT[:30000])
    async with asyncio.timeout(PATIENCE):
        said = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readline()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert body.startswith(b"upload_stalled: ")
    writer.close()
    assert (await remote.put_chunk(0)).status_code == 204


@pytest.mark.parametrize(
    "path", ["/chunks/4", "/chunks/-1", "/chunks/x", "/chunks/١", "/chunks/", "/x", "/chunks/0/0"]
)
async def test_no_such_address(full: Remote, path: str) -> None:
    assert (await full.get(path)).status_code == 404


@pytest.mark.parametrize("file_id", ["0" * 64, "", "%2e%2e", "..%2f..%2fidentity.json", "x" * 5000])
async def test_no_such_file(full: Remote, file_id: str) -> None:
    found = await full.http.get(f"{full.base}/{file_id}")
    assert (found.status_code, found.text.split(":")[0]) == (404, "unknown_file")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
async def test_other_methods(full: Remote, method: str) -> None:
    for path in ("", "/status", "/manifest", "/chunks/0"):
        refused = await full.get(path, method=method)
        assert refused.status_code == 405
        assert "GET" in refused.headers["allow"]


async def test_the_disk_is_full(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    await remote.put_manifest()
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    refused = await remote.put_chunk(0)
    assert (refused.status_code, refused.text.split(":")[0]) == (507, "files_full")


# --- downloads ----------------------------------------------------------------------------------


async def test_the_whole_with_its_headers(full: Remote) -> None:
    found = await full.get()
    assert (found.status_code, found.content) == (200, CONTENT)
    assert found.headers["etag"] == f'"{MANIFEST.id}"'
    assert found.headers["content-type"] == "application/pdf"
    assert found.headers["content-length"] == "200000"
    assert found.headers["accept-ranges"] == "bytes"
    assert "immutable" in found.headers["cache-control"]
    assert found.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''Folien%20%E2%80%9C2%E2%80%9D.pdf"
    )
    assert "sandbox" in found.headers["content-security-policy"]
    assert found.headers["x-content-type-options"] == "nosniff"
    head = await full.get(method="HEAD")
    assert (head.status_code, head.content) == (200, b"")
    ignored = {"date", "content-length"}
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in found.headers.items() if k not in ignored
    }
    assert head.headers["content-length"] == "200000"
    assert (await full.get("/as/anything.pdf")).content == CONTENT


@pytest.mark.parametrize("kind", ["text/html", "text/javascript", "text/css", "image/svg+xml"])
async def test_what_people_upload_never_runs(remote: Remote, kind: str) -> None:
    manifest = describe("x", kind, [b"<script>alert(1)</script>"], chunk_bytes=65536)
    await remote.put_manifest(manifest)
    await remote.put_chunk(0, b"<script>alert(1)</script>", manifest)
    found = await remote.http.get(f"{remote.base}/{manifest.id}")
    expected = kind if kind.startswith("image/") else "application/octet-stream"
    assert found.headers["content-type"] == expected
    assert found.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in found.headers["content-security-policy"]
    assert found.headers["x-content-type-options"] == "nosniff"


async def test_an_empty_file(remote: Remote) -> None:
    empty = describe("nothing", "text/plain", [], chunk_bytes=65536)
    assert (await remote.put_manifest(empty)).json()["complete"]
    found = await remote.http.get(f"{remote.base}/{empty.id}")
    assert (found.status_code, found.content) == (200, b"")
    refused = await remote.http.get(f"{remote.base}/{empty.id}", headers={"range": "bytes=0-"})
    assert (refused.status_code, refused.headers["content-range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    "wanted, first, last",
    [("0-0", 0, 0), ("65530-65540", 65530, 65540), ("1000-", 1000, 199999), ("-5", 199995, 199999)],
)
async def test_one_range(full: Remote, wanted: str, first: int, last: int) -> None:
    found = await full.get(range=f"bytes={wanted}")
    assert (found.status_code, found.content) == (206, CONTENT[first : last + 1])
    assert found.headers["content-range"] == f"bytes {first}-{last}/200000"
    assert found.headers["content-length"] == str(last + 1 - first)
    head = await full.get(method="HEAD", range=f"bytes={wanted}")
    assert (head.status_code, head.headers["content-range"]) == (
        206,
        found.headers["content-range"],
    )


async def test_several_ranges(full: Remote) -> None:
    found = await full.get(range="bytes=5-9,65530-65540,-3")
    assert found.status_code == 206
    assert "content-range" not in found.headers
    kind, _, boundary = found.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = found.content.split(b"\r\n--" + boundary.encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    got = [part.partition(b"\r\n\r\n") for part in parts[1:-1]]
    assert [body for _, _, body in got] == [CONTENT[5:10], CONTENT[65530:65541], CONTENT[-3:]]
    assert b"Content-Range: bytes 5-9/200000" in got[0][0]
    assert b"Content-Type: application/pdf" in got[0][0]
    assert len(found.content) == int(found.headers["content-length"])


async def test_ranges_that_are_refused(full: Remote) -> None:
    for wanted in ("200000-", "0-,0-,0-", ",".join(f"{n}-{n}" for n in range(9))):
        refused = await full.get(range=f"bytes={wanted}")
        assert (refused.status_code, refused.text.split(":")[0]) == (416, "bad_range")
        assert refused.headers["content-range"] == "bytes */200000"


async def test_conditions(full: Remote) -> None:
    etag = f'"{MANIFEST.id}"'
    same = await full.get(if_none_match=etag)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    other = await full.get(if_match='"other"', range="bytes=5-")
    assert (other.status_code, other.text.split(":")[0]) == (412, "file_replaced")
    assert (await full.get(if_range=etag, range="bytes=5-")).content == CONTENT[5:]
    assert (await full.get(if_range='"other"', range="bytes=5-")).content == CONTENT


async def test_a_chunk_and_the_rest_of_one(full: Remote) -> None:
    assert (await full.get("/chunks/1")).content == CONTENT[65536:131072]
    rest = await full.get("/chunks/3", range="bytes=100-")
    assert (rest.status_code, rest.content) == (206, CONTENT[3 * 65536 + 100 :])
    assert rest.headers["content-range"] == "bytes 100-3391/3392"


async def test_pages_of_our_own_origins_may_read(full: Remote) -> None:
    own = f"http://localhost:{full.bridge.port}"
    found = await full.get(origin=own)
    assert found.headers["access-control-allow-origin"] == own
    foreign = await full.get(origin="http://evil.example")
    assert "access-control-allow-origin" not in foreign.headers
    asked = await full.get(method="OPTIONS", origin=own, access_control_request_method="PUT")
    assert asked.status_code == 204
    assert "PUT" in asked.headers["access-control-allow-methods"]
    assert "authorization" in asked.headers["access-control-allow-headers"]
    refused = await full.get(method="OPTIONS", origin="http://evil.example")
    assert refused.status_code == 403


async def test_too_many_downloads_are_told_to_come_again(
    full: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "FILE_DOWNLOADS", 0)
    refused = await full.get()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.text.split(":")[0] == "too_many_connections"


async def test_curl_goes_on_from_where_it_was(full: Remote, tmp_path: Path) -> None:
    target = tmp_path / "got.pdf"
    target.write_bytes(CONTENT[:123_456])
    command = ["curl", "-sS", "--noproxy", "*", "-C", "-", "-o", str(target), "-w", "%{http_code}"]

    def run() -> str:
        command.append(f"{full.base}/{MANIFEST.id}")
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert await asyncio.to_thread(run) == "206"
    assert target.read_bytes() == CONTENT


async def test_after_a_restart_on_the_same_data(full: Remote, config: BridgeConfig) -> None:
    await full.bridge.end()
    spoiled = config.data_dir / "files" / "chunks" / MANIFEST.chunks[1][:2] / MANIFEST.chunks[1]
    await asyncio.to_thread(spoiled.write_bytes, bytes(65536))
    await full.bridge.start()
    full.base = f"http://127.0.0.1:{full.bridge.port}/ftweb/files"
    assert (await full.get(range="bytes=131072-")).content == CONTENT[131072:]
    assert (await full.get("/chunks/1")).status_code == 404, "found damaged when it was looked at"
    assert (await full.get("/status")).json()["missing"] == [[1, 1]]
    assert (await full.put_chunk(1)).status_code == 204
    assert (await full.get()).content == CONTENT


# --- a place in the state -----------------------------------------------------------------------


async def test_a_place_in_the_state(config: BridgeConfig) -> None:
    state: dict[str, Any] = {
        "files": {"f1": {"manifest": MANIFEST.to_dict(), "by": "x"}},
        "list": [0, MANIFEST.to_dict()],
    }
    files = files_module.Files(
        config.data_dir / "files",
        identity=config.identity,
        hosts=AllowedHosts(port=80),
        state=lambda: state,
    )
    token = {"authorization": f"Bearer {config.identity.join_token}"}
    base = "http://localhost/ftweb/files"

    async def put(manifest: Manifest, content: bytes) -> None:
        answer = await http.put(f"{base}/{manifest.id}", json=manifest.to_dict(), headers=token)
        assert answer.status_code == 201
        for index in range(len(manifest.chunks)):
            piece = content[index * 65536 : (index + 1) * 65536]
            url = f"{base}/{manifest.id}/chunks/{index}"
            assert (await http.put(url, content=piece, headers=token)).status_code == 204

    async def at(path: str, **headers: str) -> httpx.Response:
        return await http.get(f"{base}/at/{path}", headers={**token, **headers})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(files)) as http:
        await put(MANIFEST, CONTENT)
        found = await at("files/f1")
        assert (found.status_code, found.content) == (200, CONTENT)
        assert found.headers["cache-control"] == "no-cache"
        assert found.headers["content-location"] == f"/ftweb/files/{MANIFEST.id}"
        assert (await at("list/1")).content == CONTENT
        nowhere = ("", "files", "files/f2", "list/0", "list/7", "list/x", "files/f1/by/x")
        for nothing in (*nowhere, f"list/{'7' * 5000}"):
            assert (await at(nothing)).status_code == 404, nothing
        assert (await http.get(f"{base}/at/files/f1")).status_code == 401

        other = describe("x", "text/plain", [b"another"], chunk_bytes=65536)
        await put(other, b"another")
        state["files"]["f1"]["manifest"] = other.to_dict()
        etag = found.headers["etag"]
        again = await at("files/f1", **{"range": "bytes=3-", "if-range": etag})
        assert (again.status_code, again.content) == (200, b"another"), "begins anew"
        said = await at("files/f1", **{"range": "bytes=3-", "if-match": etag})
        assert (said.status_code, said.text.split(":")[0]) == (412, "file_replaced")


# --- who keeps what -----------------------------------------------------------------------------


async def test_a_tab_tells_what_it_holds_and_is_counted(config: BridgeConfig) -> None:
    files = files_module.Files(
        config.data_dir / "files",
        identity=config.identity,
        hosts=AllowedHosts(port=80),
        state=lambda: {"files": [MANIFEST.to_dict()]},
    )
    token = {"authorization": f"Bearer {config.identity.join_token}"}
    base = "http://localhost/ftweb/files"
    told = {"browser": "a" * 32, "tab": "b" * 32, "most": 0, "room": 0, "files": [MANIFEST.id]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(files)) as http:
        url = f"{base}/{MANIFEST.id}"
        assert (await http.put(url, json=MANIFEST.to_dict(), headers=token)).is_success
        assert (await http.put(f"{base}/kept", json=told)).status_code == 401
        wrongs: list[Any] = [{**told, "tab": ""}, []]
        for wrong in wrongs:
            refused = await http.put(f"{base}/kept", json=wrong, headers=token)
            assert (refused.status_code, refused.text.split(":")[0]) == (422, "bad_manifest")
        answer = await http.put(f"{base}/kept", json=told, headers=token)
        assert answer.json() == {"copy": None, "give": [MANIFEST.id], "named": [MANIFEST.id]}
        assert (await http.get(f"{url}/status")).json()["browsers"] == 1
        assert (await http.get(f"{base}/kept")).status_code == 404
