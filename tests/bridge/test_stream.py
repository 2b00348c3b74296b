"""What clients get from the bridge's replica."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any

import jsonpatch
import msgspec
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from ftweb import codec, frames
from ftweb.app import Machine, Sent
from ftweb.limits import (
    CHANGES_PER_SECOND,
    HOSTLESS_SECONDS,
    SLOW_READER_BYTES,
    STATE_BYTES,
    STATUS_PER_SECOND,
    STREAM_BYTES,
)
from ftweb.relay import stream as module
from ftweb.relay.connection import Connection, Registry
from ftweb.relay.wire import Prepared, Wire

from .conftest import PATIENCE, Bridge, Tab, eventually


async def test_a_late_joiner_gets_the_state_and_then_changes(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    early = await bridge.join()
    await early.request({"add": 3})
    late = await bridge.join()
    assert (await late.wait(frames.State)).value["count"] == 3
    await early.request({"add": 4})
    await eventually(lambda: early.state()["count"] == late.state()["count"] == 7)
    assert len(late.of(frames.State)) == 1


async def test_changes_are_coalesced_and_nothing_is_left_out(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    watcher = await bridge.join()
    sender = await bridge.join()
    await sender.open_session()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(60):
        sender.send({"add": 1})
        await asyncio.sleep(0.005)
    await eventually(lambda: watcher.state()["count"] == 60)
    took = loop.time() - begun
    changes = len(watcher.of(frames.Change))
    assert 0 < changes <= took * CHANGES_PER_SECOND + 2


async def test_many_clients_share_what_the_air_can_carry(
    hosted: tuple[Bridge, Tab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGES_IN_ALL_PER_SECOND", 20)
    bridge, _ = hosted
    watchers = [await bridge.join() for _ in range(8)]
    sender = await bridge.join()
    await sender.open_session()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(100):
        sender.send({"add": 1})
        await asyncio.sleep(0.01)
    await eventually(lambda: all(one.state()["count"] == 100 for one in watchers))
    took = loop.time() - begun
    for watcher in watchers:  # ten of them, with the host's tab
        assert 0 < len(watcher.of(frames.Change)) <= took * 20 / 10 + 2


async def test_the_first_change_goes_at_once(hosted: tuple[Bridge, Tab]) -> None:
    """Frames keep their order, so what is here by then did not wait for a later slot."""
    bridge, _ = hosted
    client = await bridge.join()
    await client.request({"add": 1})
    for n in (1, 2):  # the reply's turn of the loop is over when the second ping is read
        client.link.send(frames.Ping(n=n))
        await eventually(lambda: len(client.of(frames.Pong)) == n)  # noqa: B023 - awaited here
    assert client.state()["count"] == 1


async def test_who_comes_back_gets_only_what_changed(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    client = await bridge.join()
    await client.request({"add": 1})
    change = await client.wait(frames.Change)
    await (await bridge.join()).request({"add": 1})
    back = await bridge.join(epoch=change.epoch, state_index=change.index)
    again = await back.wait(frames.Change)
    assert again.after == change.index
    assert back.of(frames.State) == []
    up_to_date = await bridge.join(epoch=again.epoch, state_index=again.index)
    await up_to_date.wait(frames.Status)
    assert not up_to_date.of(frames.State)
    assert not up_to_date.of(frames.Change)


@pytest.mark.parametrize("another, index", [(98, 3), (0, 10_000), (0, 1)])
async def test_who_holds_something_else_gets_the_whole_state(
    hosted: tuple[Bridge, Tab], monkeypatch: pytest.MonkeyPatch, another: int, index: int
) -> None:
    monkeypatch.setattr(module, "CHANGES_KEPT_BYTES", 0)  # nothing is kept for those behind
    bridge, tab = hosted
    await (await bridge.join()).request({"add": 1})
    back = await bridge.join(epoch=tab.driver.epoch + another, state_index=index)
    assert (await back.wait(frames.State)).value["count"] == 1


async def test_resync_gives_the_whole_state_again(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    client = await bridge.join()
    await client.wait(frames.State)
    client.link.send(frames.Resync())
    await eventually(lambda: len(client.of(frames.State)) == 2)


class Slow:
    """A wire of which the network takes nothing."""

    def __init__(self) -> None:
        self.backlog = 0
        self.closing = False

    def write(self, prepared: Prepared) -> None:
        self.backlog += len(prepared.text.encode())

    def close(self, code: int, reason: str = "") -> None:
        self.closing = True


def connection(wire: Wire) -> Connection:
    return Connection(
        wire=wire,
        client_id="ada",
        device_id="phone",
        presenter=False,
        local=False,
        last_heard=0.0,
    )


async def test_whoever_comes_back_is_not_cut_off_for_all_that_it_is_sent() -> None:
    registry = Registry()
    stream = module.Stream(registry=registry, loop=asyncio.get_running_loop())
    machine = Machine()
    machine.state, machine.applied_index = "x" * (STATE_BYTES - 2), 10
    stream.restored(1, machine)

    hello = frames.Hello(
        version=1, client_key="1" * 32, device_key="2" * 32, token="t", epoch=1, state_index=10
    )
    stream.join(connection(Slow()), hello)
    for index in range(11, 1011):
        sent = Sent(index=index, position=0, to=None, payload="\u4e2d" * 21_000)
        stream.applied(index, [sent])
    back = connection(Slow())
    stream.join(back, msgspec.structs.replace(hello, state_index=0))
    stream.close()
    assert not back.wire.closing
    assert STATE_BYTES < back.wire.backlog < SLOW_READER_BYTES


# --- messages ---------------------------------------------------------------------------------


async def test_messages_reach_whom_they_are_for(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    alice, bob, carol = [await bridge.join() for _ in range(3)]
    ids = [(await client.wait(frames.Welcome)).client_id for client in (alice, bob, carol)]
    await alice.request({"say": "all"})
    await alice.request({"say": "some", "to": ids[:2]})
    await carol.request({"say": "end"})
    for client in (alice, bob, carol):
        await client.wait(frames.Message, lambda m: m.payload == {"said": "end"})
    assert [[m.payload["said"] for m in c.of(frames.Message)] for c in (alice, bob, carol)] == [
        ["all", "some", "end"],
        ["all", "some", "end"],
        ["all", "end"],
    ]


async def test_messages_missed_between_two_sockets_are_sent_again(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, _ = hosted
    sender = await bridge.join()
    key = secrets.token_hex(16)
    client = await bridge.join(client_key=key)
    await sender.request({"say": "heard"})
    heard = await client.wait(frames.Message)
    await client.close()
    await sender.request({"say": "missed"})
    epoch = (await sender.wait(frames.Status)).epoch
    back = await bridge.join(client_key=key, epoch=epoch, message_index=heard.index)
    missed = await back.wait(frames.Message, lambda m: m.payload == {"said": "missed"})
    assert missed.index > heard.index
    stranger = await bridge.join()
    await stranger.request({"say": "now"})
    await stranger.wait(frames.Message)
    assert [m.payload["said"] for m in stranger.of(frames.Message)] == ["now"]


async def test_a_message_missed_before_the_first_was_handled_is_sent_again(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, _ = hosted
    sender = await bridge.join()
    await sender.request({"say": "before"})
    key = secrets.token_hex(16)
    await (await bridge.join(client_key=key)).close()
    await sender.request({"say": "missed"})
    back = await bridge.join(client_key=key)
    await back.wait(frames.Message)
    assert [m.payload["said"] for m in back.of(frames.Message)] == ["missed"]


# --- status -----------------------------------------------------------------------------------


async def test_heads_are_counted_by_device_and_told_now_and_then(bridge: Bridge) -> None:
    watcher = await bridge.join()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    device = secrets.token_hex(16)
    for _ in range(3):
        await bridge.join(device_key=device)
    for _ in range(20):
        await bridge.join()
    await watcher.wait(frames.Status, lambda status: status.participants == 22)
    took = loop.time() - begun
    assert len(watcher.of(frames.Status)) <= took * STATUS_PER_SECOND + 3


class Told(Slow):
    """A wire that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[frames.Status] = []
        self.at: list[float] = []

    def write(self, prepared: Prepared) -> None:
        frame = codec.decode(prepared.text)
        assert isinstance(frame, frames.Status)
        self.statuses.append(frame)
        self.at.append(asyncio.get_running_loop().time())


