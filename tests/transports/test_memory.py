"""The link within one process."""

from __future__ import annotations

import pytest

from ftweb import frames
from ftweb.transports import LinkClosedError, memory_pair


async def test_frames_arrive_in_order_both_ways() -> None:
    left, right = memory_pair()
    for n in range(3):
        left.send(frames.Ping(n=n))
    right.send(frames.Pong(n=9))
    assert [await right.receive() for _ in range(3)] == [frames.Ping(n=n) for n in range(3)]
    assert await left.receive() == frames.Pong(n=9)


async def test_closing_either_end_ends_both_after_what_was_sent() -> None:
    left, right = memory_pair()
    left.send(frames.Bye())
    await left.close()
    assert await right.receive() == frames.Bye()
    for end in (right, left, right):
        with pytest.raises(LinkClosedError):
            await end.receive()
    right.send(frames.Bye())
    await right.close()
