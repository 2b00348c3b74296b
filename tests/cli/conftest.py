"""The ``ftweb`` command as a process of its own, as users and scripts start it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60

GOOD_APP = """
import ftweb

server = ftweb.init_server("classroom vote", state={"ballots": {}})


@server.on_receive
def receive(message, source):
    return {"echo": message}
"""


class Ftweb:
    """Runs the command in a directory and a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "FTWEB_DEBUG"},
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "xdg"),
            "BROWSER": "none",
            "PYTHONWARNINGS": "error",
        }
        self.started: list[subprocess.Popen[str]] = []

    @staticmethod
    def command(*arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "ftweb", *map(str, arguments)]

    def __call__(self, *arguments: str | Path, **environment: str) -> Any:
        """Run it to its end."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=self.home,
            env={**self.environment, **environment},
            check=False,
        )

    def start(
        self, *arguments: str | Path, prefix: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen[str]:
        """Start it; it is ended with the test."""
        process = subprocess.Popen(
            [*prefix, *self.command(*arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env={**self.environment, **environment},
        )
        self.started.append(process)
        return process

    @staticmethod
    def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Signal it, and return its status and what else it said on stdout and stderr."""
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    @staticmethod
    def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
        """The JSON object that ``--json`` promises."""
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        found = json.loads(line)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def ftweb(tmp_path: Path) -> Iterator[Ftweb]:
    home = tmp_path / "home"
    home.mkdir()
    command = Ftweb(home)
    yield command
    for process in command.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an app's directory with this app.py."""

    def make(source: str, name: str = "app") -> Path:
        folder = tmp_path / name
        (folder / "pages").mkdir(parents=True)
        (folder / "app.py").write_text(source, encoding="utf-8")
        (folder / "pages" / "index.html").write_text("<!doctype html>hello", encoding="utf-8")
        (folder / "pages" / "presenter.html").write_text("<!doctype html>p", encoding="utf-8")
        return folder

    return make


@pytest.fixture
def app(make_app: Callable[[str], Path]) -> Path:
    return make_app(GOOD_APP)


@pytest.fixture
def port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
