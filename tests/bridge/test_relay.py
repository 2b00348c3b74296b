"""Requests, consensus and takeovers through a real bridge with real nodes behind sockets."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import msgspec
import pytest

from ftweb import frames
from ftweb.app import Server, init_server
from ftweb.core import Role
from ftweb.limits import (
    HOST_DEATHS_PER_REQUEST,
    NODES_PER_MINUTE,
    PAYLOAD_BYTES,
    PENDING_REQUESTS,
)

from .conftest import Bridge, Client, Tab, eventually


async def test_a_client_is_welcomed_with_what_it_needs(bridge: Bridge) -> None:
    client = await bridge.join()
    welcome = await client.wait(frames.Welcome)
    assert welcome.guid == bridge.config.guid
    assert welcome.name == "tests"
    assert welcome.local
    assert not welcome.presenter
    assert welcome.join_url == "", "only presenters are given the token to show"
    assert welcome.runtime == "/ftweb/runtime/testbuild/"
    assert welcome.limits.pending_requests == PENDING_REQUESTS
    assert (await bridge.get(f"/ftweb/bundle/{welcome.bundle}.zip")).status_code == 200
    presenter = await bridge.join(token=bridge.config.identity.presenter_token)
    welcome = await presenter.wait(frames.Welcome)
    assert welcome.presenter
    assert bridge.config.identity.join_token in welcome.join_url


async def test_without_a_tab_there_is_a_quorum_but_no_host(bridge: Bridge) -> None:
    client = await bridge.join()
    status = await client.wait(frames.Status)
    assert (status.host, status.quorum) == (None, True)
    await client.wait(frames.State, lambda state: state.value == {"count": 0, "seen": []})


async def test_a_request_runs_in_the_tab_and_its_reply_comes_back(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, _ = hosted
    client = await bridge.join()
    reply = await client.request({"add": 5})
    assert (reply.payload, reply.error) == ({"count": 5}, None)


async def test_the_source_is_what_the_bridge_vouches_for(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    client = await bridge.join(token=bridge.config.identity.presenter_token)
    welcome = await client.wait(frames.Welcome)
    reply = await client.request("who")
    assert reply.payload == {"client": welcome.client_id, "presenter": True}


async def test_the_same_serial_gets_the_same_reply_and_runs_once(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, tab = hosted
    client = await bridge.join()
    await client.request({"add": 1})
    for _ in range(3):
        client.send({"add": 1}, serial=1)
    await eventually(lambda: sum(isinstance(f, frames.Reply) for f in client.frames) == 4)
    replies = [f for f in client.frames if isinstance(f, frames.Reply)]
    assert {r.payload["count"] for r in replies} == {1}
    assert tab.driver.machine.state["count"] == 1


async def test_a_cached_reply_is_given_without_any_host(hosted: tuple[Bridge, Tab]) -> None:
    bridge, tab = hosted
    client = await bridge.join()
    await client.request({"add": 1})
    await tab.kill()
    await client.wait(frames.Status, lambda status: status.host is None)
    client.send({"add": 1}, serial=1)
    await eventually(lambda: sum(isinstance(f, frames.Reply) for f in client.frames) == 2)


async def test_a_session_is_opened_once_per_client(hosted: tuple[Bridge, Tab]) -> None:
    bridge, _ = hosted
    key = secrets.token_hex(16)
    client = await bridge.join(client_key=key)
    first = await client.open_session()
    again = await bridge.join(client_key=key)
    assert await again.open_session() == first
    assert await (await bridge.join()).open_session() != first


async def test_another_tab_takes_over_when_the_host_dies(hosted: tuple[Bridge, Tab]) -> None:
    bridge, host = hosted
    client = await bridge.join()
    await client.request({"add": 1})
    second = await bridge.tab()
    await eventually(lambda: second.node_id in host.driver.status.successors)
    await eventually(lambda: second.driver.machine.state == {"count": 1, "seen": []})
    loop = asyncio.get_running_loop()
    killed = loop.time()
    await host.kill()
    await client.wait(frames.Status, lambda status: status.host == second.node_id)
    took = loop.time() - killed
    client.send({"add": 1}, serial=1)  # repeated: the first host may have died before the reply
    reply = await client.request({"add": 1})
    assert reply.payload == {"count": 2}
    assert took < 1.5, f"a reported loss must not wait for the election timeout ({took:.2f} s)"


async def test_two_takeovers_in_a_row_lose_and_double_nothing(hosted: tuple[Bridge, Tab]) -> None:
    bridge, first = hosted
    tabs = [first, await bridge.tab(), await bridge.tab()]
    client = await bridge.join()
    total = 0
    while tabs:
        host = await standing_host(tabs, client)
        for _ in range(3):
            total += 1
            reply = await client.request({"add": 1})
            assert reply.payload == {"count": total}
        await host.kill()
        tabs.remove(host)
    await eventually(lambda: client.state()["count"] == total)


async def standing_host(tabs: list[Tab], client: Client) -> Tab:
    """The tab that hosts, once all others stand by and the client knows it."""
    host = await eventually(lambda: next((t for t in tabs if t.driver.status.hosting), None))
    assert host is not None
    await client.wait(frames.Status, lambda status: status.host == host.node_id)
    members = {tab.node_id for tab in tabs}
    await eventually(lambda: members <= set(host.driver.status.successors))
    return host


async def test_a_leaving_host_hands_over_and_is_taken_for_no_death(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, host = hosted
    second = await bridge.tab()
    client = await bridge.join()
    await client.request({"add": 1})
    await eventually(lambda: second.node_id in host.driver.status.successors)
    host.link.send(frames.Bye())
    assert await host.wait_closed() == 1000
    await client.wait(frames.Status, lambda status: status.host == second.node_id)
    assert (await client.request({"add": 1})).payload == {"count": 2}


# --- who may say what -------------------------------------------------------------------------


async def test_consensus_frames_only_from_the_node_behind_the_socket(bridge: Bridge) -> None:
    liar = await bridge.join()
    epoch = (await liar.wait(frames.Status)).epoch
    lie = frames.Raft(
        epoch=epoch, sender="f" * 32, to="e" * 32, kind="timeout_now", body=msgspec.Raw(b"{}")
    )
    liar.link.send(lie)
    assert await liar.wait_closed() == 4400
    tab = await bridge.tab()
    tab.link.send(lie)
    assert await tab.wait_closed() == 4400


async def test_frames_of_another_epoch_go_nowhere(hosted: tuple[Bridge, Tab]) -> None:
    bridge, host = hosted
    other = await bridge.tab()
    await eventually(lambda: other.node_id in host.driver.status.successors)
    seen = len(host.frames)
    body = msgspec.Raw(
        b'{"sender":"%b","to":"%b","term":99}' % (other.node_id.encode(), host.node_id.encode())
    )
    for epoch in (0, 99):
        other.link.send(
            frames.Raft(
                epoch=epoch, sender=other.node_id, to=host.node_id, kind="timeout_now", body=body
            )
        )
    other.link.send(frames.Ping(n=7))
    await other.wait(frames.Pong)
    raft = [f for f in host.frames[seen:] if isinstance(f, frames.Raft)]
    assert {frame.epoch for frame in raft} <= {host.driver.epoch}
    assert (await bridge.health())["epoch"] == host.driver.epoch


@pytest.mark.parametrize(
    "frame",
    [
        frames.Status(epoch=1, term=1, host=None, successors=[], quorum=True, participants=1),
        frames.Reply(serial=1),
        frames.Lost(node_id="a" * 32),
        frames.Directory(nodes=[]),
        frames.Forward(epoch=1, term=1, source=frames.Source(client_id="c", device_id="d")),
        frames.NodeUpdate(node_id="a" * 32, visible=True),
    ],
    ids=lambda frame: type(frame).__name__,
)
async def test_what_a_client_may_not_send_closes_its_socket_only(
    bridge: Bridge, frame: frames.Frame
) -> None:
    bystander = await bridge.join()
    client = await bridge.join()
    client.link.send(frame)
    error = await client.wait(frames.Error)
    assert (error.code, error.fatal) == ("bad_frame", True)
    assert await client.wait_closed() == 4400
    bystander.link.send(frames.Ping(n=1))
    await bystander.wait(frames.Pong)


async def test_a_node_id_belongs_to_one_client(bridge: Bridge) -> None:
    tab = await bridge.tab()
    thief = await bridge.join()
    thief.link.send(frames.NodeUp(node_id=tab.node_id, visible=True))
    assert (await thief.wait(frames.Error)).code == "node_id_in_use"
    assert await thief.wait_closed() == 4400
    bridges_own = (await tab.wait(frames.Welcome)).bridge
    thief = await bridge.join()
    thief.link.send(frames.NodeUp(node_id=bridges_own, visible=True))
    assert (await thief.wait(frames.Error)).code == "node_id_in_use"


async def test_a_client_that_comes_again_replaces_its_older_socket(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, tab = hosted
    term = (await bridge.health())["term"]
    again = Client(bridge.socket_url, tab.hello)
    await again.open()
    await again.wait(frames.Welcome)
    assert await tab.wait_closed() == 4000
    health = await bridge.health()
    assert health["clients"] == 1
    assert health["host"] == tab.node_id, "its replica goes over to the new socket"
    assert health["term"] == term
    await again.close()


async def test_too_many_unanswered_requests_are_not_passed_on(bridge: Bridge) -> None:
    release = asyncio.Event()
    server = init_server("slow", state={})

    @server.on_receive
    async def receive(message: Any) -> Any:
        await release.wait()

    tab = await bridge.tab(server)
    await tab.hosts()
    client = await bridge.join()
    await client.open_session()
    for _ in range(PENDING_REQUESTS + 1):
        client.send("wait")
    error = await client.wait(frames.Error)
    assert (error.code, error.fatal) == ("too_many_pending", False)
    forwards = [f for f in tab.frames if isinstance(f, frames.Forward) and f.serial]
    assert len(forwards) <= PENDING_REQUESTS
    release.set()


async def test_a_payload_that_is_too_large_is_answered_and_not_run(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, tab = hosted
    client = await bridge.join()
    for _ in range(2):
        reply = await client.request({"add": 1, "padding": "x" * PAYLOAD_BYTES})
        assert reply.error is not None
        assert reply.error.code == "too_large"
    assert tab.driver.machine.state["count"] == 0
    large = "x" * (PAYLOAD_BYTES - 100)
    assert (await client.request(large)).payload == {"echo": large}


async def test_a_host_that_appends_nonsense_stops_the_replica_and_not_the_bridge(
    hosted: tuple[Bridge, Tab], caplog: pytest.LogCaptureFixture
) -> None:
    """Hosts are trusted with the log (docs/security.md), but pages must still say what is up."""
    bridge, tab = hosted
    client = await bridge.join()
    tab.driver.node.propose({"kind": "nonsense"}, asyncio.get_running_loop().time() * 1000)
    tab.driver.receive(frames.Lost(node_id="f" * 32))  # wakes it
    await client.wait(frames.Status, lambda status: not status.quorum)
    health = await bridge.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "failed")
    assert (await bridge.get("/")).status_code == 200
    assert "has stopped (bad_frame)" in caplog.text


async def test_health_says_how_many_voters_may_be_lost(hosted: tuple[Bridge, Tab]) -> None:
    """Everything here is one device, so the bridge alone votes: no voter can be spared. That one
    can, with three devices, is what ``tests/e2e/test_other_browsers.py`` waits for."""
    bridge, _ = hosted
    assert (await bridge.health())["spare"] == 0


# --- directory and losses ---------------------------------------------------------------------


async def test_the_leader_knows_who_is_reachable(hosted: tuple[Bridge, Tab]) -> None:
    bridge, host = hosted
    other = await bridge.tab()
    directory = await host.wait(
        frames.Directory,
        lambda directory: {n.node_id for n in directory.nodes} >= {host.node_id, other.node_id},
    )
    infos = {info.node_id: info for info in directory.nodes}
    assert len(infos) == 3
    assert {info.kind for info in infos.values()} == {"bridge", "tab"}
    assert len({info.device_id for info in infos.values()}) == 1, "they share one machine"
    assert all(info.local for info in infos.values())
    other.link.send(frames.NodeUpdate(node_id=other.node_id, visible=False))
    await host.wait(
        frames.Directory,
        lambda d: any(n.node_id == other.node_id and not n.visible for n in d.nodes),
    )


async def test_a_loss_is_told_to_members_at_once(hosted: tuple[Bridge, Tab]) -> None:
    bridge, host = hosted
    other = await bridge.tab()
    await eventually(lambda: other.node_id in host.driver.status.successors)
    await other.kill()
    await host.wait(frames.Lost, lambda lost: lost.node_id == other.node_id)


# --- poison -----------------------------------------------------------------------------------


async def test_a_request_that_hung_is_refused_by_the_next_host(hosted: tuple[Bridge, Tab]) -> None:
    bridge, host = hosted
    client = await bridge.join()
    welcome = await client.wait(frames.Welcome)
    session = await client.open_session()
    host.muted = True  # from here on its worker is stuck
    serial = client.send({"add": 1})
    await host.wait(frames.Forward, lambda forward: forward.serial == serial)
    stuck = frames.RequestId(client_id=welcome.client_id, session=session, serial=serial)
    host.link.send(frames.NodeDown(node_id=host.node_id, reason="stuck", request=stuck))
    second = await bridge.tab()
    await second.hosts()
    client.send({"add": 1}, serial=serial)
    reply = await client.wait(frames.Reply, lambda reply: reply.serial == serial)
    assert reply.error is not None
    assert reply.error.code == "handler_timeout"
    assert second.driver.machine.state["count"] == 0, "its handler must not have run"
    assert (await client.request({"add": 1})).payload == {"count": 1}


async def test_a_request_that_kills_its_hosts_is_refused(bridge: Bridge) -> None:
    def deadly() -> Server:
        server = init_server("deadly", state={})

        @server.on_receive
        async def receive(message: Any) -> Any:
            await asyncio.Event().wait()

        return server

    client = await bridge.join()
    serial = 0
    for _ in range(HOST_DEATHS_PER_REQUEST):
        tab = await bridge.tab(deadly())
        await tab.hosts()
        if not serial:
            await client.open_session()
        serial = client.send("die", serial=serial or None)
        await tab.wait(frames.Forward, lambda forward: forward.serial == 1)
        await tab.kill()
        await client.wait(frames.Status, lambda status: status.host is None)
    last = await bridge.tab()
    await last.hosts()
    client.send("die", serial=serial)
    reply = await client.wait(frames.Reply)
    assert reply.error is not None
    assert reply.error.code == "handler_timeout"
    assert last.role is Role.LEADER


async def test_a_signal_reaches_the_tab_with_the_address_that_the_bridge_sees(
    hosted: tuple[Bridge, Tab],
) -> None:
    bridge, tab = hosted
    client = await bridge.join()
    candidate = "a=candidate:1 1 udp 1 4af1c9c2-8b1b-4f0a-b6a6-0a3a56b7a2a1.local 5 typ host\r\n"
    client.link.send(frames.Signal(to=tab.node_id, link="l", kind="offer", sdp=candidate))
    offer = await tab.wait(frames.Signal)
    assert offer.sdp == candidate.replace(offer_name(candidate), "127.0.0.1") + candidate
    assert offer.source is not None
    tab.link.send(frames.Signal(to=offer.source.client_id, link="l", kind="refuse"))
    refusal = await client.wait(frames.Signal)
    assert (refusal.kind, refusal.node_id) == ("refuse", tab.node_id)


def offer_name(candidate: str) -> str:
    return candidate.split(" ")[4]


async def test_a_socket_with_one_replica_after_another_is_closed(bridge: Bridge) -> None:
    client = await bridge.join()
    for _ in range(NODES_PER_MINUTE + 1):
        client.link.send(frames.NodeUp(node_id=secrets.token_hex(16), visible=True))
    assert await client.wait_closed() == 4429
    assert (await client.wait(frames.Error)).code == "rate_limited"
