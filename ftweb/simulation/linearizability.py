"""Is a history linearizable? Wing and Gong's search, with Lowe's cache of visited positions.

A history is a set of operations, each with the time of its call and of its return. It is
linearizable if every operation can be given one instant between the two at which it took effect,
so that all results are those of a sequential object. The search tries, among the operations that
may come next (no other one returned before they were called), one after the other; a position
(which operations are done, what the object then holds) that was visited before is not tried again.

An operation without an answer may have taken effect at any time after its call, or never.

The worst case is exponential (the problem is NP-complete); with one register per history and
clients that wait for answers, a few dozen operations take well below a millisecond.

G. Lowe, *Testing for linearizability*, Concurrency and Computation 29(4), 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

BUDGET: Final = 200_000
"""Positions looked at before the search gives up."""


class SearchTooLongError(Exception):
    """The history is too concurrent for a verdict within the budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One call on the object.

    Attributes:
        name: what was called.
        argument: with what.
        result: what it gave; meaningless if ``returned`` is infinite.
        called, returned: times on one clock.
    """

    name: str
    argument: Any = None
    result: Any = None
    called: float
    returned: float = math.inf


type Model = Callable[[Hashable, str, Any], tuple[Hashable, Any]]
"""(state, name, argument) → (next state, result): the sequential object."""


def register(state: Hashable, name: str, argument: Any) -> tuple[Hashable, Any]:
    """A register: ``read``, ``write`` a value (gives None), ``swap`` (expected, new) if it holds
    the expected value (gives whether it did)."""
    match name:
        case "read":
            return state, state
        case "write":
            return argument, None
        case "swap":
            expected, new = argument
            return (new, True) if state == expected else (state, False)
    raise ValueError(f"a register has no operation {name!r}")


def is_linearizable(
    operations: Sequence[Operation],
    *,
    model: Model = register,
    initial: Hashable = None,
    budget: int = BUDGET,
) -> bool:
    """Whether a history is linearizable.

    Raises:
        SearchTooLongError: no verdict within the budget.
    """
    order = sorted(operations, key=lambda operation: operation.called)
    answered = 0
    for place, operation in enumerate(order):
        if operation.returned < math.inf:
            answered |= 1 << place
    visited: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    while stack:
        position = stack.pop()
        if position in visited:
            continue
        visited.add(position)
        if len(visited) > budget:
            raise SearchTooLongError(f"no verdict after {budget} positions")
        done, state = position
        if done & answered == answered:
            return True
        stack.extend(_next(order, done, state, model))
    return False


def _next(
    order: Sequence[Operation], done: int, state: Hashable, model: Model
) -> list[tuple[int, Hashable]]:
    """The positions that one more operation leads to."""
    found = []
    earliest = math.inf  # return of the operations left: nothing called later may come first
    for place, operation in enumerate(order):
        if operation.called > earliest:
            break
        if done >> place & 1:
            continue
        earliest = min(earliest, operation.returned)
    for place, operation in enumerate(order):
        if operation.called > earliest:
            break
        if done >> place & 1:
            continue
        after, result = model(state, operation.name, operation.argument)
        if operation.returned == math.inf:
            if after != state:  # without effect it need not be placed at all
                found.append((done | 1 << place, after))
        elif result == operation.result:
            found.append((done | 1 << place, after))
    return found
