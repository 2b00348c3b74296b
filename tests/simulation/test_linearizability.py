"""Histories with known verdicts: from Herlihy and Wing, and the cases that checkers get wrong."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from ftweb.simulation.linearizability import (
    Operation,
    SearchTooLongError,
    is_linearizable,
    register,
)


def write(value: int, called: float, returned: float = math.inf) -> Operation:
    return Operation(name="write", argument=value, called=called, returned=returned)


def read(value: int | None, called: float, returned: float) -> Operation:
    return Operation(name="read", result=value, called=called, returned=returned)


def swap(old: int | None, new: int, done: bool, called: float, returned: float) -> Operation:
    return Operation(
        name="swap", argument=(old, new), result=done, called=called, returned=returned
    )


LINEARIZABLE = {
    "nothing": [],
    "one after the other": [write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7)],
    "a read during a write may see the old value": [write(1, 0, 10), read(None, 1, 2)],
    "a read during a write may see the new value": [write(1, 0, 10), read(1, 1, 2)],
    "two writes at once, in the order that the reads say": [
        write(1, 0, 10),
        write(2, 0, 10),
        read(2, 11, 12),
    ],
    "an unanswered write may have happened": [write(1, 0), read(1, 5, 6)],
    "an unanswered write need not have happened": [write(1, 0), read(None, 5, 6)],
    "an unanswered write may happen late": [write(1, 0), read(None, 5, 6), read(1, 7, 8)],
    "a swap that fails changes nothing": [
        write(1, 0, 1),
        swap(2, 3, False, 2, 3),
        read(1, 4, 5),
    ],
    "one of two swaps at once wins": [
        swap(None, 1, True, 0, 5),
        swap(None, 2, False, 0, 5),
        read(1, 6, 7),
    ],
    "an operation that returns as the next is called": [write(1, 0, 5), read(None, 5, 6)],
}

NOT_LINEARIZABLE = {
    "a write is forgotten": [write(1, 0, 1), read(None, 2, 3)],
    "a value from nowhere": [write(1, 0, 1), read(7, 2, 3)],
    "back to the old value": [write(1, 0, 10), read(1, 1, 2), read(None, 3, 4)],
    "two readers see two orders": [
        write(1, 0, 20),
        write(2, 0, 20),
        read(1, 1, 2),
        read(2, 3, 4),
        read(1, 5, 6),
    ],
    "both swaps win": [swap(None, 1, True, 0, 5), swap(None, 2, True, 0, 5)],
    "a swap fails though it had to win": [swap(None, 1, False, 0, 5)],
    "an unanswered write happens, and happens not": [
        write(1, 0),
        read(1, 5, 6),
        read(None, 7, 8),
    ],
    "a value before it was written": [read(1, 0, 1), write(1, 2, 3)],
}


@pytest.mark.parametrize("name", LINEARIZABLE)
def test_linearizable(name: str) -> None:
    assert is_linearizable(LINEARIZABLE[name])


@pytest.mark.parametrize("name", NOT_LINEARIZABLE)
def test_not_linearizable(name: str) -> None:
    assert not is_linearizable(NOT_LINEARIZABLE[name])


def brute_force(operations: list[Operation]) -> bool:
    """Every order, and every choice of the unanswered: what the definition says."""
    answered = [one for one in operations if one.returned < math.inf]
    unanswered = [one for one in operations if one.returned == math.inf]
    for count in range(len(unanswered) + 1):
        for chosen in itertools.combinations(unanswered, count):
            for order in itertools.permutations([*answered, *chosen]):
                if _is_sequential(order):
                    return True
    return False


def _is_sequential(order: tuple[Operation, ...]) -> bool:
    for place, operation in enumerate(order):
        if any(later.returned < operation.called for later in order[place + 1 :]):
            return False
    state = None
    for operation in order:
        state, result = register(state, operation.name, operation.argument)
        if operation.returned < math.inf and result != operation.result:
            return False
    return True


def test_agrees_with_the_definition() -> None:
    """On all kinds of small histories, drawn from a seed."""
    draw = random.Random(3)
    verdicts = set()
    for _ in range(400):
        operations = []
        for _ in range(draw.randrange(1, 6)):
            called = draw.randrange(8)
            unanswered = draw.random() < 0.2
            returned = math.inf if unanswered else called + draw.randrange(1, 6)
            kind = draw.choice(["write", "read", "swap"])
            if kind == "write":
                operations.append(write(draw.randrange(2), called, returned))
            elif kind == "read":
                operations.append(read(draw.choice([None, 0, 1]), called, returned))
            else:
                done = draw.random() < 0.5
                operations.append(swap(draw.choice([None, 0, 1]), 1, done, called, returned))
        verdict = is_linearizable(operations)
        assert verdict == brute_force(operations), operations
        verdicts.add(verdict)
    assert verdicts == {True, False}


def test_gives_up_within_its_budget() -> None:
    writes = [write(number, 0, 100) for number in range(20)]
    with pytest.raises(SearchTooLongError):
        is_linearizable([*writes, read(-1, 101, 102)], budget=1_000)
