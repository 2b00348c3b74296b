"""What clients get from the bridge's own replica: state, changes, messages, replies, status.

Rules:

1. Only what was applied is released, so nothing leaves before it is committed.
2. Replies and messages go out at once. Changes are coalesced: the first goes at once, later ones
   together at most CHANGES_PER_SECOND times a second, and less often where there are so many
   clients that these would be more than CHANGES_IN_ALL_PER_SECOND frames.
3. A change frame is encoded and framed once for all clients that hold the same state, and in a
   class all do: 500 clients cost one encoding and 500 writes.
4. A client that is too far behind, or holds a state of another epoch, gets the whole state,
   encoded once per state. A client that still has unread frames gets no change until it has
   taken them: then it gets one for all that happened.
5. The last OUTBOX_REPLAY messages, and outcomes of what was answered provisionally, are kept. A
   client that comes back names the entry of the last one that it handled and gets what came from
   there on; it drops those that it has seen. A client seen for the first time gets no messages.
6. Who hosts, a quorum lost or back, other bridges: told at once. Head counts and successors: at
   most STATUS_PER_SECOND times a second. That nobody hosts for the moment: after HOSTLESS_SECONDS,
   unless another one does by then. So a hand-over wakes each page once, not three times, in the
   moment when the votes that wait need the air. If it is the same one again, both are told:
   requests that came meanwhile were dropped, and pages repeat theirs when they see a change.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import msgspec

from ftweb import codec, frames
from ftweb.app import Changed, Effect, Machine, Outcome, Replied, Sent, SessionOpened
from ftweb.limits import (
    CHANGES_IN_ALL_PER_SECOND,
    CHANGES_KEPT_BYTES,
    CHANGES_PER_SECOND,
    HOSTLESS_SECONDS,
    OUTBOX_BYTES,
    OUTBOX_REPLAY,
    RESYNC_SECONDS,
    SESSIONS,
    STATUS_PER_SECOND,
    UNREAD_BYTES,
)
from ftweb.relay.connection import Connection, Registry
from ftweb.relay.wire import Prepared


class Stream:
    """Turns effects of the replica into frames for the clients.

    Args:
        registry: of the connections.
        loop: runs the timers.
    """

    def __init__(self, *, registry: Registry, loop: asyncio.AbstractEventLoop) -> None:
        self._registry = registry
        self._loop = loop
        self._machine: Machine | None = None
        self._epoch = 0
        self._head = 0
        """Index of the last entry that changed the state; 0 while there is none."""
        self._base = 0
        """The oldest state from which the kept patches lead to the head."""
        self._patches: deque[tuple[int, list[dict[str, Any]], int]] = deque()
        self._patch_bytes = 0
        self._state_frame: Prepared | None = None
        self._messages: deque[tuple[int, tuple[str, ...] | None, Prepared, bool]] = deque()
        """Log index, to whom, the frame, and whether also who is new here gets it."""
        self._message_bytes = 0
        self._first_seen: OrderedDict[str, int] = OrderedDict()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_at = float("-inf")
        self._status: frames.Status | None = None
        self._told: frames.Status | None = None
        self._status_frame: Prepared | None = None
        """What all were told."""
        self._status_timer: asyncio.TimerHandle | None = None
        self._status_due = 0.0
        self._status_at = float("-inf")

    def close(self) -> None:
        """Stop the timers."""
        for timer in (self._flush_timer, self._status_timer):
            if timer is not None:
                timer.cancel()

    # --- from the replica -------------------------------------------------------------------

    def restored(self, epoch: int, machine: Machine) -> None:
        """The replica's state was replaced as a whole."""
        if epoch != self._epoch:
            self._messages.clear()
            self._message_bytes = 0
        self._epoch = epoch
        self._machine = machine
        self._head = self._base = machine.applied_index
        self._patches.clear()
        self._patch_bytes = 0
        self._state_frame = None
        self._want_flush()

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """An entry was applied: release what it released."""
        if self._head == 0:  # the first entry made the first state
            self._head = self._base = index
            self._state_frame = None
            self._want_flush()
        for effect in effects:
            match effect:
                case Changed():
                    self._changed(effect)
                case Sent():
                    self._sent(effect)
                case Replied():
                    self.reply(effect)
                case SessionOpened():
                    self.session(effect.client_id, effect.session)
                case Outcome():
                    self._outcome(effect)

    def reply(self, replied: Replied) -> None:
        """Give a client its answer, if it is here; if not, it will ask again."""
        connection = self._registry.client(replied.client_id)
        if connection is not None:
            connection.send(
                frames.Reply(
                    serial=replied.serial,
                    payload=replied.payload,
                    error=replied.error,
                    provisional=self._machine is not None and self._machine.lineage.provisional,
                )
            )

    def session(self, client_id: str, session: int) -> None:
        """Tell a client its session."""
        connection = self._registry.client(client_id)
        if connection is not None:
            connection.send(frames.Session(session=session))

    # --- state ------------------------------------------------------------------------------

    def join(self, connection: Connection, hello: frames.Hello) -> None:
        """Bring a client that has just joined to the present."""
        if hello.epoch == self._epoch and self._base <= hello.state_index <= self._head:
            connection.state_epoch = hello.epoch
            connection.state_index = hello.state_index
        self._bring_up(connection, {})
        applied = self._machine.applied_index if self._machine is not None else 0
        first_seen = self._first_seen.setdefault(connection.client_id, applied)
        self._first_seen.move_to_end(connection.client_id)
        if len(self._first_seen) > SESSIONS:
            self._first_seen.popitem(last=False)
        handled = hello.message_index if hello.epoch == self._epoch else 0
        for index, to, prepared, anyway in self._messages:
            if (index <= first_seen and not anyway) or index < handled:
                continue  # of the entry ``handled`` itself it may have seen only the first message
            if to is None or connection.client_id in to:
                connection.send_prepared(prepared)
        if self._status_frame is not None:
            connection.send_prepared(self._status_frame)

    def resync(self, connection: Connection) -> None:
        """The client asks for the whole state: what it held did not fit. Who asks again at once
        gets it in a moment: it may have 4 MiB."""
        now = self._loop.time()
        if now < connection.resync_at:
            if not connection.resync_waits:
                connection.resync_waits = True
                wait = connection.resync_at - now
                self._loop.call_later(wait, self._resync_late, connection)
            return
        connection.resync_at = now + RESYNC_SECONDS
        connection.state_epoch = -1
        self._bring_up(connection, {})

    def _resync_late(self, connection: Connection) -> None:
        connection.resync_waits = False
        if self._registry.client(connection.client_id) is connection:
            self.resync(connection)

    def _changed(self, effect: Changed) -> None:
        size = len(msgspec.json.encode(effect.patch))
        self._patches.append((effect.index, effect.patch, size))
        self._patch_bytes += size
        while self._patches and self._patch_bytes > CHANGES_KEPT_BYTES:
            index, _, size = self._patches.popleft()
            self._patch_bytes -= size
            self._base = index
        self._head = effect.index
        self._state_frame = None
        self._want_flush()

    def _want_flush(self) -> None:
        if self._flush_timer is None:
            pause = max(1 / CHANGES_PER_SECOND, len(self._registry) / CHANGES_IN_ALL_PER_SECOND)
            wait = self._flushed_at + pause - self._loop.time()
            self._flush_timer = self._loop.call_later(max(0.0, wait), self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        self._flushed_at = self._loop.time()
        prepared: dict[int, Prepared] = {}
        behind = False
        for connection in self._registry:
            behind |= not self._bring_up(connection, prepared)
        if behind:
            self._want_flush()

    def _bring_up(self, connection: Connection, prepared: dict[int, Prepared]) -> bool:
        """Send what leads to the head; False if the client has too much unread for it."""
        if self._head == 0 or self._machine is None:
            return True
        if connection.state_epoch == self._epoch and connection.state_index == self._head:
            return True
        if connection.wire.closing:
            return True
        if connection.wire.backlog > UNREAD_BYTES:
            return False
        known = (
            connection.state_epoch == self._epoch
            and self._base <= connection.state_index < self._head
        )
        if known:
            frame = prepared.get(connection.state_index)
            if frame is None:
                frame = self._change_after(connection.state_index)
                prepared[connection.state_index] = frame
        else:
            frame = self._whole_state(self._machine)
        connection.state_epoch = self._epoch
        connection.state_index = self._head
        connection.send_prepared(frame)
        return True

    def _change_after(self, after: int) -> Prepared:
        operations: list[dict[str, Any]] = []
        for index, patch, _ in self._patches:
            if index > after:
                operations += patch
        change = frames.Change(epoch=self._epoch, after=after, index=self._head, patch=operations)
        return Prepared(codec.encode(change))

    def _whole_state(self, machine: Machine) -> Prepared:
        if self._state_frame is None:
            state = frames.State(epoch=self._epoch, index=self._head, value=machine.state)
            self._state_frame = Prepared(codec.encode(state))
        return self._state_frame

    # --- messages ---------------------------------------------------------------------------

    def _sent(self, effect: Sent) -> None:
        message = frames.Message(
            index=effect.index, position=effect.position, payload=effect.payload
        )
        prepared = Prepared(codec.encode(message))
        self._keep_message(effect.index, effect.to, prepared, anyway=False)
        if effect.to is None:
            for connection in self._registry:
                connection.send_prepared(prepared)
        else:
            for client_id in effect.to:
                receiver = self._registry.client(client_id)
                if receiver is not None:
                    receiver.send_prepared(prepared)

    def _outcome(self, effect: Outcome) -> None:
        outcome = frames.Outcome(
            index=effect.index,
            serial=effect.serial,
            payload=effect.payload,
            error=effect.error,
        )
        prepared = Prepared(codec.encode(outcome))
        self._keep_message(effect.index, (effect.client_id,), prepared, anyway=True)
        receiver = self._registry.client(effect.client_id)
        if receiver is not None:
            receiver.send_prepared(prepared)

    def _keep_message(
        self, index: int, to: tuple[str, ...] | None, prepared: Prepared, *, anyway: bool
    ) -> None:
        self._messages.append((index, to, prepared, anyway))
        self._message_bytes += _size(prepared)
        while len(self._messages) > OUTBOX_REPLAY or self._message_bytes > OUTBOX_BYTES:
            self._message_bytes -= _size(self._messages.popleft()[2])

    # --- status -----------------------------------------------------------------------------

    def status(self, status: frames.Status) -> None:
        """Tell everybody, when rule 6 says."""
        if status == self._status:
            return
        untold = self._status
        if (
            untold is not None
            and untold.host is None
            and self._told is not None
            and self._told.host is not None
            and _route(self._told) == _route(status)
        ):
            self._send_status()
        self._status = status
        told = self._told
        if told is None or _is_urgent(told, status):
            self._send_status()
            return
        now = self._loop.time()
        if status.host is None and told.host is not None:
            due = now + HOSTLESS_SECONDS
        else:
            due = max(now, self._status_at + 1 / STATUS_PER_SECOND)
        if self._status_timer is not None:
            if self._status_due <= due:
                return
            self._status_timer.cancel()
        self._status_due = due
        self._status_timer = self._loop.call_later(due - now, self._send_status)

    def _send_status(self) -> None:
        if self._status_timer is not None:
            self._status_timer.cancel()
            self._status_timer = None
        if self._status == self._told:
            return  # heads came and went
        self._status_at = self._loop.time()
        assert self._status is not None
        self._told = self._status
        self._status_frame = Prepared(codec.encode(self._status))
        for connection in self._registry:
            connection.send_prepared(self._status_frame)


def _size(prepared: Prepared) -> int:
    """In bytes, as wires count them."""
    return len(prepared.text.encode())


def _route(status: frames.Status) -> tuple[int, int, str | None]:
    """What clients look at to repeat their requests."""
    return status.epoch, status.term, status.host


def _is_urgent(told: frames.Status, status: frames.Status) -> bool:
    """Rule 6: whether what is new cannot wait."""
    host, term = (told.host, told.term) if status.host is None else (status.host, status.term)
    return _urgent_of(told) != msgspec.structs.replace(_urgent_of(status), host=host, term=term)


def _urgent_of(status: frames.Status) -> frames.Status:
    bridges = [msgspec.structs.replace(bridge, clients=0) for bridge in status.bridges]
    return msgspec.structs.replace(status, participants=0, bridges=bridges, successors=[])
