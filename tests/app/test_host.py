"""Running handlers on the leader."""

from __future__ import annotations

import asyncio
import copy
import logging
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftweb import Refusal
from ftweb.app import Changed, Replied, Sent, Server, init_server
from ftweb.app.host import ERROR_CHARS
from ftweb.app.sessions import ACKNOWLEDGED, EXPIRED, Sessions
from ftweb.errors import FtwebError
from ftweb.frames import Failure
from ftweb.limits import CHANGE_BYTES, COMMAND_BYTES, PAYLOAD_BYTES
from tests.app.rig import Rig, forward, server_of


def voting() -> Server:
    """The app of the README, more or less."""
    server = init_server("vote", state={"ballots": {}})

    @server.on_receive
    def receive(message: Any, source: Any) -> Any:
        with server.change() as state:
            state["ballots"][source.client_id] = message["choice"]
        server.broadcast({"voters": len(server.get_state()["ballots"])})
        server.send(source.client_id, "thanks")
        return {"accepted": True}

    return server


async def test_a_request_becomes_one_command_with_everything_it_did() -> None:
    rig = Rig(voting())
    session = await rig.open("ada")
    request = forward("ada", session=session, serial=1, payload={"choice": "B"})
    command = await rig.give(request)
    assert command == {
        "kind": "request",
        "client_id": "ada",
        "session": session,
        "serial": 1,
        "acknowledged": 0,
        "at": int(rig.time),
        "request": {"choice": "B"},
        "change": [{"op": "add", "path": "/ballots/ada", "value": "B"}],
        "outbox": [{"to": None, "payload": {"voters": 1}}, {"to": ["ada"], "payload": "thanks"}],
        "reply": {"accepted": True},
        "device_id": "device of ada",
    }
    assert rig.machine.state == {"ballots": {}}, "nothing is committed yet"
    assert rig.host.cached(request) is None
    effects = rig.commit()
    assert [type(effect) for effect in effects] == [Changed, Sent, Sent, Replied]
    assert rig.host.cached(request) == effects[-1]
    rig.host.assert_in_step()


async def test_requests_run_on_the_head_not_on_what_is_committed() -> None:
    server = init_server("count", state={"n": 0})

    @server.on_receive
    def receive(message: Any) -> int:
        with server.change() as state:
            state["n"] += 1
            count: int = state["n"]
        return count

    rig = Rig(server)
    session = await rig.open("ada")
    for serial in (1, 2, 3):
        command = await rig.give(forward("ada", session=session, serial=serial))
        assert command["reply"] == serial
    assert (rig.machine.state, rig.host.pending) == ({"n": 0}, 3)
    rig.commit(2)
    assert rig.machine.state == {"n": 2}
    rig.commit()
    rig.host.assert_in_step()


async def test_repeated_requests_need_no_entry_before_and_after_they_are_applied() -> None:
    rig = Rig(voting())
    assert await rig.give(forward("ada")) is not None
    assert await rig.give(forward("ada")) is None, "its opening is pending"
    rig.commit()
    assert await rig.give(forward("ada")) is None, "it has a session"
    opened = rig.host.cached(forward("ada"))
    assert opened is not None
    request = forward("ada", session=opened.session, serial=1, payload={"choice": "A"})
    assert await rig.give(request) is not None
    assert await rig.give(request) is None
    rig.commit()
    assert await rig.give(request) is None
    assert len(rig.log) == 3


async def test_expired_and_acknowledged_requests_are_answered_through_the_log_once() -> None:
    calls: list[Any] = []
    rig = Rig(server_of(calls.append))
    session = await rig.open("ada")
    await rig.ask("ada", session, 1)
    await rig.ask("ada", session, 2)
    calls.clear()
    for number, serial, error in ((session, 1, ACKNOWLEDGED), (session + 9, 3, EXPIRED)):
        request = forward("ada", session=number, serial=serial, payload="again")
        command = await rig.give(request)
        assert Failure(**command["error"]) == error
        assert await rig.give(request) is None
        replied = rig.commit()[-1]
        assert isinstance(replied, Replied)
        assert replied.error == error
    assert calls == []
    rig.host.assert_in_step()


async def test_a_guessed_number_of_a_session_that_is_not_committed_gets_nothing() -> None:
    rig = Rig(voting())
    await rig.give(forward("ada"))
    guess = max(rig.log) + 1
    request = forward("ada", session=guess, serial=1, payload={"choice": 1})
    assert await rig.give(request) is None
    assert await rig.give(forward("ada", session=0, serial=1)) is not None, "never a number"
    rig.commit()
    rig.host.assert_in_step()
    assert rig.machine.session_of("ada") is not None


