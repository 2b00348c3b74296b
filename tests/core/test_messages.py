from __future__ import annotations

import msgspec
import pytest

from ftweb.core import messages
from ftweb.core.types import Record

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
    fields = [field.name for field in msgspec.structs.fields(kind)]
    assert fields[:3] == ["sender", "to", "term"]
    assert issubclass(kind, Record)
    assert kind.__struct_config__.frozen
