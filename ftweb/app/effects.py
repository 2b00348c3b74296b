"""What applying a log entry releases. A bridge turns effects into frames for its clients.

Within one entry the order is: the change, the messages, the reply. Releasing is idempotent for
clients: a reply bears its serial, a message its index and position.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftweb.core.types import Index, Json
from ftweb.frames import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOpened:
    """A client has a session; also when it had one already."""

    client_id: str
    session: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """The app's state has changed."""

    index: Index
    patch: list[dict[str, Json]]
    """RFC 6902: ``add``, ``remove`` and ``replace`` only. Not to be changed by who gets it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A handler sent a message."""

    index: Index
    position: int
    """Which of the entry's messages this is, from 0."""
    to: tuple[str, ...] | None
    """Client ids; None means everybody."""
    payload: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Replied:
    """A request has its answer: ``error``, or else ``payload``."""

    client_id: str
    session: int
    serial: int
    payload: Json = None
    error: Failure | None = None


type Effect = SessionOpened | Changed | Sent | Replied
