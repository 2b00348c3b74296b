"""Client sessions: what makes a request take effect exactly once (Raft dissertation, section 6.3).

The table is part of the replicated state: every replica changes it alike, in log order, and every
snapshot holds it.

1. A session is opened by a log entry whose index becomes its number. A client (one page load) has
   at most one; opening again gives the same number. No number is ever given twice, so a session
   that has gone can never be mistaken for a new one.
2. A reply is kept under (client, session, serial) until the client acknowledges it. The same
   request again gets the kept reply, whichever host answers.
3. Each session has a *floor*: replies up to it are gone. It rises with what the client
   acknowledges, to ``serial - SESSION_REPLIES`` (a client may not be further ahead of its
   acknowledgements than that), and when the table holds too much (rule 6). A serial at or below
   the floor is answered ``serial_acknowledged`` and never run.
4. So a serial is *new* exactly when it is above the floor and has no reply. Serials may come in
   any order.
5. Sessions end in log order: the one silent for longest when there are more than ``SESSIONS``,
   and whichever was silent for ``SESSION_SECONDS``. Time is what leaders stamp on entries, made
   monotonic; between two entries at most ``SESSION_GAP_SECONDS`` of it count, so a leader's wrong
   clock cannot end everybody's session. No replica looks at its own clock.
6. All kept replies together stay within ``SESSIONS_CHARS``: beyond it the session that holds most
   loses its oldest ones.
7. A request of a session that has ended, or that never was, is answered ``session_expired``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final

from ftweb.app import payload
from ftweb.core.types import Index, Json, Record
from ftweb.frames import Failure
from ftweb.limits import (
    SESSION_GAP_SECONDS,
    SESSION_REPLIES,
    SESSION_SECONDS,
    SESSIONS,
    SESSIONS_CHARS,
)

EXPIRED: Final = Failure(
    code="session_expired",
    message="This session was dropped after a long silence. Whether the request had run before "
    "is unknown; it was not run again. Reload the page.",
)
ACKNOWLEDGED: Final = Failure(
    code="serial_acknowledged",
    message="The reply to this request was given, and has been dropped since. It was not run "
    "again.",
)


class Standing(enum.Enum):
    """What a request is to its session."""

    NEW = "new"
    REPLIED = "replied"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"


class Kept(Record, frozen=True, kw_only=True):
    """A cached reply: ``error``, or else ``payload``."""

    payload: Json = None
    error: Failure | None = None


@dataclass(kw_only=True, slots=True)
class _Session:
    number: Index
    used: int
    """The table's time when it was last used."""
    floor: int = 0
    replies: dict[int, Kept] = field(default_factory=dict)
    weight: int = 0


