"""Publishing where it cannot work, and the names; where it can work: test_discovery.py."""

from __future__ import annotations

import logging

import pytest

from ftweb.bridge.publishing import (
    HTTP,
    LABEL_BYTES,
    Publisher,
    Record,
    host_name,
    instance_label,
)

from .conftest import eventually

RECORD = Record(guid="f" * 32, epoch=1, term=2, node="n" * 32)


async def test_without_multicast_there_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = Publisher(name="x", port=1, record=RECORD, interfaces=("203.0.113.77",))
    with caplog.at_level(logging.WARNING):
        async with nowhere:
            await eventually(lambda: "cannot be found by name" in caplog.text)
    assert nowhere.published_as is None
    assert caplog.text.count("cannot be found by name") == 1


async def test_leaving_before_anything_was_published() -> None:
    async with Publisher(name="hasty", port=1, record=RECORD, interfaces=("127.0.0.1",)):
        pass


@pytest.mark.parametrize(
    "name, label, host",
    [
        ("vote", "vote", "vote.local."),
        ("Klasse 7b: Wahl!", "Klasse 7b: Wahl!", "klasse-7b-wahl.local."),
        ("投票", "投票", "ftweb.local."),
        ("  \x00\x1b[31m ", "[31m", "31m.local."),
        ("", "ftweb", "ftweb.local."),
        ("---", "---", "ftweb.local."),
    ],
)
def test_names(name: str, label: str, host: str) -> None:
    assert instance_label(name) == label
    assert host_name(name) == host


@pytest.mark.parametrize("name", ["x" * 200, "ä" * 100, "😀" * 40])
def test_long_names_are_cut_at_a_character(name: str) -> None:
    label = instance_label(name)
    assert name.startswith(label)
    assert len(f"{label} (9)".encode()) <= LABEL_BYTES
    assert len(host_name(name, 9).split(".", maxsplit=1)[0]) <= LABEL_BYTES


def test_the_types_are_those_of_the_protocol() -> None:
    assert HTTP == "_http._tcp.local."
