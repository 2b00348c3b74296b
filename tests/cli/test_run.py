"""``ftweb run`` as a process: what it says, what it refuses, how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftweb.client import connect

LOCAL = ("--host", "127.0.0.1", "--no-mdns")
"""No traffic but on this machine."""


# --- what is refused before anything starts -------------------------------------------------


def test_no_app(ftweb: Any, tmp_path: Path) -> None:
    done = ftweb("run", tmp_path / "nothing", *LOCAL)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: There is no app at")
    assert done.stderr.endswith("(app_missing)\n")
    assert len(done.stderr.splitlines()) == 1
    assert list(ftweb.home.iterdir()) == []


def test_a_broken_app_is_told_with_file_and_line(
    ftweb: Any, make_app: Callable[[str], Path]
) -> None:
    folder = make_app("import ftweb\n\nserver = ftweb.init_servr('vote')\n")
    done = ftweb("run", folder, *LOCAL)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"{folder / 'app.py'}:3" in done.stderr
    assert "init_servr" in done.stderr
    assert done.stderr.endswith("(app_broken)\n")
    assert list(ftweb.home.iterdir()) == []


def test_a_port_in_use(ftweb: Any, app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = ftweb("run", app, *LOCAL, "--port", str(port))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert done.stderr.endswith("(port_in_use)\n")
    assert list(ftweb.home.iterdir()) == [], "nothing was begun"


def test_an_address_that_is_not_ours(ftweb: Any, app: Path) -> None:
    done = ftweb("run", app, "--host", "203.0.113.9", "--no-mdns")
    assert done.returncode == 1
    assert done.stderr.endswith("(cannot_listen)\n")


def test_a_name_that_cannot_be_one(ftweb: Any, app: Path) -> None:
    done = ftweb("run", app, *LOCAL, "--name", "x" * 64)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--name" in done.stderr


def test_tracebacks_only_on_request(ftweb: Any, tmp_path: Path) -> None:
    done = ftweb("run", tmp_path / "nothing", FTWEB_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


# --- running --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_json_then_a_clean_end(ftweb: Any, app: Path, port: int, number: int) -> None:
    process = ftweb.start("run", app, *LOCAL, "--port", str(port), "--json")
    told = ftweb.first_line(process)
    assert told["name"] == "classroom vote"
    assert told["port"] == port
    assert len(told["guid"]) == 32
    assert told["urls"] == [f"http://127.0.0.1:{port}/"]
    assert told["join_url"] == f"http://127.0.0.1:{port}/#join={told['join_token']}"
    assert told["presenter_url"].endswith(f"#presenter={told['presenter_token']}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        assert json.load(answer)["name"] == "classroom vote"
    status, out, err = ftweb.stop(process, number)
    assert (status, out) == (0, ""), err
    assert "Traceback" not in err


def test_the_same_command_is_the_same_server(ftweb: Any, app: Path, port: int) -> None:
    def run(*more: str) -> dict[str, Any]:
        process = ftweb.start("run", app, *LOCAL, "--port", str(port), "--json", *more)
        told: dict[str, Any] = ftweb.first_line(process)
        assert ftweb.stop(process)[0] == 0
        return told

    first, again = run(), run()
    assert first == again
    assert Path(first["data"]).parent == ftweb.home / "xdg" / "ftweb"
    other = run("--name", "Another")
    assert other["name"] == "Another"
    assert other["guid"] != first["guid"]
    data = str(ftweb.home / "elsewhere")
    assert run("--data", data)["data"] == data
    assert stat.S_IMODE((Path(data) / "identity.json").stat().st_mode) == 0o600


def test_a_saved_state_is_told_and_what_it_lacks(
    ftweb: Any, make_app: Callable[..., Path], tmp_path: Path
) -> None:
    def run(state: str) -> str:
        folder = make_app(
            f"import ftweb\nserver = ftweb.init_server('a', state={state})\n"
            "server.on_receive(lambda message: None)\n",
            f"app-{len(list(tmp_path.iterdir()))}",
        )
        data = ("--port", "0", "--data", tmp_path / "home" / "data")
        process = ftweb.start("run", folder, *LOCAL, *data, "--json")
        ftweb.first_line(process)
        status, _, said = ftweb.stop(process)
        assert status == 0
        return str(said)

    assert "saved" not in run("{'ballots': {}}")
    again = run("{'ballots': {}}")
    assert f"Goes on with the state saved in {tmp_path / 'home' / 'data'}." in again
    assert "has no" not in again
    assert "That state has no 'names', with which app.py begins" in run(
        "{'ballots': {}, 'names': {}}"
    )


async def test_what_people_see(ftweb: Any, app: Path, port: int) -> None:
    process = ftweb.start("run", app, *LOCAL, "--port", str(port))
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said += line
    assert "classroom vote is running." in said
    assert "▀" in said
    join_url = next(word for word in said.split() if "#join=" in word)
    assert f"http://localhost:{port}/presenter.html#presenter=" in said
    async with connect(join_url) as connection:
        assert connection.name == "classroom vote"
        heard = ""
        while "1 page or script is connected (+1)." not in heard:
            line = process.stderr.readline()
            assert line, heard
            heard += line
    status, out, _ = ftweb.stop(process)
    assert status == 0
    assert "Stopped" in out


@pytest.mark.parametrize("options,opened", [((), True), (("--no-browser",), False)])
def test_the_presenters_page_is_opened(
    ftweb: Any, app: Path, port: int, tmp_path: Path, options: tuple[str, ...], opened: bool
) -> None:
    pipe = tmp_path / "opened"
    os.mkfifo(pipe)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {pipe}\n', encoding="utf-8")
    browser.chmod(0o755)
    process = ftweb.start(
        *("run", app, *LOCAL, "--port", str(port), "--json", *options), BROWSER=str(browser)
    )
    told = ftweb.first_line(process)
    if opened:
        assert pipe.read_text(encoding="utf-8").strip() == told["presenter_url"]
    status, _, err = ftweb.stop(process)
    assert status == 0, err
    if not opened:
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert os.read(reader, 100) == b"", "nobody wrote"
        os.close(reader)


def test_a_port_of_the_systems_choice(ftweb: Any, app: Path) -> None:
    process = ftweb.start("run", app, *LOCAL, "--port", "0", "--json")
    told = ftweb.first_line(process)
    assert told["port"] > 0
    assert str(told["port"]) in told["join_url"]
    assert ftweb.stop(process)[0] == 0


def test_an_app_with_one_page_for_everybody(ftweb: Any, app: Path, port: int) -> None:
    (app / "pages" / "presenter.html").unlink()
    process = ftweb.start("run", app, *LOCAL, "--port", str(port), "--json")
    told = ftweb.first_line(process)
    assert told["presenter_url"] == f"http://localhost:{port}/#presenter={told['presenter_token']}"
    with urllib.request.urlopen(told["presenter_url"], timeout=10) as answer:
        assert answer.status == 200
    assert ftweb.stop(process)[0] == 0


def test_two_of_the_same(ftweb: Any, app: Path, port: int) -> None:
    first = ftweb.start("run", app, *LOCAL, "--port", str(port), "--json")
    ftweb.first_line(first)
    second = ftweb("run", app, *LOCAL, "--port", str(port))
    assert second.returncode == 1
    assert "another `ftweb run`" in second.stderr
    elsewhere = ftweb("run", app, *LOCAL, "--port", "0")
    assert elsewhere.returncode == 1
    assert len(elsewhere.stderr.splitlines()) == 1
    assert "uses that data directory" in elsewhere.stderr
    assert ftweb.stop(first)[0] == 0
