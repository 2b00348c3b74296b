"""What a leader does besides replicating: changes of the configuration, upkeep, hand-over.

Rules:

1. No change of the configuration before an entry of the leader's own term is committed, none
   while another is pending, and none during a hand-over (section 4.1, and the correction of
   2015: without the first, two leaders could each commit a change unknown to the other).
2. A leader that is no member of a committed configuration sends that commit on and steps down;
   one that is a learner leads on.
3. Upkeep runs at every heartbeat, and at once when the directory changes, somebody is reported
   lost, or a change is committed. A better host comes first, because the configuration can be
   mended from there as well; see :mod:`ftweb.core.transfer` and :mod:`ftweb.core.upkeep`.
4. A change of voters stakes the cluster on those that remain: were one of them dead already,
   unnoticed, the change might never be committed, and no other could be. So it is preceded by
   a roll call, and rests only on nodes that answered that.
5. Shunned nodes that are listed are asked for a sign of life once per election timeout.
"""

from __future__ import annotations

from collections import deque

import msgspec

from ftweb.core import configuration as configurations
from ftweb.core.messages import TimeoutNow
from ftweb.core.presence import Presence
from ftweb.core.replication import Replication
from ftweb.core.state import State
from ftweb.core.transfer import Transfer, better_host
from ftweb.core.types import Configuration, EntryKind, Index, Milliseconds, NodeId
from ftweb.core.upkeep import Situation, next_configuration


