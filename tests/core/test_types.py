"""Types are plain values: frozen, comparable, without dictionaries."""

from __future__ import annotations

import pytest

from ftweb.core import types
from ftweb.core.types import Configuration, Entry, EntryKind, NodeId, Record

VALUES = [
    kind for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, Record)
]


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_frozen_and_by_name(kind: type[Record]) -> None:
    assert kind.__struct_config__.frozen
    with pytest.raises(TypeError):
        kind("by position")


def test_all_values_are_looked_at() -> None:
    assert {Configuration, Entry} < set(VALUES)


def test_members_are_voters_then_learners() -> None:
    configuration = Configuration(voters=(NodeId("a"),), learners=(NodeId("b"),))
    assert configuration.members == ("a", "b")


def test_entries_compare_by_value() -> None:
    one = Entry(index=1, term=1, kind=EntryKind.COMMAND, data={"a": [1]})
    other = Entry(index=1, term=1, kind=EntryKind.COMMAND, data={"a": [1]})
    assert one == other
