"""``ftweb bridge``: joining, going on alone, and what it says when it cannot."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from .conftest import SECONDS, Ftweb


def health(info: dict[str, Any]) -> dict[str, Any]:
    with urllib.request.urlopen(f"{info['local_url']}healthz") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def page_of(info: dict[str, Any]) -> bytes:
    with urllib.request.urlopen(info["local_url"]) as page:
        found: bytes = page.read()
        return found


def until_in_epoch(info: dict[str, Any], epoch: int) -> None:
    deadline = time.monotonic() + SECONDS
    while health(info)["epoch"] != epoch:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_join_then_go_on_alone(ftweb: Ftweb, app: Path) -> None:
    listen = ("--host", "127.0.0.1", "--port", "0", "--no-mdns", "--json")
    run = ftweb.start("run", app, "--no-browser", *listen)
    first = ftweb.first_line(run)
    command = first["bridge_command"]
    assert command.startswith("ftweb bridge 'http://127.0.0.1:")
    address = command.split("'")[1]
    joining = ftweb.start("bridge", address, "--data", "second", *listen)
    second = ftweb.first_line(joining)
    for same in ("guid", "name", "join_token", "presenter_token"):
        assert second[same] == first[same]
    assert second["presenter_url"].startswith(f"{second['local_url']}presenter.html#presenter=")
    until_in_epoch(second, health(first)["epoch"])
    assert page_of(second) == b"<!doctype html>hello"
    run.kill()
    assert ftweb.stop(joining)[0] == 0
    again = ftweb.start("bridge", "--data", "second", *listen)
    alone = ftweb.first_line(again)
    assert alone["guid"] == first["guid"]
    assert health(alone)["quorum"]
    assert ftweb.stop(again)[0] == 0
    # The address of a laptop that is not there any more does no harm either.
    again = ftweb.start("bridge", address, "--data", "second", *listen)
    alone = ftweb.first_line(again)
    assert alone["guid"] == first["guid"]
    assert page_of(alone) == b"<!doctype html>hello"
    assert "Going on with what was saved" in ftweb.stop(again)[2]


def test_what_it_says_when_it_cannot(ftweb: Ftweb, app: Path) -> None:
    listen = ("--host", "127.0.0.1", "--port", "0", "--no-mdns")
    first = ftweb.first_line(ftweb.start("run", app, "--no-browser", "--json", *listen))
    origin = first["local_url"].replace("localhost", "127.0.0.1")

    def refused(*arguments: str, code: str, says: str) -> None:
        done = ftweb("bridge", *arguments, *listen)
        assert done.returncode == 1, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert line.endswith(f"({code})")
        assert says in line

    refused(origin, code="bad_token", says="presenter token is missing")
    refused(f"{origin}#join=x", code="bad_token", says="join token of the phones is not enough")
    refused(origin, "--token", "x" * 22, code="bad_token", says="Copy the command")
    refused("ftp://x", code="connect_failed", says="no address of a bridge")
    refused("http://127.0.0.1:1/#presenter=x", code="connect_failed", says="1 (Connection refused)")
    refused(code="server_not_found", says="Give its address")
    other = ftweb.start("run", app, "--no-browser", "--json", *listen, "--data", "other")
    ftweb.first_line(other)
    ftweb.stop(other)
    token = first["presenter_token"]
    refused(
        origin, "--token", token, "--data", "other", code="storage_untrusted", says="another server"
    )
