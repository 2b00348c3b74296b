"""What both ends of a stream have: credit to send, a box for what came, and the batching sender.

1. Nothing is sent that the other side has not granted, so what waits at the receiver is bounded by
   the window that it granted, whoever is slow.
2. Credit is given back when half a window has been taken, not per piece.
3. Frames of one turn of the event loop travel in one message: a small response is one message. A
   full message goes at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ftweb.flyweb import wire
from ftweb.flyweb.wire import Kind

TURN_BYTES: Final = wire.PIECE_BYTES
"""What a socket sends before the event loop gets a turn: in a tab about 2 ms. Consensus runs in the
same thread, and a download would otherwise never let it."""

LEAST_BYTES: Final = 2048
"""What a frame counts at least for that: small ones cost time too."""


class Credit:
    """How many bytes may still be sent on one stream."""

    def __init__(self, window: int) -> None:
        self._left = window
        self._waiter: asyncio.Future[None] | None = None

    async def ready(self) -> None:
        """Wait until something may be sent."""
        while self._left <= 0:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def take(self, wanted: int) -> int:
        """How much of ``wanted`` may be sent now; it counts as sent."""
        taken = max(0, min(wanted, self._left))
        self._left -= taken
        return taken

    def grant(self, count: int) -> None:
        """The receiver has taken something."""
        self._left += count
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Inbox[T]:
    """What has come and was not taken yet. One reader; closing it is the writer's last item."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def last(self) -> T | None:
        """The newest item, if there is one."""
        return self._items[-1] if self._items else None

    def replace_last(self, item: T) -> None:
        """Put an item in the place of the newest."""
        self._items[-1] = item

    def clear(self) -> None:
        """Drop all items."""
        self._items.clear()

    def put(self, item: T) -> None:
        """Add an item; never blocks, since credit bounds what may come."""
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> T:
        """The oldest item, when there is one."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def get_nowait(self) -> T | None:
        """The oldest item, if there is one."""
        return self._items.popleft() if self._items else None

    def peek(self) -> T | None:
        """The oldest item, if there is one; it stays."""
        return self._items[0] if self._items else None


class Receipts:
    """Counts what was taken of one stream, and grants as much anew.

    Args:
        stream: its number.
        window: what was granted at first.
        send: takes a frame.
    """

    def __init__(self, stream: int, window: int, send: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._half = max(1, window // 2)
        self._send = send
        self._taken = 0

    def took(self, count: int) -> None:
        """So many bytes were passed on."""
        self._taken += count
        if self._taken >= self._half:
            self._send(wire.encode_credit(self._stream, self._taken))
            self._taken = 0


class Sender:
    """Joins frames to messages.

    Args:
        post: sends one message; must not block.
    """

    def __init__(self, post: Callable[[bytes], None]) -> None:
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._turn_bytes = 0
        self._turn: asyncio.Handle | None = None

    @property
    def full(self) -> bool:
        """So much was sent in this turn of the event loop that the next one should come."""
        return self._turn_bytes >= TURN_BYTES

    def _next_turn(self) -> None:
        self._turn = None
        self._turn_bytes = 0
        self.flush()

    def send(self, *parts: bytes | memoryview, now: bool = False) -> None:
        """Send a frame with those of this turn.

        Args:
            parts: the frame; see :mod:`ftweb.flyweb.wire`.
            now: nothing worth waiting for follows in this turn.
        """
        size = sum(map(len, parts))
        if self._size + size > wire.PIECE_BYTES + 1024:
            self.flush()
        self._parts += parts
        self._size += size
        self._turn_bytes += max(size, LEAST_BYTES)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._next_turn)
        if now or self._size >= wire.PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        if self._parts:
            message = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._post(message)

    async def send_data(
        self, stream: int, data: bytes | memoryview, credit: Credit, flags: int = 0
    ) -> None:
        """Send bytes as DATA frames, as the receiver's credit allows; END goes with the last."""
        rest = memoryview(data if isinstance(data, bytes) else bytes(data))  # it may change soon
        while len(rest):
            count = credit.take(min(len(rest), wire.PIECE_BYTES))
            if not count:
                await credit.ready()
                continue
            piece, rest = rest[:count], rest[count:]
            last = flags if not len(rest) else flags & ~wire.END
            header = wire.encode_header(Kind.DATA, stream, count, last)
            self.send(header, piece, now=bool(last & wire.END))
        if not len(data) and flags & wire.END:
            self.send(wire.encode(Kind.DATA, stream, b"", flags), now=True)
