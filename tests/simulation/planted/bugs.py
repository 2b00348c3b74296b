"""Bugs to be planted: each a small change of the real code, made only while its test runs.

Most of them were shipped by others, in Raft libraries and in what was built on them. A bug is
worth planting here if it breaks a promise; those that only cost time (a hand-over to a follower
that lags, for one) are in ``test_unseen.py``, since Raft's rules keep them harmless. Those of
elections, commitment and membership are in ``leaders.py``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ftweb import beginning
from ftweb.app import Machine
from ftweb.app.sessions import Kept, Sessions, Standing
from ftweb.bridge import storage as bridge_storage
from ftweb.client.session import ClientSession
from ftweb.core import quorum, snapshot
from ftweb.core.election import Election
from ftweb.core.follower import Follower
from ftweb.core.leadership import Leadership
from ftweb.core.log import Log
from ftweb.core.messages import RequestVoteResponse
from ftweb.core.replication import Replication
from ftweb.core.state import State
from ftweb.replica import Replica
from ftweb.simulation.pages import Page
from ftweb.simulation.plan import Fault, Plan, short_reigns

type Patch = pytest.MonkeyPatch


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One planted bug.

    Attributes:
        plant: makes the change.
        caught_by: the invariants that may notice it first.
        within: so many schedules, from seed 0 on, are enough.
        aim: changes the plans, towards what the bug needs; None takes them as drawn.
    """

    plant: Callable[[Patch], None]
    caught_by: tuple[str, ...]
    within: int = 60
    aim: Callable[[Plan], Plan] | None = None


BUGS: dict[str, Bug] = {}


