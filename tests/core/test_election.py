"""Timers and leases; ballots and terms are in test_dissertation.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ftweb.core.election import Election
from ftweb.core.messages import RequestVote
from ftweb.core.settings import Settings
from ftweb.core.state import State
from ftweb.core.types import Entry, NodeId, Role

A, B, C, D = (NodeId(name) for name in "abcd")


@pytest.fixture
def make(first_entry: Callable[..., Entry]) -> Callable[..., tuple[State, Election]]:
    def made(
        voters: str = "abcd",
        successors: str = "abcd",
        *,
        gone: set[NodeId] | None = None,
        jitter: float = 0.0,
        node: NodeId = A,
    ) -> tuple[State, Election]:
        learners = [name for name in successors if name not in voters]
        state = State(
            node_id=node,
            settings=Settings(),
            jitter=lambda: jitter,
            now=1000.0,
            hard_state=None,
            snapshot=None,
            entries=[first_entry(list(voters), learners, list(successors))],
        )
        state.role = state.standing()
        return state, Election(state, gone if gone is not None else set())

    return made


def test_jitter_is_less_than_a_stagger(make: Callable[..., tuple[State, Election]]) -> None:
    _, first = make(successors="abcd", jitter=0.999)
    _, second = make(successors="bacd", jitter=0.0)
    assert first.deadline < second.deadline


def test_the_lost_and_the_leader_are_not_waited_for(
    make: Callable[..., tuple[State, Election]],
) -> None:
    gone: set[NodeId] = set()
    state, election = make(successors="bcda", gone=gone)
    assert election.position() == 3
    state.leader_id = B
    assert election.position() == 2
    gone.add(C)
    assert election.position() == 1


def test_the_only_voter_waits_for_nobody_when_it_starts(
    make: Callable[..., tuple[State, Election]],
) -> None:
    state, election = make("a", "a")
    assert election.deadline == state.now


def test_who_may_not_campaign_only_forgets_the_leader(
    make: Callable[..., tuple[State, Election]],
) -> None:
    state, election = make("b", "b")
    assert not election.may_campaign()
    election.heard_leader(B, 1000.0)
    election.gave_up_leader()
    assert state.leader_id is None
    assert election.deadline == math.inf
    assert not election.holds_lease()


@pytest.mark.parametrize("pre_vote, again", [(False, {B, D}), (True, {B, C, D})])
def test_asks_again_who_has_not_answered_and_of_pre_votes_all(
    make: Callable[..., tuple[State, Election]], pre_vote: bool, again: set[NodeId]
) -> None:
    state, election = make()
    election.start(pre_vote=pre_vote)
    campaign = election.campaign
    assert campaign is not None
    assert {message.to for message in state.outbox} == {B, C, D}
    campaign.votes[C] = True
    state.outbox.clear()
    election.ask_again()
    assert state.outbox == []  # not yet
    state.now = campaign.ask_again_at
    election.ask_again()
    assert {message.to for message in state.outbox} == again


def pre_vote(sender: NodeId, *, term: int = 2, last: int = 1) -> RequestVote:
    return RequestVote(
        sender=sender, to=A, term=term, last_log_index=last, last_log_term=1, pre_vote=True
    )


def test_gives_way_to_a_better_candidate_for_an_election_timeout_at_most(
    make: Callable[..., tuple[State, Election]],
) -> None:
    state, election = make()
    election.leader_lost()
    began = state.now
    while state.now - began < state.election_timeout:
        election.start(pre_vote=True)
        election.answer(pre_vote(B, last=2))
        assert election.campaign is None
        assert state.role is Role.FOLLOWER
        assert state.now + 2 * state.stagger <= election.deadline <= state.now + 3 * state.stagger
        state.now += 100.0
    election.start(pre_vote=True)
    election.answer(pre_vote(B, last=2))
    assert election.campaign is not None, "it may hear nobody"
    election.heard_leader(C, state.now)
    election.leader_lost()
    election.start(pre_vote=True)
    election.answer(pre_vote(B, last=2))
    assert election.campaign is None, "another time"


@pytest.mark.parametrize(
    "ask", [pre_vote(D), pre_vote(B, last=0), pre_vote(B, term=1), pre_vote(NodeId("stranger"))]
)
def test_gives_way_to_nobody_else(
    make: Callable[..., tuple[State, Election]], ask: RequestVote
) -> None:
    """Not to who is later in succession, has less, is behind, or is no member."""
    _, election = make()
    election.start(pre_vote=True)
    election.answer(ask)
    assert election.campaign is not None


def test_gives_no_way_in_the_middle_of_an_election(
    make: Callable[..., tuple[State, Election]],
) -> None:
    _, election = make()
    election.start(pre_vote=False)
    election.answer(pre_vote(B, term=3, last=2))
    assert election.campaign is not None


def test_remembers_pre_votes_of_members_only(
    make: Callable[..., tuple[State, Election]],
) -> None:
    _, election = make()
    election.heard_leader(B, 1000.0)
    for sender in (C, D, NodeId("stranger")):
        ask = RequestVote(
            sender=sender, to=A, term=2, last_log_index=1, last_log_term=1, pre_vote=True
        )
        assert election.must_wait(ask, leads=False)
    assert {message.sender for message in election.leader_lost()} == {C, D}
    assert election.leader_lost() == []


def test_the_leader_itself_may_ask(make: Callable[..., tuple[State, Election]]) -> None:
    """It stepped down, and nobody else knows yet: its own lease must not keep it out."""
    _, election = make()
    election.heard_leader(B, 1000.0)
    ask = RequestVote(sender=B, to=A, term=2, last_log_index=1, last_log_term=1, pre_vote=True)
    assert not election.must_wait(ask, leads=False)


def test_granting_a_vote_gives_the_candidate_time(
    make: Callable[..., tuple[State, Election]],
) -> None:
    state, election = make()
    election.leader_lost()
    assert election.deadline == state.now
    state.term = 2
    ask = RequestVote(sender=B, to=A, term=2, last_log_index=1, last_log_term=1, pre_vote=False)
    election.answer(ask)
    assert state.vote == B
    assert election.deadline == state.now + state.election_timeout


def test_a_pre_vote_gives_up_the_leader_but_no_vote(
    make: Callable[..., tuple[State, Election]],
) -> None:
    state, election = make()
    election.heard_leader(B, 1000.0)
    election.start(pre_vote=True)
    assert (state.role, state.leader_id) == (Role.CANDIDATE, None)
    assert (state.term, state.vote) == (1, None)
