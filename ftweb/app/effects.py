"""What applying a log entry releases. A bridge turns effects into frames for its clients.

Within one entry the order is: the change, the messages, the reply. Releasing is idempotent for
clients: a reply bears its serial, a message its index and position.
"""

from __future__ import annotations

from ftweb.core.types import Index, Json, Record
from ftweb.frames import Failure


class SessionOpened(Record, frozen=True, kw_only=True):
    """A client has a session; also when it had one already."""

    client_id: str
    session: int


class Changed(Record, frozen=True, kw_only=True):
    """The app's state has changed."""

    index: Index
    patch: list[dict[str, Json]]
    """RFC 6902: ``add``, ``remove`` and ``replace`` only. Not to be changed by who gets it."""


class Sent(Record, frozen=True, kw_only=True):
    """A handler sent a message."""

    index: Index
    position: int
    """Which of the entry's messages this is, from 0."""
    to: tuple[str, ...] | None
    """Client ids; None means everybody."""
    payload: Json


class Replied(Record, frozen=True, kw_only=True):
    """A request has its answer: ``error``, or else ``payload``."""

    client_id: str
    session: int
    serial: int
    payload: Json = None
    error: Failure | None = None


class Outcome(Record, frozen=True, kw_only=True):
    """A request that was answered provisionally has another answer now."""

    index: Index
    client_id: str
    serial: int
    payload: Json = None
    error: Failure | None = None


type Effect = SessionOpened | Changed | Sent | Replied | Outcome
