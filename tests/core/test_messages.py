from __future__ import annotations

import dataclasses

import pytest

from ftweb.core import messages

KINDS = messages.Message.__value__.__args__


def test_all_kinds_are_in_the_union() -> None:
    defined = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and kind.__module__ == messages.__name__
    }
    assert set(KINDS) == defined


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_says_from_whom_to_whom_and_of_which_term(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    fields = [field.name for field in dataclasses.fields(kind)]
    assert fields[:3] == ["sender", "to", "term"]
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
