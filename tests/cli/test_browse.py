"""``ftweb browse``: on a LAN of its own, and what it makes of what it hears."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ftweb.bridge.discovery import Found
from ftweb.cli.browse import as_object, table
from ftweb.epochs import generation_of
from tests.lan.lan import Lan

FOUND = Found(
    name="Physics [bold]101[/bold]",
    guid="a" * 32,
    host="physics-101.local",
    addresses=("192.0.2.7", "192.0.2.8"),
    port=8765,
    path="/",
    epoch=1,
    term=4,
    node="b" * 32,
)


def test_the_object_for_scripts() -> None:
    assert as_object(FOUND) == {
        "name": "Physics [bold]101[/bold]",
        "type": "_flyweb._tcp",
        "host": "physics-101.local",
        "addresses": ["192.0.2.7", "192.0.2.8"],
        "port": 8765,
        "url": "http://192.0.2.7:8765/",
        "path": "/",
        "guid": "a" * 32,
        "epoch": 1,
        "term": 4,
        "node": "b" * 32,
    }


def test_the_table_for_people() -> None:
    out = io.StringIO()
    later = dataclasses.replace(FOUND, name="Later", guid="c" * 32, epoch=2, term=9, node="")
    Console(file=out, width=120, color_system=None).print(table([FOUND, later]))
    said = out.getvalue()
    assert "Physics [bold]101[/bold]" in said, "a name is text, not markup"
    assert "http://192.0.2.7:8765/" in said
    assert " 4 " in said
    assert " 2.9 " in said
    assert "bbbbbbbb" in said
    assert "none yet" in said


# --- on a LAN -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """Two hosts with a switch between them."""
    with Lan() as made:
        made.host("laptop")
        made.host("watcher")
        yield made


def browse(ftweb: Any, lan: Lan, *options: str) -> subprocess.CompletedProcess[str]:
    """``ftweb browse`` on another host than the server's."""
    return subprocess.run(
        lan.host("watcher").argv(*ftweb.command("browse", "--timeout", "2", *options)),
        capture_output=True,
        text=True,
        env=ftweb.environment,
        timeout=60,
        check=False,
    )


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.lan
def test_finding_a_server_until_it_says_goodbye(ftweb: Any, app: Path, lan: Lan) -> None:
    laptop = lan.host("laptop")
    process = ftweb.start("run", app, "--json", prefix=tuple(laptop.argv()))
    told = ftweb.first_line(process)
    assert told["urls"] == [f"http://{laptop.address}:8765/"]

    deadline = time.monotonic() + 20
    while not (found := objects(browse(ftweb, lan, "--json"))):
        assert time.monotonic() < deadline
    (server,) = found
    assert server["term"] >= 1
    assert server["node"] == "", "no tab is open: nobody hosts"
    expected = {
        "name": "classroom vote",
        "type": "_flyweb._tcp",
        "host": "classroom-vote.local",
        "addresses": [laptop.address],
        "port": 8765,
        "url": f"http://{laptop.address}:8765/",
        "path": "/",
        "guid": told["guid"],
    }
    assert generation_of(server["epoch"]) == 1
    assert {name: server[name] for name in expected} == expected

    people = browse(ftweb, lan)
    assert people.returncode == 0
    assert "classroom vote" in people.stdout
    assert f"http://{laptop.address}:8765/" in people.stdout
    assert "none yet" in people.stdout

    status, _, err = ftweb.stop(process, signal.SIGTERM)
    assert status == 0, err
    assert objects(browse(ftweb, lan, "--json")) == [], "it said goodbye"


@pytest.mark.lan
def test_finding_nobody_is_no_error(ftweb: Any, lan: Lan) -> None:
    assert objects(browse(ftweb, lan, "--json")) == []
    people = browse(ftweb, lan)
    assert people.returncode == 0
    assert people.stdout == ""
    assert "ftweb run" in people.stderr
