"""What a relay writes to: a WebSocket of a bridge, a data channel of a tab, a simulated socket.

A wire never waits. What the network does not take at once stays in the wire's own buffer, which is
the outgoing queue: :attr:`Wire.backlog` says how full it is, the caller sets the bound.
"""

from __future__ import annotations

from typing import Protocol


class Prepared:
    """A frame's text, to be written to any number of wires.

    Attributes:
        text: the frame, encoded.
        framed: for a wire that has to wrap the text and does so once for all its kind.
    """

    __slots__ = ("framed", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.framed: bytes | None = None

    def __len__(self) -> int:
        """Its size in characters: what bounds are compared with."""
        return len(self.text)


class Wire(Protocol):
    """The sending side of one link."""

    @property
    def backlog(self) -> int:
        """Bytes written but not yet taken by the network."""

    @property
    def closing(self) -> bool:
        """Nothing more can be sent."""

    def write(self, prepared: Prepared) -> None:
        """Queue a frame. Never blocks; dropped when the wire is closing."""

    def close(self, code: int, reason: str = "") -> None:
        """Start closing. A peer that does not answer is cut off."""
