"""What app authors use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ftweb.app import Server, Source, init_server
from ftweb.app.server import check_name, handler_name
from ftweb.app.transaction import CURRENT, Transaction
from ftweb.errors import FtwebError, LimitError
from ftweb.limits import CHANGE_BYTES
from tests.app.rig import Rig, forward, server_of

ADA = Source(client_id="ada", device_id="phone", presenter=True)


@pytest.mark.parametrize(
    "name", ["v", "classroom-vote", "Ms. Bell's class · 5b", "x" * 63, "é" * 31, "投票"]
)
def test_names_that_can_be_published(name: str) -> None:
    assert init_server(name).name == name


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 64, "é" * 32, " a", "a ", "a\nb", "a\x00", "\u2028", "\ud800"]
)
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        init_server(name)


def test_names_are_normalised_texts() -> None:
    assert check_name("e\u0301") == "é"
    with pytest.raises(TypeError):
        check_name(5)


def test_options() -> None:
    server = init_server("a", on_quorum_loss="continue")
    assert (server.on_quorum_loss, server.replication, server.ack) == (
        "continue", "passive", "quorum",
    )  # fmt: skip
    assert init_server("a").on_quorum_loss == "wait"
    for option, value, supported in (
        ("replication", "active", "'passive'"),
        ("ack", "leader", "'quorum'"),
        ("on_quorum_loss", "panic", "'wait' or 'continue'"),
    ):
        with pytest.raises(ValueError, match=f"{option}='{value}' is not supported.*{supported}"):
            init_server("a", **{option: value})  # type: ignore[arg-type]


def test_the_initial_state_is_checked_and_copied() -> None:
    assert init_server("a").initial_state == {}
    assert init_server("a", state=0).initial_state == 0
    state: dict[str, Any] = {"list": (1,)}
    server = init_server("a", state=state)
    state["list"] = ()
    server.initial_state["list"].append(2)
    server.get_state()["list"].append(2)
    assert server.initial_state == server.get_state() == {"list": [1]}
    with pytest.raises(TypeError, match="The initial state, at a: a set"):
        init_server("a", state={"a": {1}})
    with pytest.raises(LimitError):
        init_server("a", state="x" * CHANGE_BYTES)


def test_handlers_take_the_message_and_if_they_like_the_source() -> None:
    def both(message: Any, source: Source) -> Any:
        return message, source

    def one(message: Any) -> Any:
        return message

    def optional(message: Any, source: Any = None) -> Any:
        return message, source

    def many(*args: Any) -> Any:
        return args

    class Callable:
        def __call__(self, message: Any) -> Any:
            return message

    for handler, result in (
        (both, (1, ADA)),
        (one, 1),
        (optional, (1, ADA)),
        (many, (1, ADA)),
        (lambda message: message, 1),
        (Callable(), 1),
    ):
        server = init_server("a")
        assert server.on_receive(handler) is handler
        assert server.call(1, ADA) == result
    assert handler_name(both).endswith("both")
    assert handler_name(Callable()).endswith("Callable")


def test_handlers_that_cannot_be_called_are_refused_at_once() -> None:
    def none() -> None: ...

    def three(a: Any, b: Any, c: Any) -> None: ...

    def keyword(message: Any, *, source: Any) -> None: ...

    for handler in (none, three, keyword):
        with pytest.raises(TypeError, match=r"must take \(message\) or \(message, source\)"):
            init_server("a").on_receive(handler)
    with pytest.raises(TypeError, match="without brackets"):
        init_server("a").on_receive("receive")  # type: ignore[type-var]


def test_there_is_one_handler() -> None:
    server = server_of(lambda message: message)
    with pytest.raises(ValueError, match="has a handler already"):
        server.on_receive(lambda message: message)


def every_write(server: Server) -> list[Any]:
    return [
        lambda: server.change().__enter__(),
        lambda: server.commit_change([]),
        lambda: server.commit_state({}),
        lambda: server.send("ada", 1),
        lambda: server.broadcast(1),
    ]


def test_outside_a_handler_nothing_can_be_written() -> None:
    server = init_server("a", state={"n": 1})
    for write in every_write(server):
        with pytest.raises(FtwebError, match="only while the handler of server 'a' is running"):
            write()


def test_another_servers_handler_does_not_count() -> None:
    server, other = init_server("a", state={"n": 1}), init_server("b")
    transaction = Transaction({"n": 2})
    token = CURRENT.set((other, transaction))
    try:
        assert server.get_state() == {"n": 1}
        for write in every_write(server):
            with pytest.raises(FtwebError):
                write()
        other.broadcast(1)
    finally:
        CURRENT.reset(token)
    assert len(transaction.outbox) == 1


async def test_get_state_is_the_requests_own_view_within_and_the_committed_one_outside() -> None:
    seen: list[Any] = []

    def receive(message: Any) -> None:
        with server.change() as state:
            state["n"] += 1
        seen.append(server.get_state())
        server.commit_change([{"op": "add", "path": "/m", "value": 0}])
        seen.append(server.get_state())
        seen[-1]["n"] = 99
        server.commit_state({"n": 5})

    server = server_of(receive, {"n": 0})
    rig = Rig(server)
    session = await rig.open("ada")
    await rig.give(forward("ada", session=session, serial=1))
    assert seen[0] == {"n": 1}
    assert seen[1].keys() == {"n", "m"}
    assert server.get_state() == {"n": 0}, "not committed yet"
    rig.commit()
    assert server.get_state() == {"n": 5}


async def test_a_task_left_behind_cannot_write_into_the_next_request() -> None:
    errors: list[FtwebError] = []
    tasks: list[asyncio.Task[None]] = []
    done = asyncio.Event()

    async def late() -> None:
        await done.wait()
        try:
            server.broadcast("late")
        except FtwebError as error:
            errors.append(error)

    async def receive(message: Any) -> None:
        if message == "leave":
            tasks.append(asyncio.create_task(late()))
        else:
            done.set()
            await tasks[0]

    server = server_of(receive)
    rig = Rig(server)
    session = await rig.open("ada")
    await rig.ask("ada", session, 1, "leave")
    reply = await rig.ask("ada", session, 2, "next")
    assert reply.error is None
    assert len(errors) == 1
    assert rig.log[max(rig.log)].get("outbox", []) == []


def test_send_needs_a_client() -> None:
    with pytest.raises(TypeError, match="broadcast"):
        init_server("a").send(None, 1)  # type: ignore[arg-type]
