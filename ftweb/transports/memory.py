"""A pair of links within one process, through the real codec."""

from __future__ import annotations

import asyncio

from ftweb import codec
from ftweb.frames import Frame
from ftweb.transports.base import LinkClosedError


class MemoryLink:
    """One end of a pair (see :func:`memory_pair`)."""

    def __init__(self) -> None:
        self._incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self._peer: MemoryLink | None = None

    def join(self, peer: MemoryLink) -> None:
        """Make ``peer`` the other end."""
        self._peer = peer

    def send(self, frame: Frame) -> None:
        """See :class:`~ftweb.transports.base.Link`."""
        if self._peer is not None:
            self._peer._incoming.put_nowait(codec.encode(frame))

    async def receive(self) -> Frame:
        """See :class:`~ftweb.transports.base.Link`."""
        text = await self._incoming.get()
        if text is None:
            self._incoming.put_nowait(None)  # so that later calls raise as well
            raise LinkClosedError("The other end closed the link.", close_code=1000)
        return codec.decode(text)

    async def close(self, *, close_code: int = 1000, reason: str = "") -> None:
        """See :class:`~ftweb.transports.base.Link`."""
        peer, self._peer = self._peer, None
        self._incoming.put_nowait(None)
        if peer is not None:
            peer._peer = None
            peer._incoming.put_nowait(None)


def memory_pair() -> tuple[MemoryLink, MemoryLink]:
    """Two joined ends. What one sends the other receives, encoded and checked on the way."""
    left, right = MemoryLink(), MemoryLink()
    left.join(right)
    right.join(left)
    return left, right
