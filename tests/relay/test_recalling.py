"""Who is asked for what was acknowledged without this bridge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ftweb import frames
from ftweb.app.lineage import Replayable
from ftweb.epochs import Fork
from ftweb.errors import FrameError
from ftweb.limits import JOURNAL_REQUESTS, JSON_DEPTH, PAYLOAD_BYTES
from ftweb.relay.connection import Connection, Registry
from ftweb.relay.recalling import Recalling
from tests.relay.test_directory import Paper, tab

FORK = Fork(epoch=7, term=3, index=40, base=1_000)


def request(serial: int) -> dict[str, Any]:
    return {"client_id": "client", "session": 5, "serial": serial, "request": "A", "reply": serial}


def left(node: str, *, index: int, term: int = 3, epoch: int = 7) -> frames.Left:
    return frames.Left(node=node, epoch=epoch, term=term, index=index)


def answer(*serials: int, last: bool = True, whole: bool = True) -> frames.Recalled:
    items = [request(serial) for serial in serials]
    return frames.Recalled(epoch=7, items=items, last=last, whole=whole)


class Bridge:
    """What the relay has around it."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.taken: list[int] = []
        self.saves = True
        self.forks: list[Fork] | None = [FORK]
        self.recalling = Recalling(forks=lambda: self.forks, take=self.take)

    def take(self, items: Sequence[Replayable]) -> bool:
        self.taken += [item.serial for item in items if self.saves]
        return self.saves

    def tab(self, name: str) -> tuple[Connection, Paper]:
        return tab(self.registry, name, local=False)


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


def test_a_log_that_went_further_is_asked_for(bridge: Bridge) -> None:
    phone, told = bridge.tab("phone")
    bridge.recalling.note(phone, [left("phone", index=42)])
    assert told.frames == [frames.Recall(epoch=7, term=3, index=40)]
    bridge.recalling.recalled(phone, answer(1, last=False))
    assert bridge.taken == [], "not before it is complete"
    bridge.recalling.recalled(phone, answer(2))
    assert bridge.taken == [1, 2]


def test_a_later_term_counts_more_than_a_higher_index(bridge: Bridge) -> None:
    phone, told = bridge.tab("phone")
    bridge.recalling.note(phone, [left("phone", term=4, index=38)])
    assert len(told.frames) == 1


@pytest.mark.parametrize(
    "word",
    [
        left("phone", index=40),
        left("phone", term=2, index=90),
        left("somebody else", index=90),
    ],
)
def test_who_has_nothing_more_is_not_asked(bridge: Bridge, word: frames.Left) -> None:
    phone, told = bridge.tab("phone")
    bridge.recalling.note(phone, [])
    bridge.recalling.note(phone, [word])
    assert told.frames == []


def test_who_was_in_a_branch_that_this_bridge_never_saw_is_asked_for_all_of_it(
    bridge: Bridge,
) -> None:
    phone, told = bridge.tab("phone")
    bridge.recalling.note(phone, [left("phone", index=50), left("phone", epoch=9, index=7)])
    assert told.frames == [frames.Recall(epoch=9, term=0, index=0)], "of the last one only"


def test_it_is_asked_once_and_again_when_it_comes_back(bridge: Bridge) -> None:
    phone, told = bridge.tab("phone")
    for _ in range(3):
        bridge.recalling.note(phone, [left("phone", index=42)])
    assert len(told.frames) == 1
    again, told = bridge.tab("phone")  # another socket
    bridge.recalling.note(again, [left("phone", index=42)])
    assert len(told.frames) == 1


def test_what_was_brought_along_is_not_asked_for_again(bridge: Bridge) -> None:
    one, _ = bridge.tab("one")
    other, told = bridge.tab("other")
    bridge.recalling.note(one, [left("one", index=42)])
    bridge.recalling.recalled(one, answer(1, 2))
    bridge.recalling.note(other, [left("other", index=42)])
    assert told.frames == []
    bridge.recalling.note(other, [left("other", index=43)])
    assert len(told.frames) == 1


@pytest.mark.parametrize("case", ["with a gap", "not saved"])
def test_others_are_asked_as_well_if_it_did_not_do(bridge: Bridge, case: str) -> None:
    one, _ = bridge.tab("one")
    other, told = bridge.tab("other")
    bridge.saves = case != "not saved"
    bridge.recalling.note(one, [left("one", index=42)])
    bridge.recalling.recalled(one, answer(1, 2, whole=case != "with a gap"))
    bridge.recalling.note(other, [left("other", index=42)])
    assert len(told.frames) == 1


