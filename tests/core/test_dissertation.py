"""The dissertation's rules, section by section, in the order of the package docstring.

(Diego Ongaro, "Consensus: Bridging Theory and Practice", Stanford 2014.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ftweb.core.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    Message,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from ftweb.core.node import Node
from ftweb.core.settings import Settings
from ftweb.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    Role,
)
from ftweb.errors import NotLeaderError

if TYPE_CHECKING:
    from tests.core.conftest import Cluster

A, B, C, D, E = (NodeId(name) for name in "abcde")
QUIET = Settings(upkeep=False)
NOW = 1000.0


def command(index: int, term: int, data: Any = "x") -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMAND, data=data)


def noop(index: int, term: int) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.NOOP)


class Single:
    """One node under test, called A among voters A to E; the test plays the others."""

    def __init__(
        self,
        first_entry: Callable[..., Entry],
        *entries: Entry,
        voters: tuple[NodeId, ...] = (A, B, C),
        learners: tuple[NodeId, ...] = (),
        term: int = 1,
        vote: NodeId | None = None,
        settings: Settings = QUIET,
    ) -> None:
        self.now = NOW
        self.turns = 0
        self.node = Node(
            node_id=A,
            settings=settings,
            jitter=lambda: 0.0,
            now=NOW,
            hard_state=HardState(term=term, vote=vote),
            entries=[first_entry(voters, learners), *entries],
        )

    def role(self) -> Role:
        return self.node.role

    def sent(self) -> list[Message]:
        found: list[Message] = []
        while (ready := self.node.ready()) is not None:
            found += ready.messages
        return found

    def step(self, message: Message) -> list[Message]:
        self.node.step(message, self.now)
        return self.sent()

    def tick_when_due(self) -> list[Message]:
        self.turns += 1
        assert self.turns < 1000, "due again and again"
        self.now = max(self.now, self.node.next_deadline())
        self.node.tick(self.now)
        return self.sent()

    def campaign(self) -> list[Message]:
        """Through the pre-vote to the votes."""
        for ask in self.tick_when_due():
            assert isinstance(ask, RequestVote)
            self.node.step(answer(ask, granted=True), self.now)
        return self.sent()

    def lead(self) -> list[Message]:
        for ask in self.campaign():
            if isinstance(ask, RequestVote):
                self.node.step(answer(ask, granted=True), self.now)
        assert self.node.role is Role.LEADER
        return self.sent()

    def acknowledge(self, sender: NodeId, index: int | None = None) -> list[Message]:
        return self.step(
            AppendEntriesResponse(
                sender=sender,
                to=A,
                term=self.node.term,
                success=True,
                match_index=self.node.last_index if index is None else index,
                sent_at=self.now,
            )
        )


def answer(ask: RequestVote, *, granted: bool, term: int | None = None) -> RequestVoteResponse:
    return RequestVoteResponse(
        sender=ask.to,
        to=ask.sender,
        term=ask.term if term is None else term,
        pre_vote=ask.pre_vote,
        granted=granted,
    )


def ask_vote(
    sender: NodeId,
    term: int,
    last: tuple[int, int],
    *,
    pre_vote: bool = False,
    transfer: bool = False,
) -> RequestVote:
    return RequestVote(
        sender=sender,
        to=A,
        term=term,
        last_log_index=last[0],
        last_log_term=last[1],
        pre_vote=pre_vote,
        transfer=transfer,
    )


def append(
    sender: NodeId,
    term: int,
    previous: tuple[int, int],
    *entries: Entry,
    commit: int = 0,
    sent_at: float = NOW,
) -> AppendEntries:
    return AppendEntries(
        sender=sender,
        to=A,
        term=term,
        prev_log_index=previous[0],
        prev_log_term=previous[1],
        entries=entries,
        commit_index=commit,
        sent_at=sent_at,
        election_timeout=1500.0,
    )


@pytest.fixture
def single(first_entry: Callable[..., Entry]) -> Callable[..., Single]:
    def make(*entries: Entry, **options: Any) -> Single:
        return Single(first_entry, *entries, **options)

    return make


class TestTerms:
    """3.3"""

    @pytest.mark.parametrize(
        "message",
        [
            ask_vote(B, 5, (1, 1)),
            append(B, 5, (1, 1)),
            AppendEntriesResponse(sender=B, to=A, term=5, success=False, match_index=0),
            RequestVoteResponse(sender=B, to=A, term=5, pre_vote=False, granted=False),
            TimeoutNow(sender=B, to=A, term=4),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_a_higher_term_makes_a_leader_follow_it(
        self, single: Callable[..., Single], message: Message
    ) -> None:
        one = single()
        one.lead()
        if isinstance(message, RequestVote):
            one.now += 5000.0  # it is no leader any more after so long: no lease protects it
        one.step(message)
        assert one.node.role is not Role.LEADER
        assert one.node.term == 5

    def test_a_message_of_a_lower_term_is_answered_with_the_higher(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(term=7)
        (reply,) = one.step(append(B, 3, (1, 1)))
        assert isinstance(reply, AppendEntriesResponse)
        assert (reply.term, reply.success) == (7, False)
        (refusal,) = one.step(ask_vote(B, 3, (9, 3)))
        assert isinstance(refusal, RequestVoteResponse)
        assert (refusal.term, refusal.granted) == (7, False)
        assert one.node.term == 7

    def test_the_term_is_saved_before_anything_is_sent(self, single: Callable[..., Single]) -> None:
        one = single()
        one.node.step(ask_vote(B, 4, (1, 1)), NOW)
        ready = one.node.ready()
        assert ready is not None
        assert ready.hard_state == HardState(term=4, vote=B)
        assert len(ready.messages) == 1


class TestElections:
    """3.4"""

    def test_votes_once_per_term_also_after_a_restart(self, single: Callable[..., Single]) -> None:
        one = single(term=4, vote=B)
        (refused,) = one.step(ask_vote(C, 4, (9, 4)))
        (again,) = one.step(ask_vote(B, 4, (9, 4)))
        assert isinstance(refused, RequestVoteResponse)
        assert isinstance(again, RequestVoteResponse)
        assert (refused.granted, again.granted) == (False, True)

    @pytest.mark.parametrize("voters", [1, 2, 3, 4, 5])
    def test_a_majority_of_voters_elects(self, single: Callable[..., Single], voters: int) -> None:
        one = single(voters=(A, B, C, D, E)[:voters])
        asked = one.campaign() if voters > 1 else one.tick_when_due()
        for granted, ask in enumerate(asked, start=1):
            if not isinstance(ask, RequestVote):
                break
            assert one.node.role is (Role.LEADER if 2 * granted > voters else Role.CANDIDATE)
            one.step(answer(ask, granted=True))
        assert one.node.role is Role.LEADER

    def test_votes_of_learners_and_strangers_do_not_count(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(voters=(A, B, C), learners=(D,))
        (ask, _) = one.campaign()
        assert isinstance(ask, RequestVote)
        for stranger in (D, E):
            one.step(
                RequestVoteResponse(
                    sender=stranger, to=A, term=ask.term, pre_vote=False, granted=True
                )
            )
        assert one.node.role is Role.CANDIDATE

    def test_a_candidate_follows_the_leader_of_its_term(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.campaign()
        one.step(append(C, one.node.term, (1, 1)))
        assert one.node.role is Role.FOLLOWER
        assert one.node.leader_id == C

    def test_votes_of_another_campaign_do_not_count(self, single: Callable[..., Single]) -> None:
        one = single()
        (first, _) = one.campaign()
        assert isinstance(first, RequestVote)
        one.tick_when_due()  # asks again
        while one.node.role is Role.CANDIDATE and one.node.term == first.term:
            for ask in one.tick_when_due():
                if isinstance(ask, RequestVote) and ask.pre_vote:
                    one.step(answer(ask, granted=True))
        assert one.node.term == first.term + 1
        one.step(answer(first, granted=True))
        assert one.node.role is Role.CANDIDATE


class TestElectionRestriction:
    """3.6.1"""

    @pytest.mark.parametrize(
        "last, granted",
        [
            ((3, 2), True),  # the same
            ((4, 2), True),  # longer
            ((2, 2), False),  # shorter
            ((1, 3), True),  # shorter, but of a later term
            ((10, 1), False),  # longer, but of an earlier term
        ],
    )
    @pytest.mark.parametrize("pre_vote", [False, True])
    def test_only_logs_as_up_to_date_get_a_vote(
        self,
        single: Callable[..., Single],
        last: tuple[int, int],
        *,
        granted: bool,
        pre_vote: bool,
    ) -> None:
        one = single(noop(2, 2), command(3, 2), term=2)
        (reply,) = one.step(ask_vote(B, 5, last, pre_vote=pre_vote))
        assert isinstance(reply, RequestVoteResponse)
        assert reply.granted is granted


class TestReplication:
    """3.5"""

    def test_refuses_entries_whose_predecessor_is_missing(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        (reply,) = one.step(append(B, 2, (5, 2), command(6, 2)))
        assert isinstance(reply, AppendEntriesResponse)
        assert (reply.success, reply.conflict_index, reply.conflict_term) == (False, 2, 0)
        assert one.node.last_index == 1

    def test_a_refusal_names_the_beginning_of_the_conflicting_term(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(noop(2, 2), noop(3, 3), command(4, 3), command(5, 3), term=3)
        (reply,) = one.step(append(B, 4, (5, 4)))
        assert isinstance(reply, AppendEntriesResponse)
        assert (reply.success, reply.conflict_index, reply.conflict_term) == (False, 3, 3)

    def test_conflicting_entries_are_truncated(self, single: Callable[..., Single]) -> None:
        one = single(noop(2, 2), command(3, 2, "old"), command(4, 2, "old"), term=2)
        one.sent()
        one.node.step(append(B, 3, (2, 2), noop(3, 3)), NOW)
        ready = one.node.ready()
        assert ready is not None
        assert ready.entries == (noop(3, 3),)
        assert one.node.last_index == 3

    def test_an_old_message_truncates_nothing(self, single: Callable[..., Single]) -> None:
        one = single(noop(2, 2), command(3, 2), command(4, 2), term=2)
        one.step(append(B, 2, (1, 1), noop(2, 2), command(3, 2)))
        assert one.node.last_index == 4

    def test_commits_no_further_than_what_the_message_shows(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(noop(2, 2), command(3, 2), term=2)
        one.step(append(B, 2, (1, 1), noop(2, 2), commit=3))
        assert one.node.commit_index == 2  # entry 3 may be another than the leader's

    @pytest.mark.parametrize("name", list("abcdef"))
    def test_figure_3_6(self, make_cluster: type[Cluster], name: str) -> None:
        """The leader of term 8 brings each of the figure's logs into line with its own."""
        leader_terms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
        other_terms = {
            "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
            "b": [1, 1, 1, 4],
            "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
            "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
            "e": [1, 1, 1, 4, 4, 4, 4],
            "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
        }[name]
        cluster = make_cluster(QUIET)
        cluster.start(["leader", "other", "third"])
        base = cluster.members["leader"].entries[1]
        for node, terms in (
            ("leader", leader_terms),
            ("third", leader_terms),
            ("other", other_terms),
        ):
            member = cluster.members[node]
            member.hard_state = HardState(term=7, vote=NodeId("nobody"))
            rest = enumerate(terms[1:], start=2)
            member.entries = {1: base} | {i: command(i, term, term) for i, term in rest}
            member.restart()
        cluster.advance_until(lambda: cluster.node("leader").role is Role.LEADER)
        cluster.advance(500.0)
        assert cluster.node("leader").term == 8
        assert cluster.members["other"].entries == cluster.members["leader"].entries
        assert cluster.node("other").commit_index == len(leader_terms) + 1
        cluster.check_logs()


