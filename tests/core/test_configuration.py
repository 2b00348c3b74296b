from __future__ import annotations

import pytest

from ftweb.core import configuration as configurations
from ftweb.core.types import Configuration, NodeId


def make(voters: str, learners: str = "", successors: str = "") -> Configuration:
    return Configuration(
        voters=tuple(map(NodeId, voters)),
        learners=tuple(map(NodeId, learners)),
        successors=tuple(map(NodeId, successors)),
    )


def test_survives_the_log() -> None:
    configuration = make("abc", "de", "cad")
    assert configurations.from_data(configurations.to_data(configuration)) == configuration


@pytest.mark.parametrize(
    "configuration",
    [make(""), make("aa"), make("a", "a"), make("a", "", "aa"), make("a", "b", "c")],
)
def test_contradictions_are_named(configuration: Configuration) -> None:
    assert configurations.problem(configuration)


def test_a_sound_one_has_no_problem() -> None:
    assert configurations.problem(make("abc", "d", "da")) is None


@pytest.mark.parametrize(
    "old, new, allowed",
    [
        ("abc", "abc", True),
        ("abc", "abcd", True),
        ("abc", "ab", True),
        ("abc", "abd", False),
        ("abc", "abcde", False),
        ("a", "b", False),
    ],
)
def test_one_voter_at_a_time(old: str, new: str, *, allowed: bool) -> None:
    assert configurations.may_follow(make(old), make(new, "xyz")) is allowed
