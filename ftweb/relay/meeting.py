"""The meeting of two epochs, as one bridge goes through it.

Bridges that were apart may have gone on in epochs of their own. When they can reach one another
again, each judges by itself what it has to do (:func:`ftweb.epochs.judge`); nothing needs to be
agreed on. The same goes for tabs that went on without a bridge: the one that hosts looks for
bridges, and tells of its history when it has found one. A bridge whose epoch does not stay goes
through these steps:

1. *Leave.* Its replica becomes a newcomer's in the other epoch, with a new node id: the old one
   had voted elsewhere. What the newcomer saves is held in memory; on disk the old replica stands
   (:class:`ftweb.storage.Switching`). Nodes in tabs that cannot follow are replaced. Its leader
   need not end the old epoch: whoever stays behind in it has a journal of its own, and whatever a
   bridge acknowledges stands in that bridge's journal.
2. *Arrive.* Once it has applied what the other bridge had when they met, the new replica and the
   journal of the old epoch replace the old replica, in one transaction. A crash before that, and
   it never left; a crash after it, and the journal is still there. If the other epoch cannot be
   reached any more for ARRIVE_SECONDS, or does not take it in, it goes back, and on from what it
   had.
3. *Replay.* The journal's requests go to the host like any others, in order, REPLAY_WINDOW at a
   time, with their clients' own ids and serials. One is done when the own replica shows what came
   of it, and, if that is not what its client was told, when that has been released as well.
   Meanwhile new requests of clients with something in the journal wait, so that nobody's later
   wish is overtaken by an earlier one.
4. *Done.* The bridge tells so; the leader counts it as heard, and an epoch that has heard all of
   its bridges is firm.

A replay outlives further meetings and restarts: what is left of it goes wherever its bridge goes.
Knows no sockets: the relay brings it events, the loop gives it time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec

from ftweb import frames
from ftweb.app import Effect, Outcome, Replied
from ftweb.app.lineage import Replayable
from ftweb.app.machine import Machine
from ftweb.core.types import NodeId
from ftweb.epochs import Summary, Verdict, begins, judge
from ftweb.errors import FtwebError, StorageError
from ftweb.limits import ARRIVE_SECONDS, PENDING_CHARS, REPLAY_SECONDS, REPLAY_WINDOW
from ftweb.replica import NodeStatus
from ftweb.storage import Saved, Switching

_log = logging.getLogger(__name__)

_LEAVES = (Verdict.JOIN, Verdict.ASIDE)

type _Key = tuple[str, int]
"""Client id and serial."""


class Replicated(Protocol):
    """The bridge's own replica, as :class:`ftweb.driver.Driver` has it."""

    @property
    def epoch(self) -> int: ...
    @property
    def machine(self) -> Machine: ...
    @property
    def status(self) -> NodeStatus: ...
    @property
    def node(self) -> Any: ...
    def begin(self, beginning: Saved, *, node_id: NodeId | None = None) -> None: ...


class Relaying(Protocol):
    """What the relay does for a meeting (:class:`ftweb.relay.relay.Relay`)."""

    def histories(self) -> Sequence[object]:
        """What is known of other histories: told by the other bridges that can be reached, nearest
        first, and by tabs here that lead. What does not say anything yet is in it, too."""

    def has_quorum(self) -> bool:
        """A majority of the voters can be reached."""

    def host_id(self) -> str | None:
        """The node that hosts and can be reached."""

    def replay(self, forward: frames.Forward) -> bool:
        """Send a request to the present host; False if there is none."""

    def tell(self) -> None:
        """What this bridge tells the others has changed."""

    def replace_nodes(self) -> None:
        """The nodes in tabs cannot follow, but for those that are there already: new ones are
        needed."""

    def release(self) -> None:
        """Requests that were held back may go."""