HOSTED = frames.Status(
    epoch=1, term=4, host="a", successors=["b", "c"], quorum=True, participants=3
)


@pytest_asyncio.fixture
async def told() -> AsyncIterator[tuple[module.Stream, Told]]:
    """A stream, and what one client was told of a class that has a host."""
    registry, wire = Registry(), Told()
    registry.add(connection(wire))
    stream = module.Stream(registry=registry, loop=asyncio.get_running_loop())
    stream.status(HOSTED)
    yield stream, wire
    stream.close()


async def test_a_quick_hand_over_is_told_once(told: tuple[module.Stream, Told]) -> None:
    stream, wire = told
    gone = msgspec.structs.replace(HOSTED, host=None)
    new = msgspec.structs.replace(HOSTED, term=5, host="b", successors=["b", "c"])
    for status in (gone, msgspec.structs.replace(gone, term=5), new):
        stream.status(status)
    assert wire.statuses == [HOSTED, new]
    later = msgspec.structs.replace(new, successors=["c"])
    stream.status(later)
    assert len(wire.statuses) == 2
    await eventually(lambda: len(wire.statuses) == 3)
    assert wire.statuses[-1] == later
    assert wire.at[-1] - wire.at[-2] >= 0.9 / STATUS_PER_SECOND


async def test_that_nobody_hosts_is_told_in_time(told: tuple[module.Stream, Told]) -> None:
    stream, wire = told
    stream.status(msgspec.structs.replace(HOSTED, participants=4))  # told in a quarter of a second
    loop = asyncio.get_running_loop()
    began = loop.time()
    gone = msgspec.structs.replace(HOSTED, participants=4, host=None)
    stream.status(gone)
    await eventually(lambda: len(wire.statuses) == 2)
    assert wire.statuses[-1] == gone
    assert wire.at[-1] - began >= 0.9 * HOSTLESS_SECONDS
    stream.status(msgspec.structs.replace(gone, host="a"))  # it is here after all
    assert wire.statuses[-1].host == "a"


