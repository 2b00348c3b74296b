"""Importing an app in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ftweb.cli.check import check_app
from ftweb.errors import AppLoadError

MAKE = """
import ftweb
server = ftweb.init_server("vote", state={"n": [1]}, on_quorum_loss="continue")
server.on_receive(lambda message: None)
"""

type MakeApp = Callable[[str], Path]


def test_a_good_app(make_app: MakeApp) -> None:
    facts = check_app(make_app(MAKE))
    assert facts.name == "vote"
    assert facts.state == {"n": [1]}
    assert facts.options == {
        "on_quorum_loss": "continue",
        "replication": "passive",
        "ack": "quorum",
    }


def test_what_an_app_prints_does_not_get_in_the_way(make_app: MakeApp) -> None:
    noisy = "import os\nprint('{}')\nos.write(1, b'noise')\n" + MAKE
    assert check_app(make_app(noisy)).name == "vote"


def test_threads_that_an_app_leaves_do_not_hold_it_up(make_app: MakeApp) -> None:
    forever = "import _thread, time\n_thread.start_new_thread(time.sleep, (60,))\n"
    assert check_app(make_app(forever + MAKE), timeout=30).name == "vote"


def test_nothing_is_written_next_to_the_app(make_app: MakeApp) -> None:
    folder = make_app("import helper\n" + MAKE)
    (folder / "helper.py").write_text("x = 1\n", encoding="utf-8")
    before = sorted(folder.rglob("*"))
    check_app(folder)
    assert sorted(folder.rglob("*")) == before


def test_a_module_of_the_current_directory_does_not_stand_in(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert check_app(make_app(MAKE)).name == "vote"


@pytest.mark.parametrize(
    "source,said",
    [
        ("x = 1\nx = = 2\n", "app.py:2"),
        ("x = 1\n\nraise RuntimeError('no disk')\n", "app.py:3: RuntimeError: no disk"),
        ("import no_such_module\n", "no_such_module"),
        ("x = 1\n", "init_server"),
        ("import os\nos._exit(3)\n", "status 3"),
        ("raise SystemExit(4)\n", "SystemExit"),
    ],
)
def test_a_broken_app(make_app: MakeApp, source: str, said: str) -> None:
    with pytest.raises(AppLoadError, match=r"app\.py") as caught:
        check_app(make_app(source))
    assert caught.value.code == "app_broken"
    assert said in caught.value.message


def test_an_app_without_a_handler(make_app: MakeApp) -> None:
    with pytest.raises(AppLoadError) as caught:
        check_app(make_app("import ftweb\nserver = ftweb.init_server('vote')\n"))
    assert caught.value.code == "no_handler"


def test_an_import_that_never_ends(make_app: MakeApp) -> None:
    with pytest.raises(AppLoadError, match="not imported within") as caught:
        check_app(make_app("while True: pass\n"), timeout=1.5)
    assert caught.value.code == "app_broken"


def test_no_app(tmp_path: Path) -> None:
    for missing, said in ((tmp_path, "no app.py"), (tmp_path / "x", "no such directory")):
        with pytest.raises(AppLoadError, match=said) as caught:
            check_app(missing)
        assert caught.value.code == "app_missing"


def test_a_relative_path(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_app(MAKE)
    monkeypatch.chdir(folder.parent)
    assert check_app(Path(folder.name)).name == "vote"
    assert Path.cwd() == Path(os.path.realpath(folder.parent))