class Meeting:
    """See the rules above.

    Args:
        bridge: this bridge's own id.
        storage: through which the replica saves.
        replica: this bridge's own.
        relay: carries what is to be said.
        loop: runs the timer.
        begin: begins a new epoch from what was saved, with a new node id.
        new_node_id: mints one.
        keep_aside: copies what was saved, before it is given up unmerged.
        on_quorum: told, as often as it may have changed, whether something can be committed.
    """

    def __init__(
        self,
        *,
        bridge: str,
        storage: Switching,
        replica: Replicated,
        relay: Relaying,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[], None],
        new_node_id: Callable[[], NodeId],
        keep_aside: Callable[[], object] = lambda: None,
        on_quorum: Callable[[bool], None] = lambda there: None,
    ) -> None:
        self._bridge = bridge
        self._storage = storage
        self._replica = replica
        self._relay = relay
        self._loop = loop
        self._begin = begin
        self._new_node_id = new_node_id
        self._keep_aside = keep_aside
        self._on_quorum = on_quorum
        self._goal: Summary | None = None
        """Where this bridge is on its way to (between rules 1 and 2)."""
        self._left_at = 0.0
        self._missed_since: float | None = None
        self._told_quorum = False
        self._pending = deque(
            msgspec.json.decode(text, type=Replayable) for text in storage.durable.replays()
        )
        self._waiting: dict[str, int] = {}
        """Client id → how many of its requests are pending."""
        self._count()
        self._sent: dict[_Key, tuple[str, float]] = {}
        self._released: set[_Key] = set()
        """Requests of which the outcome was released."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    # --- what others are told -----------------------------------------------------------------

    @property
    def replaying(self) -> bool:
        """There is something of another epoch that is not here yet."""
        return self._goal is not None or bool(self._pending)

    @property
    def pending(self) -> int:
        """How many requests are still to be replayed."""
        return len(self._pending)

    def holds(self, client_id: str) -> bool:
        """Whether a client's new requests have to wait (rule 3)."""
        return self._goal is not None or client_id in self._waiting

    def summary(self) -> Summary:
        """This bridge's history, now."""
        replica = self._replica
        node, machine = replica.node, replica.machine
        if self._goal is not None or not machine.guid:
            return Summary(bridge=self._bridge, epoch=0)
        return machine.lineage.summary(
            bridge=self._bridge,
            epoch=replica.epoch,
            term=node.last_term,
            index=node.last_index,
            applied=node.applied_index,
            quorum=self._has_quorum(),
        )

    def history(self) -> Any:
        """The same, for the wire."""
        return msgspec.to_builtins(self.summary())

    def _has_quorum(self) -> bool:
        """Something can be committed: a majority can be reached, and somebody leads it. A bridge
        that missed the last changes of membership may count on voters that are none any more."""
        return self._relay.has_quorum() and self._replica.status.quorum

    def may_begin(self) -> bool:
        """Whether this bridge is the one to begin an epoch without the others."""
        return self._goal is None and begins(self.summary(), self._others())

    def _others(self) -> list[Summary]:
        found = []
        for history in self._relay.histories():
            try:
                found.append(msgspec.convert(history, Summary))
            except msgspec.ValidationError:
                continue  # it tells nothing yet
        return found

    # --- events -------------------------------------------------------------------------------

    def notice(self) -> None:
        """Something about the other bridges, the host or the own replica is different.

        It is dealt with in a moment, never in the middle of what the replica does: that may be
        begun anew.
        """
        self._wake(0.0)

    def _consider(self) -> None:
        self._timer = None
        if self._replica.status.failed:
            return
        if self._goal is not None:
            self._under_way(self._goal)
        else:
            self._judge()
        quorum = self._has_quorum()
        self._on_quorum(quorum or self._goal is not None or not self._replica.machine.guid)
        if quorum != self._told_quorum:
            self._told_quorum = quorum
            self._relay.tell()  # others may wait for it, or for its loss
        if self._goal is None and self._pending:
            self._replay()
        if self.replaying:
            self._wake(REPLAY_SECONDS / 2)

    def _wake(self, seconds: float) -> None:
        at = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(seconds, self._consider)

    def applied(self, effects: Sequence[Effect]) -> None:
        """The own replica has applied an entry."""
        if not self.replaying:
            return
        for effect in effects:
            if isinstance(effect, Outcome):
                self._released.add((effect.client_id, effect.serial))
        if self._goal is not None or any(isinstance(effect, Replied) for effect in effects):
            self.notice()

    # --- leaving (rule 1) ---------------------------------------------------------------------

    def _judge(self) -> None:
        mine = self.summary()
        if not mine.epoch:
            return  # a newcomer is taken in by whoever speaks to it first
        goals = [other for other in self._others() if judge(mine, other) in _LEAVES]
        if not goals:
            return
        best = [goal for goal in goals if not any(judge(goal, o) in _LEAVES for o in goals)]
        self._leave(mine, (best or goals)[0])

    def _leave(self, mine: Summary, goal: Summary) -> None:
        lineage = self._replica.machine.lineage
        if judge(mine, goal) is Verdict.ASIDE:
            _log.warning(
                "Others went on without this bridge, and its requests cannot be run again there:"
                " what was saved here is kept aside."
            )
            try:
                self._keep_aside()
            except StorageError as error:
                _log.error("%s This bridge stays apart.", error.message)
                return
        _log.info("Joining the epoch of %s; %d requests to replay.", goal.bridge,
                  len(self._pending) + len(lineage.journal))  # fmt: skip
        self._pending.extend(lineage.journal)
        self._count()
        before = self._replica.epoch
        self._goal, self._missed_since = goal, None
        self._left_at = self._loop.time()
        self._sent.clear()
        self._released.clear()
        self._storage.leave()
        self._replica.begin(Saved.nothing(epoch=goal.epoch), node_id=self._new_node_id())
        if goal.epoch <= before:
            self._relay.replace_nodes()
        self._relay.tell()

    def recalled(self, items: Sequence[Replayable]) -> bool:
        """Requests that others remember of an epoch before this one are to be run again.

        Returns:
            Whether they are saved; they are lost if not, and have to be asked for again.
        """
        known = {(item.client_id, item.serial) for item in self._pending}
        new = [
            item
            for item in items
            if (item.client_id, item.serial) not in known
            and (self._goal is not None or not self._is_done(item))
        ]
        weight = sum(item.weight for item in self._pending) + sum(item.weight for item in new)
        if weight > PENDING_CHARS:
            _log.error("More is to be run again than this bridge can hold; what came last is not.")
            return False
        if new:  # saved with the old replica as long as that may stand in the end
            try:
                self._storage.durable.remember([msgspec.json.encode(item).decode() for item in new])
            except StorageError as error:
                _log.error("%s", error.message)
                return False
            _log.info("%d requests that tabs remember are run again.", len(new))
            self._pending.extend(new)
            self._count()
            self.notice()
            self._relay.tell()
        return True

    # --- arriving (rule 2) --------------------------------------------------------------------

    def _under_way(self, goal: Summary) -> None:
        machine = self._replica.machine
        if (
            machine.guid
            and self._replica.epoch == goal.epoch
            and self._replica.node.applied_index >= goal.applied
        ):
            self._arrive()
            return
        now = self._loop.time()
        if now - self._left_at > 4 * ARRIVE_SECONDS:
            self._go_back()  # nobody there takes us in
        elif any(other.epoch == goal.epoch for other in self._others()):
            self._missed_since = None
        elif self._missed_since is None:
            self._missed_since = now
        elif now - self._missed_since > ARRIVE_SECONDS:
            self._go_back()

    def _arrive(self) -> None:
        try:
            self._storage.arrive([msgspec.json.encode(item).decode() for item in self._pending])
        except StorageError as error:
            _log.error("%s", error.message)
            return  # the timer tries again; until then the old replica stands
        self._goal = None
        self._relay.tell()
        if not self._pending:
            self._relay.release()

    def _go_back(self) -> None:
        _log.warning("The others are gone again; going on from what was here before.")
        self._storage.give_up()
        self._goal = None
        # What the own epoch's journal holds is not pending any more: it is in the machine again.
        self._pending = deque(
            msgspec.json.decode(text, type=Replayable) for text in self._storage.durable.replays()
        )
        self._count()
        try:
            self._begin()
        except FtwebError as error:
            _log.error("No new epoch could begin: %s", error)
        self._relay.replace_nodes()
        self._relay.release()
        self._relay.tell()

    # --- replaying (rules 3 and 4) --------------------------------------------------------------

    def _replay(self) -> None:
        done = 0
        while done < len(self._pending) and self._is_done(self._pending[done]):
            done += 1
        if done and (done >= REPLAY_WINDOW or done == len(self._pending)):
            self._finish(done)
            done = 0
        for item in islice(self._pending, done, done + REPLAY_WINDOW):
            if not self._is_done(item):
                self._send(item)

    def _finish(self, done: int) -> None:
        try:
            self._storage.durable.replayed(done)
        except StorageError as error:
            _log.error("%s", error.message)
            return
        for _ in range(done):
            item = self._pending.popleft()
            self._sent.pop((item.client_id, item.serial), None)
        self._count()
        if not self._pending:
            self._sent.clear()
            self._released.clear()
            self._relay.release()
            self._relay.tell()

    def _is_done(self, item: Replayable) -> bool:
        kept = self._replica.machine.settled(item.client_id, item.session, item.serial)
        if kept is None:
            return False
        if kept.error is not None and kept.error.code == "serial_acknowledged":
            return True  # its client has an answer of this epoch
        same = (kept.payload, kept.error) == (item.reply, item.error)
        return same or (item.client_id, item.serial) in self._released

    def _send(self, item: Replayable) -> None:
        key, now = (item.client_id, item.serial), self._loop.time()
        host = self._relay.host_id()
        if host is None:
            return
        before = self._sent.get(key)
        if before is not None and before[0] == host and now - before[1] < REPLAY_SECONDS:
            return
        self._sent[key] = host, now
        self._relay.replay(
            frames.Forward(
                epoch=0,
                term=0,
                source=frames.Source(
                    client_id=item.client_id,
                    device_id=item.device_id or item.client_id,
                    presenter=item.presenter,
                ),
                session=item.session,
                serial=item.serial,
                payload=item.request,
                refuse=item.error,
                replay=frames.Told(payload=item.reply, error=item.error),
            )
        )

    def _count(self) -> None:
        self._waiting = {}
        for item in self._pending:
            self._waiting[item.client_id] = self._waiting.get(item.client_id, 0) + 1
