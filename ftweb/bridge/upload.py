"""What a client sends with its request: read when somebody wants it, bounded, and for a while kept.

1. At most ``limit`` bytes, and a piece at least every HTTP_STALL_SECONDS.
2. The first HTTP_REPLAY_BYTES are kept: while the whole of what was read is, it can be read again
   from the start, for the next host.
3. After the end, waiting for more is waiting for the client to go away.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ftweb.bridge.security import Receive
from ftweb.limits import HTTP_REPLAY_BYTES, HTTP_STALL_SECONDS


class UploadError(Exception):
    """The body cannot be had: the status that says so; 0 if nobody is there to be told."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


GONE: Final = 0


class Upload:
    """A request's body.

    Args:
        receive: ASGI's.
        limit: most bytes.
    """

    def __init__(self, receive: Receive, *, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._kept: list[bytes] = []
        self._kept_whole = True
        self._position = 0
        self._read = 0
        self._ended = False

    @property
    def replayable(self) -> bool:
        """Whether it can be read again from the start."""
        return self._kept_whole

    def rewind(self) -> None:
        """Read again from the start."""
        assert self._kept_whole
        self._position = 0

    async def read(self) -> bytes | None:
        """The next piece; None at the end.

        Raises:
            UploadError: there is none.
        """
        if self._position < len(self._kept):
            piece = self._kept[self._position]
            self._position += 1
            return piece
        while not self._ended:
            try:
                async with asyncio.timeout(HTTP_STALL_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise UploadError(408) from None
            if message["type"] != "http.request":
                raise UploadError(GONE)
            self._ended = not message.get("more_body", False)
            piece = bytes(message.get("body", b""))
            if not piece:
                continue
            self._read += len(piece)
            if self._read > self._limit:
                raise UploadError(413)
            if self._kept_whole and self._read <= HTTP_REPLAY_BYTES:
                self._kept.append(piece)
                self._position += 1
            else:
                self._kept_whole = False
                self._kept.clear()
                self._position = 0
            return piece
        return None

    async def gone(self) -> None:
        """Wait, after the end, until the client is gone or has its whole response."""
        while (await self._receive())["type"] == "http.request":
            pass