class Sessions:
    """The table. All methods but the ``look`` ones must be called in log order.

    Args:
        most, seconds, chars: the limits; tests give small ones.
    """

    def __init__(
        self,
        *,
        most: int = SESSIONS,
        seconds: float = SESSION_SECONDS,
        chars: int = SESSIONS_CHARS,
    ) -> None:
        self._most = most
        self._age = int(seconds * 1000)
        self._chars = chars
        self._sessions: dict[str, _Session] = {}
        """By client id, the one used longest ago first."""
        self._weight = 0
        self.clock = 0
        """Milliseconds since 1970, as stamped by leaders; never goes back."""
        self.time = 0
        """Milliseconds that count towards expiry (rule 5)."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._sessions

    # --- reading ------------------------------------------------------------------------------

    def number_of(self, client_id: str) -> Index | None:
        """The number of a client's session, if it has one."""
        session = self._sessions.get(client_id)
        return session.number if session else None

    def look(
        self, client_id: str, session: Index, serial: int, *, at: int | None = None
    ) -> Standing:
        """What a request is, now or at a later time.

        Args:
            at: as if the clock had been advanced to it.
        """
        found = self._sessions.get(client_id)
        if found is None or found.number != session:
            return Standing.EXPIRED
        if at is not None and found.used + self._age < self._time_at(at):
            return Standing.EXPIRED
        if serial in found.replies:
            return Standing.REPLIED
        return Standing.ACKNOWLEDGED if serial <= found.floor else Standing.NEW

    def kept(self, client_id: str, serial: int) -> Kept:
        """The reply to a request that :meth:`look` says is ``REPLIED``."""
        return self._sessions[client_id].replies[serial]

    # --- in log order -------------------------------------------------------------------------

    def advance(self, at: int) -> None:
        """Move the clock to an entry's time stamp; end the sessions that were silent too long."""
        self.time = self._time_at(at)
        self.clock = max(self.clock, at)
        expired = []
        for client_id, session in self._sessions.items():
            if session.used + self._age >= self.time:
                break  # the others were used later
            expired.append(client_id)
        for client_id in expired:
            self._end(client_id)

    def open(self, client_id: str, index: Index) -> Index:
        """Open a session, or find the one that the client has.

        Args:
            index: of the log entry that opens it.
        """
        session = self._sessions.pop(client_id, None) or _Session(number=index, used=self.time)
        session.used = self.time
        self._sessions[client_id] = session
        while len(self._sessions) > self._most:
            self._end(next(iter(self._sessions)))
        return session.number

    def renumber(self, client_id: str, index: Index) -> None:
        """Give the final number to a session that a host opened ahead of the log."""
        self._sessions[client_id].number = index

    def answer(
        self,
        *,
        client_id: str,
        session: Index,
        serial: int,
        acknowledged: int,
        at: int,
        kept: Kept,
    ) -> Kept:
        """A request stands in the log: keep its reply if it is new, else find what to answer.

        The host calls this for what it is about to append, the replicas for what they apply, so
        both make the same of it.

        Args:
            kept: the reply, for the case that the request is new.

        Returns:
            What its sender is answered.
        """
        standing = self.look(client_id, session, serial, at=at)
        self.advance(at)
        if standing is Standing.EXPIRED:
            return Kept(error=EXPIRED)
        found = self._sessions.pop(client_id)
        found.used = self.time
        self._sessions[client_id] = found
        answer = kept
        if standing is Standing.REPLIED:
            answer = found.replies[serial]
        elif standing is Standing.ACKNOWLEDGED:
            answer = Kept(error=ACKNOWLEDGED)
        self._raise_floor(found, acknowledged)
        if standing is Standing.NEW:
            self._keep(found, serial, kept)
        return answer

    # --- the whole ----------------------------------------------------------------------------

    def empty(self) -> Sessions:
        """A new table with the same limits."""
        return Sessions(most=self._most, seconds=self._age / 1000, chars=self._chars)

    def copy(self) -> Sessions:
        """A table of its own, with the same content."""
        other = self.empty()
        other.clock, other.time, other._weight = self.clock, self.time, self._weight
        other._sessions = {
            client_id: _Session(
                number=session.number,
                used=session.used,
                floor=session.floor,
                replies=dict(session.replies),
                weight=session.weight,
            )
            for client_id, session in self._sessions.items()
        }
        return other

    def to_json(self) -> dict[str, Json]:
        """The table as JSON, for snapshots and digests; the order of sessions is part of it."""
        return {
            "clock": self.clock,
            "time": self.time,
            "sessions": [
                [
                    client_id,
                    session.number,
                    session.used,
                    session.floor,
                    [
                        [serial, kept.payload, _failure_json(kept.error)]
                        for serial, kept in sorted(session.replies.items())
                    ],
                ]
                for client_id, session in self._sessions.items()
            ],
        }

    def load(self, data: Any) -> None:
        """Take over what :meth:`to_json` gave.

        Raises:
            Exception: it is something else (whatever kind comes first; the caller wraps it).
        """
        sessions: dict[str, _Session] = {}
        for client_id, number, used, floor, replies in data["sessions"]:
            kept = {
                int(serial): Kept(payload=value, error=Failure(**error) if error else None)
                for serial, value, error in replies
            }
            sessions[str(client_id)] = _Session(
                number=int(number),
                used=int(used),
                floor=int(floor),
                replies=kept,
                weight=sum(map(_weight, kept.values())),
            )
        clock, time = int(data["clock"]), int(data["time"])
        self._sessions, self.clock, self.time = sessions, clock, time
        self._weight = sum(session.weight for session in sessions.values())

    # --- inside -------------------------------------------------------------------------------

    def _keep(self, session: _Session, serial: int, kept: Kept) -> None:
        self._raise_floor(session, serial - SESSION_REPLIES)
        if serial <= session.floor:
            return  # acknowledged along with the request itself: nobody will ask
        weight = _weight(kept)
        session.replies[serial] = kept
        session.weight += weight
        self._weight += weight
        while self._weight > self._chars:
            self._drop_oldest_of_heaviest()

    def _time_at(self, at: int) -> int:
        gap = max(0, at - self.clock) if self.clock else 0
        return self.time + min(gap, SESSION_GAP_SECONDS * 1000)

    def _end(self, client_id: str) -> None:
        self._weight -= self._sessions.pop(client_id).weight

    def _raise_floor(self, session: _Session, floor: int) -> None:
        if floor <= session.floor:
            return
        session.floor = floor
        for serial in [serial for serial in session.replies if serial <= floor]:
            self._drop(session, serial)

    def _drop(self, session: _Session, serial: int) -> None:
        weight = _weight(session.replies.pop(serial))
        session.weight -= weight
        self._weight -= weight

    def _drop_oldest_of_heaviest(self) -> None:
        heaviest = max(self._sessions.values(), key=lambda session: session.weight)
        self._raise_floor(heaviest, min(heaviest.replies))


def _weight(kept: Kept) -> int:
    """Of ``[payload, error]``."""
    error = kept.error
    return payload.weight(kept.payload) + payload.weight(_failure_json(error)) + len("[,]")


def _failure_json(failure: Failure | None) -> dict[str, Json] | None:
    return {"code": failure.code, "message": failure.message} if failure else None
