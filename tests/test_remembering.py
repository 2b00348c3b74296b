"""What a node remembers of an epoch that it has left."""

from __future__ import annotations

from typing import Any

import pytest

from ftweb import frames, remembering
from ftweb.app import commands
from ftweb.app.lineage import Lineage
from ftweb.core import Entry, EntryKind
from ftweb.limits import RECALL_CHARS
from ftweb.remembering import Remembering, branch, hand_in


def vote(index: int, *, term: int = 3, request: Any = "A") -> Entry:
    data = {
        "kind": "request",
        "at": 1,
        "client_id": "client",
        "session": 5,
        "serial": index,
        "acknowledged": 0,
        "request": request,
        "reply": index,
    }
    return Entry(index=index, term=term, kind=EntryKind.COMMAND, data=data)


def noop(index: int, *, term: int) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.NOOP)


def asked(*, term: int = 3, index: int = 2, epoch: int = 7) -> frames.Recall:
    return frames.Recall(epoch=epoch, term=term, index=index)


def serials(pieces: list[frames.Recalled]) -> list[int]:
    return [item["serial"] for piece in pieces for item in piece.items]


def test_it_answers_with_what_the_bridge_does_not_have() -> None:
    memory = Remembering()
    memory.left(7, [vote(index) for index in range(1, 6)])
    (piece,) = memory.answer(asked(index=2))
    assert serials([piece]) == [3, 4, 5]
    assert piece.last
    assert piece.whole
    assert piece.items[0]["request"] == "A"
    assert piece.items[0]["reply"] == 3


def test_entries_of_a_later_term_are_others_though_their_indexes_are_not_beyond() -> None:
    """The bridge's own last entries were never accepted, and replaced."""
    memory = Remembering()
    memory.left(7, [vote(1), vote(2), noop(3, term=4), vote(4, term=4)])
    (piece,) = memory.answer(asked(term=3, index=6))
    assert serials([piece]) == [4]
    assert piece.whole


def test_what_was_compacted_is_remembered() -> None:
    memory = Remembering()
    memory.compacted([vote(1), vote(2), vote(3)])
    memory.left(7, [vote(4)])
    (piece,) = memory.answer(asked(index=1))
    assert serials([piece]) == [2, 3, 4]
    assert piece.whole


def test_a_gap_is_told() -> None:
    """A snapshot took the place of entries."""
    memory = Remembering()
    memory.compacted([vote(1), vote(2)])
    memory.left(7, [vote(5), vote(6)])
    (piece,) = memory.answer(asked(index=1))
    assert serials([piece]) == [2, 5, 6]
    assert not piece.whole


def test_only_the_epoch_before_is_remembered() -> None:
    memory = Remembering()
    memory.left(7, [vote(1)])
    assert list(memory.answer(asked(epoch=8))) == []
    memory.left(8, [vote(9)])
    assert list(memory.answer(asked(epoch=7))) == []
    assert len(list(memory.answer(asked(epoch=8)))) == 1


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "REMEMBERED_CHARS", 2_000)
    memory = Remembering()
    for index in range(1, 100):
        memory.compacted([vote(index, request="x" * 300)])
    memory.left(7, [])
    kept = serials(list(memory.answer(asked(index=0))))
    assert kept[-1] == 99
    assert 2 <= len(kept) <= 6


def test_much_comes_in_pieces_that_fit_into_frames() -> None:
    memory = Remembering()
    memory.left(7, [vote(index, request="x" * 30_000) for index in range(1, 9)])
    pieces = list(memory.answer(asked(index=1)))
    assert serials(pieces) == list(range(2, 9))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(len(piece.items) * 30_000 <= RECALL_CHARS + 30_000 for piece in pieces)


POSITION = frames.Left(node="n", epoch=7, term=3, index=9)


def lineage(*serials: int) -> Lineage:
    """Of a provisional epoch with these in its journal."""
    made = Lineage()
    made.load({"forks": [], "bridges": [], "unheard": ["b"], "since": 5, "journal": []})
    for serial in serials:
        command = commands.parse(vote(serial).data)
        assert isinstance(command, commands.Request)
        made.record(command)
    return made


def test_of_a_whole_branch_the_journal_comes_first_then_what_is_not_applied() -> None:
    memory = Remembering()
    entries = [noop(7, term=3), vote(8), vote(9)]
    memory.left(7, entries, branch(lineage(3, 4, 8), entries[2:]))
    (piece,) = memory.answer(asked(term=0, index=0))
    assert serials([piece]) == [3, 4, 8, 9]
    assert piece.whole
    assert piece.left is None
    assert serials(list(memory.answer(asked(term=3, index=8)))) == [9], "of an ancestor"


def test_who_ends_hands_it_in_and_says_where() -> None:
    pieces = list(hand_in(POSITION, branch(lineage(*range(3, 900)), [])))
    assert [piece.left for piece in pieces] == [POSITION] + [None] * (len(pieces) - 1)
    assert len(pieces) > 1
    assert serials(pieces) == list(range(3, 900))
    assert [piece.whole for piece in pieces][-1]


def test_who_has_nothing_hands_nothing_in() -> None:
    assert list(hand_in(POSITION, branch(Lineage(), [noop(7, term=3)]))) == []


def test_a_branch_whose_journal_was_dropped_is_not_whole() -> None:
    (piece,) = hand_in(POSITION, branch(Lineage(), [vote(9)]))
    assert serials([piece]) == [9]
    assert not piece.whole


@pytest.mark.parametrize("limit", ["JOURNAL_REQUESTS", "JOURNAL_CHARS"])
def test_no_more_is_handed_in_than_a_bridge_takes(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, limit, 3 if limit == "JOURNAL_REQUESTS" else 800)
    items, whole = branch(lineage(3, 4), [vote(8), vote(9)])
    assert [item.serial for item in items] == [3, 4, 8]
    assert not whole