class TestCommitment:
    """3.6.2"""

    def test_an_entry_of_its_own_term_is_committed_by_a_majority(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.lead()
        assert one.node.commit_index == 0
        one.acknowledge(B)
        assert one.node.commit_index == 2

    def test_figure_3_7_entries_of_earlier_terms_are_not_counted(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(command(2, 2), term=3, voters=(A, B, C, D, E))
        one.lead()
        assert one.node.term == 4
        for follower in (B, C):
            one.acknowledge(follower, 2)  # entry 2 is on a majority, but of term 2
        assert one.node.commit_index == 0
        for follower in (B, C):
            one.acknowledge(follower, 3)  # the empty entry of term 4
        assert one.node.commit_index == 3

    def test_indexes_are_compared_as_numbers(self, single: Callable[..., Single]) -> None:
        """raft.js sorted them as strings: 10 came before 9, and nothing was committed."""
        one = single(voters=(A, B, C, D, E))
        one.lead()
        for _ in range(10):
            one.node.propose("x", one.now)
        one.sent()
        one.acknowledge(B, 9)
        one.acknowledge(C, 10)
        assert one.node.commit_index == 9
        one.acknowledge(B, 11)
        assert one.node.commit_index == 10

    def test_appends_an_empty_entry_when_it_leads(self, single: Callable[..., Single]) -> None:
        """6.4: or what was there before would stay uncommitted until somebody proposes."""
        one = single()
        message = one.lead()[0]
        assert isinstance(message, AppendEntries)
        assert message.entries == (noop(2, 2),)
        assert one.node.term_start == 2

    def test_a_new_commit_index_is_sent_at_once_to_learners_too(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(learners=(D,))
        one.lead()
        one.acknowledge(D)
        told = {m.to: m for m in one.acknowledge(B) if isinstance(m, AppendEntries)}
        assert told[B].commit_index == told[D].commit_index == 2
        assert not told[B].reply  # one message less


class TestPersistence:
    """3.8"""

    def test_an_acknowledgement_comes_with_what_must_be_saved_first(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.node.step(append(B, 2, (1, 1), noop(2, 2)), NOW)
        ready = one.node.ready()
        assert ready is not None
        assert ready.hard_state == HardState(term=2, vote=None)
        assert ready.entries == (noop(2, 2),)
        assert [type(m) for m in ready.messages] == [AppendEntriesResponse]

    def test_a_leader_counts_its_own_log_only_when_handed_out(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(voters=(A, B))
        one.lead()
        one.acknowledge(B)
        index = one.node.propose("x", one.now)
        one.node.step(
            AppendEntriesResponse(
                sender=B, to=A, term=2, success=True, match_index=index, sent_at=one.now
            ),
            one.now,
        )
        assert one.node.commit_index == index - 1
        ready = one.node.ready()
        assert ready is not None
        assert [entry.index for entry in ready.entries] == [index]
        assert ready.committed == ()
        assert one.node.commit_index == index


class TestTransfer:
    """3.10"""

    def test_waits_until_the_target_has_everything(self, single: Callable[..., Single]) -> None:
        one = single()
        one.lead()
        index = one.node.propose("x", one.now)
        one.sent()
        assert one.node.transfer_leadership(B, one.now)
        assert one.node.transferring
        assert not any(isinstance(m, TimeoutNow) for m in one.acknowledge(B, index - 1))
        assert any(isinstance(m, TimeoutNow) for m in one.acknowledge(B, index))

    def test_one_at_a_time_and_given_up_after_an_election_timeout(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.lead()
        began = one.now
        assert one.node.transfer_leadership(B, one.now)
        assert not one.node.transfer_leadership(C, one.now)
        while one.node.transferring:
            one.tick_when_due()
            one.acknowledge(C)
        assert one.now - began == QUIET.election_timeout
        assert one.node.transfer_leadership(C, one.now)

    def test_not_to_strangers_or_itself_and_not_by_followers(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        assert not one.node.transfer_leadership(B, one.now)
        one.lead()
        assert not one.node.transfer_leadership(A, one.now)
        assert not one.node.transfer_leadership(E, one.now)

    def test_the_target_campaigns_at_once_past_all_leases(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.step(append(B, 2, (1, 1)))
        asks = one.step(TimeoutNow(sender=B, to=A, term=2))
        assert {ask.to for ask in asks} == {B, C}
        for ask in asks:
            assert isinstance(ask, RequestVote)
            assert (ask.pre_vote, ask.transfer, ask.term) == (False, True, 3)

    def test_an_asked_voter_grants_in_spite_of_its_lease(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.step(append(B, 2, (1, 1)))
        (reply,) = one.step(ask_vote(C, 3, (1, 1), transfer=True))
        assert isinstance(reply, RequestVoteResponse)
        assert reply.granted

    def test_a_stale_request_to_campaign_is_ignored(self, single: Callable[..., Single]) -> None:
        one = single(term=5)
        assert one.step(TimeoutNow(sender=B, to=A, term=4)) == []
        assert one.node.role is Role.FOLLOWER

    def test_proposals_meanwhile_are_not_dropped(self, make_cluster: type[Cluster]) -> None:
        cluster = make_cluster(QUIET).start(["a", "b", "c"])
        cluster.advance_until(lambda: cluster.leader() is not None)
        leader = cluster.leader()
        assert leader is not None
        other = next(m.id for m in cluster.live() if m is not leader)
        cluster.members[other].paused = True
        leader.node.transfer_leadership(other, cluster.now)
        leader.node.propose("meanwhile", cluster.now)
        cluster.members[other].paused = False
        cluster.advance(2 * QUIET.election_timeout)
        assert all(member.applied == ["meanwhile"] for member in cluster.live())


class TestConfigurations:
    """4.1"""

    def test_none_before_an_entry_of_the_own_term_is_committed(
        self, single: Callable[..., Single]
    ) -> None:
        """The bug of 2015: two leaders could each commit a change that the other lacked."""
        one = single()
        one.step(append(B, 2, (1, 1), commit=1))  # the configuration itself is committed
        one.lead()
        new = Configuration(voters=(A, B, C, D))
        assert not one.node.change_configuration(new, one.now)
        one.acknowledge(B, 2)
        assert one.node.commit_index == 2
        assert one.node.change_configuration(new, one.now)

    def test_none_while_another_is_pending(self, single: Callable[..., Single]) -> None:
        one = single()
        one.lead()
        one.acknowledge(B)
        assert one.node.change_configuration(Configuration(voters=(A, B, C, D)), one.now)
        back = Configuration(voters=(A, B, C))
        assert not one.node.change_configuration(back, one.now)
        one.sent()
        one.acknowledge(B)
        assert not one.node.change_configuration(back, one.now)  # two of four are no majority
        one.acknowledge(C)
        assert one.node.change_configuration(back, one.now)

    @pytest.mark.parametrize(
        "voters", [(A, B, C, D, E), (A,), (A, B, D), (B, C, D)], ids=lambda v: "".join(v)
    )
    def test_one_voter_at_a_time(
        self, single: Callable[..., Single], voters: tuple[NodeId, ...]
    ) -> None:
        one = single()
        one.lead()
        one.acknowledge(B)
        assert not one.node.change_configuration(Configuration(voters=voters), one.now)

    def test_in_force_when_appended_and_void_when_truncated(
        self, single: Callable[..., Single], first_entry: Callable[..., Entry]
    ) -> None:
        one = single()
        change = first_entry([A, B, C, D], index=2, term=2)
        one.step(append(B, 2, (1, 1), change))
        assert set(one.node.configuration.voters) == {A, B, C, D}
        assert one.node.commit_index == 0
        one.step(append(C, 3, (1, 1), noop(2, 3)))
        assert set(one.node.configuration.voters) == {A, B, C}

    def test_a_new_voter_counts_for_the_very_entry_that_adds_it(
        self, single: Callable[..., Single]
    ) -> None:
        one = single(voters=(A,), learners=(D,))
        one.tick_when_due()
        one.acknowledge(D)
        assert one.node.change_configuration(Configuration(voters=(A, D)), one.now)
        one.sent()
        assert one.node.commit_index == 2  # A alone is no majority of two
        one.acknowledge(D)
        assert one.node.commit_index == 3


class TestMembership:
    """4.2"""

    def test_learners_do_not_count_for_commitment(self, single: Callable[..., Single]) -> None:
        """4.2.1"""
        one = single(learners=(D, E))
        one.lead()
        one.acknowledge(D)
        one.acknowledge(E)
        assert one.node.commit_index == 0

    def test_whoever_is_asked_votes(self, first_entry: Callable[..., Entry]) -> None:
        """4.2.1: a server may be needed for the majority before it knows of being a member."""
        stranger = Node(node_id=A, settings=QUIET, jitter=lambda: 0.0, now=NOW)
        assert stranger.role is Role.OBSERVER
        stranger.step(ask_vote(B, 3, (4, 2)), NOW)
        ready = stranger.ready()
        assert ready is not None
        (reply,) = ready.messages
        assert isinstance(reply, RequestVoteResponse)
        assert reply.granted

    def test_a_removed_leader_steps_down_when_that_is_committed(
        self, single: Callable[..., Single]
    ) -> None:
        """4.2.2"""
        one = single()
        one.lead()
        one.acknowledge(B)
        assert one.node.change_configuration(Configuration(voters=(B, C)), one.now)
        one.sent()
        one.acknowledge(B)
        assert one.role() is Role.LEADER  # its own log does not count any more
        told = one.acknowledge(C)
        assert one.role() is Role.OBSERVER
        assert {m.to for m in told if isinstance(m, AppendEntries) and m.commit_index == 3} == {
            B,
            C,
        }

    def test_a_node_being_removed_campaigns_until_that_is_committed(
        self, single: Callable[..., Single], first_entry: Callable[..., Entry]
    ) -> None:
        """4.2.2, figure 4.6: it may hold the longest log of those left."""
        removal = first_entry([B, C], index=2, term=2)
        one = single(removal, term=2)
        assert one.node.role is Role.OBSERVER
        asks = one.tick_when_due()
        assert {ask.to for ask in asks if isinstance(ask, RequestVote)} == {B, C}
        one.step(append(B, 3, (2, 2), commit=2))
        assert one.tick_when_due() == []
        assert one.node.next_deadline() == float("inf")

    def test_a_leader_made_a_learner_leads_on(self, single: Callable[..., Single]) -> None:
        """Departure A."""
        one = single()
        one.lead()
        one.acknowledge(B)
        new = Configuration(voters=(B, C), learners=(A,), successors=(A, B, C))
        assert one.node.change_configuration(new, one.now)
        one.sent()
        one.acknowledge(B)
        one.acknowledge(C)
        assert one.node.role is Role.LEADER
        index = one.node.propose("x", one.now)
        one.sent()
        one.acknowledge(B)
        assert one.node.commit_index == index - 1
        one.acknowledge(C)
        assert one.node.commit_index == index


class TestLeases:
    """4.2.3 and 9.6"""

    @pytest.mark.parametrize("pre_vote", [False, True])
    def test_whoever_hears_a_leader_leaves_votes_unanswered(
        self, single: Callable[..., Single], *, pre_vote: bool
    ) -> None:
        one = single()
        one.step(append(B, 2, (1, 1)))
        one.now += QUIET.election_timeout - 1
        assert one.step(ask_vote(C, 9, (9, 9), pre_vote=pre_vote)) == []
        assert one.node.term == 2
        one.now += 1
        (reply,) = one.step(ask_vote(C, 9, (9, 9), pre_vote=pre_vote))
        assert isinstance(reply, RequestVoteResponse)
        assert reply.granted

    def test_a_leader_with_a_quorum_leaves_them_unanswered_too(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.lead()
        assert one.step(ask_vote(C, 9, (9, 9))) == []
        assert one.node.role is Role.LEADER

    def test_a_pre_vote_changes_no_term_and_no_vote(self, single: Callable[..., Single]) -> None:
        one = single()
        one.node.step(ask_vote(B, 2, (1, 1), pre_vote=True), NOW)
        ready = one.node.ready()
        assert ready is not None
        assert ready.hard_state is None
        assert one.node.term == 1

    def test_a_refused_pre_vote_leaves_the_term(self, single: Callable[..., Single]) -> None:
        one = single()
        for ask in one.tick_when_due():
            assert isinstance(ask, RequestVote)
            assert ask.pre_vote
            one.step(answer(ask, granted=False, term=1))
        assert one.node.term == 1
        assert one.node.role is Role.FOLLOWER

    def test_a_refusal_with_a_higher_term_is_learned_from(
        self, single: Callable[..., Single]
    ) -> None:
        """Or a node with the only complete log would ask for an old term for ever."""
        one = single()
        ask = one.tick_when_due()[0]
        assert isinstance(ask, RequestVote)
        one.step(answer(ask, granted=False, term=6))
        assert one.node.term == 6

    def test_a_lost_hint_ends_the_lease_and_the_first_successor_asks_at_once(
        self, single: Callable[..., Single]
    ) -> None:
        """Departure D. B leads and is the second successor; A comes before C."""
        one = single()
        one.step(append(B, 2, (1, 1)))
        one.node.lost(B, one.now)
        asks = one.sent()
        assert {ask.to for ask in asks if isinstance(ask, RequestVote)} == {B, C}

    def test_later_successors_wait_their_turn(self, first_entry: Callable[..., Entry]) -> None:
        """Departure C."""
        deadlines = []
        for successors in ([A, B, C, D], [B, A, C, D], [B, C, A, D], [B, C, D, A]):
            node = Node(
                node_id=A,
                settings=QUIET,
                jitter=lambda: 0.0,
                now=NOW,
                entries=[first_entry([A, B, C, D], successors=successors)],
            )
            node.step(append(D, 2, (1, 1)), NOW)
            node.lost(D, NOW)
            deadlines.append(0.0 if node.role is Role.CANDIDATE else node.next_deadline() - NOW)
        assert deadlines == [0.0, 150.0, 300.0, 300.0]  # D, lost, is not waited for

    def test_a_message_under_way_when_the_leader_was_lost_does_not_bring_it_back(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.step(append(B, 2, (1, 1), sent_at=500.0))
        one.node.lost(B, one.now)
        one.sent()
        one.step(append(B, 2, (1, 1), noop(2, 2), sent_at=650.0))
        assert one.node.last_index == 2  # it counts all the same
        assert one.role() is Role.CANDIDATE
        one.step(append(B, 2, (2, 2), sent_at=900.0))  # but it goes on: the hint was wrong
        assert one.role() is Role.FOLLOWER
        assert one.node.leader_id == B

    def test_silent_loss_waits_for_an_election_timeout(self, single: Callable[..., Single]) -> None:
        one = single()
        one.step(append(B, 2, (1, 1)))
        assert one.node.next_deadline() - one.now == QUIET.election_timeout

    def test_learners_campaign_only_as_successors(self, first_entry: Callable[..., Entry]) -> None:
        for successors, campaigns in (([B], False), ([A, B], True)):
            node = Node(
                node_id=A,
                settings=QUIET,
                jitter=lambda: 0.0,
                now=NOW,
                entries=[first_entry([B], [A], successors)],
            )
            node.tick(node.next_deadline())
            assert (node.role is Role.CANDIDATE) is campaigns


class TestCheckQuorum:
    """6.2"""

    def test_a_leader_without_a_quorum_steps_down(self, single: Callable[..., Single]) -> None:
        one = single()
        one.lead()
        began = one.now
        while one.node.role is Role.LEADER:
            one.tick_when_due()
        assert 0 < one.now - began - QUIET.election_timeout <= QUIET.heartbeat

    def test_one_answer_of_two_is_a_quorum_of_three(self, single: Callable[..., Single]) -> None:
        one = single()
        one.lead()
        for _ in range(50):
            one.tick_when_due()
            one.acknowledge(C)
        assert one.node.role is Role.LEADER
        assert one.node.quorum_active

    def test_late_answers_to_old_messages_do_not_count(self, single: Callable[..., Single]) -> None:
        one = single()
        one.lead()
        sent_at = one.now
        for _ in range(40):
            if one.node.role is not Role.LEADER:
                break
            one.tick_when_due()
            one.step(
                AppendEntriesResponse(
                    sender=B, to=A, term=2, success=True, match_index=2, sent_at=sent_at
                )
            )
        assert one.node.role is Role.FOLLOWER

    @pytest.mark.parametrize("first", ["propose", "step", "tick", "peers", "transfer"])
    def test_after_a_leap_of_the_clock_it_knows_before_it_acts(
        self, single: Callable[..., Single], first: str
    ) -> None:
        one = single()
        one.lead()
        index = one.node.propose("before", one.now)
        one.sent()
        slept_at = one.now
        one.now += 3_600_000.0
        if first == "propose":
            with pytest.raises(NotLeaderError):
                one.node.propose("after", one.now)
        elif first == "step":
            answered = AppendEntriesResponse(
                sender=B, to=A, term=2, success=True, match_index=index, sent_at=slept_at
            )
            assert one.step(answered) == []
        elif first == "tick":
            one.node.tick(one.now)
        elif first == "peers":
            one.node.peers([], one.now)
        else:
            assert not one.node.transfer_leadership(B, one.now)
        assert one.node.role is Role.FOLLOWER
        assert not one.node.quorum_active
        assert one.node.commit_index < index

    def test_one_way_link(self, make_cluster: type[Cluster]) -> None:
        """Pre-votes without CheckQuorum once stopped a provider for hours: a leader that can
        send but not hear kept the others from electing one that could do both."""
        cluster = make_cluster(QUIET).start(["a", "b", "c"])
        cluster.advance_until(lambda: cluster.leader() is not None)
        leader = cluster.leader()
        assert leader is not None
        cluster.cut = {(other.id, leader.id) for other in cluster.live() if other is not leader}
        cluster.advance_until(lambda: cluster.leader() not in (None, leader), 15_000.0)


class TestSnapshots:
    """5"""

    def chunk(self, one: Single, offset: int, text: str, **changes: Any) -> InstallSnapshot:
        from ftweb.core.snapshot import checksum

        fields: dict[str, Any] = {
            "sender": B,
            "to": A,
            "term": 2,
            "last_index": 9,
            "last_term": 2,
            "configuration": Configuration(voters=(B, C), learners=(A,), successors=(B,)),
            "offset": offset,
            "total": len(text),
            "data": text[offset : offset + 4],
            "checksum": checksum(text),
        }
        return InstallSnapshot(**(fields | changes))

    def test_installed_whole_with_its_configuration(self, single: Callable[..., Single]) -> None:
        one = single(noop(2, 1), command(3, 1))
        one.step(self.chunk(one, 0, "snapshot"))
        assert one.node.last_index == 3
        one.node.step(self.chunk(one, 4, "snapshot"), one.now)
        ready = one.node.ready()
        assert ready is not None
        assert ready.snapshot is not None
        assert (ready.snapshot.data, ready.snapshot.last_index) == ("snapshot", 9)
        assert (one.node.last_index, one.node.commit_index, one.node.applied_index) == (9, 9, 9)
        assert one.node.role is Role.LEARNER

    def test_a_damaged_one_is_refused_and_fetched_again(
        self, single: Callable[..., Single]
    ) -> None:
        one = single()
        one.step(self.chunk(one, 0, "snapshot"))
        (reply,) = one.step(self.chunk(one, 4, "snapshot", data="shOt"))
        assert getattr(reply, "offset", None) == 0
        assert one.node.last_index == 1

    def test_never_over_what_is_committed(self, single: Callable[..., Single]) -> None:
        one = single()
        entries = [noop(2, 2), *(command(index, 2) for index in range(3, 13))]
        one.step(append(B, 2, (1, 1), *entries, commit=12))
        (reply,) = one.step(self.chunk(one, 0, "snapshot"))
        assert getattr(reply, "offset", None) == 8  # all of it: nothing is wanted
        assert (one.node.last_index, one.node.commit_index) == (12, 12)

    def test_a_log_that_holds_its_last_entry_stays(self, single: Callable[..., Single]) -> None:
        one = single()
        entries = [noop(2, 2), *(command(index, 2) for index in range(3, 13))]
        one.step(append(B, 2, (1, 1), *entries, commit=1))
        one.step(self.chunk(one, 0, "snapshot"))
        assert (one.node.last_index, one.node.commit_index) == (12, 9)

    def test_compacted_entries_need_no_check(self, single: Callable[..., Single]) -> None:
        one = single(settings=Settings(upkeep=False, trailing_entries=0))
        entries = [noop(2, 2), *(command(index, 2) for index in range(3, 7))]
        one.step(append(B, 2, (1, 1), *entries, commit=6))
        one.node.compact(6, "state")
        (reply,) = one.step(append(B, 2, (2, 2), *entries[1:], command(7, 2), commit=6))
        assert isinstance(reply, AppendEntriesResponse)
        assert (reply.success, reply.match_index) == (True, 7)
