"""A LAN of its own for each test module of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lan.lan import Lan


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """A LAN with nobody on it yet."""
    with Lan() as made:
        yield made
