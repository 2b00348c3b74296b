"""What a leader sends, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ftweb.core.messages import AppendEntries, AppendEntriesResponse, InstallSnapshot, Message
from ftweb.core.progress import Mode
from ftweb.core.replication import Replication
from ftweb.core.settings import Settings
from ftweb.core.state import State
from ftweb.core.types import Entry, EntryKind, HardState, NodeId, Role

if TYPE_CHECKING:
    from tests.core.conftest import Cluster

A, B, C, D = (NodeId(name) for name in "abcd")


class Leader:
    """A leading A; the test plays the others."""

    def __init__(self, first_entry: Callable[..., Entry], settings: Settings) -> None:
        self.state = State(
            node_id=A,
            settings=settings,
            jitter=lambda: 0.0,
            now=1000.0,
            hard_state=HardState(term=2, vote=A),
            snapshot=None,
            entries=[first_entry([A, B, C], [D])],
        )
        self.replication = Replication(self.state)

    def propose(self, count: int, text: str = "x") -> None:
        for _ in range(count):
            self.replication.append(EntryKind.COMMAND, text)

    def flush(self) -> list[Message]:
        self.replication.flush()
        self.state.log.take_unsaved()
        sent, self.state.outbox = self.state.outbox, []
        return sent

    def answer(self, node: NodeId, match: int, *, after: float = 0.0) -> None:
        sent_at, self.state.now = self.state.now, self.state.now + after
        self.replication.appended(
            AppendEntriesResponse(
                sender=node, to=A, term=2, success=True, match_index=match, sent_at=sent_at
            )
        )


@pytest.fixture
def lead(first_entry: Callable[..., Entry]) -> Callable[..., Leader]:
    def made(**values: float) -> Leader:
        settings = Settings(upkeep=False, **values)  # type: ignore[arg-type]
        leader = Leader(first_entry, settings)
        leader.flush()
        for node in (B, C, D):
            leader.answer(node, 2)
        leader.flush()
        return leader

    return made


def entries_to(sent: list[Message], node: NodeId) -> list[list[int]]:
    return [
        [entry.index for entry in message.entries]
        for message in sent
        if isinstance(message, AppendEntries) and message.to == node
    ]


def test_what_is_proposed_between_two_drains_is_one_batch(lead: Callable[..., Leader]) -> None:
    leader = lead()
    leader.propose(50)
    assert entries_to(leader.flush(), B) == [list(range(3, 53))]
    leader.propose(1)
    assert entries_to(leader.flush(), B) == [[53]]  # without waiting for the answer
    assert leader.flush() == []


def test_batches_are_cut_and_the_window_is_kept(lead: Callable[..., Leader]) -> None:
    leader = lead(batch_bytes=500, inflight_messages=3)
    leader.propose(20, "x" * 100)
    sent = entries_to(leader.flush(), B)
    assert sent == [[3, 4], [5, 6], [7, 8]]
    assert leader.flush() == []
    leader.answer(B, 6)
    assert entries_to(leader.flush(), B) == [[9, 10], [11, 12]]


def test_a_lost_batch_is_found_by_the_heartbeat_and_sent_again(
    lead: Callable[..., Leader],
) -> None:
    leader = lead()
    leader.propose(3)
    leader.flush()  # lost
    leader.state.now += 150.0
    leader.replication.heartbeat()
    (beat,) = [m for m in leader.flush() if m.to == B]
    assert isinstance(beat, AppendEntries)
    assert beat.prev_log_index == 5
    leader.replication.appended(
        AppendEntriesResponse(
            sender=B,
            to=A,
            term=2,
            success=False,
            match_index=0,
            conflict_index=3,
            sent_at=beat.sent_at,
        )
    )
    assert entries_to(leader.flush(), B) == [[3, 4, 5]]


def test_the_commit_index_is_told_once(lead: Callable[..., Leader]) -> None:
    leader = lead()
    leader.propose(1)
    leader.flush()
    leader.answer(B, 3)
    told = [m for m in leader.flush() if isinstance(m, AppendEntries)]
    assert {m.to for m in told} == {B, C, D}
    assert all((m.commit_index, m.entries, m.reply) == (3, (), False) for m in told)
    assert leader.flush() == []


def test_a_learner_beyond_compaction_gets_the_snapshot(lead: Callable[..., Leader]) -> None:
    leader = lead(snapshot_chunk_chars=4)
    state = leader.state
    leader.propose(5)
    leader.flush()
    for node in (B, C):
        leader.answer(node, 7)
    state.applied_index = state.commit_index
    from ftweb.core.snapshot import build

    state.snapshot = build(
        last_index=7, last_term=2, configuration=state.configuration, data="snapshot"
    )
    state.log.compact(7)
    state.now += 2000.0
    leader.replication.heartbeat()
    chunks = [m for m in leader.flush() if isinstance(m, InstallSnapshot)]
    assert [(m.to, m.offset, m.data) for m in chunks] == [(D, 0, "snap")]
    assert leader.replication.peers[D].mode is Mode.SNAPSHOT
    assert [m for m in leader.flush() if m.to == D] == []  # one chunk at a time
    state.now += 400.0
    leader.replication.heartbeat()
    again = [m for m in leader.flush() if m.to == D]
    assert {type(m) for m in again} == {AppendEntries, InstallSnapshot}


def test_the_election_timeout_fits_the_quorum_and_slow_peers_get_their_own(
    lead: Callable[..., Leader],
) -> None:
    leader = lead()
    for _ in range(40):
        leader.state.now += 150.0
        leader.replication.heartbeat()
        leader.flush()
        leader.answer(B, 2, after=10.0)
        leader.state.now -= 10.0
        leader.answer(C, 2, after=400.0)
    leader.replication.heartbeat()
    told = {m.to: m for m in leader.flush() if isinstance(m, AppendEntries)}
    assert told[B].election_timeout == 1500.0  # the leader and B are a quorum
    assert told[C].election_timeout == pytest.approx(4000.0, rel=0.01)


def test_one_slow_round_trip_does_not_stretch_the_election_timeout(
    lead: Callable[..., Leader],
) -> None:
    """A laptop slept during the first one. That of a slow link grows within a few heartbeats."""
    leader = lead()
    leader.state.now += 150.0
    for node in (B, C):
        leader.answer(node, 2, after=600.0)
        leader.state.now -= 600.0
    leader.state.now += 600.0
    leader.replication.heartbeat()
    assert leader.state.election_timeout == 1500.0
    for _ in range(8):
        leader.state.now += 150.0
        leader.replication.heartbeat()
        leader.flush()
        leader.answer(B, 2, after=600.0)
        leader.state.now -= 600.0
        leader.answer(C, 2, after=600.0)
        leader.state.now -= 600.0
    leader.replication.heartbeat()
    assert leader.state.election_timeout > 4000.0


def test_nobody_may_acknowledge_what_was_never_sent(lead: Callable[..., Leader]) -> None:
    with pytest.raises(AssertionError, match="never sent"):
        lead().answer(B, 99)


def test_answers_of_strangers_are_ignored(lead: Callable[..., Leader]) -> None:
    lead().answer(NodeId("stranger"), 2)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_two_hundred_a_second_through_five_voters(make_cluster: type[Cluster], loss: float) -> None:
    import random

    draw = random.Random(1)
    cluster = make_cluster(
        Settings(upkeep=False),
        policy=lambda message: () if draw.random() < loss else (draw.uniform(1.0, 5.0),),
    ).start(["a", "b", "c", "d", "e"])
    cluster.advance_until(lambda: cluster.leader() is not None)
    sent = 0
    for _ in range(200):
        leader = cluster.leader()
        if leader is not None and leader.node.role is Role.LEADER:
            leader.node.propose(sent, cluster.now)
            sent += 1
        cluster.advance(5.0)
    before = cluster.delivered
    cluster.advance(3000.0)
    assert sent >= 190
    if loss == 0.0:
        # An append, an answer and a commit notice for each of four followers, or less.
        assert before <= 13 * sent
        assert all(member.applied == list(range(sent)) for member in cluster.live())
    cluster.check_logs()
