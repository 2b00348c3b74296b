"""HTTP routes that change the replicated state: committed, atomic, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ftweb import frames
from ftweb.app import Server, init_server
from ftweb.errors import FtwebError
from ftweb.limits import HTTP_WRITE_BYTES
from tests.bridge.conftest import Bridge, Tab, app_dir, bridge, config, eventually, runtime_dir

__all__ = ["app_dir", "bridge", "config", "runtime_dir"]


def make_server(runs: list[str] | None = None) -> Server:
    """An app with both: messages and HTTP, over one state.

    Args:
        runs: takes a word whenever a route has run.
    """
    server = init_server("counter", state={"count": 0, "seen": []})

    @server.on_receive
    def receive(message: Any) -> Any:
        with server.change() as state:
            state["count"] += message
        return server.get_state()["count"]

    async def count(request: Request) -> Response:
        return JSONResponse(server.get_state()["count"])

    async def add(request: Request) -> Response:
        if runs is not None:
            runs.append("add")
        body = await request.body()
        with server.change() as state:
            state["count"] += int(body)
            state["seen"].append(request.headers.get("x-name", ""))
        server.broadcast({"added": int(body)})
        return PlainTextResponse(str(server.get_state()["count"]), status_code=201)

    async def refuse(request: Request) -> Response:
        with server.change() as state:
            state["count"] = 1_000_000
        server.broadcast("never")
        return PlainTextResponse("no", status_code=409)

    async def fail(request: Request) -> Response:
        with server.change() as state:
            state["count"] = 1_000_000
        raise RuntimeError("on purpose")

    async def slow(request: Request) -> Response:
        await asyncio.sleep(30)
        return PlainTextResponse("never")

    async def size(request: Request) -> Response:
        total = 0
        async for piece in request.stream():
            total += len(piece)
        try:
            with server.change():
                pass
        except FtwebError as error:
            return PlainTextResponse(f"{total} {error.code}")
        return PlainTextResponse(f"{total} changed")

    async def big(request: Request) -> Response:
        return PlainTextResponse("x" * 100_000)

    server.mount(
        Starlette(
            routes=[
                Route("/count", count),
                Route("/count", add, methods=["POST"]),
                Route("/refuse", refuse, methods=["POST"]),
                Route("/fail", fail, methods=["POST"]),
                Route("/slow", slow, methods=["POST"]),
                Route("/size", size, methods=["GET", "PUT"]),
                Route("/big", big, methods=["POST"]),
            ]
        )
    )
    return server


@pytest.fixture
async def http(bridge: Bridge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        trust_env=False, base_url=f"http://127.0.0.1:{bridge.port}", timeout=20
    ) as client:
        yield client


@pytest.fixture
async def tab(bridge: Bridge) -> Tab:
    made = await bridge.tab(make_server())
    await made.hosts()
    return made


async def test_a_route_changes_the_state_for_all(
    bridge: Bridge, tab: Tab, http: httpx.AsyncClient
) -> None:
    page = await bridge.join()
    response = await http.post("/count", content="5", headers={"X-Name": "Zoe"})
    assert (response.status_code, response.text) == (201, "5")
    assert tab.driver.machine.state == {"count": 5, "seen": ["Zoe"]}
    await eventually(lambda: page.state() == {"count": 5, "seen": ["Zoe"]})
    assert (await page.request(2)).payload == 7
    assert (await http.get("/count")).json() == 7


async def test_many_at_once_are_done_one_after_the_other(tab: Tab, http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(http.post("/count", content="1") for _ in range(50)))
    assert sorted(int(answer.text) for answer in answers) == list(range(1, 51))


@pytest.mark.parametrize("path, status", [("/refuse", 409), ("/fail", 500)])
async def test_an_error_changes_nothing(
    bridge: Bridge, tab: Tab, http: httpx.AsyncClient, path: str, status: int
) -> None:
    page = await bridge.join()
    assert (await http.post(path)).status_code == status
    assert tab.driver.machine.state == {"count": 0, "seen": []}
    assert (await http.post("/count", content="1")).text == "1"
    told = await page.wait(frames.Message)
    assert told.payload == {"added": 1}


async def test_a_route_that_takes_too_long_is_answered_504(
    tab: Tab, http: httpx.AsyncClient
) -> None:
    response = await http.post("/slow")
    assert response.status_code == 504
    assert "handler_timeout" in response.text
    assert (await http.post("/count", content="1")).text == "1"


async def test_reads_and_large_bodies_cannot_change(tab: Tab, http: httpx.AsyncClient) -> None:
    assert (await http.get("/size")).text == "0 handler_failed"
    large = "x" * (HTTP_WRITE_BYTES + 1)
    assert (await http.put("/size", content=large)).text == f"{len(large)} handler_failed"
    assert (await http.put("/size", content=large[1:])).text == f"{len(large) - 1} changed"


async def test_a_key_runs_once(bridge: Bridge, http: httpx.AsyncClient) -> None:
    runs: list[str] = []
    tab = await bridge.tab(make_server(runs))
    await tab.hosts()
    keyed = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(http.post("/count", content="3", headers=keyed) for _ in range(5))
    )
    assert {(answer.status_code, answer.text) for answer in answers} == {(201, "3")}
    assert runs == ["add"]
    other = await http.post("/count", content="4", headers=keyed)
    assert other.status_code == 422
    again = await http.post("/count", content="3", headers={"Idempotency-Key": "two"})
    assert again.text == "6"


async def test_an_empty_key_is_none(tab: Tab, http: httpx.AsyncClient) -> None:
    for count in (1, 2):
        response = await http.post("/count", content="1", headers={"Idempotency-Key": ""})
        assert (response.status_code, response.text) == (201, str(count))
    assert tab.driver.machine.state["count"] == 2


async def test_the_next_host_knows_the_reply_of_a_key(
    bridge: Bridge, http: httpx.AsyncClient
) -> None:
    runs: list[str] = []
    first = await bridge.tab(make_server(runs))
    await first.hosts()
    second = await bridge.tab(make_server(runs))
    await eventually(lambda: second.driver.machine.applied_index > 0)
    keyed = {"Idempotency-Key": "one"}
    before = await http.post("/count", content="3", headers=keyed)
    await first.kill()
    await second.hosts()
    after = await http.post("/count", content="3", headers=keyed)
    assert (after.status_code, after.text) == (before.status_code, before.text) == (201, "3")
    assert runs == ["add"]
    assert (await http.get("/count")).json() == 3


async def test_a_response_too_large_to_keep_is_refused(tab: Tab, http: httpx.AsyncClient) -> None:
    assert len((await http.post("/big")).text) == 100_000
    kept = await http.post("/big", headers={"Idempotency-Key": "one"})
    assert kept.status_code == 500
    long = await http.post(
        "/big", content="x" * (HTTP_WRITE_BYTES + 1), headers={"Idempotency-Key": "two"}
    )
    assert long.status_code == 413
