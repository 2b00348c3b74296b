"""Browsers on a LAN: each module shares one class, each test begins with it restored."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import pytest

from tests.e2e.classroom import Bridge, Classroom


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, so that ``-m "not browser"`` leaves it out."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.lan)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What its bridges logged belongs to a test that fails."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for bridge in _bridges(item.funcargs.values()):
            lines = bridge.log.read_text().splitlines()
            report.sections.append((f"log of {bridge.host.name}", "\n".join(lines[-60:])))
    return report


def _bridges(values: Iterable[object]) -> Iterator[Bridge]:
    for value in values:
        match value:
            case Classroom():
                yield value.bridge
            case Bridge():
                yield value
            case tuple():
                yield from _bridges(value)
