"""What the clients asked for and were told: the outside view, by which the inside is judged."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ftweb.frames import Failure

UNKNOWN_CODES = frozenset({"session_expired", "bad_frame", "too_large", "too_deep"})
"""Answers after which nobody knows whether the request was run: the session is gone, or the bridge
took the client's frames for malformed. Every other error says that nothing was changed."""


@dataclass(kw_only=True, slots=True, eq=False)
class Request:
    """One request of one client.

    Attributes:
        device: who asked; two pages of one device are one person.
        asked_at, answered_at: virtual milliseconds; ``answered_at`` is infinite without an answer.
        reply: the answer, if ``error`` is None and there is one.
    """

    client: str
    device: str
    serial: int
    payload: Any
    asked_at: float
    answered_at: float = math.inf
    reply: Any = None
    error: Failure | None = None

    @property
    def answered(self) -> bool:
        """There is an answer, of whatever kind."""
        return self.answered_at < math.inf

    @property
    def acknowledged(self) -> bool:
        """The app's handler has answered: what it did must never be lost."""
        return self.answered and self.error is None

    @property
    def refused(self) -> bool:
        """The answer says that nothing was changed."""
        return self.error is not None and self.error.code not in UNKNOWN_CODES


@dataclass(kw_only=True, slots=True)
class History:
    """All requests of a schedule, in the order in which they were asked."""

    requests: list[Request] = field(default_factory=list)
    by_serial: dict[tuple[str, int], Request] = field(default_factory=dict)
    messages: dict[str, Counter[bytes]] = field(default_factory=dict)
    """How often each client was given which message of a handler, as JSON."""

    def ask(self, request: Request) -> None:
        """A client asks."""
        self.requests.append(request)
        self.by_serial[request.client, request.serial] = request

    @property
    def acknowledged(self) -> list[Request]:
        """Requests that a handler has answered, and whose client knows."""
        return [request for request in self.requests if request.acknowledged]
