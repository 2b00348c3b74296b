"""One Raft node: the parts put together behind the interface that drivers use.

The driver calls ``step`` with each message, ``tick`` when ``next_deadline`` has come, ``peers``
and ``lost`` with what the bridges report, ``propose`` with commands; after any of these it drains
``ready``. Every call brings the present time, and before anything else a leader checks that a
quorum still follows it: after a leap of the clock it knows that it is none before it acts as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ftweb.core import configuration as configurations
from ftweb.core import snapshot as snapshots
from ftweb.core.election import Election
from ftweb.core.follower import Follower
from ftweb.core.leadership import Leadership
from ftweb.core.log import data_size
from ftweb.core.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    RequestVote,
    RequestVoteResponse,
)
from ftweb.core.presence import Presence
from ftweb.core.quorum import Outcome
from ftweb.core.ready import Ready
from ftweb.core.settings import Settings
from ftweb.core.state import State
from ftweb.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Index,
    Json,
    Milliseconds,
    NodeId,
    PeerInfo,
    Role,
    Snapshot,
    Term,
)
from ftweb.errors import NotLeaderError


class Node:
    """A sans-I/O Raft node.

    Args:
        node_id: minted for this node alone, never used before.
        settings: the same for all nodes of a cluster.
        jitter: gives a number in [0, 1) whenever asked; the only randomness there is.
        now: the present time, in milliseconds of a clock that never goes back (it may leap).
        hard_state: as saved last, if this node id was at work before.
        snapshot: as saved last; the state machine has already been restored from it.
        entries: all that was saved and not truncated since. A first node begins with a
            CONFIGURATION entry (index 1, term 1) whose only voter it is.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        settings: Settings,
        jitter: Callable[[], float],
        now: Milliseconds,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        self._state = State(
            node_id=node_id,
            settings=settings,
            jitter=jitter,
            now=now,
            hard_state=hard_state,
            snapshot=snapshot,
            entries=entries,
        )
        self._presence = Presence(settings)
        self._state.role = self._state.standing()
        self._election = Election(self._state, self._presence.lost_at)
        self._follower = Follower(self._state)
        self._leadership: Leadership | None = None
        """Exists exactly while this node leads."""
        self._configuration = self._state.configuration
        """The one that the role was last fitted to."""
        self._told_hard_state = hard_state
        self._told = self._picture()

    # --- what is so -----------------------------------------------------------------------

    @property
    def id(self) -> NodeId:
        return self._state.node_id

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def term(self) -> Term:
        return self._state.term

    @property
    def leader_id(self) -> NodeId | None:
        return self._state.leader_id

    @property
    def configuration(self) -> Configuration:
        return self._state.configuration

    @property
    def commit_index(self) -> Index:
        return self._state.commit_index

    @property
    def applied_index(self) -> Index:
        """What was handed out as committed."""
        return self._state.applied_index

    @property
    def last_term(self) -> Term:
        """Of the last entry of the log, committed or not."""
        return self._state.log.last_term

    def entries_after(self, index: Index) -> tuple[Entry, ...]:
        """What the log has after this entry, committed or not; compacted ones are not there."""
        log = self._state.log
        return log.slice(max(index, log.offset) + 1, log.last_index)

    @property
    def last_index(self) -> Index:
        return self._state.log.last_index

    @property
    def term_start(self) -> Index | None:
        """The first entry of a leader's own term; once it is applied, the leader's state is
        that of all before it, and it may serve. None if this node does not lead."""
        return self._leadership.replication.term_start if self._leadership else None

    @property
    def election_timeout(self) -> Milliseconds:
        """In force: at least the settings' value, raised to fit the round trips."""
        return self._state.election_timeout

    @property
    def quorum_active(self) -> bool:
        """A leader: a quorum answered within the election timeout. Others: the leader was
        heard within it."""
        if self._leadership is not None:
            return self._leadership.replication.has_quorum()
        return self._state.leader_id is not None and self._election.holds_lease()

    @property
    def transferring(self) -> bool:
        """A hand-over is under way: hold proposals back until it has ended, one way or the
        other. What is proposed all the same is appended, and delays it."""
        return self._leadership is not None and self._leadership.transfer is not None

    def next_deadline(self) -> Milliseconds:
        """When ``tick`` is needed at the latest; infinite if only messages can matter."""
        if self._leadership is not None:
            return self._leadership.next_deadline()
        election = self._election
        if election.campaign is None:
            return election.deadline
        return min(election.deadline, election.campaign.ask_again_at)

    # --- what happens ---------------------------------------------------------------------

    def tick(self, now: Milliseconds) -> None:
        """Does what is due by now."""
        self._enter(now)
        if self._leadership is not None:
            self._leadership.tick()
        elif self._state.now >= self._election.deadline:
            self._seek_leader()
        else:
            self._election.ask_again()

    def step(self, message: Message, now: Milliseconds) -> None:
        """Takes a message from another node."""
        self._enter(now)
        state = self._state
        if message.to != state.node_id or message.sender == state.node_id:
            return
        self._presence.heard(message.sender, state.now)
        # By ``type``: for a msgspec class a refusal by ``isinstance`` is dear.
        if type(message) is RequestVote:
            self._on_request_vote(message)
        elif type(message) is RequestVoteResponse:
            self._on_vote(message)
        elif message.term < state.term:
            self._follower.refuse_old_term(message)
        else:
            if message.term > state.term:
                self._follow(message.term)
            if type(message) is AppendEntries or type(message) is InstallSnapshot:
                self._on_leader(message)
            elif type(message) is AppendEntriesResponse or type(message) is InstallSnapshotResponse:
                self._on_answer(message)
            elif self._leadership is None and state.standing() is not Role.OBSERVER:
                self._conclude(self._election.start(pre_vote=False, transfer=True))

    def propose(self, data: Json, now: Milliseconds) -> Index:
        """Appends a command; it is replicated with the next ``Ready``. Returns its index, which
        another leader's entry may still take: only ``Ready.committed`` tells.

        Raises:
            NotLeaderError: this node does not lead, or no longer; nothing was appended.
            TypeError: the data is not JSON; nothing was appended.
        """
        self._enter(now)
        if self._leadership is None:
            leader = self._state.leader_id
            hint = f"ask {leader}" if leader else "no leader is known; wait for one"
            raise NotLeaderError(f"node {self.id} does not lead: {hint}")
        return self._leadership.replication.append(EntryKind.COMMAND, data, data_size(data))

    def transfer_leadership(self, to: NodeId, now: Milliseconds) -> bool:
        """Begins to hand the lead over. Returns False if that is not possible now: this node
        does not lead, is handing over already, or ``to`` is no other member."""
        self._enter(now)
        return self._leadership is not None and self._leadership.begin_transfer(to)

    def change_configuration(self, configuration: Configuration, now: Milliseconds) -> bool:
        """Appends a configuration, in force from now on. Returns False if that is not safe
        now: this node does not lead, has committed nothing in its term yet, another change is
        pending, a hand-over is under way, or more than one voter would change.

        Raises:
            ValueError: the configuration contradicts itself.
        """
        problem = configurations.problem(configuration)
        if problem is not None:
            raise ValueError(problem)
        self._enter(now)
        leadership = self._leadership
        old = self._state.configuration
        if (
            leadership is None
            or not leadership.may_change()
            or not configurations.may_follow(old, configuration)
        ):
            return False
        leadership.change(configuration)
        return True

    def peers(self, infos: Sequence[PeerInfo], now: Milliseconds) -> None:
        """The directory: every node that is reachable now, this one included."""
        self._enter(now)
        self._presence.update(infos, self._state.now)
        if self._leadership is not None:
            self._leadership.maintain()

    def lost(self, node_id: NodeId, now: Milliseconds) -> None:
        """A hint: that node has just gone."""
        self._enter(now)
        state, election = self._state, self._election
        if node_id == state.node_id:
            return
        self._presence.lost(node_id, state.now)
        if self._leadership is not None:
            self._leadership.lost(node_id)
            return
        if node_id == state.leader_id:
            for message in election.leader_lost():
                self._on_request_vote(message)
        elif state.leader_id is None and election.campaign is None and election.may_campaign():
            election.hurry()
        if state.now >= election.deadline:
            self._seek_leader()

    def compact(self, index: Index, data: str) -> Snapshot:
        """The application took a snapshot as of the applied ``index``. Returns it as it is to
        be saved (or the newer one that there is already).

        Raises:
            ValueError: ``index`` is not applied yet.
        """
        state = self._state
        if index > state.applied_index:
            raise ValueError(f"entry {index} is not applied yet, only {state.applied_index} is")
        if state.snapshot is not None and state.snapshot.last_index >= index:
            return state.snapshot
        state.snapshot = snapshots.build(
            last_index=index,
            last_term=state.log.term(index) or 0,
            configuration=state.log.configuration_at(index),
            data=data,
        )
        state.log.compact(max(state.log.offset, index - state.settings.trailing_entries))
        return state.snapshot

    def ready(self) -> Ready | None:
        """What is to be done; None if nothing. It counts as done (see :class:`Ready`)."""
        state, leadership = self._state, self._leadership
        if leadership is not None:
            leadership.replication.flush()
        hard_state: HardState | None = None
        told = self._told_hard_state
        if told is None or told.term != state.term or told.vote != state.vote:
            hard_state = self._told_hard_state = HardState(term=state.term, vote=state.vote)
        entries = state.log.take_unsaved()
        committed: tuple[Entry, ...] = ()
        if state.commit_index > state.applied_index:
            committed = state.log.slice(state.applied_index + 1, state.commit_index)
            state.applied_index = state.commit_index
        messages, state.outbox = tuple(state.outbox), []
        snapshot, state.received_snapshot = state.received_snapshot, None
        picture = self._picture()
        changed = picture != self._told
        self._told = picture
        if leadership is not None and entries:
            leadership.replication.advance_commit()  # its own log counts from now on
            self._after_commit(leadership)
        if not (hard_state or snapshot or entries or messages or committed or changed):
            return None
        return Ready(
            hard_state=hard_state,
            snapshot=snapshot,
            entries=entries,
            messages=messages,
            committed=committed,
            changed=changed,
        )

    def _picture(self) -> tuple[object, ...]:
        state, leadership = self._state, self._leadership
        transferring = leadership is not None and leadership.transfer is not None
        return state.role, state.term, state.leader_id, state.log.configuration, transferring

    # --- roles ----------------------------------------------------------------------------

    def _enter(self, now: Milliseconds) -> None:
        """Begins every call: the time, and whether a leader still is one."""
        state = self._state
        if now > state.now:
            state.now = now
        if self._leadership is not None and not self._leadership.replication.has_quorum():
            self._follow(state.term)

    def _follow(self, term: Term) -> None:
        """Neither leads nor campaigns from here on; enters ``term`` if it is newer."""
        state = self._state
        active = self._leadership is not None or self._election.campaign is not None
        self._leadership = None
        self._election.campaign = None
        if term > state.term:
            state.term = term
            state.vote = None
            self._election.new_term()
        state.role = state.standing()
        if state.leader_id == state.node_id:
            state.leader_id = None
        if active:
            self._election.rearm()

    def _seek_leader(self) -> None:
        if self._election.may_campaign():
            self._conclude(self._election.start(pre_vote=True))
        else:
            self._election.gave_up_leader()

    def _conclude(self, outcome: Outcome) -> None:
        campaign = self._election.campaign
        if campaign is None or outcome is Outcome.PENDING:
            return
        if outcome is Outcome.LOST:
            self._follow(self._state.term)
        elif campaign.pre_vote:
            self._conclude(self._election.start(pre_vote=False))
        else:
            self._lead()

    def _lead(self) -> None:
        state = self._state
        self._election.campaign = None
        self._election.deadline = math.inf
        state.role = Role.LEADER
        state.leader_id = state.node_id
        self._leadership = Leadership(state, self._presence)

    # --- messages -------------------------------------------------------------------------

    def _on_request_vote(self, message: RequestVote) -> None:
        if self._election.must_wait(message, leads=self._leadership is not None):
            return
        if message.term > self._state.term and not message.pre_vote:
            self._follow(message.term)
        self._election.answer(message)

    def _on_vote(self, message: RequestVoteResponse) -> None:
        promised = message.pre_vote and message.granted
        if message.term > self._state.term and not promised:
            self._follow(message.term)
        else:
            self._conclude(self._election.answered(message))

    def _on_leader(self, message: AppendEntries | InstallSnapshot) -> None:
        """Of the present term, so its sender is this term's leader."""
        if self._leadership is not None:
            raise AssertionError(f"{message.sender} leads in term {message.term}, as this node")
        if isinstance(message, AppendEntries):
            self._state.adopt_election_timeout(message.election_timeout)
        self._election.heard_leader(message.sender, message.sent_at)
        if isinstance(message, AppendEntries):
            self._follower.append(message)
        else:
            self._follower.install(message)
        self._fit_configuration()

    def _on_answer(self, message: AppendEntriesResponse | InstallSnapshotResponse) -> None:
        leadership = self._leadership
        if leadership is None:
            return
        if isinstance(message, AppendEntriesResponse):
            leadership.replication.appended(message)
        else:
            leadership.replication.snapshot_answered(message)
        leadership.answered(message.sender)
        self._after_commit(leadership)

    def _fit_configuration(self) -> None:
        """The configuration in force may have changed, by an entry or by its truncation."""
        state = self._state
        if state.configuration is not self._configuration:
            self._configuration = state.configuration
            if self._election.campaign is None:
                state.role = state.standing()
                self._election.rearm()

    def _after_commit(self, leadership: Leadership) -> None:
        if leadership.must_step_down():
            self._follow(self._state.term)