class Leadership:
    """Exists as long as this node leads in this term."""

    __slots__ = (
        "_considered",
        "_presence",
        "_present",
        "_probe_at",
        "_roll_call",
        "_seen_commit",
        "_state",
        "_tried",
        "replication",
        "transfer",
    )

    def __init__(self, state: State, presence: Presence) -> None:
        self._state = state
        self._presence = presence
        self.replication = Replication(state)
        self.transfer: Transfer | None = None
        self._tried: dict[NodeId, Milliseconds] = {}
        """When a hand-over to whom was begun."""
        self._seen_commit: Index = state.commit_index
        self._probe_at = state.now
        self._roll_call: Milliseconds | None = None
        """When the last one began that no change has followed yet."""
        self._present: set[NodeId] = set()
        """Who has answered it, when that was last looked at."""
        self._considered: deque[tuple[Situation, Configuration | None]] = deque(maxlen=2)
        """The last situations and what upkeep wants in them: working that out is the dearest thing
        that a leader does, and mostly the situation is the same as before. Two, since a roll call
        looks at one of its own each time."""

    def next_deadline(self) -> Milliseconds:
        beat = self.replication.heartbeat_at
        return beat if self.transfer is None else min(beat, self.transfer.deadline)

    def tick(self) -> None:
        state = self._state
        if self.transfer is not None and state.now >= self.transfer.deadline:
            self.transfer = None
        if state.now >= self.replication.heartbeat_at:
            self.replication.heartbeat()
            self.maintain()
            self._probe_shunned()

    def answered(self, node: NodeId) -> None:
        """After an answer of ``node`` has been taken in."""
        self._continue_transfer(node)
        if self._roll_call is not None and node not in self._present:
            progress = self.replication.peers.get(node)
            if progress is not None and progress.answered_at >= self._roll_call:
                self.maintain()

    def must_step_down(self) -> bool:
        """After the commit index may have moved: acts on what is committed now, and tells
        whether this node leads no more (rule 2)."""
        state = self._state
        seen, self._seen_commit = self._seen_commit, state.commit_index
        turning_point = max(self.replication.term_start, state.log.configuration_index)
        if not seen < turning_point <= state.commit_index:
            return False
        self.replication.say_goodbye()
        if state.node_id not in state.configuration.members:
            self.replication.flush()
            return True
        self.maintain()
        return False

    def lost(self, node: NodeId) -> None:
        """A hint that it has gone."""
        if self.transfer is not None and self.transfer.target == node:
            self.transfer = None
        self.maintain()

    # --- configuration --------------------------------------------------------------------

    def may_change(self) -> bool:
        """Rule 1."""
        state = self._state
        return (
            self.transfer is None
            and state.commit_index >= self.replication.term_start
            and state.commit_index >= state.log.configuration_index
        )

    def change(self, configuration: Configuration) -> None:
        """Appends it; it is in force from now on."""
        self.replication.append(EntryKind.CONFIGURATION, configurations.to_data(configuration))
        self.replication.configure()

    # --- hand-over ------------------------------------------------------------------------

    def begin_transfer(self, to: NodeId) -> bool:
        """Returns False if there is one already, or ``to`` is no other member."""
        if self.transfer is not None or to not in self.replication.peers:
            return False
        state = self._state
        self.transfer = Transfer(target=to, deadline=state.now + state.election_timeout)
        self._tried[to] = state.now
        self._continue_transfer(to)
        return True

    def _continue_transfer(self, answered: NodeId) -> None:
        """Sends TimeoutNow as soon as the target has everything."""
        if self.transfer is None or self.transfer.target != answered:
            return
        state = self._state
        progress = self.replication.peers.get(answered)
        if progress is not None and progress.match_index == state.log.last_index:
            state.outbox.append(TimeoutNow(sender=state.node_id, to=answered, term=state.term))

    # --- upkeep ---------------------------------------------------------------------------

    def maintain(self) -> None:
        """Rule 3."""
        state, presence, replication = self._state, self._presence, self.replication
        if not state.settings.upkeep or not self.may_change():
            return
        presence.review(state.now)
        members = state.configuration.members
        target = better_host(
            leader=state.node_id,
            members=members,
            presence=presence,
            caught_up=replication.is_caught_up,
            tried=self._tried,
            settings=state.settings,
            now=state.now,
        )
        if target is not None:
            self.begin_transfer(target)
            return
        dead = presence.dead(replication.peers, silent=self._is_silent, now=state.now)
        caught_up = {node for node in replication.peers if replication.is_caught_up(node)}
        old = state.configuration
        situation = Situation(
            configuration=old,
            leader=state.node_id,
            infos=presence.infos,
            dead=frozenset(dead),
            shunned=frozenset(presence.shunned),
            caught_up=frozenset(caught_up | {state.node_id}),
            alive=frozenset(node for node in members if replication.is_answering(node)),
            settings=state.settings,
        )
        new = self._consider(situation)
        if new is None:
            return
        if set(new.voters) == set(old.voters):
            self.change(new)
        else:
            self._stake(situation)

    def _consider(self, situation: Situation) -> Configuration | None:
        """What upkeep wants in it."""
        for known, wanted in self._considered:
            if known == situation:
                return wanted
        wanted = next_configuration(situation)
        self._considered.append((situation, wanted))
        return wanted

    def _stake(self, situation: Situation) -> None:
        """Rule 4."""
        state = self._state
        if self._roll_call is None or state.now - self._roll_call > 2 * state.settings.heartbeat:
            self._roll_call = state.now
            self.replication.heartbeat()
        peers = self.replication.peers
        present = {node for node in peers if peers[node].answered_at >= self._roll_call}
        self._present = present
        alive = frozenset(present | {state.node_id})
        new = self._consider(msgspec.structs.replace(situation, alive=alive))
        if new is None:
            return
        if set(new.voters) != set(situation.configuration.voters):
            self._roll_call = None
            self.change(new)
        elif state.now - self._roll_call >= state.settings.heartbeat:
            self.change(new)  # the voters must wait, but learners and successors need not

    def _is_silent(self, node: NodeId) -> bool:
        state, settings = self._state, self._state.settings
        patience = settings.silence * state.election_timeout / settings.election_timeout
        progress = self.replication.peers.get(node)
        return progress is not None and state.now - progress.heard_at > patience

    def _probe_shunned(self) -> None:
        """Rule 5."""
        state, presence = self._state, self._presence
        if state.now >= self._probe_at:
            self._probe_at = state.now + state.election_timeout
            self.replication.probe([node for node in presence.shunned if node in presence.infos])
