"""Types are plain values: frozen, comparable, without dictionaries."""

from __future__ import annotations

import dataclasses

import pytest

from ftweb.core import types
from ftweb.core.types import Configuration, Entry, EntryKind, NodeId

VALUES = [kind for kind in vars(types).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_frozen_and_slotted(kind: type) -> None:
    parameters = kind.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert parameters.kw_only
    assert hasattr(kind, "__slots__")


def test_members_are_voters_then_learners() -> None:
    configuration = Configuration(voters=(NodeId("a"),), learners=(NodeId("b"),))
    assert configuration.members == ("a", "b")


def test_entries_compare_by_value() -> None:
    one = Entry(index=1, term=1, kind=EntryKind.COMMAND, data={"a": [1]})
    other = Entry(index=1, term=1, kind=EntryKind.COMMAND, data={"a": [1]})
    assert one == other
