"""What happens, as lines for people."""

from __future__ import annotations

from typing import Any

from ftweb.cli.narrator import BOOT_SECONDS, COUNT_SECONDS, Narrator


def report(
    host: str | None = None, *, clients: int = 0, term: int = 1, **other: Any
) -> dict[str, Any]:
    return {"host": host, "clients": clients, "epoch": 1, "term": term, **other}


def test_the_life_of_a_host() -> None:
    narrator = Narrator(now=0.0)
    assert narrator.take(report(), 0.0) == []
    assert narrator.take(report("a" * 32), 1.0) == [
        "A browser tab hosts the app now (tab aaaaaaaa, term 1)."
    ]
    assert narrator.take(report("a" * 32), 2.0) == []
    assert "The host is gone; another tab takes over." in narrator.take(report(clients=2), 3.0)
    assert narrator.take(report("b" * 32, term=2), 4.0) == [
        "Another tab hosts the app now (tab bbbbbbbb, term 2)."
    ]
    assert narrator.take(report("a" * 32, term=3), 5.0) == [
        "Another tab hosts the app now (tab aaaaaaaa, term 3)."
    ]
    narrator.take(report(None, term=3), 6.0)
    assert narrator.take(report("a" * 32, term=4), 7.0) == [
        "The same tab hosts the app again (tab aaaaaaaa, term 4)."
    ]


def test_the_last_tab_leaves() -> None:
    narrator = Narrator(now=0.0)
    narrator.take(report("a" * 32), 0.0)
    (line,) = narrator.take(report(None), 1.0)
    assert line == "The host is gone, and nobody else is here: the next page that opens hosts."


def test_pages_without_a_host_are_told_once_until_there_is_one() -> None:
    narrator = Narrator(now=0.0)
    narrator.take(report(clients=2), 0.0)
    assert narrator.take(report(clients=2), BOOT_SECONDS - 1) == []
    (line,) = narrator.take(report(clients=2), BOOT_SECONDS)
    assert "No tab hosts the app. Open the presenter's page" in line
    assert narrator.take(report(clients=2), 10 * BOOT_SECONDS) == []
    narrator.take(report("a" * 32, clients=2), 301.0)
    narrator.take(report(clients=2), 302.0)
    assert narrator.take(report(clients=2), 303.0) == []
    assert "No tab hosts" in narrator.take(report(clients=2), 302.0 + BOOT_SECONDS)[0]


def test_head_counts_are_told_in_sums() -> None:
    narrator = Narrator(now=0.0)
    narrator.take(report("h"), 0.0)
    assert narrator.take(report("h", clients=1), 0.0) == ["1 page or script is connected (+1)."]
    lines = []
    for number in range(2, 31):
        lines += narrator.take(report("h", clients=number), number * COUNT_SECONDS / 30)
    assert lines == ["30 pages and scripts are connected (+29)."]
    assert narrator.take(report("h", clients=30), 100.0) == []
    assert narrator.take(report("h", clients=28), 101.0) == [
        "28 pages and scripts are connected (-2)."
    ]


def test_troubles_are_told_once_and_at_once() -> None:
    narrator = Narrator(now=0.0)
    narrator.take(report("a" * 32, quorum=True, storage="ok"), 0.0)
    (lost,) = narrator.take(report("a" * 32, quorum=False, storage="ok"), 0.1)
    assert "Too few" in lost
    assert narrator.take(report("a" * 32, quorum=False, storage="ok"), 0.2) == []
    (back,) = narrator.take(report("a" * 32, quorum=True, storage="ok"), 0.3)
    assert "again" in back
    (full,) = narrator.take(report("a" * 32, quorum=True, storage="failed"), 0.4)
    assert "cannot be saved" in full
    assert narrator.take(report("a" * 32, quorum=True, storage="failed"), 0.5) == []
