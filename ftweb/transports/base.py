"""The interface of all transports."""

from __future__ import annotations

from typing import Protocol

from ftweb.errors import FtwebError
from ftweb.frames import Frame


class LinkClosedError(FtwebError):
    """The link is gone.

    Args:
        message: why, in words.
        close_code: the WebSocket close code, or 1006 when nothing was said.
    """

    code = "closed"

    def __init__(self, message: str, *, close_code: int = 1006, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.close_code = close_code


class Link(Protocol):
    """A two-way stream of frames."""

    def send(self, frame: Frame) -> None:
        """Queue a frame. Never blocks; on a dead link the frame is dropped silently, since the
        reader is told."""

    async def receive(self) -> Frame:
        """The next frame.

        Raises:
            LinkClosedError: the link is gone; every later call raises it too.
            FrameError: the peer sent something that is no frame; the caller should close.
        """

    async def close(self, *, close_code: int = 1000, reason: str = "") -> None:
        """Say goodbye and end. Safe to call again."""
