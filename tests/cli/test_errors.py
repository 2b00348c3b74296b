"""Errors as one line and an exit status."""

from __future__ import annotations

import click
import pytest

from ftweb.cli.errors import debugging, report
from ftweb.errors import FtwebError, StorageError


def test_ours_have_their_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(StorageError("The disk\nis full.")) == 1
    assert capsys.readouterr().err == "error: The disk is full. (storage_failed)\n"


def test_ours_are_found_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    inner = ExceptionGroup("tasks", [FtwebError("Ours.", code="port_in_use")])
    assert report(ExceptionGroup("tasks", [ValueError("other"), inner])) == 1
    assert capsys.readouterr().err == "error: Ours. (port_in_use)\n"


def test_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(click.UsageError("No such option.")) == 2
    assert capsys.readouterr().err == "error: No such option. See `ftweb --help`.\n"


def test_the_unexpected_says_how_to_learn_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("division by zero")) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ZeroDivisionError: division by zero.")
    assert "FTWEB_DEBUG=1" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("value,expected", [("", False), ("0", False), ("1", True)])
def test_debugging(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("FTWEB_DEBUG", value)
    assert debugging() is expected
