from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.core.log import ENTRY_OVERHEAD, Log, data_size
from ftweb.core.snapshot import build
from ftweb.core.types import Configuration, Entry, EntryKind, NodeId, Snapshot


def command(index: int, term: int, data: object = None) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMAND, data=data)


def log_of(*terms: int) -> Log:
    log = Log()
    for index, term in enumerate(terms, start=1):
        log.append(command(index, term))
    log.take_unsaved()
    return log


def snapshot(index: int, term: int, *voters: str) -> Snapshot:
    configuration = Configuration(voters=tuple(map(NodeId, voters)))
    return build(last_index=index, last_term=term, configuration=configuration, data="")


def test_empty() -> None:
    log = Log()
    assert (log.last_index, log.last_term, log.saved_index) == (0, 0, 0)
    assert log.matches(0, 0)
    assert log.term(1) is None
    assert log.configuration.voters == ()


def test_entries_follow_one_another() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        log_of(1, 1).append(command(4, 1))


def test_terms_are_found_by_bisection() -> None:
    log = log_of(1, 1, 3, 3, 3, 7)
    assert [log.first_index_of(term) for term in (1, 2, 3, 7)] == [1, 3, 3, 6]
    assert [log.last_index_of(term) for term in (1, 2, 3, 7, 9)] == [2, None, 5, 6, None]
    log.compact(5)
    assert log.last_index_of(3) == 5
    assert log.last_index_of(1) is None


def test_merge_keeps_what_agrees_and_truncates_from_the_first_conflict() -> None:
    log = log_of(1, 1, 2, 2, 2)
    log.merge([command(2, 1), command(3, 2)], commit_index=0)
    assert log.last_index == 5
    assert log.take_unsaved() == ()
    log.merge([command(3, 2), command(4, 3)], commit_index=3)
    assert log.last_index == 4
    assert log.saved_index == 3
    assert log.take_unsaved() == (command(4, 3),)


def test_what_is_committed_is_never_truncated() -> None:
    with pytest.raises(AssertionError, match="contradicts committed"):
        log_of(1, 1, 2).merge([command(3, 3)], commit_index=3)


@given(
    st.lists(st.integers(1, 3), max_size=8).map(sorted),
    st.lists(st.integers(1, 3), max_size=8).map(sorted),
)
def test_merging_a_whole_log_gives_it_as_a_prefix(own: list[int], leaders: list[int]) -> None:
    """Logs that agree where their terms do, as Log Matching promises."""
    agree = True
    for one, other in zip(own, leaders, strict=False):
        agree = agree and one == other
        if not agree and one == other:
            return  # no two logs of one cluster look like that
    log = log_of(*own)
    log.merge([command(i, t) for i, t in enumerate(leaders, start=1)], commit_index=0)
    assert [log.term(i) for i in range(1, len(leaders) + 1)] == leaders


def test_batches_are_cut_by_size_and_hold_at_least_one() -> None:
    log = Log()
    for index in range(1, 11):
        log.append(command(index, 1, "x" * 100))
    size = ENTRY_OVERHEAD + 102
    entries, total = log.batch(1, 3 * size)
    assert (len(entries), total) == (3, 3 * size)
    assert len(log.batch(9, 3 * size)[0]) == 2
    assert len(log.batch(1, 1)[0]) == 1
    assert log.batch(11, 1) == ((), 0)


def test_size_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(1, 1, 1)
    first = log.batch(1, 10_000)
    monkeypatch.setattr("ftweb.core.log.data_size", None)
    assert log.batch(1, 10_000) == first


def test_data_that_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        data_size({"a": object()})


def test_configurations_follow_the_log(first_entry: Callable[..., Entry]) -> None:
    log = Log()
    log.append(first_entry(["a"]))
    log.append(command(2, 1))
    log.append(first_entry(["a", "b"], index=3))
    log.append(command(4, 1))
    assert log.configuration_index == 3
    assert log.configuration_at(2).voters == ("a",)
    assert [c.voters for c in log.configurations_since(2)] == [("a",), ("a", "b")]
    assert [c.voters for c in log.configurations_since(3)] == [("a", "b")]
    log.merge([command(3, 2)], commit_index=2)
    assert log.configuration.voters == ("a",)
    assert log.configuration_index == 1


def test_compaction_keeps_the_configuration_before_it(first_entry: Callable[..., Entry]) -> None:
    log = Log()
    log.append(first_entry(["a"]))
    log.append(first_entry(["a", "b"], index=2))
    log.append(command(3, 1))
    log.append(first_entry(["a", "b", "c"], index=4))
    log.compact(3)
    assert (log.offset, log.offset_term, log.last_index) == (3, 1, 4)
    assert log.term(3) == 1
    assert log.term(2) is None
    assert log.configuration_at(3).voters == ("a", "b")
    assert log.configuration.voters == ("a", "b", "c")
    log.compact(2)  # nothing left to do
    assert log.offset == 3
    with pytest.raises(ValueError, match="cannot compact"):
        log.compact(9)


def test_begins_after_a_snapshot_and_skips_what_it_covers() -> None:
    log = Log(snapshot(5, 2, "a"), [command(4, 2), command(5, 2), command(6, 3)])
    assert (log.offset, log.last_index, log.last_term, log.saved_index) == (5, 6, 3, 6)
    assert log.configuration.voters == ("a",)
    assert log.slice(6, 6) == (command(6, 3),)


def test_a_restored_snapshot_replaces_everything() -> None:
    log = log_of(1, 1, 1)
    log.restore(snapshot(9, 4, "x"))
    assert (log.offset, log.last_index, log.last_term, log.saved_index) == (9, 9, 4, 9)
    assert log.configuration.voters == ("x",)
