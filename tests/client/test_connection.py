"""What a Python script sees of a server, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from ftweb import frames
from ftweb.client import Outcome, connect
from ftweb.errors import ConnectError, RequestError

Bridge = Any  # the fixture of conftest.py


async def test_who_we_are(bridge: Bridge) -> None:
    key = "ab" * 16
    presenting = connect(bridge.url, presenter_token="presenter-token", device_key=key)
    async with connect(bridge.url, device_key=key) as one, presenting as two:
        assert one.device_id == two.device_id
        assert one.client_id != two.client_id
        assert (one.presenter, two.presenter) == (False, True)
        assert (one.join_url, two.join_url) == ("", bridge.url)
        assert one.name == "vote"
        assert one.guid == "g" * 32


async def test_send_and_reply(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        assert await connection.send({"n": 1}) == {"n": 1}
        assert await asyncio.gather(*map(connection.send, range(20))) == list(range(20))
        assert not connection._replies, "nothing is kept of what is done"
    assert bridge.handled[1:] == list(range(20)), "in the order of the calls"


async def test_an_error_as_the_answer(bridge: Bridge) -> None:
    def refuse(client: str, payload: Any) -> Any:
        raise KeyError("poll_closed")

    bridge.handler = refuse
    async with connect(bridge.url) as connection:
        with pytest.raises(RequestError, match="Refused") as caught:
            await connection.send("vote")
        assert caught.value.code == "poll_closed"


async def test_what_cannot_be_sent(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        with pytest.raises(TypeError, match="JSON"):
            await connection.send(object())
        with pytest.raises(RequestError) as caught:
            await connection.send("x" * 70_000)
        assert caught.value.code == "too_large"
        deep: Any = []
        for _ in range(40):
            deep = [deep]
        with pytest.raises(RequestError) as caught:
            await connection.send(deep)
        assert caught.value.code == "too_deep"
        assert connection.status.pending == 0
        assert await connection.send("still fine") == "still fine"
    assert bridge.handled == ["still fine"]


async def test_what_is_sent_is_what_it_was_when_sent(bridge: Bridge) -> None:
    await bridge.set_host(None)
    async with connect(bridge.url) as connection:
        payload = {"choice": "A"}
        sending = asyncio.create_task(connection.send(payload))
        await asyncio.sleep(0)
        assert connection.status.pending == 1
        payload["choice"] = "B"
        await bridge.set_host("next")
        assert await sending == {"choice": "A"}


async def test_giving_up_waiting_does_not_take_the_request_back(bridge: Bridge) -> None:
    bridge.hold_replies = True
    async with connect(bridge.url) as connection:
        with pytest.raises(TimeoutError):
            await connection.send("once", timeout=0.2)
        assert connection.status.pending == 1
        bridge.hold_replies = False
        await bridge.set_host("next")
        await connection.wait_for_status(lambda status: status.host_id == "next", timeout=5)
        assert await connection.send("after") == "after"
        assert connection.status.pending == 0
    assert bridge.handled == ["once", "after"]


async def test_too_many_pending(bridge: Bridge) -> None:
    await bridge.set_host(None)
    async with connect(bridge.url) as connection:
        tasks = [asyncio.create_task(connection.send(n)) for n in range(64)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as caught:
            await connection.send("one more")
        assert caught.value.code == "too_many_pending"
        await bridge.set_host("next")
        assert await asyncio.gather(*tasks) == list(range(64))


async def test_messages_by_iteration_and_by_handler(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        for index in (1, 2):
            await bridge.say(frames.Message(index=index, position=0, payload=index))
        seen = []
        async for payload in connection:
            seen.append(payload)
            if len(seen) == 2:
                break
        assert seen == [1, 2]

        heard: list[Any] = []
        end = connection.on_receive(heard.append)
        await bridge.say(frames.Message(index=3, position=0, payload=3))
        await connection.send("a round trip")
        end()
        end()
        await bridge.say(frames.Message(index=4, position=0, payload=4))
        assert await anext(connection) == 4
        assert heard == [3]


async def test_a_waiting_iteration_ends_with_the_connection(bridge: Bridge) -> None:
    async def listen() -> list[Any]:
        return [payload async for payload in connection]

    async with connect(bridge.url) as connection:
        listening = asyncio.create_task(listen())
        await bridge.say(frames.Message(index=3, position=0, payload="only"))
        await connection.send("a round trip")
    assert await listening == ["only"]


async def test_live_state(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        assert await connection.wait_for(lambda state: True) == {"count": 0}
        first = connection.state
        values: list[Any] = []
        end = connection.on_state(values.append)
        assert values == [{"count": 0}], "at once"
        waiting = asyncio.create_task(
            connection.wait_for(lambda state: state["count"] == 1, timeout=5)
        )
        await asyncio.sleep(0)
        for count in (1, 2):
            patch = [{"op": "replace", "path": "/count", "value": count}]
            await bridge.set_state(patch, {"count": count})
        assert await waiting == {"count": 1}, "also a state that soon passed"
        await connection.wait_for(lambda state: state["count"] == 2, timeout=5)
        end()
        assert values == [{"count": 0}, {"count": 1}, {"count": 2}]
        assert first == {"count": 0}, "a value once handed out does not change"


async def test_a_change_that_does_not_fit_is_healed(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        await connection.wait_for(lambda state: True)
        bridge.index += 10
        await bridge.set_state([{"op": "remove", "path": "/nothing"}], {"count": 9})
        assert await connection.wait_for(lambda state: state["count"] == 9, timeout=5)


async def test_waiting_in_vain(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        with pytest.raises(TimeoutError):
            await connection.wait_for(lambda state: False, timeout=0.05)
        with pytest.raises(ZeroDivisionError):
            await connection.wait_for(lambda state: 1 / 0)
        forever = asyncio.create_task(connection.wait_for(lambda state: False))
        await asyncio.sleep(0)
    with pytest.raises(ConnectError) as caught:
        await forever
    assert caught.value.code == "closed"


async def test_status_says_whether_it_is_me_or_the_host(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        status = await connection.wait_for_status(lambda s: s.state == "connected", timeout=5)
        assert (status.host_id, status.term, status.participants) == ("host", 1, 1)
        assert status.client_id == connection.client_id
        assert status.bridge == f"http://127.0.0.1:{bridge.port}"
        states: list[str] = []
        connection.on_status(lambda status: states.append(status.state))
        await bridge.set_host(None)
        await connection.wait_for_status(lambda s: s.state == "taking-over", timeout=5)
        await bridge.set_host("next")
        await connection.wait_for_status(lambda s: s.host_id == "next", timeout=5)
        no_quorum = frames.Status(
            epoch=1, term=9, host="next", successors=["next"], quorum=False, participants=1
        )
        await bridge.say(no_quorum)
        status = await connection.wait_for_status(lambda s: s.state == "no-quorum", timeout=5)
        assert status.successors == ("next",)
        bridge.drop_all()
        await connection.wait_for_status(lambda s: s.state == "offline", timeout=5)
        await connection.wait_for_status(lambda s: s.state == "connected", timeout=10)
        assert states[:5] == ["connected", "taking-over", "connected", "no-quorum", "offline"]


async def test_a_handler_that_raises_harms_nobody_else(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(bridge.url) as connection:
        seen: list[Any] = []
        connection.on_receive(lambda payload: 1 / 0)
        connection.on_receive(seen.append)
        with caplog.at_level(logging.ERROR, logger="ftweb.client"):
            await bridge.say(frames.Message(index=3, position=0, payload="x"))
            assert await connection.send("still here") == "still here"
        assert seen == ["x"]
        assert "ZeroDivisionError" in caplog.text


async def test_an_expired_session(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        assert await connection.send("before") == "before"
        bridge.expire_sessions()
        with pytest.raises(RequestError) as caught:
            await connection.send("lost")
        assert caught.value.code == "session_expired"
        assert await connection.send("after") == "after"
    assert bridge.handled == ["before", "after"]


async def test_a_changed_outcome_is_told(bridge: Bridge) -> None:
    async with connect(bridge.url) as connection:
        told: list[Outcome] = []
        end = connection.on_outcome(told.append)
        connection.take(frames.Reply(serial=1, payload="unknown", provisional=True))
        connection.session.request("mine", 0.0)
        connection.take(frames.Reply(serial=1, payload="yes", provisional=True))
        connection.take(frames.Outcome(index=5, serial=1, payload="no"))
        assert [(one.request, one.reply, one.previous_reply) for one in told] == [
            ("mine", "no", "yes")
        ]
        end()
