"""What /healthz says; that it says it over HTTP is in test_server.py."""

from __future__ import annotations

from typing import cast

import pytest

from ftweb.bridge import health
from ftweb.relay.connection import Registry
from ftweb.relay.here import Hosting
from ftweb.relay.relay import Relay


class Seen:
    """As much of a relay as a report looks at."""

    def __init__(self, host: str | None, quorum: bool) -> None:
        self.hosting = Hosting(epoch=3, term=9, host=host, quorum=quorum)

    def spare(self) -> int:
        return 2


@pytest.mark.parametrize(
    "host, quorum, failed, storage_failed, status",
    [
        ("n", True, False, False, "ok"),
        (None, True, False, False, "waiting"),
        (None, False, False, False, "no_quorum"),
        ("n", False, False, False, "no_quorum"),
        ("n", True, True, False, "failed"),
        (None, False, True, True, "failed"),
    ],
)
def test_status(
    host: str | None, quorum: bool, failed: bool, storage_failed: bool, status: str
) -> None:
    found = health.report(
        name="vote",
        relay=cast(Relay, Seen(host, quorum)),
        registry=Registry(),
        failed=failed,
        storage_failed=storage_failed,
    )
    assert found["status"] == status
    assert (found["epoch"], found["term"], found["host"]) == (3, 9, host)
    assert found["storage"] == ("failed" if storage_failed else "ok")
    assert (found["nodes"], found["clients"], found["spare"]) == (1, 0, 2)


def test_the_documented_fields_are_those_that_are_there() -> None:
    found = health.report(
        name="vote",
        relay=cast(Relay, Seen(None, True)),
        registry=Registry(),
        failed=False,
        storage_failed=False,
    )
    assert health.__doc__ is not None
    for field in found:
        assert f"``{field}``" in health.__doc__, field
