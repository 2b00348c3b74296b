"""Configurations as log entries carry them, and what may follow what (section 4.1).

Rules:

1. Consecutive configurations differ by at most one voter. Then any majority of the one
   overlaps any majority of the other, and no joint consensus is needed. Learners and the
   order of successors do not count, so any number of those may change at the same time.
2. A configuration has at least one voter, its voters and learners are disjoint, and its
   successors are members, each once.
"""

from __future__ import annotations

from ftweb.core.types import Configuration, Json

EMPTY = Configuration(voters=())
"""Of a node that has not heard of any: it is an observer and never campaigns."""


def to_data(configuration: Configuration) -> Json:
    """The ``data`` of a CONFIGURATION entry."""
    return {
        "voters": list(configuration.voters),
        "learners": list(configuration.learners),
        "successors": list(configuration.successors),
    }


def from_data(data: Json) -> Configuration:
    """The configuration in a CONFIGURATION entry."""
    return Configuration(
        voters=tuple(data["voters"]),
        learners=tuple(data["learners"]),
        successors=tuple(data["successors"]),
    )


def problem(configuration: Configuration) -> str | None:
    """What breaks rule 2, in words; None if nothing does."""
    members = configuration.members
    if not configuration.voters:
        return "a configuration needs a voter"
    if len(set(members)) != len(members):
        return "a node is listed twice"
    successors = configuration.successors
    if len(set(successors)) != len(successors) or not set(successors) <= set(members):
        return "successors must be members, each once"
    return None


def may_follow(old: Configuration, new: Configuration) -> bool:
    """Rule 1: at most one voter more, or one voter less, never one exchanged for another."""
    return len(set(old.voters) ^ set(new.voters)) <= 1
