"""What must hold, checked while it happens and at the end.

======================  ==========================================================================
invariant               meaning
======================  ==========================================================================
election safety         at most one leader per (epoch, term); a node votes once per term
log matching            entries of the same (index, term) are the same, and so are their forerunners
leader completeness     a leader holds every entry that was committed in an earlier term
state machine safety    every replica applies the same entry at an index, and is then in the
                        same state
commit needs a quorum   an entry is applied only after a majority of the voters has saved it
acknowledged too early  a client is answered only what is committed, and the same every time
exactly once            a request changes the state at most once, and not if it was refused; an
                        acknowledged one did
from nothing            every effect comes from a request that a client has sent
message once            a client is given each message of a handler at most once, and none that no
                        handler sent it
linearizability         registers behave as if there were only one copy of them
storage trust           what was damaged is never loaded; a save cut off by the power leaves what
                        was there before
convergence             once everything is healed, all requests are answered and all replicas
                        equal, within ten election timeouts
======================  ==========================================================================

Entries are compared by what the replicas hold, through the core's state; nothing here decides
anything in the code under simulation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec.json

from ftweb.app import Effect, Machine, Replied, Sent
from ftweb.app.effects import Changed
from ftweb.client.events import Replied as Told
from ftweb.core import Entry, EntryKind, HardState, Role, Snapshot
from ftweb.core.types import Json
from ftweb.frames import Failure
from ftweb.simulation.history import UNKNOWN_CODES, History

if TYPE_CHECKING:
    from ftweb.simulation.nodes import CheckedMachine, Node

DIGEST_EVERY = 16
"""Every so many log indexes all replicas' states are compared: that walks the whole state, and at
each index it would be half of a schedule's cost."""


class Violation(Exception):  # noqa: N818 - a finding, not an error of the simulator
    """An invariant does not hold.

    Args:
        invariant: its name, as in the table above.
        what: what was found.
    """

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return Violation, (self.invariant, self.what)


class _Log:
    """What one node has saved in one epoch."""

    __slots__ = ("base", "epoch", "last", "terms", "voters")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.base = 0
        """Index of the snapshot."""
        self.terms: dict[int, int] = {}
        self.last = 0
        self.voters: dict[int, list[str]] = {}
        """Of the configurations among its entries."""

    def holds(self, index: int, term: int) -> bool:
        return index <= self.base or self.terms.get(index) == term


