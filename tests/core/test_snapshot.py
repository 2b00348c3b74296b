from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.core.messages import InstallSnapshot
from ftweb.core.snapshot import Assembly, Sending, build, is_intact
from ftweb.core.types import Configuration, NodeId, Snapshot

A, B = NodeId("a"), NodeId("b")


def make(data: str, index: int = 9) -> Snapshot:
    configuration = Configuration(voters=(A,))
    return build(last_index=index, last_term=2, configuration=configuration, data=data)


def chunk(sending: Sending, size: int = 4) -> InstallSnapshot:
    return sending.chunk(sender=A, to=B, term=3, size=size, now=1.0)


@given(st.text(max_size=60), st.integers(1, 20))
def test_arrives_as_it_was_sent(data: str, size: int) -> None:
    snapshot = make(data)
    sending, assembly = Sending(snapshot), Assembly()
    for _ in range(200):
        wanted, found = assembly.add(chunk(sending, size))
        if sending.answered(wanted):
            assert found == snapshot
            assert found is not None
            assert is_intact(found)
            return
    raise AssertionError("never complete")


@given(st.lists(st.integers(0, 5), max_size=60), st.randoms(use_true_random=False))
def test_repetition_and_disorder_do_no_harm(order: list[int], random: object) -> None:
    snapshot = make("0123456789abcdefghijkl")
    pieces = []
    for offset in range(0, 24, 4):
        sending = Sending(snapshot)
        sending.offset = offset
        pieces.append(chunk(sending))
    assembly = Assembly()
    for number in [*order, 0, 1, 2, 3, 4, 5]:
        _, found = assembly.add(pieces[number])
        assert found is None or found == snapshot


@pytest.mark.parametrize("changed", [{"data": "4x67"}, {"checksum": "0" * 64}], ids=str)
def test_damage_starts_it_anew(changed: dict[str, str]) -> None:
    sending, assembly = Sending(make("01234567")), Assembly()
    first = chunk(sending)
    sending.answered(4)
    second = chunk(sending)
    if "checksum" in changed:
        first = msgspec.structs.replace(first, **changed)
    assembly.add(first)
    assert assembly.add(msgspec.structs.replace(second, **changed)) == (0, None)
    assert not sending.answered(0)
    assembly.add(chunk(sending))
    sending.answered(4)
    assert assembly.add(chunk(sending))[0] == 8


def test_two_snapshots_are_never_mixed() -> None:
    old, new = Sending(make("aaaaaaaa")), Sending(make("bbbbbbbb", index=10))
    assembly = Assembly()
    assert assembly.add(chunk(old)) == (4, None)
    assert assembly.add(chunk(new)) == (4, None)
    old.answered(4)
    assert assembly.add(chunk(old)) == (0, None)  # begins the old one anew


def test_more_than_announced_is_not_taken() -> None:
    sending, assembly = Sending(make("01234567")), Assembly()
    assert assembly.add(msgspec.structs.replace(chunk(sending), data="0" * 9)) == (0, None)


def test_waits_for_an_answer() -> None:
    sending = Sending(make("01234567"))
    chunk(sending)
    assert sending.waiting
    assert not sending.answered(0)  # an old answer: still waiting
    assert sending.waiting
    assert not sending.answered(4)
    assert (sending.offset, sending.waiting) == (4, False)


def test_damage_is_seen() -> None:
    assert not is_intact(msgspec.structs.replace(make("x"), data="y"))
