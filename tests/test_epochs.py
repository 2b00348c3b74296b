"""Numbers of epochs, and which of two histories stays: a pure rule, tested on random trees."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ftweb.epochs import (
    SALTS,
    Fork,
    Summary,
    Verdict,
    begins,
    common_ancestor,
    first_index,
    generation_of,
    judge,
    next_epoch,
)

LEAVES = {Verdict.JOIN, Verdict.ASIDE}


@dataclass(frozen=True)
class Tree:
    """Some of the histories that grew from one beginning."""

    summaries: tuple[Summary, ...]


@st.composite
def trees(draw: Any, *, quorum: bool | None = None, journal: bool | None = None) -> Tree:
    """Up to five bridges in a tree of up to eight epochs."""
    lineages: list[tuple[int, list[Fork], int]] = [(next_epoch(0, 7), [], 0)]
    for _ in range(draw(st.integers(1, 7))):
        epoch, forks, base = draw(st.sampled_from(lineages))
        term, index = draw(st.integers(1, 3)), base + draw(st.integers(1, 3))
        child = next_epoch(epoch, draw(st.integers(0, 50)))
        if child in [known for known, _, _ in lineages]:
            continue
        fork = Fork(epoch=epoch, term=term, index=index, base=first_index(index, child))
        lineages.append((child, [*forks, fork], fork.base))
    summaries = []
    for number in range(draw(st.integers(2, 5))):
        epoch, forks, base = draw(st.sampled_from(lineages))
        path = [fork.epoch for fork in forks]
        journaled = draw(st.booleans()) if journal is None else journal
        since = draw(st.sampled_from(path)) if path and journaled else 0
        if journal:
            since = path[0] if path else 0
        summaries.append(
            Summary(
                bridge=f"b{number}",
                epoch=epoch,
                lineage=forks,
                since=since,
                term=draw(st.integers(1, 3)),
                index=base + draw(st.integers(1, 4)),
                quorum=draw(st.booleans()) if quorum is None else quorum,
            )
        )
    return Tree(tuple(summaries))


def test_numbers() -> None:
    first = next_epoch(0, 5)
    assert generation_of(first) == 1
    assert generation_of(next_epoch(first, SALTS - 1)) == 2
    assert generation_of(next_epoch(3, 0)) == 1, "numbers of an older version count as nothing"
    assert next_epoch(first, 1) != next_epoch(first, 2)
    assert next_epoch(first, 0) > first, "a later generation is higher, whatever the salts"
    assert next_epoch(2**52, 0) < 2**53


@given(st.integers(0, 2**40), st.integers(0, SALTS - 1), st.integers(0, SALTS - 1))
def test_logs_of_different_epochs_do_not_overlap(last: int, one: int, other: int) -> None:
    a, b = first_index(last, next_epoch(0, one)), first_index(last, next_epoch(0, other))
    assert min(a, b) > last + 2**20
    assert one == other or abs(a - b) >= 2**16


@given(trees())
def test_the_rule_is_symmetric(tree: Tree) -> None:
    """Never do both leave, and unless somebody lacks a quorum exactly one does."""
    for mine, theirs in permutations(tree.summaries, 2):
        one, other = judge(mine, theirs), judge(theirs, mine)
        if mine.epoch == theirs.epoch:
            assert one is other is Verdict.TOGETHER
            continue
        assert not (one in LEAVES and other in LEAVES)
        if mine.quorum and theirs.quorum:
            assert (one in LEAVES) != (other in LEAVES)
        if one in LEAVES:
            assert theirs.quorum, "nobody goes where nothing can be committed"


@given(trees(quorum=True, journal=True))
def test_the_rule_is_transitive(tree: Tree) -> None:
    """Whatever the order in which they meet, the same one stays in the end."""

    def leaves(a: Summary, b: Summary) -> bool:
        return judge(a, b) in LEAVES

    for a, b, c in permutations(tree.summaries, 3):
        if leaves(a, b) and leaves(b, c):
            assert leaves(a, c) or a.epoch == c.epoch
    best = [s for s in tree.summaries if not any(leaves(s, o) for o in tree.summaries)]
    assert len({summary.epoch for summary in best}) == 1


@given(trees(quorum=True, journal=True), st.integers(0, 100), st.integers(0, 100))
def test_the_rule_does_not_depend_on_what_happens_while_they_talk(
    tree: Tree, more: int, less: int
) -> None:
    for mine, theirs in permutations(tree.summaries, 2):
        later = msgspec.structs.replace(mine, index=mine.index + more, bridge=f"x{less}")
        assert judge(later, theirs) is judge(mine, theirs)


ROOT = next_epoch(0, 1)


def branch(salt: int, term: int, index: int, **fields: Any) -> Summary:
    epoch = next_epoch(ROOT, salt)
    fork = Fork(epoch=ROOT, term=term, index=index, base=first_index(index, epoch))
    fields = {"bridge": f"b{salt}", "since": ROOT, "quorum": True, **fields}
    return Summary(epoch=epoch, lineage=[fork], term=1, index=fork.base, **fields)


def still_there(term: int, index: int, **fields: Any) -> Summary:
    return Summary(bridge="root", epoch=ROOT, term=term, index=index, **fields)


def test_the_longer_log_of_the_common_ancestor_stays_by_terms_first() -> None:
    """A leader that was cut off may have appended more than the others, and nothing of it
    counts."""
    cut_off, committed = branch(1, 3, 105), branch(2, 4, 100)
    assert judge(cut_off, committed) is Verdict.JOIN
    assert judge(committed, cut_off) is Verdict.STAY
    assert judge(branch(1, 4, 101), committed) is Verdict.STAY


def test_who_never_left_stays() -> None:
    assert judge(branch(1, 4, 100), still_there(4, 90, quorum=True)) is Verdict.JOIN
    assert judge(branch(1, 4, 100), still_there(4, 101)) is Verdict.WAIT, "it has no quorum yet"


def test_who_has_nothing_of_its_own_simply_joins() -> None:
    assert judge(still_there(4, 100), branch(1, 4, 100)) is Verdict.JOIN
    assert judge(branch(1, 4, 100), still_there(4, 100)) is Verdict.WAIT
    assert judge(still_there(4, 101), branch(1, 4, 100)) is Verdict.STAY
    assert judge(still_there(4, 100), branch(1, 4, 100, quorum=False)) is Verdict.WAIT


def test_what_cannot_be_run_again_is_not_given_up_if_the_other_can() -> None:
    settled, provisional = branch(1, 3, 50, since=0), branch(2, 4, 100)
    assert judge(settled, provisional) is Verdict.STAY
    assert judge(provisional, settled) is Verdict.JOIN
    both = branch(2, 4, 100, since=0)
    assert judge(settled, both) is Verdict.ASIDE
    assert judge(both, settled) is Verdict.STAY


def test_a_journal_that_does_not_reach_back_is_none() -> None:
    child = branch(1, 3, 50)
    later = next_epoch(child.epoch, 9)
    forks = [*child.lineage, Fork(epoch=child.epoch, term=1, index=9, base=first_index(9, later))]
    partly = Summary(
        bridge="p", epoch=later, lineage=forks, since=child.epoch, term=1, index=9, quorum=True
    )
    assert judge(partly, branch(2, 4, 100, since=0)) is Verdict.ASIDE
    whole = msgspec.structs.replace(partly, since=ROOT)
    assert judge(whole, branch(2, 4, 100, since=0)) is Verdict.JOIN
    assert common_ancestor(whole, branch(2, 4, 100)) == ROOT
    assert common_ancestor(whole, child) == child.epoch


def test_a_newcomer_joins() -> None:
    newcomer = Summary(bridge="n", epoch=0)
    assert judge(newcomer, still_there(1, 2, quorum=True)) is Verdict.JOIN
    assert judge(newcomer, still_there(1, 2)) is Verdict.WAIT
    assert judge(still_there(1, 2), newcomer) is Verdict.STAY


def test_two_beginnings_of_one_server_are_told_apart() -> None:
    one = Summary(bridge="a", epoch=next_epoch(0, 1), quorum=True)
    other = Summary(bridge="b", epoch=next_epoch(0, 2), quorum=True)
    assert judge(one, other) is Verdict.ASIDE
    assert judge(other, one) is Verdict.STAY


# --- who begins ---------------------------------------------------------------------------------


@given(trees(quorum=False))
def test_of_those_who_lost_the_quorum_together_exactly_one_begins(tree: Tree) -> None:
    for epoch in {summary.epoch for summary in tree.summaries}:
        group = [summary for summary in tree.summaries if summary.epoch == epoch]
        starts = [s for s in group if begins(s, [o for o in group if o is not s])]
        assert len(starts) == 1
        for other in group:
            assert (other.term, other.index) <= (starts[0].term, starts[0].index)


@given(trees())
def test_nobody_begins_who_can_go_elsewhere(tree: Tree) -> None:
    for mine in tree.summaries:
        others = [other for other in tree.summaries if other is not mine]
        if begins(mine, others):
            assert not mine.quorum
            assert not any(judge(mine, other) in LEAVES for other in others)
            assert not any(o.quorum and o.epoch == mine.epoch for o in others)


def test_alone_one_begins() -> None:
    assert begins(still_there(4, 100), [])
    assert not begins(still_there(4, 100, quorum=True), [])
    assert not begins(Summary(bridge="n", epoch=0), [])