class Checks:
    """All invariants of one schedule.

    Args:
        history: what clients have asked and were told.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.committed: dict[int, dict[int, tuple[Entry, int]]] = {}
        """By epoch and index: the entry, and the term by which it was committed."""
        self.leaders: dict[tuple[int, int], str] = {}
        self._logs: dict[tuple[str, int], _Log] = {}
        """By node and epoch: what it had saved before it went on to another one counts there."""
        self._entries: dict[tuple[int, int, int], tuple[Entry, int]] = {}
        """(epoch, index, term) → the entry, and the term before it."""
        self._votes: dict[tuple[str, int, int], str] = {}
        self._digests: dict[tuple[int, int], tuple[str, str]] = {}
        self._epoch = 0
        self._answers: dict[tuple[str, int], tuple[int, Any, Failure | None]] = {}
        """(client, serial) → (log index, payload, error)."""
        self._changed: dict[tuple[str, int], int] = {}
        """(client, serial) → log index of its change."""
        self._sent: dict[bytes, dict[tuple[int, int], tuple[str, ...] | None]] = {}
        """Message → where handlers sent it, (log index, position), to whom. Apps send the same
        words more than once, so a message is known by how often it was sent."""

    # --- saving ---------------------------------------------------------------------------

    def saved(
        self,
        node: str,
        *,
        epoch: int,
        hard_state: HardState | None,
        snapshot: Snapshot | None,
        entries: Sequence[Entry],
    ) -> None:
        """See :class:`ftweb.simulation.disk.Watcher`."""
        log = self._logs.get((node, epoch))
        if log is None:
            log = self._logs[node, epoch] = _Log(epoch)
        if hard_state is not None and hard_state.vote is not None:
            voted = self._votes.setdefault((node, epoch, hard_state.term), hard_state.vote)
            if voted != hard_state.vote:
                raise Violation(
                    "election safety",
                    f"{node} voted for {voted} and then for {hard_state.vote} in term"
                    f" {hard_state.term}",
                )
        if snapshot is not None:
            log.base = log.last = snapshot.last_index
            log.terms.clear()
            log.voters.clear()
        if entries:
            self._saved_entries(node, log, entries)

    def _saved_entries(self, node: str, log: _Log, entries: Sequence[Entry]) -> None:
        epoch, terms, all_entries = log.epoch, log.terms, self._entries
        first = entries[0].index
        for index in range(first, log.last + 1):
            terms.pop(index, None)
            log.voters.pop(index, None)
        before = terms.get(first - 1, 0)
        for entry in entries:
            index, term = entry.index, entry.term
            known = all_entries.get((epoch, index, term))
            if known is None:
                all_entries[epoch, index, term] = (entry, before)
            elif known[0] != entry or (before and known[1] and known[1] != before):
                raise Violation(
                    "log matching", f"entry {index} of term {term} is not the same on {node}"
                )
            terms[index] = before = term
            if entry.kind is EntryKind.CONFIGURATION:
                log.voters[index] = entry.data["voters"]
        log.last = entries[-1].index

    # --- applying -------------------------------------------------------------------------

    def epoch_begins(self, epoch: int, base: int) -> None:
        """A bridge starts from what it had saved; what only others had applied never was.

        Nothing of that can have been acknowledged: the bridge answers by what it has saved.

        Args:
            epoch: the new one.
            base: up to here its saved snapshot reaches; what it had saved after that is replayed
                next, and shown to :meth:`applied`.
        """
        self._epoch = epoch
        self._answers = {key: item for key, item in self._answers.items() if item[0] <= base}
        self._changed = {key: index for key, index in self._changed.items() if index <= base}
        for places in self._sent.values():
            for index, position in [place for place in places if place[0] > base]:
                del places[index, position]

    def applied(
        self,
        node: Node | None,
        machine: CheckedMachine,
        index: int,
        data: Json,
        effects: list[Effect],
    ) -> None:
        """A state machine has applied a command; one without a node replays what was saved."""
        if node is not None and node.replica.epoch != self._epoch:
            return  # it has not heard yet that its epoch is over
        changed = [effect for effect in effects if type(effect) is Changed]
        for effect in effects:
            if type(effect) is Replied:
                self._answer(index, effect, data, changes=bool(changed))
            elif type(effect) is Sent:
                places = self._sent.setdefault(msgspec.json.encode(effect.payload), {})
                places[index, effect.position] = effect.to
        if node is not None and index % DIGEST_EVERY == 0:
            self.digest(node, machine)

    def _answer(self, index: int, replied: Replied, data: Json, *, changes: bool) -> None:
        key = (replied.client_id, replied.serial)
        if changes:
            changed = self._changed.setdefault(key, index)
            if changed != index:
                raise Violation(
                    "exactly once",
                    f"request {replied.serial} of {replied.client_id} changed the state at"
                    f" {changed} and again at {index}",
                )
        request = self.history.by_serial.get(key)
        if request is None:
            raise Violation(
                "from nothing",
                f"entry {index} is request {replied.serial} of {replied.client_id}, who never"
                " sent it",
            )
        if changes and data["request"] != request.payload:
            raise Violation(
                "from nothing", f"entry {index} is another request than {request.client} sent"
            )
        if replied.error is not None and replied.error.code in _LATE_CODES:
            return  # says nothing about the request's own result
        answer = (replied.payload, replied.error)
        known = self._answers.setdefault(key, (index, *answer))
        if known[1:] != answer:
            raise Violation(
                "exactly once",
                f"request {replied.serial} of {replied.client_id} has two results:"
                f" {known[1:]} and {answer}",
            )

    def digest(self, node: Node, machine: CheckedMachine, text: str | None = None) -> None:
        """Compare a state machine with the others as of the same index: by what it would save,
        which is cheaper to make than its digest and stricter, since the order of keys counts.

        Args:
            text: what it saves, where that was made anyway.
        """
        key = (node.replica.epoch, machine.applied_index)
        digest = Machine.snapshot(machine) if text is None else text
        other, known = self._digests.setdefault(key, (node.id, digest))
        if known != digest:
            raise Violation(
                "state machine safety",
                f"after entry {machine.applied_index} the states of {other} and {node.id} differ",
            )

    def restored(self, node: Node, machine: CheckedMachine) -> None:
        """A state machine was restored from a snapshot."""
        if machine.guid:
            self.digest(node, machine)

    # --- after every turn -----------------------------------------------------------------

    def after_turn(self, node: Node) -> None:
        """A replica has had a turn, or crashed in it."""
        replica = node.replica
        core, epoch = replica.node, replica.epoch
        if epoch != node.seen_epoch:
            node.seen_epoch, node.applied_upto = epoch, 0
        if core.role is Role.LEADER:
            self._leads(node, epoch)
        if core.applied_index != node.applied_upto:
            self._look_at_committed(node, epoch)

    def _leads(self, node: Node, epoch: int) -> None:
        core = node.replica.node
        term = core.term
        if node.led == (epoch, term):
            return
        node.led = (epoch, term)
        other = self.leaders.setdefault((epoch, term), node.id)
        if other != node.id:
            raise Violation("election safety", f"{other} and {node.id} both lead in term {term}")
        log = core._state.log
        for index, (entry, committed_in) in self.committed.get(epoch, {}).items():
            # A vote that comes late can still make a leader of a term that is over.
            if committed_in < term and index > log.offset and log.term(index) != entry.term:
                raise Violation(
                    "leader completeness",
                    f"{node.id} leads in term {term} without the committed entry {index}",
                )

    def _look_at_committed(self, node: Node, epoch: int) -> None:
        core = node.replica.node
        log = core._state.log
        first = max(node.applied_upto, log.offset) + 1
        node.applied_upto = core.applied_index
        committed = self.committed.setdefault(epoch, {})
        for entry in log.slice(first, core.applied_index):
            known = committed.get(entry.index)
            if known is None:
                self._needs_quorum(node, entry)
                committed[entry.index] = entry, core.term
            elif known[0].term != entry.term or known[0].data != entry.data:
                raise Violation(
                    "state machine safety",
                    f"{node.id} applied another entry {entry.index} (term {entry.term}) than was"
                    f" applied before (term {known[0].term})",
                )

    def _needs_quorum(self, node: Node, entry: Entry) -> None:
        """By a configuration that may have been in force at the commit: this node's own, or one
        that the leader has appended since and has not sent it yet."""
        core = node.replica.node
        epoch = node.replica.epoch
        candidates: list[Sequence[str]] = [
            configuration.voters for _, configuration in reversed(core._state.log._configurations)
        ]
        leader = self._logs.get((self.leaders.get((epoch, core.term), ""), epoch))
        if leader is not None:
            candidates += leader.voters.values()
        if any(self._majority_has_saved(voters, epoch, entry) for voters in candidates):
            return
        if entry.kind is EntryKind.CONFIGURATION and entry.index <= 2:
            return  # what a history begins with
        raise Violation(
            "commit needs a quorum",
            f"{node.id} applied entry {entry.index} (term {entry.term}), which no majority has"
            " saved",
        )

    def _majority_has_saved(self, voters: Sequence[str], epoch: int, entry: Entry) -> bool:
        holders = 0
        for voter in voters:
            log = self._logs.get((voter, epoch))
            if log is not None and log.holds(entry.index, entry.term):
                holders += 1
        return holders > len(voters) // 2

    # --- clients --------------------------------------------------------------------------

    def told(self, client: str, reply: Told) -> None:
        """A reply has come to its client."""
        if reply.error is not None and reply.error.code in _LATE_CODES:
            return
        known = self._answers.get((client, reply.serial))
        if known is None:
            raise Violation(
                "acknowledged too early",
                f"{client} was answered request {reply.serial} before any replica applied it",
            )
        if known[1:] != (reply.payload, reply.error):
            raise Violation(
                "acknowledged too early",
                f"{client} was told {reply.payload!r} ({reply.error}) of request {reply.serial},"
                f" committed was {known[1:]}",
            )

    def message(self, client: str, message: Json) -> None:
        """A message of a handler has come to a client."""
        key = msgspec.json.encode(message)
        sent = sum(to is None or client in to for to in self._sent.get(key, {}).values())
        given = self.history.messages.setdefault(client, Counter())
        given[key] += 1
        if given[key] > sent:
            raise Violation(
                "message once",
                f"{client} was given message {message} {given[key]} times, sent {sent} times",
            )


_LATE_CODES = UNKNOWN_CODES | {"serial_acknowledged"}
"""Errors that answer a repetition, whatever the request's own result was."""
