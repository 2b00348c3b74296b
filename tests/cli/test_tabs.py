"""What an app may import: what tabs have, not what this machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftweb.bridge.assets import find_runtime
from ftweb.cli.check import check_app
from ftweb.cli.tabs import modules
from ftweb.errors import AppLoadError

SERVER = """
import ftweb
server = ftweb.init_server("vote")
server.on_receive(lambda message: None)
"""

type MakeApp = Callable[[str], Path]


@pytest.mark.parametrize(
    "line,module",
    [
        ("import click", "click"),  # a package of this machine, loaded already when it is asked
        ("import click.testing", "click.testing"),
        ("from click import echo", "click"),
        ("import no_such_module", "no_such_module"),
        ("import sqlite3", "sqlite3"),  # the standard library's, left out of what tabs load
        ("import http.server", "http.server"),
        ("from http import server", "http.server"),
        ("import ftweb.client", "ftweb.client"),  # ftweb's own, for the laptop
    ],
)
def test_what_tabs_do_not_have_cannot_be_imported(
    make_app: MakeApp, line: str, module: str
) -> None:
    with pytest.raises(AppLoadError, match=r"app\.py:1: ModuleNotFoundError: Tabs") as caught:
        check_app(make_app(f"{line}\n{SERVER}"))
    assert f"{module!r}. An app can import its own files, Starlette" in caught.value.message
    assert caught.value.code == "app_broken"


@pytest.mark.parametrize(
    "line",
    [
        "import csv, json, math, random, asyncio, urllib.parse, xml.etree.ElementTree, ssl",
        "from concurrent.futures import ThreadPoolExecutor",
        "from os import path",
        "from starlette.applications import Starlette",
        "from starlette import routing",
        "import anyio, typing_extensions, msgspec",
        "from ftweb import Refusal, flyweb",
    ],
)
def test_what_tabs_have_can_be(make_app: MakeApp, line: str) -> None:
    assert check_app(make_app(f"{line}\n{SERVER}")).name == "vote"


def test_an_app_can_do_without(make_app: MakeApp) -> None:
    careful = (
        "try:\n    import click\nexcept ImportError:\n    click = None\nassert click is None\n"
    )
    assert check_app(make_app(careful + SERVER)).name == "vote"


def test_its_own_files_are_judged_and_can_be_imported(make_app: MakeApp) -> None:
    folder = make_app(f"import helper, parts.one\nfrom parts import one\n{SERVER}")
    (folder / "parts").mkdir()
    (folder / "parts" / "one.py").write_text("", encoding="utf-8")
    (folder / "helper.py").write_text("import json\n", encoding="utf-8")
    assert check_app(folder).name == "vote"
    (folder / "helper.py").write_text("import json\nimport click\n", encoding="utf-8")
    with pytest.raises(AppLoadError, match=r"helper\.py:2: ModuleNotFoundError: Tabs"):
        check_app(folder)


def test_the_modules_are_those_of_the_files_that_tabs_load() -> None:
    known = modules(find_runtime())
    assert {"csv", "asyncio", "xml.etree.ElementTree", "ftweb.app.loader", "starlette"} <= known
    assert not {"sqlite3", "ftweb.bridge", "ftweb.cli", "click"} & known


def test_threads_cannot_be_started(make_app: MakeApp) -> None:
    threads = "import threading\nthreading.Thread(target=print).start()\n"
    with pytest.raises(AppLoadError, match=r"app\.py:2: RuntimeError: Tabs cannot start threads"):
        check_app(make_app(threads + SERVER))
