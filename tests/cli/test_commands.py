"""The commands' help, and what they say to those who misuse them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ftweb as package
from ftweb.cli.commands import cli

ROOT = Path(__file__).parents[2]


def test_version(ftweb: Any) -> None:
    done = ftweb("--version")
    assert (done.returncode, done.stdout) == (0, f"ftweb {package.__version__}\n")


def test_only_what_works_is_listed() -> None:
    assert sorted(cli.commands) == ["bridge", "browse", "check", "run", "simulate"]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help(ftweb: Any, arguments: tuple[str, ...]) -> None:
    done = ftweb(*arguments)
    assert done.returncode == 0
    assert "ftweb run examples/voting" in done.stdout
    assert "Run a web app" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command,words",
    [
        ("run", ["APP_DIR", "--name", "--host", "--port", "8765", "--data", "--no-browser",
                 "--no-mdns", "--json", "BROWSER=none", "presenter_token"]),
        ("browse", ["--timeout", "3.0", "--json", "epoch", "addresses"]),
    ],
)  # fmt: skip
def test_help_of_commands(ftweb: Any, command: str, words: list[str]) -> None:
    done = ftweb(command, "--help")
    assert done.returncode == 0
    for word in words:
        assert word in done.stdout
    assert "Examples:" in done.stdout


@pytest.mark.parametrize(
    "arguments,said",
    [
        (("run",), "Missing argument 'APP_DIR'"),
        (("run", "app", "--port", "many"), "--port"),
        (("run", "app", "--port", "65536"), "65536"),
        (("run", "app", "--colour"), "--colour"),
        (("run", "app", "again"), "again"),
        (("browse", "--timeout", "0"), "--timeout"),
        (("dance",), "dance"),
        (("--dance",), "--dance"),
    ],
)
def test_misuse_is_told_in_one_line(ftweb: Any, arguments: tuple[str, ...], said: str) -> None:
    done = ftweb(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "--help" in done.stderr


def test_the_documentation_is_what_help_says() -> None:
    script = ROOT / "scripts" / "generate_cli_docs.py"
    check = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr
