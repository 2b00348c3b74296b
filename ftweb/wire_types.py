"""What the frames of the wire protocol (:mod:`ftweb.frames`) are made of."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ftweb.limits import ID_CHARS, LEFT_EPOCHS

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARS)]
"""A node, client, device or server identifier."""

Secret = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
"""A key or token: 128 random bits as hex digits."""

Proof = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""An HMAC-SHA-256 as hex digits (:mod:`ftweb.relay.handshake`)."""

Url = Annotated[str, msgspec.Meta(max_length=256)]
"""An origin, ``http://ADDRESS:PORT``."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A counter, index or term: what JavaScript's numbers hold exactly."""

DURATION_MOST: Final = 1e15

Duration = Annotated[float, msgspec.Meta(ge=0, le=DURATION_MOST)]
"""Milliseconds."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels: a documented code (or the app's own) and a sentence."""

    code: str
    message: str


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sent a request, as its bridge vouches for it.

    ``client_id`` is one page load, ``device_id`` one browser profile; both are derived from
    secrets that only the sender has, so knowing an id does not let anybody act as it.
    """

    client_id: Id
    device_id: Id
    presenter: bool = False


class Left(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node has left an epoch for good: it has ended, or follows another one by now."""

    node: Id
    epoch: Count
    term: Count
    index: Count
    """The last entry that it had of that epoch's log: it never accepted a later one."""
    voters: list[Id] = []
    """Of the last configuration in that log."""


LeftEpochs = Annotated[list[Left], msgspec.Meta(max_length=LEFT_EPOCHS + 1)]
"""And, when a node ends, the one in which it was."""
