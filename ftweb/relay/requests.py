"""Requests on their way from a client to the host.

1. A request goes to the host of the (epoch, term) that the relay's own replica knows, wherever
   that is, with the source that the bridge vouches for. Without a host it is dropped, and so is
   what the host does not answer: clients repeat. Nothing is queued here.
2. A reply that the replica already has is given at once.
3. While requests of a client are replayed from another epoch (:mod:`ftweb.relay.meeting`), newer
   ones of the same client are held back.
4. Requests that kill their hosts are found out (:mod:`ftweb.relay.inflight`), replayed ones too:
   what went well on the state of one epoch may hang on that of another.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ftweb import codec, frames
from ftweb.app import Machine, Replied
from ftweb.driver import NodeStatus
from ftweb.errors import FrameError
from ftweb.limits import HELD_CHARS, PAYLOAD_BYTES, PENDING_REQUESTS
from ftweb.relay.connection import Connection
from ftweb.relay.inflight import InFlight, Key
from ftweb.relay.stream import Stream


class Requests:
    """See the rules above.

    Args:
        stream: gives clients their answers.
        machine: the state machine of the relay's own replica, now.
        status: what that replica knows.
        host: the node that hosts and can be reached; None while there is none.
        send: sends a frame to a node, wherever it is.
        holds: whether a client's requests have to wait (rule 3).
    """

    def __init__(
        self,
        *,
        stream: Stream,
        machine: Callable[[], Machine],
        status: Callable[[], NodeStatus],
        host: Callable[[], str | None],
        send: Callable[[str, frames.Frame], object],
        holds: Callable[[str], bool] = lambda client: False,
    ) -> None:
        self._stream = stream
        self._machine = machine
        self._status = status
        self._host = host
        self._send = send
        self._holds = holds
        self._held: dict[str, dict[int, tuple[Connection, frames.Request, str]]] = {}
        """Client id → serial → what waits."""
        self._held_chars = 0
        self.inflight = InFlight()

    def open_session(self, connection: Connection) -> None:
        """A client asks for a session."""
        opened = self._machine().session_of(connection.client_id)
        if opened is not None:
            self._stream.session(opened.client_id, opened.session)
            return
        host = self._host()
        if host is not None:
            self._send(host, self._forward(connection))

    def request(self, connection: Connection, request: frames.Request, text: str) -> None:
        """A client sends, or repeats, a request."""
        if self._holds(connection.client_id):
            self._hold(connection, request, text)
            return
        key: Key = (connection.client_id, request.session, request.serial)
        replied = self._machine().reply_for(*key)
        if replied is not None:
            self.inflight.replied(key)
            self._stream.reply(replied)
            return
        host = self._host()
        if host is None:
            return
        if self.inflight.pending(connection.client_id) >= PENDING_REQUESTS:
            # Replies that came in a snapshot were not seen here one by one.
            self.inflight.acknowledged(key[0], request.session, request.acknowledged)
        if (
            not self.inflight.knows(key)
            and self.inflight.pending(connection.client_id) >= PENDING_REQUESTS
        ):
            connection.send(
                frames.Error(
                    code="too_many_pending",
                    message=f"At most {PENDING_REQUESTS} requests may be unanswered; request"
                    f" {request.serial} was not passed on.",
                    fatal=False,
                )
            )
            return
        forward = self._forward(connection, request)
        if len(text) > PAYLOAD_BYTES:
            try:
                codec.check_payload(request.payload)
            except FrameError as error:
                # An answer like any other, so that it is the same whenever the client asks.
                failure = frames.Failure(code=error.code, message=error.message)
                forward = msgspec.structs.replace(forward, payload=None, refuse=failure)
        released = self.inflight.forward(key, host, forward)
        if released is not None:
            self._send(host, released)

    def _hold(self, connection: Connection, request: frames.Request, text: str) -> None:
        """Keep a request until :meth:`release`; one too many is dropped, and repeated."""
        held = self._held.setdefault(connection.client_id, {})
        before = held.get(request.serial)
        chars = self._held_chars + len(text) - (0 if before is None else len(before[2]))
        if chars <= HELD_CHARS and (before is not None or len(held) < PENDING_REQUESTS):
            held[request.serial] = connection, request, text
            self._held_chars = chars

    def release(self, client: Callable[[str], Connection | None]) -> None:
        """Nothing has to wait any more.

        Args:
            client: gives a client's connection; who has another one by now repeats by itself.
        """
        held, self._held, self._held_chars = self._held, {}, 0
        for requests in held.values():
            for _, (connection, request, text) in sorted(requests.items()):
                if client(connection.client_id) is connection:
                    self.request(connection, request, text)

    def replay(self, forward: frames.Forward) -> bool:
        """Send a request of another epoch to the present host; False if there is none now.

        Args:
            forward: complete but for epoch and term, which are set here.
        """
        host = self._host()
        if host is None:
            return False
        status = self._status()
        present = msgspec.structs.replace(forward, epoch=status.epoch, term=status.term)
        key: Key = (forward.source.client_id, forward.session, forward.serial)
        released = self.inflight.forward(key, host, present)
        if released is not None:
            self._send(host, released)
        return True

    def stuck(self, request: frames.RequestId, host: str) -> None:
        """The watchdog of a host, here or elsewhere, had to end the worker that ran this."""
        key = (request.client_id, request.session, request.serial)
        self.inflight.stuck(key, host)

    def answered(self, replied: Replied) -> None:
        """A reply was applied."""
        released = self.inflight.replied((replied.client_id, replied.session, replied.serial))
        host = self._host()
        if released is not None and host is not None:
            self._send(host, released)

    def _forward(
        self, connection: Connection, request: frames.Request | None = None
    ) -> frames.Forward:
        status = self._status()
        source = frames.Source(
            client_id=connection.client_id,
            device_id=connection.device_id,
            presenter=connection.presenter,
        )
        if request is None:
            return frames.Forward(epoch=status.epoch, term=status.term, source=source)
        return frames.Forward(
            epoch=status.epoch,
            term=status.term,
            source=source,
            session=request.session,
            serial=request.serial,
            acknowledged=request.acknowledged,
            payload=request.payload,
        )
