"""Elections (sections 3.4, 4.2.3, 9.6): when to campaign, whom to vote for.

Rules:

1. A vote goes to a candidate whose log is at least as up-to-date, once per term (3.4, 3.6.1).
2. A campaign begins with a pre-vote, which changes nobody's term (9.6), unless the leader asked
   for it by TimeoutNow (3.10).
3. A node that heard a leader within the election timeout leaves (pre-)votes unanswered (4.2.3),
   unless the campaign is a hand-over, or the candidate is that leader itself. It remembers the
   pre-votes and answers them as soon as the leader is reported lost.
4. A report that the leader is lost ends that lease. Messages that were already under way then do
   not renew it; those of a leader that goes on, a little later, do.
5. Only members campaign: voters, and learners among the successors. Members are those of the
   latest configuration known to be committed and of all after it: a node that is being removed
   may hold the longest log of those left, and then only its campaign can save them (4.2.2).
   Whoever is asked votes, also a node that does not know of being a voter: the candidate may
   have the newer configuration.
6. The i-th of the successors still there waits i staggers longer than the first, and less than
   one stagger of jitter: rank decides who asks first, the log who wins. After a reported loss
   the first asks at once.
7. Nobody's vote is asked for only once: messages get lost, so whoever has not answered is asked
   again every heartbeat until the campaign ends. A pre-vote is said to all again: it tells that
   this node still seeks votes.
8. Of several that seek votes at once the best goes first: the longest log, then rank. Who hears
   its pre-vote grants that, and seeks none for two staggers more; but for no longer than an
   election timeout in all, since it may hear nobody: then it seeks votes for as long, whoever
   goes first. Without this rule, where all that are left are needed and notice a loss one after
   the other, two get the votes of one another in the same moment, enter the same term, and all
   wait for an election timeout.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, field

from ftweb.core import quorum
from ftweb.core.messages import RequestVote, RequestVoteResponse
from ftweb.core.quorum import Outcome
from ftweb.core.state import State
from ftweb.core.types import Milliseconds, NodeId, Role, Term


@dataclass(kw_only=True, slots=True)
class Campaign:
    """One attempt; its term is the one that would be entered if it is a pre-vote."""

    term: Term
    pre_vote: bool
    transfer: bool
    ask_again_at: Milliseconds
    votes: dict[NodeId, bool] = field(default_factory=dict)


class Election:
    """Timers, leases and ballots of one node."""

    __slots__ = (
        "_gone",
        "_lease_until",
        "_lost_leader",
        "_renew_after",
        "_slack",
        "_state",
        "_unanswered",
        "_way_given_since",
        "campaign",
        "deadline",
    )

    def __init__(self, state: State, gone: Container[NodeId]) -> None:
        self._state = state
        self._gone = gone
        """Nodes reported lost: nobody waits for those."""
        self.campaign: Campaign | None = None
        self._lease_until = -math.inf
        self._lost_leader: NodeId | None = None
        self._renew_after = -math.inf
        self._slack: Milliseconds = 0.0
        self._unanswered: dict[NodeId, RequestVote] = {}
        self._way_given_since: Milliseconds | None = None
        self.deadline: Milliseconds = 0.0
        """When to campaign, or to try again; infinite for a node that may not."""
        self.rearm()
        if state.configuration.voters == (state.node_id,):
            self.deadline = state.now  # nobody else's vote is needed, so nobody is waited for

    # --- timers ---------------------------------------------------------------------------

    def may_campaign(self) -> bool:
        """Rule 5."""
        state = self._state
        return any(
            state.node_id in configuration.voters or state.node_id in configuration.successors
            for configuration in state.log.configurations_since(state.commit_index)
        )

    def position(self) -> int:
        """How many successors come before this node: the leader and those lost not counted."""
        state = self._state
        place = 0
        for node in state.configuration.successors:
            if node == state.node_id:
                break
            if node not in self._gone and node not in (state.leader_id, self._lost_leader):
                place += 1
        return place

    def rearm(self) -> None:
        """A new wait in full, with new jitter (rule 6)."""
        state = self._state
        self._slack = (self.position() + state.jitter()) * state.stagger
        self.deadline = state.now + state.election_timeout + self._slack

    def heard_leader(self, leader: NodeId, sent_at: Milliseconds) -> None:
        """A valid message of this term's leader came."""
        state = self._state
        if leader == self._lost_leader:
            if sent_at < self._renew_after:
                return  # rule 4; the lead is sought on
            self._lost_leader = None
        self.campaign = None
        self._way_given_since = None
        state.role = state.standing()
        if state.leader_id != leader:
            state.leader_id = leader
            self.rearm()
        else:
            self.deadline = state.now + state.election_timeout + self._slack
        self._renew_after = sent_at + 2 * state.settings.heartbeat
        self._lease_until = state.now + state.election_timeout
        if self._unanswered:
            self._unanswered.clear()

    def leader_lost(self) -> list[RequestVote]:
        """The leader is gone, a hint says: rules 3, 4, 6. Returns pre-votes to answer now."""
        state = self._state
        self._lost_leader = state.leader_id
        self._end_lease()
        self.hurry()
        unanswered = list(self._unanswered.values())
        self._unanswered.clear()
        return unanswered

    def hurry(self) -> None:
        """Without a leader, and one fewer before us: wait no longer than our place asks."""
        state = self._state
        place = self.position()
        wait = (place + state.jitter() / 2) * state.stagger if place else 0.0
        self.deadline = min(self.deadline, state.now + wait)

    def gave_up_leader(self) -> None:
        """No leader for an election timeout, and this node may not campaign."""
        self._end_lease()
        self.deadline = math.inf

    def _end_lease(self) -> None:
        self._state.leader_id = None
        self._lease_until = -math.inf

    def new_term(self) -> None:
        """What was known of the last term's leader is void."""
        self._end_lease()
        self._lost_leader = None
        self._renew_after = -math.inf
        self._unanswered.clear()
        self._way_given_since = None

    def holds_lease(self) -> bool:
        """Whether a leader was heard of within the election timeout (rule 3)."""
        return self._state.now < self._lease_until

    # --- campaigning ----------------------------------------------------------------------

    def start(self, *, pre_vote: bool, transfer: bool = False) -> Outcome:
        """Campaigns (rule 2). The caller acts on the outcome."""
        state = self._state
        if pre_vote:
            self._end_lease()
        else:
            state.term += 1
            state.vote = state.node_id
            self.new_term()
        state.role = Role.CANDIDATE
        self.campaign = Campaign(
            term=state.term + 1 if pre_vote else state.term,
            pre_vote=pre_vote,
            transfer=transfer,
            ask_again_at=state.now + state.settings.heartbeat,
        )
        self.campaign.votes[state.node_id] = True
        self.rearm()
        outcome = self._count()
        if outcome is Outcome.PENDING:
            self._ask()
        return outcome

    def ask_again(self) -> None:
        """Rule 7."""
        campaign = self.campaign
        if campaign is not None and self._state.now >= campaign.ask_again_at:
            campaign.ask_again_at = self._state.now + self._state.settings.heartbeat
            self._ask()

    def _ask(self) -> None:
        state, campaign = self._state, self.campaign
        if campaign is None:
            return
        for voter in state.configuration.voters:
            if voter not in campaign.votes or (campaign.pre_vote and voter != state.node_id):
                state.outbox.append(
                    RequestVote(
                        sender=state.node_id,
                        to=voter,
                        term=campaign.term,
                        last_log_index=state.log.last_index,
                        last_log_term=state.log.last_term,
                        pre_vote=campaign.pre_vote,
                        transfer=campaign.transfer,
                    )
                )

    def answered(self, message: RequestVoteResponse) -> Outcome:
        """Counts an answer. One that is not for this campaign changes nothing: a refused
        pre-vote bears the voter's own term, everything else the campaign's."""
        campaign = self.campaign
        if campaign is None or message.pre_vote != campaign.pre_vote:
            return Outcome.PENDING
        own_term = campaign.pre_vote and not message.granted
        if message.term != campaign.term and not own_term:
            return Outcome.PENDING
        campaign.votes[message.sender] = message.granted
        return self._count()

    def _count(self) -> Outcome:
        campaign = self.campaign
        if campaign is None:
            return Outcome.PENDING
        return quorum.tally(self._state.configuration.voters, campaign.votes)

    # --- voting ---------------------------------------------------------------------------

    def must_wait(self, message: RequestVote, *, leads: bool) -> bool:
        """Rule 3: whether to leave this unanswered for now."""
        state = self._state
        if message.transfer or message.term < state.term:
            return False
        if leads:
            return True
        if not self.holds_lease() or message.sender == state.leader_id:
            return False
        if message.pre_vote and message.sender in state.configuration.members:
            self._unanswered[message.sender] = message
        return True

    def answer(self, message: RequestVote) -> None:
        """Rule 1. A higher term has been adopted already, unless it is a pre-vote."""
        state = self._state
        log = state.log
        current = (message.last_log_term, message.last_log_index) >= (log.last_term, log.last_index)
        if message.pre_vote:
            granted = current and message.term > state.term
            if granted and self._goes_first(message):
                self._give_way()
        else:
            free = state.vote is None or state.vote == message.sender
            granted = current and message.term == state.term and free
            if granted:
                state.vote = message.sender
                self.rearm()
        state.outbox.append(
            RequestVoteResponse(
                sender=state.node_id,
                to=message.sender,
                term=message.term if granted else state.term,
                pre_vote=message.pre_vote,
                granted=granted,
            )
        )

    def _goes_first(self, message: RequestVote) -> bool:
        """Rule 8: whether that node is a better candidate than this one."""
        state = self._state
        if message.sender not in state.configuration.members:
            return False
        theirs = message.last_log_term, message.last_log_index
        own = state.log.last_term, state.log.last_index
        if theirs != own:
            return theirs > own
        return self._rank(message.sender) < self._rank(state.node_id)

    def _rank(self, node: NodeId) -> tuple[int, NodeId]:
        successors = self._state.configuration.successors
        return (successors.index(node) if node in successors else len(successors)), node

    def _give_way(self) -> None:
        """Rule 8; not in the middle of an election that may be won."""
        state = self._state
        if not self.may_campaign() or (self.campaign is not None and not self.campaign.pre_vote):
            return
        since = self._way_given_since
        if since is None or state.now - since >= 2 * state.election_timeout:
            since = self._way_given_since = state.now
        if state.now - since >= state.election_timeout:
            return
        if self.campaign is not None:
            self.campaign = None
            state.role = state.standing()
        self.deadline = state.now + (self.position() + 2 + state.jitter() / 2) * state.stagger
