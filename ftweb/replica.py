"""One replica: the consensus core, the state machine, storage and the app's handlers, joined.

The four parts know nothing of one another: :class:`ftweb.core.Node`, :class:`ftweb.app.Machine`,
:class:`ftweb.storage.Storage` and, on a tab, :class:`ftweb.app.Host`. Frames go in by
:meth:`Replica.receive` and come out by the ``send`` callable; which transport lies behind is none
of its business. It has no loop and no timer: :class:`ftweb.driver.Driver` gives it turns in real
time, a simulator gives them in virtual time.

The order within one turn is what makes the promises true:

1. All frames that arrived are stepped, then the clock is told.
2. What the core wants saved is saved. If that fails the replica stops for good: it sends
   nothing more, so nobody counts on what was not saved. The same goes for an entry that cannot be
   applied: going on would make this replica's state another than the others'.
3. Only then its messages are sent.
4. Only then committed entries are applied, and what they release (replies, outgoing messages,
   changes) is handed to the listener. Nothing leaves before commit.

A bridge becomes a member only once a log entry says that it belongs to this history: who may have
another epoch later must be known to everybody before it is given entries. The leader sees to that
(:meth:`Replica._consider_bridges`).

The app's handlers run while this node leads, begin with everything applied, and take one request
at a time (:meth:`Replica.serve_one`). During a hand-over requests wait.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ftweb import codec, frames
from ftweb.app import Effect, Host, Machine, Server, commands
from ftweb.core import Node, Settings
from ftweb.core.types import Entry, EntryKind, NodeId, Record, Role
from ftweb.errors import FrameError, FtwebError, NotLeaderError
from ftweb.hearing import Hearing
from ftweb.limits import CONNECTIONS, LEFT_EPOCHS
from ftweb.remembering import Branch, Remembering, branch, hand_in
from ftweb.storage import Saved, Storage

_log = logging.getLogger(__name__)

COMPACT_ENTRIES = 1_000
"""Take a snapshot after so many applied entries. A late learner replays at most these; a
snapshot of a class of 500 (100 kB) takes about a millisecond."""

WAITING_REQUESTS = 4 * CONNECTIONS
"""Requests that wait for the handlers; more are dropped, and repeated by their clients."""


class NodeStatus(Record, frozen=True, kw_only=True):
    """What a node knows of itself and its cluster."""

    node_id: NodeId
    role: Role
    epoch: int
    term: int
    leader_id: NodeId | None
    voters: tuple[NodeId, ...]
    successors: tuple[NodeId, ...]
    hosting: bool
    """The app's handlers run here, now."""
    quorum: bool
    """A leader is known and, as far as this node can tell, heard by a quorum."""
    failed: bool = False
    """The replica could not be saved and has stopped."""


class Listener(Protocol):
    """Who is told what a replica does. Called in order, from the driver's loop; must not block."""

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        """An entry was applied: release what it released. Exactly once per index."""

    def restored(self) -> None:
        """The state machine was replaced as a whole, by a snapshot or a new epoch."""

    def status(self, status: NodeStatus) -> None:
        """The node's view changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """Time and chance, given from outside so that a simulator can give others.

    Attributes:
        monotonic: milliseconds that never go back.
        wall: milliseconds since 1970.
        jitter: evenly distributed in [0, 1).
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    jitter: Callable[[], float]


