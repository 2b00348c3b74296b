"""A download against any mixture of holders: it always ends, and with the right bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftweb.files import Fetch, Holders, Transfer, describe
from ftweb.files.manifest import CHUNK_BYTES_LEAST
from ftweb.limits import FILE_STREAMS

CONTENT = random.Random(1).randbytes(CHUNK_BYTES_LEAST * 6 + 1234)
MANIFEST = describe("x", "text/plain", [CONTENT], chunk_bytes=CHUNK_BYTES_LEAST)


def chunk(index: int) -> bytes:
    return CONTENT[index * CHUNK_BYTES_LEAST : (index + 1) * CHUNK_BYTES_LEAST]


def rest(fetch: Fetch) -> bytes:
    return chunk(fetch.index)[fetch.start :]


def start(transfer: Transfer, now: float = 0.0) -> Fetch:
    fetch = transfer.next(now)
    assert fetch is not None
    return fetch


def test_in_order_and_spread_over_the_holders() -> None:
    transfer = Transfer(MANIFEST, Holders(["a", "b"]))
    fetches = [start(transfer) for _ in range(FILE_STREAMS)]
    assert [fetch.index for fetch in fetches] == [0, 1, 2, 3]
    assert [fetch.holder for fetch in fetches] == ["a", "b", "a", "b"]
    assert transfer.next(0) is None
    assert transfer.wait(0) is None
    assert transfer.take(fetches[1], rest(fetches[1]), 0) == chunk(1)
    assert (start(transfer).index, transfer.received) == (4, CHUNK_BYTES_LEAST)


def test_the_next_byte_comes_from_another_holder() -> None:
    transfer = Transfer(MANIFEST, Holders(["a", "b"]))
    first = start(transfer)
    assert transfer.take(first, chunk(0)[:1000], 0) is None
    assert transfer.alive(first)
    transfer.failed(first, 0)
    assert not transfer.alive(first)
    second = start(transfer)
    assert (second.holder, second.index, second.start) == ("b", 0, 1000)
    assert transfer.take(second, rest(second), 0) == chunk(0)
    assert transfer.take(first, b"late", 0) is None
    transfer.failed(first, 0)
    assert transfer.received == CHUNK_BYTES_LEAST


@pytest.mark.parametrize("wrong", [b"\0" * CHUNK_BYTES_LEAST, chunk(0) + b"\0"])
def test_a_wrong_chunk_is_thrown_away_and_asked_of_another(wrong: bytes) -> None:
    transfer = Transfer(MANIFEST, Holders(["liar", "b"]))
    first = start(transfer)
    assert first.holder == "liar"
    assert transfer.take(first, wrong, 0) is None
    assert not transfer.alive(first)
    assert transfer.received == 0
    again = start(transfer)
    assert (again.holder, again.index, again.start) == ("b", 0, 0)


def test_after_a_wrong_chunk_it_is_taken_from_one_holder_only() -> None:
    transfer = Transfer(MANIFEST, Holders(["a", "liar", "c"]), streams=1)
    first = start(transfer)
    transfer.take(first, chunk(0)[:10], 0)
    transfer.failed(first, 0)
    second = start(transfer)
    assert (second.holder, second.start) == ("liar", 10)
    transfer.take(second, b"\0" * (CHUNK_BYTES_LEAST - 10), 0)
    third = start(transfer)
    assert (third.holder, third.start) == ("c", 0)  # both others are let alone
    transfer.take(third, chunk(0)[:10], 0)
    transfer.failed(third, 0)
    assert transfer.next(0) is None
    fourth = start(transfer, 1)
    assert fourth.start == 0
    assert transfer.take(fourth, rest(fourth), 1) == chunk(0)


def test_what_is_here_is_not_asked_for() -> None:
    transfer = Transfer(MANIFEST, Holders(["a"]), have=range(6))
    last = start(transfer)
    assert last.index == 6
    assert transfer.next(0) is None
    assert transfer.take(last, rest(last), 0) == chunk(6)
    assert transfer.done
    assert transfer.wait(0) is None
    assert transfer.received == len(CONTENT)


def test_without_holders_it_waits_for_one() -> None:
    holders = Holders()
    transfer = Transfer(MANIFEST, holders)
    assert transfer.next(0) is None
    assert transfer.wait(0) is None
    holders.update(["a"])
    assert start(transfer).holder == "a"


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_any_faults_that_end(seed: int) -> None:
    """Holders die, come back, lie and stall at random for a while; then one honest one is left."""
    dice = random.Random(seed)
    names = [f"h{number}" for number in range(dice.randint(1, 5))]
    liars = set(dice.sample(names, dice.randint(0, len(names) - 1)))
    honest = next(name for name in names if name not in liars)
    transfer = Transfer(MANIFEST, Holders(names))
    got: dict[int, bytes] = {}
    under_way: list[Fetch] = []
    now, calm_at = 0.0, dice.uniform(0, 20)
    while not transfer.done:
        assert now < calm_at + 400, "it must end"
        while (fetch := transfer.next(now)) is not None:
            under_way.append(fetch)
        if not under_way:
            wait = transfer.wait(now)
            assert wait is not None
            assert wait > 0
            now += wait
            continue
        now += dice.uniform(0, 0.3)
        fetch = under_way.pop(dice.randrange(len(under_way)))
        calm = now > calm_at
        if (not calm and dice.random() < 0.4) or (calm and fetch.holder not in {honest, *liars}):
            transfer.failed(fetch, now)
            continue
        data = rest(fetch)
        if not calm:
            data = data[: dice.randint(1, len(data))]
        if fetch.holder in liars and dice.random() < 0.9:
            data = bytes(len(data))
        whole = transfer.take(fetch, data, now)
        if whole is not None:
            assert fetch.index not in got
            got[fetch.index] = whole
        elif transfer.alive(fetch):
            transfer.failed(fetch, now)
    assert b"".join(got[index] for index in sorted(got)) == CONTENT
