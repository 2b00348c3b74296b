"""What a client says and when, without I/O: frames in, frames and events out.

The rules that make a request happen exactly once, whatever socket or host it meets:

1. One *client session*, a number that the log gave, outlives sockets and hosts. It is asked
   for when there is a host (``open_session``) and asked for again until it comes.
2. Every request has a serial of its own, growing by one, never reused, also not in a later
   session. It is kept until its reply is here, and repeated as it is: the replicas
   answer a serial they know from their cache.
3. Bridges do not queue. Without a host, requests are only kept. Whenever ``status`` names a new
   (epoch, term, host), and on each new socket, everything kept is sent again in serial order.
4. As a last resort (a frame lost with nothing else to tell of it) what has waited for
   ``resend_after`` is sent again on the next tick.
5. ``acknowledged`` is the serial below the lowest one kept: those replies may be dropped. No
   serial is further ahead of it than the replies that replicas keep (``pending_requests``), so an
   unanswered request is never forgotten while later ones are answered.
6. After ``session_expired`` nobody can say whether a request of that session was run, so all
   that were ever sent in it fail with that code. What was never sent goes into the next session.
7. What a bridge has refused twice in a row as malformed would be refused for ever, and take the
   connection with it each time: all that was sent fails with the bridge's code.
8. Where another server (another GUID) answers at the address, nothing of the old one's session,
   state or messages holds; what was sent fails like under rule 6.
9. A message is handled once: (index, position) only grows within an epoch. After a reconnect
   the last index is asked for again, since the socket may have closed between its positions.
10. A provisional reply may still turn out otherwise (``outcome``). The last PROVISIONAL_KEPT such
    requests are kept with their replies, so that the script can be told what has changed.

One such object per connection; times are seconds of any steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ftweb import frames
from ftweb.client.events import (
    Event,
    Outcome,
    Received,
    Refused,
    Replied,
    StateChanged,
    StatusChanged,
    Welcomed,
)
from ftweb.client.state import StateCopy
from ftweb.errors import RequestError
from ftweb.limits import PENDING_REQUESTS, PING_SECONDS

FATAL_CODES = frozenset({"bad_token", "version_mismatch"})
"""Errors that connecting again cannot heal."""

MALFORMED_CODES = frozenset({"bad_frame", "too_large", "too_deep"})
"""Errors for which the frames that we sent are to blame."""

REFUSALS = 2
"""Rule 7. Once may be a bridge that is being replaced."""

MISSED_PINGS = 2
"""A bridge that let so many pings pass in complete silence is taken for gone."""


SEVERAL_PING_SECONDS = 0.5
"""With another bridge to go to: a bridge whose network is gone is left after 1.25 s, as bridges
leave one another."""

PROVISIONAL_KEPT = 256
"""Rule 10: as many as a page keeps."""


@dataclass(kw_only=True, slots=True)
class _Pending:
    payload: Any
    sent_at: float | None = None
    """When it was last sent in the current session, on whatever socket; None: never."""


class ClientSession:
    """The sans-I/O half of a client connection.

    Feed it with :meth:`opened`, :meth:`closed`, :meth:`receive`, :meth:`request` and
    :meth:`tick`; after each, send what :meth:`frames_to_send` hands over and act on
    :meth:`events`. Both drain: what was handed over is not kept.
    """

    def __init__(
        self,
        *,
        client_key: str,
        device_key: str,
        token: str,
        resend_after: float = PING_SECONDS,
    ) -> None:
        self.state = StateCopy()
        self.status: frames.Status | None = None
        self.welcome: frames.Welcome | None = None
        """The latest; ``None`` before the first."""
        self.connected = False
        """There is a socket, and its bridge has said welcome."""
        self.origin = ""
        """Where the present or latest socket leads; the keeper sets it."""

        self._client_key = client_key
        self._device_key = device_key
        self._token = token
        self._resend_after = resend_after
        self._pending: dict[int, _Pending] = {}
        self._last_serial = 0
        self._session: int | None = None
        self._expired_session = 0
        self._session_asked_at: float | None = None
        self._route: tuple[int, int, str] | None = None
        """(epoch, term, host) that this socket's requests go to; None while there is none."""
        self._last_message = (0, 0)
        self._epoch = 0
        self._last_outcome = 0
        self._provisional: dict[int, tuple[Any, frames.Reply]] = {}
        self._resyncing = False
        self._refusals = 0
        self._heard_at = 0.0
        self._pinged: tuple[int, float] | None = None
        self._ping_count = 0
        self._rtt = 0.0
        self._out: list[frames.Frame] = []
        self._events: list[Event] = []

    # --- what happens to us ---------------------------------------------------------------

    def opened(self, now: float) -> None:
        """A socket is open: say hello."""
        self.connected = False
        self._route = None
        self._resyncing = False
        self._pinged = None
        self._heard_at = now
        self._out = [
            frames.Hello(
                version=frames.PROTOCOL_VERSION,
                client_key=self._client_key,
                device_key=self._device_key,
                token=self._token,
                client="python",
                epoch=self.state.epoch,
                state_index=self.state.index,
                message_index=max(0, self._last_message[0] - 1),
            )
        ]

    def closed(self, refusal: frames.Failure | None = None) -> None:
        """The socket is gone. Requests are kept, but for rule 7.

        Args:
            refusal: why the bridge closed it, if it said so.
        """
        self.connected = False
        self._route = None
        self._out = []
        if refusal is not None and refusal.code in MALFORMED_CODES:
            self._refusals += 1
            if self._refusals >= REFUSALS:
                self._refusals = 0
                self._fail_sent(refusal)

    def request(self, payload: Any, now: float) -> int:
        """Take a request, already checked to be JSON and within bounds.

        Returns:
            Its serial; exactly one :class:`Replied` will bear it.

        Raises:
            RequestError: ``too_many_pending``.
        """
        limit = self.welcome.limits.pending_requests if self.welcome else PENDING_REQUESTS
        if self._last_serial - self._acknowledged >= limit:
            raise RequestError(
                f"Too many requests are unanswered: a connection may be {limit} ahead of its "
                "oldest one without a reply. Wait for replies first.",
                code="too_many_pending",
            )
        self._last_serial += 1
        self._pending[self._last_serial] = pending = _Pending(payload=payload)
        if self._route is not None and self._session is not None:
            self._send(self._last_serial, pending, now)
        elif self._route is not None:
            self._ask_session(now)
        return self._last_serial

    def leave(self) -> None:
        """Say that we go on purpose."""
        if self.connected:
            self._out.append(frames.Bye())

    @property
    def elsewhere(self) -> list[frames.BridgeAddress]:
        """The other bridges of the latest status, those with fewest clients first."""
        if self.status is None or self.welcome is None:
            return []
        others = [each for each in self.status.bridges if each.node_id != self.welcome.bridge]
        return sorted(others, key=lambda each: each.clients)

    @property
    def ping_seconds(self) -> float:
        """How often to tick. Where there is another bridge to go to, a silent one is found soon."""
        told = self.welcome.limits.ping_seconds if self.welcome else PING_SECONDS
        return min(told, SEVERAL_PING_SECONDS) if self.elsewhere else told

    def tick(self, now: float) -> bool:
        """Ping, and repeat what has waited for too long. To be called every ping interval.

        Returns:
            Whether the connection still lives; if not, close the socket and open another.
        """
        ping_seconds = self.ping_seconds
        if now - self._heard_at > ping_seconds * (MISSED_PINGS + 0.5):
            return False
        if not self.connected:
            return True
        self._ping_count += 1
        self._pinged = (self._ping_count, now)
        self._out.append(frames.Ping(n=self._ping_count, rtt=self._rtt))
        if self._route is not None:
            if self._session is None and self._session_asked_at is not None:
                if now - self._session_asked_at >= self._resend_after:
                    self._ask_session(now, again=True)
            elif self._session is not None:
                for serial, pending in self._pending.items():
                    if pending.sent_at is None or now - pending.sent_at >= self._resend_after:
                        self._send(serial, pending, now)
        return True

    def receive(self, frame: frames.Frame, now: float) -> None:
        """Take a frame from the bridge. Frames that are not for clients are ignored."""
        self._heard_at = now
        match frame:
            case frames.Reply():
                self._replied(frame, now)
            case frames.Change():
                self._enter(frame.epoch)
                self._changed(self.state.change(frame))
            case frames.Status():
                self._status_came(frame, now)
            case frames.State():
                self._enter(frame.epoch)
                self._resyncing = False
                self._changed(self.state.replace(frame))
            case frames.Outcome():
                self._outcome_came(frame, now)
            case frames.Message():
                if (frame.index, frame.position) > self._last_message:
                    self._last_message = (frame.index, frame.position)
                    self._events.append(Received(payload=frame.payload))
            case frames.Session():
                self._session_came(frame.session, now)
            case frames.Pong():
                if self._pinged is not None and self._pinged[0] == frame.n:
                    self._rtt = (now - self._pinged[1]) * 1000.0
            case frames.Ping():
                self._out.append(frames.Pong(n=frame.n))
            case frames.Welcome():
                if self.welcome is not None and self.welcome.guid != frame.guid:
                    self._begin_anew()
                self.welcome = frame
                self.connected = True
                self._events.append(Welcomed(welcome=frame))
            case frames.Error():
                if frame.fatal:
                    self._events.append(Refused(code=frame.code, message=frame.message))
            case _:
                pass

    # --- what we want ---------------------------------------------------------------------

    def frames_to_send(self) -> list[frames.Frame]:
        """The frames to send now, in order."""
        out, self._out = self._out, []
        return out

    def events(self) -> list[Event]:
        """What has happened, in order."""
        events, self._events = self._events, []
        return events

    @property
    def pending(self) -> int:
        """Requests without a result."""
        return len(self._pending)

    # --- inside ---------------------------------------------------------------------------

    @property
    def _acknowledged(self) -> int:
        return next(iter(self._pending), self._last_serial + 1) - 1

    def _send(self, serial: int, pending: _Pending, now: float) -> None:
        assert self._session is not None
        pending.sent_at = now
        self._out.append(
            frames.Request(
                session=self._session,
                serial=serial,
                acknowledged=self._acknowledged,
                payload=pending.payload,
            )
        )

    def _send_all(self, now: float) -> None:
        for serial, pending in self._pending.items():
            self._send(serial, pending, now)

    def _ask_session(self, now: float, *, again: bool = False) -> None:
        if again or self._session_asked_at is None:
            self._session_asked_at = now
            self._out.append(frames.OpenSession())

    def _session_came(self, session: int, now: float) -> None:
        # A lower one may be newer: what expired may have been given in another part of the group.
        if self._session is not None or session == self._expired_session:
            return
        self._session = session
        self._session_asked_at = None
        if self._route is not None:
            self._send_all(now)

    def _enter(self, epoch: int) -> None:
        """A frame of that epoch has come. Who joins gets the state first, then messages, then the
        status: what is known of messages must not be forgotten after they came."""
        if epoch in (0, self._epoch):
            return  # 0 is none: the bridge has just been started, and hears of the group's soon
        # Another history: its log indexes say nothing about those seen before.
        self._epoch = epoch
        self._last_message = (0, 0)
        self._last_outcome = 0
        self._expired_session = 0

    def _status_came(self, status: frames.Status, now: float) -> None:
        self._enter(status.epoch)
        if status != self.status:
            self.status = status
            self._events.append(StatusChanged(status=status))
        route = None if status.host is None else (status.epoch, status.term, status.host)
        if route == self._route:
            return
        self._route = route
        if route is None:
            return
        if self._session is None:
            # Opened ahead of the first request, which then needs one way through the log only.
            self._ask_session(now, again=True)
        else:
            self._send_all(now)

    def _replied(self, reply: frames.Reply, now: float) -> None:
        self._refusals = 0
        pending = self._pending.pop(reply.serial, None)
        if pending is None:
            return
        self._events.append(Replied(serial=reply.serial, payload=reply.payload, error=reply.error))
        if reply.provisional:
            self._provisional[reply.serial] = (pending.payload, reply)
            if len(self._provisional) > PROVISIONAL_KEPT:
                del self._provisional[next(iter(self._provisional))]
        if reply.error is not None and reply.error.code == "session_expired":
            self._expire(reply.error, now)

    def _outcome_came(self, outcome: frames.Outcome, now: float) -> None:
        """Rule 10. Outcomes are sent again, as messages are: those seen are dropped."""
        if outcome.index <= self._last_outcome:
            return
        self._last_outcome = outcome.index
        if outcome.serial in self._pending:
            # The provisional reply never came: this is the first that is heard of it.
            reply = frames.Reply(
                serial=outcome.serial, payload=outcome.payload, error=outcome.error
            )
            self._replied(reply, now)
            return
        kept = self._provisional.pop(outcome.serial, None)
        if kept is not None:
            payload, before = kept
            self._events.append(
                Outcome(
                    request=_plain(payload),
                    reply=outcome.payload,
                    error=_error(outcome.error),
                    previous_reply=before.payload,
                    previous_error=_error(before.error),
                )
            )

    def _expire(self, failure: frames.Failure, now: float) -> None:
        """Rule 6."""
        if self._session is not None:
            self._expired_session = self._session
        self._session = None
        self._fail_sent(failure)
        if self._route is not None:
            self._ask_session(now, again=True)

    def _begin_anew(self) -> None:
        """Rule 8."""
        message = "Another server answers here now; whether the request was handled is not known."
        self._fail_sent(frames.Failure(code="session_expired", message=message))
        self.state = StateCopy()
        self.status = None
        self._session = self._session_asked_at = None
        self._expired_session = 0
        self._last_message = (0, 0)
        self._last_outcome = self._epoch = 0
        self._provisional.clear()

    def _fail_sent(self, failure: frames.Failure) -> None:
        """Give every request that was ever sent its result; keep the others."""
        for serial, pending in list(self._pending.items()):
            if pending.sent_at is not None:
                del self._pending[serial]
                self._events.append(Replied(serial=serial, error=failure))

    def _changed(self, changed: bool | None) -> None:
        if changed:
            self._events.append(StateChanged(value=self.state.value))
        elif changed is None and not self._resyncing:
            self._resyncing = True
            self._out.append(frames.Resync())


def _plain(payload: Any) -> Any:
    """What was sent, as a value: it is kept encoded, so that nobody changes it meanwhile."""
    return msgspec.json.decode(payload) if isinstance(payload, msgspec.Raw) else payload


def _error(failure: frames.Failure | None) -> RequestError | None:
    return None if failure is None else RequestError(failure.message, code=failure.code)