async def test_a_host_that_was_away_for_a_moment_is_told_of(
    told: tuple[module.Stream, Told],
) -> None:
    """Else nobody would repeat what was dropped in that moment."""
    stream, wire = told
    gone = msgspec.structs.replace(HOSTED, host=None)
    stream.status(gone)
    stream.status(HOSTED)
    assert wire.statuses == [HOSTED, gone, HOSTED]


async def test_heads_that_came_and_went_are_not_told(told: tuple[module.Stream, Told]) -> None:
    stream, wire = told
    stream.status(msgspec.structs.replace(HOSTED, participants=4))
    stream.status(HOSTED)
    await asyncio.sleep(1.2 / STATUS_PER_SECOND)
    assert wire.statuses == [HOSTED]


@pytest.mark.parametrize("news", [{"quorum": False}, {"provisional": True}, {"epoch": 2}])
async def test_other_news_is_told_at_once(
    told: tuple[module.Stream, Told], news: dict[str, Any]
) -> None:
    stream, wire = told
    without = msgspec.structs.replace(HOSTED, host=None, **news)
    stream.status(without)
    assert wire.statuses == [HOSTED, without]


async def test_a_slow_phone_gets_the_latest_state_and_not_every_one(
    hosted: tuple[Bridge, Tab],
) -> None:
    """While it does not read it is sent no changes; then one frame brings it to the present."""
    bridge, _ = hosted
    sender = await bridge.join()
    with contextlib.closing(socket.socket()) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", bridge.port))
        slow = await connect(
            bridge.socket_url, sock=raw, compression=None, ping_interval=None, max_size=None
        )
        await slow.send(codec.encode(bridge.hello()))
        slow.transport.pause_reading()
        for size in 20 * [50_000]:
            await sender.request({"grow": size})
        for expected in range(1, 21):  # each as a change of its own
            await sender.request({"add": 1})
            await eventually(lambda: sender.state()["count"] == expected)  # noqa: B023 - awaited
        slow.transport.resume_reading()
        got, value = 0, None
        async with asyncio.timeout(PATIENCE):
            while value is None or value["count"] != expected:
                frame = codec.decode(await slow.recv(), limit=STREAM_BYTES)
                if isinstance(frame, frames.State):
                    got, value = got + 1, frame.value
                elif isinstance(frame, frames.Change):
                    got, value = got + 1, jsonpatch.apply_patch(value, frame.patch)
        assert value == sender.state()
        assert got < len(sender.of(frames.Change)) * 0.6
        await slow.close()
