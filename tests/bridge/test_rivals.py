"""Which of several bridges publishes the server, and how it is found out who does."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from ftweb.bridge.publishing import MULTICAST, Publisher, Record
from ftweb.bridge.rivals import Rival, _Answers, _socket, find_rivals, should_publish

from .conftest import eventually

GUID = "f" * 32
OWN = "http://192.0.2.5:8765"
LOWER, HIGHER = "http://192.0.2.4:8765", "http://192.0.2.6:8765"
LOOPBACK = ("127.0.0.1",)


def rival(epoch: int, term: int, origin: str = HIGHER) -> Rival:
    return Rival(origin=origin, epoch=epoch, term=term)


@pytest.mark.parametrize(
    "linked, rivals, expected",
    [
        pytest.param([], [], True, id="alone"),
        pytest.param([(200, "a")], [], True, id="linked with one that started later"),
        pytest.param([(50, "z")], [], False, id="linked with one that started earlier"),
        pytest.param([(100, "a")], [], False, id="started at once, and its id is lower"),
        pytest.param([(100, "z")], [], True, id="started at once, and its id is higher"),
        pytest.param([(200, "a"), (50, "z")], [], False, id="one of several started earlier"),
        pytest.param([], [rival(3, 9)], True, id="a rival of an earlier epoch, in a higher term"),
        pytest.param([], [rival(5, 6)], True, id="a rival of a lower term"),
        pytest.param([], [rival(5, 8)], False, id="a rival of a higher term"),
        pytest.param([], [rival(6, 1)], False, id="a rival of a later epoch, in a lower term"),
        pytest.param([], [rival(3, 9), rival(6, 1)], False, id="one of several is higher"),
        pytest.param([], [rival(5, 7, HIGHER)], True, id="equal, and its address is higher"),
        pytest.param([], [rival(5, 7, LOWER)], False, id="equal, and its address is lower"),
        pytest.param([(200, "a")], [rival(6, 1)], False, id="first of the linked, a higher rival"),
        pytest.param([(50, "a")], [rival(3, 1)], False, id="later of the linked, a lower rival"),
    ],
)
def test_who_publishes(linked: list[tuple[int, str]], rivals: list[Rival], expected: bool) -> None:
    decided = should_publish(
        own=(100, "m"), linked=linked, rank=(5, 7), origins=[OWN], rivals=rivals
    )
    assert decided is expected


@pytest.mark.parametrize("ranks", [((5, 7), (5, 7)), ((5, 7), (5, 8)), ((6, 1), (5, 9))])
def test_of_two_that_cannot_link_just_one_publishes(
    ranks: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    here, there = ranks
    deciding = [
        should_publish(
            own=own, linked=[], rank=mine, origins=[origin], rivals=[rival(*its, its_origin)]
        )
        for own, mine, origin, its, its_origin in (
            ((100, "m"), here, OWN, there, HIGHER),
            ((200, "n"), there, HIGHER, here, OWN),
        )
    ]
    assert sorted(deciding) == [False, True]


async def test_who_publishes_is_asked_and_the_dead_are_forgotten() -> None:
    async with AsyncExitStack() as stack:

        async def publish(port: int, guid: str, epoch: int) -> Publisher:
            record = Record(guid=guid, epoch=epoch, term=2, node="n" * 32)
            made = Publisher(
                name="Rivals", port=port, record=record, interfaces=LOOPBACK, ours=True
            )
            await stack.enter_async_context(made)
            await eventually(lambda: made.published_as)
            return made

        await publish(8765, GUID, 7)
        await publish(8767, "e" * 32, 9)

        async def found(port: int) -> tuple[Rival, ...]:
            return await find_rivals("Rivals", GUID, port=port, interfaces=LOOPBACK)

        assert await found(1) == (Rival(origin="http://127.0.0.1:8765", epoch=7, term=2),)
        assert await found(8765) == (), "that is ourselves"
    assert await found(1) == ()


async def test_what_is_published_is_announced_again_when_told() -> None:
    """As after the goodbye of another of this name; heard by one who asks nothing."""
    heard = _Answers(GUID)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: heard, sock=_socket(LOOPBACK[0]))
    record = Record(guid=GUID, epoch=7, term=2, node="n" * 32)
    try:
        async with Publisher(
            name="Again", port=8765, record=record, interfaces=LOOPBACK, ours=True
        ) as made:
            await eventually(lambda: made.published_as)
            await asyncio.gather(*made._broadcasts)  # the first announcements are repeated
            heard.rivals.clear()
            made.announce()
            assert await eventually(lambda: heard.rivals.get("http://127.0.0.1:8765"))
    finally:
        transport.close()


async def test_what_is_no_answer_does_no_harm() -> None:
    asking = asyncio.create_task(find_rivals("Noise", GUID, port=1, interfaces=LOOPBACK))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        noise.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK[0]))
        while not asking.done():
            for data in (b"", b"\xff" * 40, bytes(11) + b"\x84" * 200):
                noise.sendto(data, (MULTICAST, 5353))
            await asyncio.sleep(0.05)  # until it has been asked: nothing tells of that
    assert await asking == ()


async def test_without_multicast_nobody_is_found() -> None:
    assert await find_rivals("Nowhere", GUID, port=1, interfaces=("192.0.2.77",)) == ()
