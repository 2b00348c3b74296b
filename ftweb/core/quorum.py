"""Majorities: of votes, of acknowledged indexes, of times (sections 3.4, 3.6, 6.2).

Only voters count. Every function takes the voters' values and nothing else, so there is no way
to count a learner by mistake.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping

from ftweb.core.types import NodeId


class Outcome(enum.Enum):
    """Of a ballot in progress."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(voters: int) -> int:
    """The least number of ``voters`` that is more than half of them."""
    return voters // 2 + 1


def reached[Number: (int, float)](values: Iterable[Number]) -> Number:
    """The greatest value that a majority has reached.

    With match indexes: what is replicated on a majority. With times: since when a majority has
    been heard. Compared as numbers: index 10 beats 9.
    """
    ranked = sorted(values, reverse=True)
    return ranked[majority(len(ranked)) - 1]


def holds(voters: Collection[NodeId], alive: Collection[NodeId]) -> bool:
    """Whether those ``alive`` are a majority of ``voters``."""
    return len([voter for voter in voters if voter in alive]) >= majority(len(voters))


def tally(voters: Collection[NodeId], votes: Mapping[NodeId, bool]) -> Outcome:
    """Counts a ballot; votes of others than ``voters`` do not count. Nobody wins without voters."""
    needed = majority(len(voters))
    granted = refused = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is True:
            granted += 1
        elif vote is False:
            refused += 1
    if granted >= needed:
        return Outcome.WON
    if len(voters) - refused < needed:
        return Outcome.LOST
    return Outcome.PENDING
