"""Single answers are in test_dissertation.py; here: any stream a network can make of a leader's."""

from __future__ import annotations

import random

import pytest

from ftweb.core.follower import Follower
from ftweb.core.messages import AppendEntries, AppendEntriesResponse, TimeoutNow
from ftweb.core.settings import Settings
from ftweb.core.state import State
from ftweb.core.types import Entry, EntryKind, NodeId

A, B = NodeId("a"), NodeId("b")


def state() -> State:
    return State(
        node_id=A,
        settings=Settings(),
        jitter=lambda: 0.0,
        now=0.0,
        hard_state=None,
        snapshot=None,
        entries=(),
    )


def append(entries: list[Entry], start: int, end: int, commit: int) -> AppendEntries:
    """Entries ``start`` (from 1) up to but not including ``end``."""
    return AppendEntries(
        sender=B,
        to=A,
        term=9,
        prev_log_index=start - 1,
        prev_log_term=entries[start - 2].term if start > 1 else 0,
        entries=tuple(entries[start - 1 : end - 1]),
        commit_index=commit,
        sent_at=0.0,
        election_timeout=1500.0,
    )


@pytest.mark.parametrize("seed", range(50))
def test_any_order_of_a_leaders_messages_gives_a_prefix_of_its_log(seed: int) -> None:
    draw = random.Random(seed)
    entries = []
    term = 1
    for index in range(1, 41):
        term = min(9, term + draw.choice([0, 0, 0, 1]))
        entries.append(Entry(index=index, term=term, kind=EntryKind.COMMAND, data=index))
    own = state()
    own.term = 9
    follower = Follower(own)
    committed = 0
    for _ in range(200):
        start = draw.randint(1, 40)
        end = draw.randint(start, 41)
        follower.append(append(entries, start, end, draw.randint(0, 40)))
        assert own.commit_index >= committed
        committed = own.commit_index
        last = own.log.last_index
        assert own.log.slice(1, last) == tuple(entries[:last])
        assert committed <= last
    for answer in own.outbox:
        assert isinstance(answer, AppendEntriesResponse)
        if not answer.success:
            assert answer.conflict_index >= 1


def test_a_commit_notice_is_answered_only_if_refused() -> None:
    own = state()
    follower = Follower(own)
    entry = Entry(index=1, term=1, kind=EntryKind.NOOP)
    follower.append(append([entry], 1, 2, 0))
    own.outbox.clear()

    def notice(previous: int) -> AppendEntries:
        return AppendEntries(
            sender=B,
            to=A,
            term=9,
            prev_log_index=previous,
            prev_log_term=1,
            entries=(),
            commit_index=previous,
            sent_at=0.0,
            election_timeout=1500.0,
            reply=False,
        )

    follower.append(notice(1))
    assert (own.outbox, own.commit_index) == ([], 1)
    follower.append(notice(5))
    (refusal,) = own.outbox
    assert isinstance(refusal, AppendEntriesResponse)
    assert (refusal.success, refusal.conflict_index) == (False, 2)


def test_old_answers_and_requests_to_campaign_need_no_answer() -> None:
    own = state()
    Follower(own).refuse_old_term(TimeoutNow(sender=B, to=A, term=0))
    assert own.outbox == []