async def test_a_session_evicted_and_opened_again_ahead_of_the_log_gets_its_own_number() -> None:
    rig = Rig(voting(), sessions=lambda: Sessions(most=1))
    for client in ("ada", "bo", "ada"):
        assert await rig.give(forward(client)) is not None
    rig.commit(2)
    first = min(index for index in rig.log if index > 1)
    command = await rig.give(forward("ada", session=first, serial=1, payload={"choice": 1}))
    assert Failure(**command["error"]) == EXPIRED
    rig.commit()
    rig.host.assert_in_step()
    opened = rig.machine.session_of("ada")
    assert opened is not None
    assert opened.session == first + 2


async def test_a_session_that_has_just_ended_is_not_served() -> None:
    calls: list[Any] = []
    rig = Rig(server_of(calls.append), sessions=lambda: Sessions(seconds=100))
    session = await rig.open("ada")
    rig.time += 100_001
    reply = await rig.ask("ada", session, 1)
    assert reply.error == EXPIRED
    assert calls == []
    rig.host.assert_in_step()


# --- what can go wrong ------------------------------------------------------------------------


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


def fails_with(error: BaseException) -> Any:
    def receive(message: Any) -> None:
        with server.change() as state:
            state["n"] = 1
            state["list"].clear()
        server.broadcast("never")
        raise error

    server = server_of(receive, {"n": 0, "list": [1]})
    return server


