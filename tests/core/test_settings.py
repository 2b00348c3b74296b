from __future__ import annotations

from typing import Any

import pytest

from ftweb import limits
from ftweb.core.settings import Settings


def test_the_defaults_leave_room_between_the_times() -> None:
    settings = Settings()
    assert settings.election_timeout >= 10 * settings.heartbeat
    assert settings.lost_grace < settings.election_timeout < settings.silence
    assert settings.batch_bytes == limits.BATCH_BYTES
    assert settings.inflight_bytes < limits.SLOW_READER_BYTES


@pytest.mark.parametrize(
    "values",
    [
        {"heartbeat": 0.0},
        {"heartbeat": 800.0},
        {"stagger": 0.0},
        {"max_voters": 4},
        {"max_voters": 0},
        {"batch_bytes": 0},
        {"snapshot_chunk_chars": 0},
        {"inflight_messages": 0},
    ],
    ids=str,
)
def test_contradictions_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Settings(**values)