class Replica:
    """See the module.

    Args:
        node_id: minted for this replica, never used before.
        storage: what was saved there is taken up again; with nothing saved it is a
            newcomer, which joins whatever epoch speaks to it first.
        send: hands a frame to the transports; must not block or raise.
        clock: see :class:`Clock`.
        listener: see :class:`Listener`.
        server: the app, where its handlers may run; None on a bridge.
        settings: the core's times.
        on_begin, on_end: called around each run of a handler, so that somebody outside this
            thread can end a run that never ends.
        wake: called when :meth:`turn` is needed.
        work: called when :meth:`serve_one` may have something to do.
        new_machine: makes an empty state machine; a simulator gives one with small limits.
        compact_entries: take a snapshot after so many applied entries.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        storage: Storage,
        send: Callable[[frames.Frame], None],
        clock: Clock,
        listener: Listener,
        server: Server | None = None,
        settings: Settings | None = None,
        on_begin: Callable[[frames.Forward], None] | None = None,
        on_end: Callable[[], None] | None = None,
        wake: Callable[[], None] = lambda: None,
        work: Callable[[], None] = lambda: None,
        new_machine: Callable[[], Machine] = Machine,
        compact_entries: int = COMPACT_ENTRIES,
    ) -> None:
        self.node_id = node_id
        self._new_machine = new_machine
        self._compact_entries = compact_entries
        self.machine = new_machine()
        self._storage = storage
        self._send = send
        self._clock = clock
        self._listener = listener
        self._server = server
        self._settings = settings or Settings()
        self._on_begin = on_begin
        self._on_end = on_end
        self._inbox: list[frames.Frame] = []
        self._requests: deque[frames.Forward] = deque()
        self._wake = wake
        self._work = work
        self._host: Host | None = None
        self._computed: dict[str, Any] | None = None
        """The command of a request whose handler has run, while a hand-over holds it up."""
        self._failed = self._paused = False
        self._compacted = 0
        self._hearing = Hearing()
        self.left: list[frames.Left] = []
        """Where this node left the epochs in which it was before, the latest last."""
        self._remembering = Remembering()
        self._take_up(storage.load() or Saved.nothing(epoch=0))
        self._view: tuple[object, ...] = ()
        self._status = self._current_status()

    def _take_up(self, saved: Saved) -> None:
        """Be what was saved, and nothing of what this replica was before."""
        self.epoch = saved.epoch
        self.machine = self._new_machine()
        self._hearing.begin_anew()
        self._compacted = 0
        self.node = Node(
            node_id=self.node_id,
            settings=self._settings,
            jitter=self._clock.jitter,
            now=self._clock.monotonic(),
            hard_state=saved.hard_state,
            snapshot=saved.snapshot,
            entries=saved.entries,
        )
        if saved.snapshot:
            self.machine.restore(saved.snapshot.data)
            self._compacted = saved.snapshot.last_index

    @property
    def status(self) -> NodeStatus:
        """The node's view as last told to the listener."""
        return self._status

    # --- in -------------------------------------------------------------------------------

    def receive(self, frame: frames.Frame) -> None:
        """Take in a frame for this node: ``raft``, ``directory``, ``lost``, ``enter``, ``forward``.

        Never blocks; the frame is dealt with in the loop's next turn.
        """
        self._inbox.append(frame)
        self._wake()

    def hand_over(self) -> None:
        """Start giving the lead to the next in succession, if this node leads. Requests wait."""
        now = self._clock.monotonic()
        for successor in self.node.configuration.successors:
            if successor != self.node_id and self.node.transfer_leadership(successor, now):
                break
        self._wake()

    def begin(self, beginning: Saved, *, node_id: NodeId | None = None) -> None:
        """Leave this epoch for another, that begins here or is to be joined.

        Args:
            beginning: what the new epoch begins with; it is saved first. ``Saved.nothing``
                joins an epoch from nothing.
            node_id: be this node from now on: ids are never used again, so whoever may meet
                members of the epoch that it left needs another.

        Raises:
            StorageError: it could not be saved, and the old epoch stands.
        """
        self._storage.save(
            epoch=beginning.epoch,
            hard_state=beginning.hard_state,
            snapshot=beginning.snapshot,
            entries=beginning.entries,
        )
        self._stop_hosting()
        self._note_left()
        self._remembering.left(0, ())  # whoever begins an epoch has a journal instead
        self._inbox.clear()  # what is left of the old epoch would lead straight back there
        if node_id is not None:
            self.node_id = node_id
        self._take_up(beginning)
        self._status = self._current_status()
        self._listener.restored()
        self._listener.status(self._status)
        self._wake()

    def end(self) -> Iterator[frames.Recalled]:
        """Its epoch has been replaced: take part no more. Gives what is to be handed in."""
        self._stop_hosting()
        self._failed = True
        yield from hand_in(self.position(), self._branch())

    def _branch(self) -> Branch:
        return branch(self.machine.lineage, self.node.entries_after(self.node.applied_index))

    def next_deadline(self) -> float:
        """When a turn is needed even if nothing comes, in the clock's milliseconds."""
        return math.inf if self._failed else self.node.next_deadline()

    # --- consensus ------------------------------------------------------------------------

    def turn(self) -> None:
        """Deal with all that has come and is due. Does nothing once the replica has stopped."""
        if self._failed:
            return
        inbox, self._inbox = self._inbox, []
        try:
            for frame in inbox:
                self._take(frame)
            now = self._clock.monotonic()
            if now >= self.node.next_deadline():
                self.node.tick(now)
            self._drain()
            if self._consider_bridges():
                self._drain()
        except FtwebError as error:
            self._failed = True
            self._stop_hosting()
            _log.error("This replica has stopped (%s): %s", error.code, error)
        if self.node.transferring != self._paused:
            self._paused = self.node.transferring
            self._work()
        self._tell_status()

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Raft():
                self._take_message(frame)
            case frames.Forward():
                if len(self._requests) < WAITING_REQUESTS:
                    self._requests.append(frame)
                    self._work()
            case frames.Directory():
                self._hearing.directory(frame, epoch=self.epoch)
                self._tell_peers()
            case frames.Enter():
                if 0 < self.epoch < frame.epoch:
                    self._enter_epoch(frame.epoch)
            case frames.Recall():
                for piece in self._remembering.answer(frame):
                    self._send(piece)
            case frames.Lost():
                self.node.lost(NodeId(frame.node_id), self._clock.monotonic())
            case _:
                _log.warning("A %s frame is not for a node; dropped.", type(frame).__name__)

    def _tell_peers(self) -> None:
        self.node.peers(self._hearing.peers(self.machine.lineage), self._clock.monotonic())

    def _consider_bridges(self) -> bool:
        """Of the leader: bring into the log who is here. True if it proposed that."""
        node = self.node
        if node.role is not Role.LEADER:
            return False
        news = self._hearing.news(self.machine.lineage, epoch=self.epoch, term=node.term)
        if news is None or node.transferring or not self._has_applied_own_term():
            return False
        joined, heard, left = news.joined, news.heard, news.left
        if self._host is not None and self._computed is None:
            command = self._host.bridges(joined=joined, heard=heard, left=left)
        elif self._server is None:
            at = max(int(self._clock.wall()), self.machine.clock)
            command = commands.bridges(joined=joined, heard=heard, left=left, at=at)
        else:
            return False
        self._hearing.proposed(news, epoch=self.epoch, term=node.term)
        node.propose(command, self._clock.monotonic())
        return True

    def _take_message(self, frame: frames.Raft) -> None:
        if frame.epoch != self.epoch:
            if frame.epoch < self.epoch:
                return  # from a history that has been replaced
            self._enter_epoch(frame.epoch)
        try:
            message = codec.decode_message(frame)
        except FrameError as error:
            _log.warning("Dropped a message of node %s: %s", frame.sender, error)
            return
        self.node.step(message, self._clock.monotonic())

    def _enter_epoch(self, epoch: int) -> None:
        """Join a newer history from nothing: what this one held and did not pass on ends here."""
        self._stop_hosting()
        self._note_left()
        self._remembering.left(self.epoch, self.node.entries_after(0), self._branch())
        self._storage.save(epoch=epoch)
        self._take_up(Saved.nothing(epoch=epoch))
        self._listener.restored()

    def _note_left(self) -> None:
        """This node will never accept anything in its epoch again."""
        if self.epoch:
            self.left = [*self.left, self.position()][-LEFT_EPOCHS:]

    def position(self) -> frames.Left:
        """Where this node would leave its epoch now."""
        node = self.node
        return frames.Left(
            node=self.node_id,
            epoch=self.epoch,
            term=node.last_term,
            index=node.last_index,
            voters=list(node.configuration.voters),
        )

    def _drain(self) -> None:
        while (ready := self.node.ready()) is not None:
            if ready.hard_state is not None or ready.snapshot is not None or ready.entries:
                self._storage.save(
                    epoch=self.epoch,
                    hard_state=ready.hard_state,
                    snapshot=ready.snapshot,
                    entries=ready.entries,
                )
            for message in ready.messages:
                self._send(codec.encode_message(message, epoch=self.epoch))
            if ready.snapshot is not None:
                self._stop_hosting()
                self.machine.restore(ready.snapshot.data)
                self._compacted = ready.snapshot.last_index
                self._tell_peers()
                self._listener.restored()
            for entry in ready.committed:
                self._apply(entry)
            self._consider_hosting()
        self._consider_compacting()

    def _apply(self, entry: Entry) -> None:
        if entry.kind is not EntryKind.COMMAND:
            return
        bridges = len(self.machine.lineage.bridges)
        effects = self.machine.apply(entry.index, entry.data)
        if len(self.machine.lineage.bridges) != bridges:
            self._tell_peers()
        if self._host is not None:
            self._host.applied(entry.index, entry.data)
        self._listener.applied(entry.index, effects)

    def _consider_compacting(self) -> None:
        if self.node.applied_index - self._compacted < self._compact_entries:
            return
        self._compacted = self.node.applied_index
        before = self.node.entries_after(0)
        self._storage.compact(self.node.compact(self._compacted, self.machine.snapshot()))
        kept = len(self.node.entries_after(0))
        self._remembering.compacted(before[: len(before) - kept])

    # --- hosting --------------------------------------------------------------------------

    def _consider_hosting(self) -> None:
        """Host from when an entry of the own term is applied: then nothing older is pending."""
        if self._server is None:
            return
        if self.node.role is not Role.LEADER:
            self._stop_hosting()
        elif self._host is None and self._has_applied_own_term():
            self._host = Host(
                self._server,
                self.machine,
                clock=self._clock.wall,
                on_begin=self._on_begin,
                on_end=self._on_end,
            )
            self._work()

    def _has_applied_own_term(self) -> bool:
        start = self.node.term_start
        return start is not None and self.node.applied_index >= start

    def _stop_hosting(self) -> None:
        self._host = None
        self._computed = None
        self._requests.clear()
        self._work()  # whoever waits looks again

    @property
    def can_serve(self) -> bool:
        """Whether :meth:`serve_one` would find something to do."""
        if self._host is None or self.node.transferring:
            return False
        return self._computed is not None or bool(self._requests)

    async def serve_one(self) -> bool:
        """Handle the next request that waits. One call at a time.

        Suspends only where an asynchronous handler does.

        Returns:
            False if there is nothing to serve now: ``work`` is called when that may change.
        """
        host = self._host
        if host is None or not self.can_serve:
            return False
        if self._computed is None:
            forward = self._requests.popleft()
            if (forward.epoch, forward.term) != (self.epoch, self.node.term):
                return True  # meant for another host; its client repeats it
            command = await host.handle(forward)
            if self._host is not host:
                return True  # no longer the host: what was computed never happened
            self._computed = command
            if command is None or self.node.transferring:
                return True
        command, self._computed = self._computed, None
        try:
            self.node.propose(command, self._clock.monotonic())
        except NotLeaderError:
            self._stop_hosting()
        self._wake()
        return True

    # --- status ---------------------------------------------------------------------------

    def _current_status(self) -> NodeStatus:
        node = self.node
        return NodeStatus(
            node_id=self.node_id,
            role=node.role,
            epoch=self.epoch,
            term=node.term,
            leader_id=node.leader_id,
            voters=node.configuration.voters,
            successors=node.configuration.successors,
            hosting=self._host is not None,
            quorum=node.quorum_active and not self._failed,
            failed=self._failed,
        )

    def _tell_status(self) -> None:
        node = self.node
        view = (
            node.term,
            node.role,
            node.leader_id,
            node.configuration,
            node.quorum_active,
            self._host is None,
            self.epoch,
            self._failed,
        )
        if view == self._view:
            return  # as after most turns
        self._view = view
        if (status := self._current_status()) != self._status:
            self._status = status
            self._listener.status(status)
