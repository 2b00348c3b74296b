"""``ftweb check``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ftweb.cli.commands import cli
from ftweb.errors import AppLoadError


def check(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


def test_it_tells_what_is_in_an_app(app: Path) -> None:
    done = check(app)
    assert done.exit_code == 0
    assert f"classroom vote can be run: ftweb run {app}\n" in done.stdout
    assert "receive()" in done.stdout
    assert "index.html, presenter.html\n" in done.stdout
    assert "Note" not in done.stdout
    told = json.loads(check(app, "--json").stdout)
    assert told == {
        "name": "classroom vote",
        "messages": "receive",
        "http": False,
        "on_quorum_loss": "wait",
        "pages": ["index.html", "presenter.html"],
        "presenter_page": True,
        "files": 3,
        "bytes": sum(path.stat().st_size for path in app.rglob("*") if path.is_file()),
        "simulation": False,
        "notes": [],
    }


def test_an_app_without_a_page_is_noted(ftweb: Any, app: Path) -> None:
    (app / "pages" / "index.html").unlink()
    assert "Note: There is no pages/index.html" in check(app).stdout
    process = ftweb.start("run", app, "--host", "127.0.0.1", "--no-mdns", "--port", "0", "--json")
    ftweb.first_line(process)
    status, _, said = ftweb.stop(process)
    assert status == 0
    assert said.startswith("Note: There is no pages/index.html")


def test_what_cannot_be_run_is_an_error(make_app: Callable[..., Path], app: Path) -> None:
    broken = check(make_app("x = = 1\n", "broken"))
    assert isinstance(broken.exception, AppLoadError)
    assert "app.py:1: SyntaxError" in broken.exception.message
    (app / "PAGES.txt").write_text("", encoding="utf-8")
    (app / "pages.TXT").write_text("", encoding="utf-8")
    twice = check(app)
    assert isinstance(twice.exception, AppLoadError)
    assert "same name" in twice.exception.message