def bug(
    *caught_by: str, within: int = 60, aim: Callable[[Plan], Plan] | None = None
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Enter a bug in the list, under its function's name."""

    def enter(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS[plant.__name__] = Bug(plant=plant, caught_by=caught_by, within=within, aim=aim)
        return plant

    return enter


def torn(plan: Plan) -> Plan:
    """Partitions all the time, and the host gone at the moment in which one is over: then those
    who were cut off, with shorter or other logs, are the first to ask for votes."""
    draw = random.Random(plan.seed)
    faults = []
    for at in range(700, 3_900, 400):
        lasts = draw.choice([150.0, 300.0, 350.0])
        kind = draw.choice(["partition", "overlapping majorities", "host cut off", "link cut"])
        faults.append(Fault(at=at, kind=kind, lasts=lasts, x=draw.random(), y=draw.random()))
        gone = draw.choice(["host crashes", "hand-over", "wrong hint", "host freezes"])
        late = at + lasts + draw.choice([-40.0, -10.0, 10.0])
        faults.append(Fault(at=late, kind=gone, lasts=200.0, x=draw.random(), y=draw.random()))
        if gone == "host crashes":
            faults.append(Fault(at=late + 5, kind="join", x=draw.random(), y=draw.random()))
    return replace(
        plan,
        tabs=6,
        requests=120,
        bursts=60,
        duration=4_000.0,
        heartbeat=150.0,
        careful=False,
        trailing_entries=500,
        compact_entries=1_000,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def churning(plan: Plan) -> Plan:
    """Members come and go all the time, cut apart from one another, under changing hosts."""
    draw = random.Random(plan.seed)
    kinds = ["join", "page crashes", "join", "host crashes", "hand-over", "hidden", "wrong hint"]
    cuts = ["partition", "overlapping majorities", "host cut off", "one-way cut"]
    faults = [
        Fault(
            at=at + 100 * draw.random(),
            kind=draw.choice(cuts if number % 2 else kinds),
            lasts=draw.choice([200.0, 500.0, 900.0]),
            x=draw.random(),
            y=draw.random(),
        )
        for number, at in enumerate(range(500, 5_000, 130))
    ]
    return replace(torn(plan), duration=5_000.0, careful=False, faults=tuple(faults))


# --- elections ------------------------------------------------------------------------------


@bug("election safety", "leader completeness", "no exception", aim=torn)
def votes_twice_in_a_term(patch: Patch) -> None:
    """A vote is given whoever had it before."""
    original = Election.answer

    def answer(self: Election, message: Any) -> None:
        self._state.vote = None
        original(self, message)

    patch.setattr(Election, "answer", answer)


@bug("leader completeness", "state machine safety", "no exception", "exactly once", aim=torn)
def votes_for_shorter_logs(patch: Patch) -> None:
    """Whoever asks first gets the vote, whatever its log (section 3.6.1 left out)."""

    def answer(self: Election, message: Any) -> None:
        state = self._state
        free = state.vote in (None, message.sender)
        granted = message.term > state.term if message.pre_vote else free
        if granted and not message.pre_vote:
            state.vote = message.sender
        state.outbox.append(
            RequestVoteResponse(
                sender=state.node_id,
                to=message.sender,
                term=message.term,
                pre_vote=message.pre_vote,
                granted=granted,
            )
        )

    patch.setattr(Election, "answer", answer)


@bug("election safety", "no exception", "convergence")
def node_id_reused_with_an_empty_log(patch: Patch) -> None:
    """A reloaded tab comes back under its old node id, without its log and its vote."""
    original = Page.__init__

    def init(self: Page, room: Any, **options: Any) -> None:
        original(self, room, **options)
        self.node_id = f"node-of-{self.device}"

    patch.setattr(Page, "__init__", init)


# --- the log --------------------------------------------------------------------------------


@bug("commit needs a quorum", "leader completeness", "convergence", "no exception")
def old_message_truncates(patch: Patch) -> None:
    """What follows the entries of a message is dropped, though the message may be old."""
    original = Log.merge

    def merge(self: Log, entries: Any, commit_index: int) -> None:
        original(self, entries, commit_index)
        if entries and entries[-1].index < self.last_index:
            self._truncate(entries[-1].index + 1)

    patch.setattr(Log, "merge", merge)


@bug("commit needs a quorum", "acknowledged too early", "state machine safety")
def applies_before_commit(patch: Patch) -> None:
    """A follower takes what it has for committed: replies leave before the quorum has it."""
    original = Follower.append

    def append(self: Follower, message: Any) -> None:
        original(self, message)
        self._state.commit_index = max(self._state.commit_index, self._state.log.last_index)

    patch.setattr(Follower, "append", append)


@bug("commit needs a quorum", "leader completeness", "state machine safety", "convergence")
def learners_count(patch: Patch) -> None:
    """A commit counts whoever has the entry, voter or not."""

    def advance_commit(self: Replication) -> None:
        state = self._state
        members = state.configuration.members
        index = quorum.reached(
            state.log.saved_index if node == state.node_id else self.peers[node].match_index
            for node in members
        )
        if index > state.commit_index and state.log.term(index) == state.term:
            state.commit_index = index

    patch.setattr(Replication, "advance_commit", advance_commit)
    patch.setattr(Replication, "_advance_if_counted", lambda self, node: self.advance_commit())


@bug("commit needs a quorum", "convergence", "no exception", aim=torn)
def majority_sorted_as_text(patch: Patch) -> None:
    """Index 10 comes before 9, as JavaScript's sort() has it (raft.js)."""

    def reached(values: Any) -> Any:
        ranked = sorted(values, key=str, reverse=True)
        return ranked[quorum.majority(len(ranked)) - 1]

    patch.setattr(quorum, "reached", reached)


# --- membership -----------------------------------------------------------------------------


@bug(
    "leader completeness",
    "election safety",
    "state machine safety",
    "commit needs a quorum",
    "no exception",
    "convergence",
    aim=short_reigns,
)
def several_changes_at_once(patch: Patch) -> None:
    """A change of the members while another one is pending."""
    patch.setattr(Leadership, "may_change", lambda self: self.transfer is None)


@bug("leader completeness", "commit needs a quorum", "no exception", "convergence", aim=churning)
def configuration_in_force_on_commit(patch: Patch) -> None:
    """A configuration counts from when it is committed, not from when it is appended."""

    def configuration(self: State) -> Any:
        return self.log.configuration_at(max(self.commit_index, self.log.offset))

    patch.setattr(State, "configuration", property(configuration))


def _repeating(plan: Plan) -> Plan:
    small = replace(plan, compact_entries=8, trailing_entries=0, snapshot_chunk=49_152)
    joins = tuple(Fault(at=600.0 + 200 * n, kind="join", x=0.5, y=0.5) for n in range(5))
    return replace(small, repeat=0.5, reorder=0.3, faults=joins)


# --- snapshots ------------------------------------------------------------------------------


@bug(
    "no exception",
    "state machine safety",
    "convergence",
    "commit needs a quorum",
    aim=_repeating,
)
def snapshot_over_newer_entries(patch: Patch) -> None:
    """A snapshot that comes late replaces what is newer."""

    def install(self: Follower, message: Any) -> None:
        state = self._state
        wanted, found = self._assembly.add(message)
        if found is not None:
            state.log.restore(found)
            state.snapshot = state.received_snapshot = found
            state.commit_index = state.applied_index = found.last_index
        self._answer_chunk(message, wanted)

    patch.setattr(Follower, "install", install)


@bug("state machine safety", "exactly once")
def sessions_left_out_of_snapshots(patch: Patch) -> None:
    """A snapshot holds the app's state only."""
    original = Machine.restore

    def restore(self: Machine, text: str) -> None:
        original(self, text)
        self.sessions = self.sessions.empty()

    patch.setattr(Machine, "restore", restore)


def _damaged(plan: Plan) -> Plan:
    return replace(plan, damage=0.5, compact_entries=8, trailing_entries=0, snapshot_chunk=300)


@bug("state machine safety", "convergence", aim=_damaged)
def snapshot_checksum_not_checked(patch: Patch) -> None:
    """What came is taken for what was sent."""
    original = snapshot.Assembly.add

    def add(self: Any, message: Any) -> Any:
        patch.setattr(snapshot, "checksum", lambda data: message.checksum)
        try:
            return original(self, message)
        finally:
            patch.setattr(snapshot, "checksum", CHECKSUM)

    patch.setattr(snapshot.Assembly, "add", add)


CHECKSUM = snapshot.checksum


# --- sessions -------------------------------------------------------------------------------


@bug("exactly once", "no exception")
def repeated_requests_run_again(patch: Patch) -> None:
    """The replies are kept, and nobody looks."""
    original = Sessions.look

    def look(self: Sessions, *arguments: Any, **options: Any) -> Standing:
        standing = original(self, *arguments, **options)
        return Standing.NEW if standing is Standing.REPLIED else standing

    patch.setattr(Sessions, "look", look)


@bug("acknowledged too early")
def replies_cached_by_serial_only(patch: Patch) -> None:
    """Somebody else's reply to the same serial is as good."""
    original = Machine.reply_for

    def reply_for(self: Machine, client_id: str, session: int, serial: int) -> Any:
        for other in self.sessions._sessions:
            found = self.sessions._sessions[other].replies.get(serial)
            if found is not None:
                return original(self, client_id, session, serial) or _replied(
                    client_id, session, serial, found
                )
        return original(self, client_id, session, serial)

    patch.setattr(Machine, "reply_for", reply_for)


def _replied(client_id: str, session: int, serial: int, kept: Kept) -> Any:
    from ftweb.app import Replied

    return Replied(
        client_id=client_id,
        session=session,
        serial=serial,
        payload=kept.payload,
        error=kept.error,
    )


def _evicting(plan: Plan) -> Plan:
    return replace(plan, sessions=3, loss=0.25)


@bug("exactly once", "convergence", aim=_evicting)
def expired_session_silently_reopened(patch: Patch) -> None:
    """What was sent in the old session is sent again in the new one."""

    def expire(self: ClientSession, failure: Any, now: float) -> None:
        self._expired_session = self._session or 0
        self._session = None
        if self._route is not None:
            self._ask_session(now, again=True)

    patch.setattr(ClientSession, "_expire", expire)


def _leaping(plan: Plan) -> Plan:
    leaps = tuple(Fault(at=500.0 + 200 * n, kind="clock leap", x=n / 9, y=0.9) for n in range(9))
    return replace(plan, sessions=3, faults=leaps)


@bug("state machine safety", "exactly once", aim=_leaping)
def sessions_expire_by_the_local_clock(patch: Patch) -> None:
    """Each replica looks at its own clock instead of the leader's stamp."""
    original = Replica._apply

    def apply(self: Replica, entry: Any) -> None:
        self.machine.sessions.advance(int(self._clock.wall()))
        original(self, entry)

    patch.setattr(Replica, "_apply", apply)


# --- the driver and the host ----------------------------------------------------------------


@bug("exactly once", "no exception", "convergence", "state machine safety", aim=torn)
def host_begins_before_it_knows_everything(patch: Patch) -> None:
    """A new leader serves before an entry of its own term is applied."""
    patch.setattr(Replica, "_has_applied_own_term", lambda self: True)


def _full(plan: Plan) -> Plan:
    fault = Fault(at=plan.duration / 2, kind="disk full", lasts=800.0)
    return replace(plan, faults=(*plan.faults[:2], fault))


@bug("commit needs a quorum", "exactly once", "convergence", aim=_full)
def sends_before_saving(patch: Patch) -> None:
    """Messages go out while the save that they rest on may still fail."""

    def drain(self: Any) -> None:
        while (ready := self.node.ready()) is not None:
            for message in ready.messages:
                from ftweb import codec

                self._send(codec.encode_message(message, epoch=self.epoch))
            self._storage.save(
                epoch=self.epoch,
                hard_state=ready.hard_state,
                snapshot=ready.snapshot,
                entries=ready.entries,
            )
            if ready.snapshot is not None:
                self._stop_hosting()
                self.machine.restore(ready.snapshot.data)
                self._compacted = ready.snapshot.last_index
                self._listener.restored()
            for entry in ready.committed:
                self._apply(entry)
            self._consider_hosting()
        self._consider_compacting()

    patch.setattr(Replica, "_drain", drain)


# --- the bridge and the client --------------------------------------------------------------


def _killed(plan: Plan) -> Plan:
    fault = Fault(at=plan.duration * 0.8, kind="bridge killed", lasts=300.0)
    return replace(plan, faults=(fault,))


@bug("exactly once", aim=_killed)
def restart_forgets_what_is_not_in_the_snapshot(patch: Patch) -> None:
    """The log that was saved after the snapshot is not replayed."""
    original = beginning.replayed

    def replay(saved: Any, machine: Any) -> Any:
        return original(replace(saved, entries=saved.entries[: len(saved.entries) // 2]), machine)

    patch.setattr(beginning, "replayed", replay)


def _damaged_disk(plan: Plan) -> Plan:
    fault = Fault(at=plan.duration * 0.8, kind="disk damaged", lasts=300.0)
    return replace(plan, sqlite=True, faults=(fault,))


@bug("storage trust", "no exception", aim=_damaged_disk)
def storage_checksums_not_checked(patch: Patch) -> None:
    """A damaged row is taken as it is."""
    patch.setattr(bridge_storage, "_verify", lambda place, value, checksum: None)


def _power_cut(plan: Plan) -> Plan:
    faults = (Fault(at=plan.duration * 0.6, kind="power cut", lasts=300.0, x=0.003),)
    return replace(plan, sqlite=True, compact_entries=8, faults=faults)


@bug("storage trust", aim=_power_cut)
def save_in_several_transactions(patch: Patch) -> None:
    """Each row is written for itself: a power cut leaves a part of a save."""
    patch.setattr(bridge_storage.SqliteStorage, "_transaction", lambda self: nullcontext())


def _reconnecting(plan: Plan) -> Plan:
    faults = tuple(
        Fault(at=800.0 + 150 * n, kind="network change", x=n / 12, y=0.9) for n in range(12)
    )
    return replace(plan, faults=faults)


@bug("message once", aim=_reconnecting)
def messages_handled_again_after_a_reconnect(patch: Patch) -> None:
    """A client does not remember which messages it has had."""
    original = ClientSession.receive

    def receive(self: ClientSession, frame: Any, now: float) -> None:
        original(self, frame, now)
        self._last_message = (max(0, self._last_message[0] - 1), 0)

    patch.setattr(ClientSession, "receive", receive)
