"""A LAN of its own for each test module of this folder, and a page to load there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lan.lan import Lan
from tests.lan.probe import Probe


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """A LAN with nobody on it yet."""
    with Lan() as made:
        yield made


@pytest.fixture(scope="module")
def probe(lan: Lan) -> Iterator[Probe]:
    """A server on the laptop, answering."""
    made = Probe(lan)
    deadline = time.monotonic() + 20
    while True:
        try:
            lan.host("laptop").connect("127.0.0.1", 8080).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "The server did not start."
            time.sleep(0.05)
    yield made
    made.close()
