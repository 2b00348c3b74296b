"""Opening, keeping, replacing and ending the socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from ftweb import codec, frames
from ftweb.client import connect
from ftweb.client.address import Target
from ftweb.client.keeper import Keeper
from ftweb.errors import ConnectError, RequestError

Bridge = Any  # the fixture of conftest.py


# --- entering -----------------------------------------------------------------------------


async def test_nobody_listens(free_port: Callable[[], int]) -> None:
    started = time.monotonic()
    with pytest.raises(ConnectError, match="answers") as caught:
        async with connect(f"http://127.0.0.1:{free_port()}/#join=T"):
            pytest.fail("entered")
    assert caught.value.code == "connect_failed"
    assert time.monotonic() - started < 5, "not tried again"


async def test_a_wrong_token(bridge: Bridge) -> None:
    with pytest.raises(ConnectError) as caught:
        async with connect(bridge.url, token="wrong"):
            pytest.fail("entered")
    assert caught.value.code == "bad_token"
    assert bridge.connections == 1


@pytest.mark.parametrize("code", ["version_mismatch", "too_many_connections"])
async def test_refused_by_the_bridge(bridge: Bridge, code: str) -> None:
    bridge.refuse = frames.Error(code=code, message="No.")
    with pytest.raises(ConnectError) as caught:
        async with connect(bridge.url):
            pytest.fail("entered")
    assert caught.value.code == code


@pytest.mark.parametrize("status,code", [(421, "bad_host"), (403, "bad_origin"), (404, None)])
async def test_refused_at_the_handshake(bridge: Bridge, status: int, code: str | None) -> None:
    bridge.http_status = status
    with pytest.raises(ConnectError) as caught:
        async with connect(bridge.url):
            pytest.fail("entered")
    assert caught.value.code == (code or "connect_failed")


async def test_a_bridge_that_says_nothing(bridge: Bridge) -> None:
    bridge.silent = True
    with pytest.raises(ConnectError, match="did not answer within"):
        async with connect(bridge.url, open_timeout=0.2):
            pytest.fail("entered")


async def test_something_that_is_no_bridge(bridge: Bridge) -> None:
    async def babble(socket: Any, hello: frames.Hello) -> None:
        await socket.send("[]")

    bridge._join = babble
    with pytest.raises(ConnectError) as caught:
        async with connect(bridge.url):
            pytest.fail("entered")
    assert caught.value.code == "connect_failed"
    assert "protocol" in caught.value.message


def test_a_wrong_device_key() -> None:
    for key in ("", "AB" * 16, "ab" * 15):
        with pytest.raises(ValueError, match="32 hex digits"):
            connect("http://127.0.0.1:1/#join=T", device_key=key)


# --- staying --------------------------------------------------------------------------------


async def test_requests_outlive_the_socket(bridge: Bridge) -> None:
    bridge.hold_replies = True
    async with connect(bridge.url) as connection:
        sending = asyncio.create_task(connection.send("once"))
        await bridge.until(lambda: bridge.handled)
        bridge.hold_replies = False
        bridge.drop_all()
        assert await sending == "once"
        client_id = connection.client_id
        assert await connection.send("again") == "again"
        assert connection.client_id == client_id
    assert bridge.handled == ["once", "again"], "run once, answered from the cache"
    assert bridge.connections == 2


async def test_requests_outlive_the_bridge(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        await connection.wait_for(lambda state: True)
        await bridge.stop()
        await connection.wait_for_status(lambda status: status.state == "offline", timeout=5)
        sending = asyncio.create_task(connection.send("kept"))
        await bridge.start()
        assert await sending == "kept"
        last = [frame for frame in bridge.heard if isinstance(frame, frames.Hello)][-1]
        assert last.state_index > 0, "tells what it holds"


async def test_a_bridge_that_falls_silent_is_replaced(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        assert await connection.send("a") == "a"
        bridge.silent = True
        await connection.wait_for_status(lambda status: status.state == "offline", timeout=10)
        bridge.silent = False
        assert await connection.send("b", timeout=10) == "b"


async def test_a_refusal_that_may_pass_is_waited_out(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        await connection.send("a")
        bridge.refuse = frames.Error(code="rate_limited", message="Too fast.")
        bridge.drop_all()
        await bridge.until(lambda: bridge.connections >= 3)
        bridge.refuse = None
        assert await connection.send("b", timeout=10) == "b"


async def test_a_request_that_the_bridge_cannot_read_does_not_end_the_connection(
    bridge: Bridge,
) -> None:
    answer = bridge._answer

    async def choke(socket: Any, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Request) and frame.payload == "poison":
            error = frames.Error(code="too_deep", message="Nested too deep.")
            await socket.send(codec.encode(error))
            await socket.close(4400)
        else:
            await answer(socket, frame)

    bridge._answer = choke
    async with connect(bridge.url) as connection:
        with pytest.raises(RequestError) as caught:
            await connection.send("poison", timeout=10)
        assert caught.value.code == "too_deep"
        assert await connection.send("fine", timeout=10) == "fine"
    assert bridge.connections == 3


async def test_another_server_at_the_same_address(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        await connection.wait_for(lambda state: state["count"] == 0, timeout=5)
        assert await connection.send("a") == "a"
        await bridge.stop()
        await connection.wait_for_status(lambda status: status.state == "offline", timeout=5)
        bridge.guid, bridge.index, bridge.state = "h" * 32, 2, {"count": "another"}
        bridge.expire_sessions()
        await bridge.start()
        await connection.wait_for(lambda state: state["count"] == "another", timeout=10)
        assert connection.guid == "h" * 32
        assert await connection.send("b", timeout=10) == "b"


async def test_a_name_is_looked_up_and_looked_up_again(bridge: Bridge) -> None:
    looked_up: list[str] = []

    async def find(name: str) -> str:
        looked_up.append(name)
        return f"ws://127.0.0.1:{bridge.port}/ftweb/socket"

    target = Target(name="vote", token="join-token")
    keeper = Keeper(target, device_key="0" * 32, open_timeout=5, find=find)
    async with keeper as connection:
        assert looked_up == ["vote"]
        await bridge.stop()
        await connection.wait_for_status(lambda status: status.state == "offline", timeout=5)
        bridge.port = 0  # the name moves to another bridge
        await bridge.start()
        assert await connection.send("found", timeout=20) == "found"
        assert len(looked_up) >= 2


async def test_a_name_that_nobody_has() -> None:
    async def find(name: str) -> str:
        raise ConnectError("nobody", code="server_not_found")

    target = Target(name="vote", token="T")
    with pytest.raises(ConnectError) as caught:
        async with Keeper(target, device_key="0" * 32, open_timeout=5, find=find):
            pytest.fail("entered")
    assert caught.value.code == "server_not_found"


# --- leaving --------------------------------------------------------------------------------


async def test_leaving_says_bye(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        await connection.send("a")
    await bridge.until(lambda: not bridge.sockets)
    assert bridge.heard[-1] == frames.Bye()


async def test_leaving_ends_what_still_waits(bridge: Bridge) -> None:
    bridge.hold_replies = True
    async with connect(bridge.url) as connection:
        sending = asyncio.create_task(connection.send("a"))
        await bridge.until(lambda: bridge.handled)
    with pytest.raises(RequestError) as caught:
        await sending
    assert caught.value.code == "closed"
    with pytest.raises(ConnectError):
        await connection.send("too late")


async def test_what_the_body_raises_comes_out_as_it_is(bridge: Bridge) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(bridge.url):
            _ = 1 / 0


async def test_cancelling_is_clean(bridge: Bridge) -> None:
    entered = asyncio.Event()

    async def script() -> None:
        async with connect(bridge.url) as connection:
            entered.set()
            await connection.wait_for(lambda state: False)

    task = asyncio.create_task(script())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bridge.until(lambda: not bridge.sockets)


async def test_cancelling_while_entering_is_clean(bridge: Bridge) -> None:
    bridge.silent = True

    async def script() -> None:
        async with connect(bridge.url):
            pytest.fail("entered")

    task = asyncio.create_task(script())
    await bridge.until(lambda: bridge.heard)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_final_error_ends_the_block_wherever_it_waits(bridge: Bridge) -> None:
    connection: Any = None

    async def script() -> None:
        nonlocal connection
        async with connect(bridge.url) as connection:
            bridge.refuse = frames.Error(code="bad_token", message="Another server now.")
            bridge.drop_all()
            await asyncio.wait_for(asyncio.Event().wait(), 10)

    with pytest.raises(ConnectError) as caught:
        await script()
    assert caught.value.code == "bad_token"
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    with pytest.raises(ConnectError):
        await connection.send("x")
    with pytest.raises(ConnectError):
        await anext(connection)


async def test_a_final_error_reaches_other_tasks(bridge: Bridge) -> None:
    sending: asyncio.Future[Any] = asyncio.Future()
    waiting: asyncio.Future[Any] = asyncio.Future()

    async def script() -> None:
        nonlocal sending, waiting
        async with connect(bridge.url) as connection:
            sending = asyncio.create_task(connection.send("a"))
            waiting = asyncio.create_task(connection.wait_for(lambda state: False))
            await bridge.until(lambda: bridge.handled)
            bridge.refuse = frames.Error(code="version_mismatch", message="Reload.")
            bridge.drop_all()
            await asyncio.wait_for(asyncio.Event().wait(), 10)

    bridge.hold_replies = True
    with pytest.raises(ConnectError):
        await script()
    with pytest.raises(RequestError) as request_error:
        await sending
    assert request_error.value.code == "closed"
    with pytest.raises(ConnectError) as connect_error:
        await waiting
    assert connect_error.value.code == "version_mismatch"


async def test_many_clients_in_one_process(bridge: Bridge) -> None:
    async def vote(number: int) -> Any:
        async with connect(bridge.url) as connection:
            return await connection.send(number, timeout=30)

    assert sorted(await asyncio.gather(*map(vote, range(100)))) == list(range(100))
    assert sorted(bridge.handled) == list(range(100))
