"""Several real bridges of one server on loopback, clients and nodes at each."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec
import pytest
import websockets

from ftweb import codec, frames
from ftweb.limits import ENVELOPE_BYTES, FRAME_BYTES
from ftweb.relay.connection import Connection
from ftweb.transports.websocket import WebSocketLink

from .conftest import Bridge, Client, Tab, eventually


async def told(client: Client, test: Callable[[frames.Status], bool]) -> frames.Status:
    """Wait until the latest status passes a test."""

    def latest() -> frames.Status | None:
        seen = client.of(frames.Status)
        return seen[-1] if seen and test(seen[-1]) else None

    found = await eventually(latest)
    assert found is not None
    return found


async def test_a_request_goes_to_the_host_at_another_bridge(pair: tuple[Bridge, Bridge]) -> None:
    first, second = pair
    near, far = await first.join(), await second.join()
    assert (await far.request({"add": 1})).payload == {"count": 1}
    assert (await near.request({"add": 1})).payload == {"count": 2}
    await eventually(lambda: near.state() == far.state() == {"count": 2, "seen": []})
    welcome = await far.wait(frames.Welcome)
    await near.request({"say": "hello", "to": [welcome.client_id]})
    assert (await far.wait(frames.Message)).payload == {"said": "hello"}


async def test_both_tell_of_both_and_count_everybody_once(pair: tuple[Bridge, Bridge]) -> None:
    first, second = pair
    shared = "5" * 32
    near = await first.join(device_key=shared)
    far = await second.join(device_key=shared)
    another = await second.join()
    for client, own, other in ((near, first, second), (far, second, first)):
        status = await told(client, lambda s: s.participants == 3)  # the host's tab is one
        assert [bridge.urls for bridge in status.bridges] == [[own.origin], [other.origin]]
        assert (await client.wait(frames.Welcome)).bridge == status.bridges[0].node_id
    counted = await told(near, lambda s: [b.clients for b in s.bridges] == [2, 2])
    assert counted.quorum
    await another.close()
    await told(near, lambda s: s.participants == 2)


async def test_a_tab_at_the_second_bridge_takes_over_and_the_first_serves_on(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    first, second = pair
    _, host = hosted
    spare = await second.tab()
    client = await first.join()
    await client.request({"add": 1})
    await eventually(lambda: spare.node_id in host.driver.node.configuration.voters)
    await host.kill()
    await spare.hosts()
    await told(client, lambda s: s.host == spare.node_id)
    assert (await client.request({"add": 1})).payload == {"count": 2}


@pytest.fixture
def on_phones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tabs are no part of a bridge's machine, although they come from this one."""
    monkeypatch.setattr(
        "ftweb.bridge.sockets.Connection", lambda **fields: Connection(**fields | {"local": False})
    )


