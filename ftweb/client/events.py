"""What a client session has to tell: the other half of what it wants to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ftweb import frames
from ftweb.errors import RequestError


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcomed:
    """The bridge let us in."""

    welcome: frames.Welcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Replied:
    """The one result of a request."""

    serial: int
    payload: Any = None
    error: frames.Failure | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A request whose provisional reply turned out otherwise: the group had been in parts."""

    request: Any
    """The payload that was sent."""
    reply: Any = None
    """What holds now, unless ``error`` does."""
    error: RequestError | None = None
    previous_reply: Any = None
    """What was told at first, unless ``previous_error`` was."""
    previous_error: RequestError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """A message sent by a handler."""

    payload: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class StateChanged:
    """The state copy has a new value."""

    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusChanged:
    """The bridge told of another host, quorum or head count."""

    status: frames.Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The bridge told why it closes the connection."""

    code: str
    message: str


type Event = Welcomed | Replied | Outcome | Received | StateChanged | StatusChanged | Refused