@pytest.mark.parametrize(
    "error, says",
    [
        (KeyError("choice"), "raised KeyError: 'choice'. Nothing was changed."),
        (ValueError(), "raised ValueError. Nothing"),
        (RecursionError("deep"), "RecursionError: deep"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "raised CancelledError"),
        (TimeoutError("mine"), "TimeoutError: mine"),
        (ValueError("half a \ud800"), "half a ?"),
        (UnprintableError(), "raised UnprintableError. Nothing"),
        (Refusal(5), "whose code is not a short text"),  # type: ignore[arg-type]
        (Refusal("x" * 65), "whose code is not a short text"),
        (Refusal("session_expired"), "own code 'session_expired'; choose another"),
        (Refusal(""), "whose code is not a short text"),
    ],
)
async def test_a_handler_that_raises_changes_nothing_and_is_named(
    error: BaseException, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(fails_with(error))
    session = await rig.open("ada")
    reply = await rig.ask("ada", session, 1, "q")
    assert reply.error is not None
    assert reply.error.code == "handler_failed"
    assert says in reply.error.message
    assert "receive" in reply.error.message
    assert rig.machine.state == {"n": 0, "list": [1]}
    assert rig.log[max(rig.log)]["request"] == "q"
    assert "change" not in rig.log[max(rig.log)]
    assert "outbox" not in rig.log[max(rig.log)]
    rig.host.assert_in_step()
    again = await rig.ask("ada", session, 1, "q")
    assert again == reply


async def test_the_traceback_is_logged_and_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    secret = "s" * (ERROR_CHARS + 100)
    rig = Rig(fails_with(RuntimeError(secret)))
    session = await rig.open("ada")
    with caplog.at_level(logging.ERROR):
        reply = await rig.ask("ada", session, 1)
    assert reply.error is not None
    assert len(reply.error.message) < ERROR_CHARS + 150
    assert __file__ not in reply.error.message
    assert __file__ in caplog.text
    assert secret in caplog.text


async def test_a_refusal_keeps_its_code_and_changes_nothing() -> None:
    rig = Rig(fails_with(Refusal("poll_closed", "The poll is closed.")))
    session = await rig.open("ada")
    reply = await rig.ask("ada", session, 1)
    assert reply.error == Failure(code="poll_closed", message="The poll is closed.")
    assert rig.machine.state == {"n": 0, "list": [1]}


async def test_a_broken_state_can_be_replaced_and_restored() -> None:
    def receive(message: Any) -> None:
        server.commit_state(message)
        if message == 0:
            raise Refusal("no")

    server = server_of(receive, {"n": 0})
    rig = Rig(server)
    session = await rig.open("ada")
    assert (await rig.ask("ada", session, 1, 0)).error is not None
    assert rig.machine.state == {"n": 0}
    rig.host.assert_in_step()
    assert (await rig.ask("ada", session, 2, [1])).error is None
    assert rig.machine.state == [1]
    rig.host.assert_in_step()


@pytest.mark.parametrize(
    "reply, says",
    [
        ({1, 2}, "a set is not JSON"),
        (float("nan"), "nan"),
        ({"x": "y" * PAYLOAD_BYTES}, "at most 65536"),
        (object(), "The reply of handler"),
    ],
)
async def test_a_reply_that_cannot_travel(reply: Any, says: str) -> None:
    def receive(message: Any) -> Any:
        with server.change() as state:
            state["n"] = 1
        return reply

    server = server_of(receive, {"n": 0})
    rig = Rig(server)
    answered = await rig.ask("ada", await rig.open("ada"), 1)
    assert answered.error is not None
    assert answered.error.code == "bad_reply"
    assert says in answered.error.message
    assert rig.machine.state == {"n": 0}
    rig.host.assert_in_step()


async def test_a_message_or_patch_that_cannot_be_has_its_own_code() -> None:
    def receive(message: Any) -> None:
        if message == "message":
            server.broadcast({1})
        server.commit_change([{"op": "remove", "path": "/none"}])

    server = server_of(receive, {})
    rig = Rig(server)
    session = await rig.open("ada")
    for serial, (message, code) in enumerate(
        (("message", "bad_reply"), ("patch", "bad_change")), 1
    ):
        reply = await rig.ask("ada", session, serial, message)
        assert reply.error is not None
        assert reply.error.code == code
        assert "receive" in reply.error.message


async def test_parts_of_the_state_can_be_replied_and_sent() -> None:
    def receive(message: Any) -> Any:
        with server.change() as state:
            state["list"].append(1)
            part = state["list"]
        server.broadcast({"list": part})
        return {"list": part, "first": part[0]}

    server = server_of(receive, {"list": [{"a": 1}]})
    rig = Rig(server)
    reply = await rig.ask("ada", await rig.open("ada"), 1)
    assert reply.payload == {"list": [{"a": 1}, 1], "first": {"a": 1}}


async def test_a_change_or_an_entry_that_is_too_large() -> None:
    def receive(message: Any) -> Any:
        if message == "change":
            with server.change() as state:
                state["a"] = "x" * CHANGE_BYTES
        else:
            with server.change() as state:
                state["a"] = "x" * (CHANGE_BYTES - 1000)
            server.broadcast("x" * (PAYLOAD_BYTES - 1000))
            return "x" * (PAYLOAD_BYTES - 1000)
        return None

    server = server_of(receive, {})
    rig = Rig(server)
    session = await rig.open("ada")
    for serial, message in enumerate(("change", "entry"), 1):
        reply = await rig.ask("ada", session, serial, message)
        assert reply.error is not None
        assert reply.error.code == "too_large"
        assert rig.machine.state == {}
    rig.host.assert_in_step()


async def test_a_request_that_no_honest_bridge_lets_through_is_refused_unseen() -> None:
    calls: list[Any] = []
    rig = Rig(server_of(calls.append))
    session = await rig.open("ada")
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    for serial, (payload, code) in enumerate(
        (("x" * PAYLOAD_BYTES, "too_large"), ("x" * COMMAND_BYTES, "too_large"), (deep, "too_deep"),
         (2**53, "bad_frame")), 1,
    ):  # fmt: skip
        reply = await rig.ask("ada", session, serial, payload)
        assert reply.error is not None
        assert reply.error.code == code
    assert calls == []


async def test_the_state_stays_within_its_limit() -> None:
    def receive(message: Any) -> None:
        with server.change() as state:
            state["list"].append(message)
            if message is None:
                state["list"].clear()

    server = server_of(receive, {"list": []})
    rig = Rig(server, state_bytes=1_000)
    session = await rig.open("ada")
    accepted = 0
    for serial in range(1, 20):
        reply = await rig.ask("ada", session, serial, "x" * 97)
        if reply.error is None:
            accepted += 1
        else:
            assert reply.error.code == "state_too_large"
        rig.host.assert_in_step()
    assert accepted == 9
    assert (await rig.ask("ada", session, 20, None)).error is None
    assert (await rig.ask("ada", session, 21, "x" * 97)).error is None
    rig.host.assert_in_step()


async def test_what_the_bridge_refuses_is_not_run() -> None:
    calls: list[Any] = []
    rig = Rig(server_of(calls.append))
    session = await rig.open("ada")
    failure = Failure(code="handler_timeout", message="It stopped two hosts.")
    await rig.give(forward("ada", session=session, serial=1, payload="bomb", refuse=failure))
    replied = rig.commit()[-1]
    assert isinstance(replied, Replied)
    assert (replied.error, calls) == (failure, [])
    long = Failure(code="c" * 9_999, message="m" * COMMAND_BYTES)
    await rig.give(forward("ada", session=session, serial=2, refuse=long))
    rig.commit()
    rig.host.assert_in_step()


async def test_an_app_without_handler_says_so() -> None:
    rig = Rig(init_server("empty"))
    reply = await rig.ask("ada", await rig.open("ada"), 1)
    assert reply.error is not None
    assert reply.error.code == "no_handler"


# --- asynchronous handlers ----------------------------------------------------------------------


async def test_async_handlers_run_one_at_a_time_in_order() -> None:
    running: list[Any] = []
    began, gate = asyncio.Event(), asyncio.Event()

    async def receive(message: Any) -> int:
        running.append(message)
        began.set()
        with server.change() as state:
            state["n"] += 1
            await gate.wait()
            count: int = state["n"]
        running.append(-message)
        return count

    server = server_of(receive, {"n": 0})
    rig = Rig(server)
    session = await rig.open("ada")
    tasks = [
        asyncio.create_task(rig.give(forward("ada", session=session, serial=n, payload=n)))
        for n in (1, 2, 3)
    ]
    await began.wait()
    gate.set()
    commands = await asyncio.gather(*tasks)
    assert running == [1, -1, 2, -2, 3, -3]
    assert [command["reply"] for command in commands] == [1, 2, 3]
    rig.commit()
    rig.host.assert_in_step()


async def test_an_async_handler_is_cut_off() -> None:
    async def receive(message: Any) -> None:
        with server.change() as state:
            state["n"] = 1
            await asyncio.Event().wait()

    server = server_of(receive, {"n": 0})
    rig = Rig(server, seconds=0.01)
    reply = await rig.ask("ada", await rig.open("ada"), 1)
    assert reply.error is not None
    assert reply.error.code == "handler_timeout"
    assert "receive" in reply.error.message
    assert rig.machine.state == {"n": 0}
    rig.host.assert_in_step()


async def test_a_host_that_is_stopped_leaves_nothing_behind() -> None:
    began, ends = asyncio.Event(), []

    async def receive(message: Any) -> None:
        with server.change() as state:
            state["n"] = 1
        began.set()
        await asyncio.Event().wait()

    server = server_of(receive, {"n": 0})
    rig = Rig(server, on_end=lambda: ends.append(1))
    session = await rig.open("ada")
    task = asyncio.create_task(rig.give(forward("ada", session=session, serial=1)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends == [1]
    rig.host.assert_in_step()


async def test_each_run_is_announced_and_its_end_too() -> None:
    events: list[Any] = []

    def receive(message: Any) -> None:
        events.append("runs")
        if message == "fail":
            sys.exit("enough")

    rig = Rig(
        server_of(receive),
        on_begin=lambda request: events.append((request.source.client_id, request.serial)),
        on_end=lambda: events.append("end"),
    )
    session = await rig.open("ada")
    await rig.ask("ada", session, 1)
    await rig.ask("ada", session, 2, "fail")
    await rig.ask("ada", session, 2, "fail")
    assert events == [("ada", 1), "runs", "end", ("ada", 2), "runs", "end"]


async def test_a_slow_handler_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(server_of(lambda message: None), seconds=0.0)
    session = await rig.open("ada")
    with caplog.at_level(logging.WARNING):
        assert (await rig.ask("ada", session, 1)).error is None
    assert "took" in caplog.text


async def test_a_handler_cannot_change_what_is_logged_as_the_request() -> None:
    def receive(message: Any) -> None:
        message["choice"] = "other"

    rig = Rig(server_of(receive))
    await rig.ask("ada", await rig.open("ada"), 1, {"choice": "mine"})
    assert rig.log[max(rig.log)]["request"] == {"choice": "mine"}


async def test_an_entry_of_somebody_else_is_noticed() -> None:
    rig = Rig(voting())
    await rig.give(forward("ada"))
    other = copy.deepcopy(rig.waiting[0])
    other["client_id"] = "bo"
    with pytest.raises(FtwebError) as caught:
        rig.host.applied(2, other)
    assert caught.value.code == "not_leader"
    with pytest.raises(FtwebError):
        Rig(voting()).host.applied(2, other)
    with pytest.raises(AssertionError):
        rig.host.assert_in_step()


# --- everything at once -------------------------------------------------------------------------

CLIENTS = st.sampled_from(["ada", "bo", "cy", "di"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), CLIENTS),
        st.tuples(st.just("new"), CLIENTS, st.integers(0, 9)),
        st.tuples(st.just("repeat"), CLIENTS, st.integers(0, 5)),
        st.tuples(st.just("acknowledge"), CLIENTS),
        st.tuples(st.just("commit"), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(0, 120_000)),
        st.tuples(st.just("take over"), st.booleans()),
    ),
    max_size=60,
)


class Client:
    """One that keeps to the protocol, on a network that repeats and reorders."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.session = 0
        self.serial = 0
        self.acknowledged = 0
        self.requests: dict[tuple[int, int], Any] = {}
        self.replies: dict[tuple[int, int], Replied] = {}


def counting() -> Server:
    """Counts how often each request takes effect; fails on some."""
    server = init_server("count", state={"runs": {}, "order": []})

    @server.on_receive
    def receive(message: Any, source: Any) -> Any:
        with server.change() as state:
            runs = state["runs"]
            runs[message["id"]] = runs.get(message["id"], 0) + 1
            state["order"].insert(0, message["id"])
            if len(state["order"]) > 5:
                state["order"].pop()
        server.broadcast(message["id"])
        if message["n"] == 0:
            raise Refusal("zero")
        if message["n"] == 1:
            return {1}
        return message["id"]

    return server


async def _play(events: Any, most: int) -> None:
    def limits() -> Sessions:
        return Sessions(most=most, seconds=100, chars=300)

    rig = Rig(counting(), sessions=limits)
    clients = {name: Client(name) for name in ("ada", "bo", "cy", "di")}
    released: list[tuple[str, int, int]] = []

    def commit(count: int | None) -> None:
        for effect in rig.commit(count):
            if isinstance(effect, Replied):
                client, key = clients[effect.client_id], (effect.session, effect.serial)
                if effect.error not in (EXPIRED, ACKNOWLEDGED):
                    first = client.replies.setdefault(key, effect)
                    assert effect == first, "the same request, another reply"
            elif isinstance(effect, Sent):
                released.append(effect.payload)
        for client in clients.values():
            opened = rig.machine.session_of(client.name)
            if opened and opened.session != client.session:
                client.session, client.serial, client.acknowledged = opened.session, 0, 0

    for event, *arguments in events:
        match event, arguments:
            case "open", [name]:
                await rig.give(forward(name))
            case "new", [name, n]:
                client = clients[name]
                client.serial += 1
                key = (client.session, client.serial)
                payload = {"id": f"{name}/{key[0]}/{key[1]}", "n": n}
                request = forward(
                    name, session=key[0], serial=key[1], acknowledged=client.acknowledged,
                    payload=payload,
                )  # fmt: skip
                client.requests[key] = request
                await rig.give(request)
            case "repeat", [name, back]:
                requests = list(clients[name].requests.values())
                if requests:
                    await rig.give(requests[-1 - back % len(requests)])
            case "acknowledge", [name]:
                client = clients[name]
                while (client.session, client.acknowledged + 1) in client.replies:
                    client.acknowledged += 1
            case "commit", [count]:
                commit(count)
            case "wait", [milliseconds]:
                rig.time += milliseconds
            case "take over", [by_snapshot]:
                rig.take_over(by_snapshot=by_snapshot)
    commit(None)
    rig.host.assert_in_step()
    runs = rig.machine.state["runs"]
    assert all(count == 1 for count in runs.values()), runs
    assert sorted(released) == sorted(runs), "messages are released once for each request that ran"
    answered = {
        reply.payload
        for client in clients.values()
        for reply in client.replies.values()
        if reply.error is None
    }
    assert answered == set(runs), "acknowledged is what ran, and the other way round"
    replica = rig.new_machine()
    for index, command in rig.log.items():
        replica.apply(index, command)
    assert replica.digest() == rig.machine.digest()


@settings(max_examples=200)
@given(EVENTS, st.integers(1, 4))
def test_exactly_once_whatever_is_repeated_reordered_lost_or_expired(
    events: Any, most: int
) -> None:
    asyncio.run(_play(events, most))
