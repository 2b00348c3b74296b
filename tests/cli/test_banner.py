"""What ``ftweb run`` says first."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ftweb.bridge import Started
from ftweb.cli import banner

STARTED = Started(
    name="Physics 101",
    guid="a" * 32,
    port=8765,
    urls=("http://192.0.2.7:8765/", "http://198.51.100.7:8765/"),
    local_url="http://localhost:8765/",
    join_url="http://192.0.2.7:8765/#join=JOIN",
    presenter_url="http://localhost:8765/presenter.html#presenter=PRESENT",
    join_token="JOIN",
    presenter_token="PRESENT",
)


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str = "utf-8", *, tty: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


def test_json() -> None:
    line = banner.as_json(STARTED, data_dir="/data")
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    assert told == {
        "name": "Physics 101",
        "guid": "a" * 32,
        "port": 8765,
        "urls": ["http://192.0.2.7:8765/", "http://198.51.100.7:8765/"],
        "local_url": "http://localhost:8765/",
        "join_url": "http://192.0.2.7:8765/#join=JOIN",
        "presenter_url": "http://localhost:8765/presenter.html#presenter=PRESENT",
        "join_token": "JOIN",
        "presenter_token": "PRESENT",
        "data": "/data",
        "bridge_command": "ftweb bridge 'http://192.0.2.7:8765/#presenter=PRESENT'",
    }


def test_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    text = banner.for_people(STARTED, out=Terminal())
    assert "Physics 101" in text
    assert STARTED.join_url in text
    assert STARTED.presenter_url in text
    assert "http://198.51.100.7:8765/#join=JOIN" in text, "other networks' addresses"
    assert "Ctrl-C" in text
    assert "ftweb bridge 'http://192.0.2.7:8765/#presenter=PRESENT'" in text
    assert "further bridge" in banner.for_people(STARTED, second=True, out=Terminal())
    assert "same network" in text
    assert "▀" in text
    assert "\x1b[" in text


def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    text = banner.for_people(STARTED, out=Terminal())
    assert "\x1b[" not in text
    assert "▀" in text


def test_on_a_terminal_that_cannot_draw_it() -> None:
    assert "▀" not in banner.for_people(STARTED, out=Terminal("ascii"))


def test_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = banner.for_people(STARTED, out=Terminal())
    assert "▀" not in text
    assert STARTED.join_url in text


def test_a_server_that_no_phone_can_reach() -> None:
    import dataclasses

    alone = dataclasses.replace(
        STARTED, urls=("http://127.0.0.1:8765/",), join_url="http://127.0.0.1:8765/#join=JOIN"
    )
    text = banner.for_people(alone, out=Terminal(tty=False))
    assert "Only this machine" in text
    assert "Join the phones' network" in text
    assert "ftweb bridge" not in text, "no other laptop can join it"
