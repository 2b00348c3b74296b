"""Effects are facts: what was released cannot be changed afterwards."""

from __future__ import annotations

import msgspec
import pytest

from ftweb.app import effects
from ftweb.frames import Failure


@pytest.mark.parametrize(
    "effect",
    [
        effects.SessionOpened(client_id="a", session=1),
        effects.Changed(index=1, patch=[]),
        effects.Sent(index=1, position=0, to=("a",), payload=1),
        effects.Replied(client_id="a", session=1, serial=1, error=Failure(code="x", message="y")),
        effects.Outcome(index=1, client_id="a", serial=1, payload=1),
    ],
)
def test_effects_are_frozen(effect: effects.Effect) -> None:
    for field in msgspec.structs.fields(effect):
        with pytest.raises(AttributeError):
            setattr(effect, field.name, None)
    assert effect == msgspec.structs.replace(effect)
