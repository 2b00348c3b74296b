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
8. While a group is in two parts, a client may be given a session in each. When they meet, the
   number from the other part is *adopted*: it becomes one more number of the client's session, or
   the number of a new one. Who decides that is the host, and its decision stands in the entry. A
   number is adopted once: after its session has ended it is as any other that has (rule 7).
9. What was answered in the other part raises the floor here past serials that were never run
   here. Those are the session's *holes*. A request that is replayed from the other part is new if
   its serial lies in a hole, and fills it; nothing else below the floor is ever run.
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
    SESSION_HOLES,
    SESSION_NUMBERS,
    SESSION_REPLIES,
    SESSION_SECONDS,
    SESSIONS,
    SESSIONS_ADOPTED,
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
    numbers: list[Index]
    """The first one is told to the client; the others were adopted (rule 8)."""
    used: int
    """The table's time when it was last used."""
    floor: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of serials up to the floor, both ends included, that were never run here (rule 9)."""
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
        self._adopted: dict[tuple[str, Index], None] = {}
        """Clients and numbers, the first adopted first (rule 8)."""
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
        return session.numbers[0] if session else None

    def knows(self, client_id: str, session: Index) -> bool:
        """Whether a client's session has this number."""
        found = self._sessions.get(client_id)
        return found is not None and session in found.numbers

    def look(
        self,
        client_id: str,
        session: Index,
        serial: int,
        *,
        at: int | None = None,
        adopt: bool = False,
        replay: bool = False,
    ) -> Standing:
        """What a request is, now or at a later time.

        Args:
            at: as if the clock had been advanced to it.
            adopt: as if the session's number had been adopted.
            replay: it comes from an epoch that has been given up.
        """
        found = self._sessions.get(client_id)
        if found is not None and at is not None and found.used + self._age < self._time_at(at):
            found = None
        if found is None or session not in found.numbers:
            if not adopt or (client_id, session) in self._adopted:
                return Standing.EXPIRED
            if found is None:
                return Standing.NEW
        if serial in found.replies:
            return Standing.REPLIED
        if serial > found.floor or (replay and _hole_of(found, serial) is not None):
            return Standing.NEW
        return Standing.ACKNOWLEDGED

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
        return self._use(client_id, index).numbers[0]

    def renumber(self, client_id: str, index: Index) -> None:
        """Give the final number to a session that a host opened ahead of the log."""
        self._sessions[client_id].numbers[0] = index

    def answer(
        self,
        *,
        client_id: str,
        session: Index,
        serial: int,
        acknowledged: int,
        at: int,
        kept: Kept,
        adopt: bool = False,
        replay: bool = False,
    ) -> Kept:
        """A request stands in the log: keep its reply if it is new, else find what to answer.

        The host calls this for what it is about to append, the replicas for what they apply, so
        both make the same of it.

        Args:
            kept: the reply, for the case that the request is new.

        Returns:
            What its sender is answered.
        """
        standing = self.look(client_id, session, serial, at=at, adopt=adopt, replay=replay)
        self.advance(at)
        if standing is Standing.EXPIRED:
            return Kept(error=EXPIRED)
        found = self._use(client_id, session)
        if adopt:
            self._adopted[client_id, session] = None
            if len(self._adopted) > SESSIONS_ADOPTED:
                del self._adopted[next(iter(self._adopted))]
        if session not in found.numbers:
            found.numbers.append(session)
            if len(found.numbers) > SESSION_NUMBERS:
                del found.numbers[1]
        answer = kept
        if standing is Standing.REPLIED:
            answer = found.replies[serial]
        elif standing is Standing.ACKNOWLEDGED:
            answer = Kept(error=ACKNOWLEDGED)
        new = standing is Standing.NEW
        self._raise_floor(found, acknowledged, runs=serial if new else 0)
        if new:
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
        other._adopted = dict(self._adopted)
        other._sessions = {
            client_id: _Session(
                numbers=list(session.numbers),
                used=session.used,
                floor=session.floor,
                holes=list(session.holes),
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
            "adopted": [list(each) for each in self._adopted],
            "sessions": [
                [
                    client_id,
                    list(session.numbers),
                    session.used,
                    session.floor,
                    [list(hole) for hole in session.holes],
                    [
                        [serial, kept.payload, kept.error and _failure_json(kept.error)]
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
        for client_id, numbers, used, floor, holes, replies in map(_upgrade, data["sessions"]):
            kept = {
                int(serial): Kept(payload=value, error=Failure(**error) if error else None)
                for serial, value, error in replies
            }
            sessions[str(client_id)] = _Session(
                numbers=[int(number) for number in numbers],
                used=int(used),
                floor=int(floor),
                holes=[(int(first), int(last)) for first, last in holes],
                replies=kept,
                weight=sum(map(_weight, kept.values())),
            )
        clock, time = int(data["clock"]), int(data["time"])
        adopted = {(str(client), int(number)): None for client, number in data.get("adopted", ())}
        self._adopted = adopted
        self._sessions, self.clock, self.time = sessions, clock, time
        self._weight = sum(session.weight for session in sessions.values())

    # --- inside -------------------------------------------------------------------------------

    def _use(self, client_id: str, number: Index) -> _Session:
        """The client's session, used now; a new one with this number if it has none."""
        found = self._sessions.pop(client_id, None) or _Session(numbers=[number], used=self.time)
        found.used = self.time
        self._sessions[client_id] = found
        while len(self._sessions) > self._most:
            self._end(next(iter(self._sessions)))
        return found

    def _keep(self, session: _Session, serial: int, kept: Kept) -> None:
        self._raise_floor(session, serial - SESSION_REPLIES)
        if serial <= session.floor:
            _fill(session, serial)
            return  # acknowledged along with the request itself: nobody will ask
        weight = _weight(kept)
        session.replies[serial] = kept
        session.weight += weight
        self._weight += weight
        while self._weight > self._chars:
            self._drop_oldest_of_heaviest()

    def _time_at(self, at: int) -> int:
        if at <= self.clock or not self.clock:
            return self.time
        return self.time + min(at - self.clock, SESSION_GAP_SECONDS * 1000)

    def _end(self, client_id: str) -> None:
        self._weight -= self._sessions.pop(client_id).weight

    def _raise_floor(self, session: _Session, floor: int, *, runs: int = 0) -> None:
        """What has no reply below the new floor was not run here, but for ``runs``, which is."""
        if floor <= session.floor:
            return
        passed = [serial for serial in session.replies if serial <= floor]
        first = session.floor + 1
        for serial in sorted({*passed, runs, floor + 1}):
            if first <= serial <= floor + 1:
                if first < serial:
                    _dig(session, first, serial - 1)
                first = serial + 1
        session.floor = floor
        for serial in passed:
            self._drop(session, serial)

    def _drop(self, session: _Session, serial: int) -> None:
        weight = _weight(session.replies.pop(serial))
        session.weight -= weight
        self._weight -= weight

    def _drop_oldest_of_heaviest(self) -> None:
        heaviest = max(self._sessions.values(), key=lambda session: session.weight)
        self._raise_floor(heaviest, min(heaviest.replies))


def _upgrade(item: Any) -> Any:
    """A session as version 1 of snapshots had it: one number, no holes."""
    if len(item) == 5:
        client_id, number, used, floor, replies = item
        return client_id, [number], used, floor, [], replies
    return item


def _hole_of(session: _Session, serial: int) -> int | None:
    for place, (first, last) in enumerate(session.holes):
        if first <= serial <= last:
            return place
    return None


def _dig(session: _Session, first: int, last: int) -> None:
    """A hole above all others."""
    if session.holes and session.holes[-1][1] == first - 1:
        first = session.holes.pop()[0]
    session.holes.append((first, last))
    if len(session.holes) > SESSION_HOLES:
        del session.holes[0]


def _fill(session: _Session, serial: int) -> None:
    place = _hole_of(session, serial)
    if place is None:
        return
    first, last = session.holes[place]
    parts = [(first, serial - 1), (serial + 1, last)]
    session.holes[place : place + 1] = [part for part in parts if part[0] <= part[1]]


def _weight(kept: Kept) -> int:
    """Of ``[payload, error]``."""
    error = len("null") if kept.error is None else payload.weight(_failure_json(kept.error))
    return payload.weight(kept.payload) + error + len("[,]")


def _failure_json(failure: Failure) -> dict[str, Json]:
    return {"code": failure.code, "message": failure.message}