def test_an_answer_that_nobody_waits_for_is_dropped(bridge: Bridge) -> None:
    """As one to what was asked over the socket before."""
    phone, _ = bridge.tab("phone")
    bridge.recalling.recalled(phone, answer(1))
    bridge.recalling.note(phone, [left("phone", index=42)])
    bridge.recalling.recalled(phone, answer(1))
    bridge.recalling.recalled(phone, answer(2))
    assert bridge.taken == [1]


def handed(left: frames.Left | None, *serials: int, last: bool = True) -> frames.Recalled:
    items = [request(serial) for serial in serials]
    return frames.Recalled(epoch=9, items=items, last=last, whole=True, left=left)


def test_what_a_node_hands_in_when_it_ends_is_taken_unasked(bridge: Bridge) -> None:
    one, _ = bridge.tab("one")
    bridge.recalling.recalled(one, handed(left("one", epoch=9, index=7), 1, last=False))
    bridge.recalling.recalled(one, handed(None, 2))
    assert bridge.taken == [1, 2]


def test_it_does_not_keep_others_from_being_heard(bridge: Bridge) -> None:
    """It may be anybody's word for any epoch; what comes twice is run once."""
    one, _ = bridge.tab("one")
    other, told = bridge.tab("other")
    bridge.recalling.recalled(one, handed(left("one", epoch=9, index=2**40), last=True))
    bridge.recalling.note(other, [left("other", epoch=9, index=6)])
    assert told.frames == [frames.Recall(epoch=9, term=0, index=0)]
    bridge.recalling.recalled(other, handed(left("other", epoch=9, index=6), 1))
    assert bridge.taken == [1]


def test_what_an_answer_has_brought_along_is_not_taken_again(bridge: Bridge) -> None:
    one, _ = bridge.tab("one")
    other, _ = bridge.tab("other")
    bridge.recalling.note(one, [left("one", index=42)])
    bridge.recalling.recalled(one, answer(1, 2))
    for index in (42, 40):
        word = left("other", index=index)
        bridge.recalling.recalled(other, msgspec.structs.replace(answer(1, 2), left=word))
    assert bridge.taken == [1, 2]


def test_nobody_is_asked_before_it_is_known_what_is_missing(bridge: Bridge) -> None:
    """The bridge has just joined another epoch, or it is a relay in a tab."""
    phone, told = bridge.tab("phone")
    bridge.forks = None
    bridge.recalling.note(phone, [left("phone", index=42)])
    assert told.frames == []
    bridge.recalling.recalled(phone, handed(left("phone", epoch=9, index=7), 1))
    assert bridge.taken == [1], "what comes by itself is kept"
    bridge.forks = [FORK]
    bridge.recalling.note(phone, [left("phone", index=42)])
    assert told.frames == [frames.Recall(epoch=7, term=3, index=40)]


def test_it_may_come_over_the_socket_after(bridge: Bridge) -> None:
    """There was no bridge when the node ended."""
    phone, _ = bridge.tab("another node by now")
    bridge.recalling.recalled(phone, handed(left("phone", epoch=9, index=7), 1))
    assert bridge.taken == [1]


def test_what_is_handed_in_is_of_one_epoch(bridge: Bridge) -> None:
    phone, _ = bridge.tab("phone")
    bridge.recalling.recalled(phone, handed(left("phone", epoch=8, index=7), 1))
    assert bridge.taken == []


DEEP: Any = None
for _ in range(JSON_DEPTH + 1):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "items",
    [
        [5],
        [{}],
        [{"client_id": "x", "session": "5", "serial": 1}],
        [request(1) | {"request": DEEP}],
        [request(1) | {"reply": "x" * (PAYLOAD_BYTES + 1)}],
    ],
)
def test_what_is_no_request_is_refused(bridge: Bridge, items: list[Any]) -> None:
    phone, _ = bridge.tab("phone")
    bridge.recalling.note(phone, [left("phone", index=42)])
    with pytest.raises(FrameError):
        bridge.recalling.recalled(phone, frames.Recalled(epoch=7, items=items, last=True))
    assert bridge.taken == []


def test_more_than_a_journal_holds_is_refused(bridge: Bridge) -> None:
    phone, _ = bridge.tab("phone")
    bridge.recalling.note(phone, [left("phone", index=42)])
    for _ in range(10):
        bridge.recalling.recalled(phone, answer(*range(JOURNAL_REQUESTS // 10), last=False))
    with pytest.raises(FrameError, match="more than a journal"):
        bridge.recalling.recalled(phone, answer(1))
    assert bridge.taken == []