@pytest.mark.usefixtures("on_phones")
async def test_the_first_bridge_and_its_host_are_gone_and_votes_go_on(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    first, second = pair
    _, host = hosted
    spares = [await second.tab() for _ in range(2)]
    client = await second.join()
    await client.request({"add": 1})
    members = {host.node_id, *(spare.node_id for spare in spares)}
    await eventually(lambda: members <= set(host.driver.node.configuration.voters))
    await host.kill()
    await first.end()
    status = await told(client, lambda s: s.host in {spare.node_id for spare in spares})
    assert status.quorum
    assert [bridge.urls for bridge in status.bridges] == [[second.origin]]
    assert (await client.request({"add": 1})).payload == {"count": 2}
    newcomer = await second.join()
    assert (await newcomer.request({"add": 1})).payload == {"count": 3}


async def test_a_host_that_goes_over_to_another_bridge_goes_on_hosting(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    first, second = pair
    _, host = hosted
    client = await first.join()
    await client.request({"add": 1})
    term = host.driver.status.term
    old = host.link
    host.link = WebSocketLink(second.socket_url)
    await host.link.__aenter__()
    host.link.send(host.hello)
    host._tasks.append(asyncio.create_task(host._read()))
    host.link.send(frames.NodeUp(node_id=host.node_id, visible=True))
    await told(client, lambda s: [b.clients for b in s.bridges] == [2, 1])
    assert (await client.request({"add": 1})).payload == {"count": 2}
    await old.close()
    assert (await client.request({"add": 1})).payload == {"count": 3}
    assert host.driver.status.term == term, "nobody else was elected"


async def test_a_stuck_request_of_another_bridge_is_refused(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    _, second = pair
    _, host = hosted
    client = await second.join()
    welcome = await client.wait(frames.Welcome)
    session = await client.open_session()
    host.muted = True
    serial = client.send({"add": 1})
    await host.wait(frames.Forward, lambda forward: forward.serial == serial)
    stuck = frames.RequestId(client_id=welcome.client_id, session=session, serial=serial)
    host.link.send(frames.NodeDown(node_id=host.node_id, reason="stuck", request=stuck))
    spare = await second.tab()
    await spare.hosts()
    client.send({"add": 1}, serial=serial)
    reply = await client.wait(frames.Reply, lambda reply: reply.serial == serial)
    assert reply.error is not None
    assert reply.error.code == "handler_timeout"


async def test_three_bridges_find_one_another_through_one(pair: tuple[Bridge, Bridge]) -> None:
    first, second = pair
    third = first.another("third", links=(second.origin,))
    await third.start()
    try:
        client = await third.join()
        status = await told(client, lambda s: len(s.bridges) == 3 and s.host is not None)
        assert {bridge.urls[0] for bridge in status.bridges} == {
            first.origin,
            second.origin,
            third.origin,
        }
        assert (await client.request({"add": 1})).payload == {"count": 1}
        await second.end()  # the one through which they met
        await told(client, lambda s: len(s.bridges) == 2)
        assert (await client.request({"add": 1})).payload == {"count": 2}
    finally:
        await third.stop()


async def test_a_page_of_one_bridge_may_come_over_to_another(pair: tuple[Bridge, Bridge]) -> None:
    first, second = pair
    client = await second.join()
    await told(client, lambda s: len(s.bridges) == 2)

    async def opens(origin: str) -> bool:
        try:
            async with websockets.connect(
                second.socket_url, origin=websockets.Origin(origin), proxy=None
            ):
                return True
        except websockets.InvalidStatus as refused:
            return refused.response.status_code != 403

    assert await opens(first.origin)
    assert not await opens(first.origin + "1")
    assert not await opens("http://evil.example")
    answer = await second.get("/", origin=first.origin)
    assert answer.status_code == 200
    await first.end()
    await told(client, lambda s: len(s.bridges) == 1)
    assert await opens(first.origin), "also after it has died"


async def test_without_the_token_nothing_is_said(
    hosted: tuple[Bridge, Tab], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ftweb.bridge.linking")
    first, _ = hosted
    identity = dataclasses.replace(first.config.identity, presenter_token="x" * 22)
    stranger = first.another("stranger", identity=identity)
    await stranger.start()
    try:
        client = await stranger.join()
        near = await first.join()
        await eventually(lambda: f"No link with {first.origin}" in caplog.text)
        assert "presenter token" in caplog.text, "and why"
        assert len((await client.wait(frames.Status)).bridges) == 1
        assert all(len(status.bridges) == 1 for status in near.of(frames.Status))
    finally:
        await stranger.stop()


async def test_an_unproven_peer_may_say_no_in_words_of_its_own(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    url = bridge.socket_url.replace("/ftweb/socket", "/ftweb/link")
    async with websockets.connect(url) as socket:
        await socket.send('{"type":"error","code":"no such code","message":"\\u001b[2J"}')
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()
    assert not [record for record in caplog.records if record.exc_info]
    assert "\x1b" not in caplog.text


async def test_nobody_can_take_over_a_node_of_another_client_at_another_bridge(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    first, second = pair
    _, host = hosted
    client = await first.join()
    await client.request({"add": 1})
    own = (await client.wait(frames.Welcome)).bridge
    for node_id in (host.node_id, own):
        thief = await second.join()
        await told(thief, lambda s: s.host == host.node_id and len(s.bridges) == 2)
        thief.link.send(frames.NodeUp(node_id=node_id, visible=True))
        assert await thief.wait_closed() == 4400
        assert (await thief.wait(frames.Error)).code == "node_id_in_use"
    assert (await client.request({"add": 1})).payload == {"count": 2}
    assert host.closed is None


async def test_a_frame_too_large_for_a_link_does_not_end_it(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    first, second = pair
    _, host = hosted
    near, far = await first.join(), await second.tab()
    await told(near, lambda s: len(s.bridges) == 2)
    epoch = host.driver.epoch
    told_before = len(near.of(frames.Status))

    def raft(size: int) -> str:
        body = '"' + "x" * size + '"'
        return codec.encode(
            frames.Raft(
                epoch=epoch,
                sender=far.node_id,
                to=host.node_id,
                kind="x",
                body=msgspec.Raw(body.encode()),
            )
        )

    await eventually(lambda: far.driver.epoch == epoch)
    assert far.link._socket is not None
    for size in (FRAME_BYTES - len(raft(0)), FRAME_BYTES - len(raft(0)) - ENVELOPE_BYTES):
        await far.link._socket.send(raft(size))
    await host.wait(frames.Raft, lambda frame: frame.kind == "x")
    assert (await near.request({"add": 1})).payload == {"count": 1}
    later = near.of(frames.Status)[told_before:]
    assert all(len(status.bridges) == 2 for status in later), "the link stayed"


async def test_a_link_that_is_cut_comes_back(pair: tuple[Bridge, Bridge]) -> None:
    first, second = pair
    client = await first.join()
    await told(client, lambda s: len(s.bridges) == 2)
    await second.end()
    await told(client, lambda s: len(s.bridges) == 1)
    again = first.another("second", port=0)
    await again.start()
    try:
        await told(client, lambda s: len(s.bridges) == 2)
        far = await again.join()
        await told(far, lambda s: s.host is not None and len(s.bridges) == 2)
        assert (await far.request({"add": 1})).payload == {"count": 1}
    finally:
        await again.stop()


async def test_signals_go_to_tabs_at_other_bridges_and_back(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    _, second = pair
    _, host = hosted
    client = await second.join()
    await told(client, lambda s: s.host == host.node_id)
    mine = (await client.wait(frames.Welcome)).client_id
    client.link.send(frames.Signal(to=host.node_id, link="l1", kind="offer", sdp="v=0"))
    offer = await host.wait(frames.Signal)
    assert offer.source is not None
    assert (offer.source.client_id, offer.kind, offer.sdp) == (mine, "offer", "v=0")
    host.link.send(frames.Signal(to=mine, link="l1", kind="answer", sdp="v=1"))
    answer = await client.wait(frames.Signal)
    assert (answer.kind, answer.sdp, answer.node_id) == ("answer", "v=1", host.node_id)
    client.link.send(frames.Signal(to="f" * 32, link="l2", kind="offer", sdp="v=0"))
    assert (await client.wait(frames.Signal, lambda s: s.link == "l2")).kind == "refuse"


@pytest.mark.usefixtures("on_phones")
async def test_clients_are_shared_evenly(
    pair: tuple[Bridge, Bridge], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that is asked to move goes where fewer are, and misses nothing."""
    import ftweb

    monkeypatch.setattr("ftweb.relay.evening.EVEN_SECONDS", 0.5)
    first, second = pair
    async with AsyncExitStack() as stack:
        url = f"{first.origin}/#join={first.config.identity.join_token}"
        scripts = [await stack.enter_async_context(ftweb.connect(url)) for _ in range(8)]
        for script in scripts:
            await script.send({"add": 1})
        watching = await first.join()
        # Eight scripts, this one, and the host's tab, which stays.
        await told(watching, lambda s: [b.clients for b in s.bridges] == [5, 5])
        moved = [script for script in scripts if script.status.bridge == second.origin]
        assert len(moved) == 5
        for script in scripts:
            await script.send({"add": 1})
        assert (await watching.request({"add": 1})).payload == {"count": 17}


@pytest.mark.parametrize("clients", [1, 12])
async def test_fan_out_costs_the_host_one_frame_for_each_bridge(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab], clients: int
) -> None:
    """However many clients a bridge has: the entry of a request is sent to the bridge once."""
    first, second = pair
    _, host = hosted
    watching = [await bridge.join() for bridge in pair for _ in range(clients)]
    sender = await first.join()
    await sender.open_session()
    bridges = set()
    for bridge in (first, second):
        status = await told(await bridge.join(), lambda s: len(s.bridges) == 2)
        bridges.add(status.bridges[0].node_id)
    everybody = {host.node_id, *bridges}
    await eventually(lambda: set(host.driver.node.configuration.voters) == everybody)
    sent: list[frames.Frame] = []
    send = host.link.send

    def note(frame: frames.Frame) -> None:
        sent.append(frame)
        send(frame)

    host.link.send = note  # type: ignore[method-assign]
    requests = 10
    for count in range(1, requests + 1):
        assert (await sender.request({"add": 1})).payload == {"count": count}
        await eventually(lambda: all(c.state()["count"] == count for c in watching))  # noqa: B023
    rafts = [frame for frame in sent if isinstance(frame, frames.Raft)]
    assert len(rafts) == len(sent), "the host speaks to members only"
    assert {frame.to for frame in rafts} == bridges
    carried = Counter(
        frame.to
        for frame in rafts
        if frame.kind == "append_entries" and msgspec.json.decode(frame.body).get("entries")
    )
    assert carried == dict.fromkeys(bridges, requests)


@pytest.mark.usefixtures("on_phones")
async def test_scripts_go_to_another_bridge_when_theirs_is_gone(
    pair: tuple[Bridge, Bridge], hosted: tuple[Bridge, Tab]
) -> None:
    import ftweb

    first, second = pair
    _, host = hosted
    spares = [await second.tab() for _ in range(2)]
    wanted = {host.node_id, *(spare.node_id for spare in spares)}
    await eventually(lambda: wanted <= set(host.driver.node.configuration.voters))
    url = f"{first.origin}/#join={first.config.identity.join_token}"
    async with ftweb.connect(url) as script:
        await script.wait_for_status(lambda s: s.host_id is not None)
        assert await script.send({"add": 1}) == {"count": 1}
        await host.kill()
        await first.end()
        async with asyncio.timeout(10):
            assert await script.send({"add": 1}) == {"count": 2}
        assert script.status.bridge == second.origin
