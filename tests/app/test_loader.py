"""Loading an app's directory."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftweb.app import load_app
from ftweb.errors import AppLoadError

GOOD = """
    import ftweb
    server = ftweb.init_server("good", state={"n": 1})

    @server.on_receive
    def receive(message):
        return message
"""


@pytest.fixture(autouse=True)
def _same_modules_afterwards() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:] = path


def write(folder: Path, **files: str) -> Path:
    """Files of an app: ``app=`` is app.py."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def refused(folder: Path) -> AppLoadError:
    with pytest.raises(AppLoadError) as caught:
        load_app(folder)
    return caught.value


def test_a_good_app(tmp_path: Path) -> None:
    write(tmp_path, app=GOOD)
    server = load_app(str(tmp_path))
    assert (server.name, server.initial_state) == ("good", {"n": 1})
    again = load_app(tmp_path)
    assert again is not server, "each load gives a fresh one"


def test_the_name_of_the_variable_does_not_matter_nor_a_second_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        app=GOOD.replace("server", "vote").replace("init_vote", "init_server")
        + "    also = vote\n",
    )
    assert load_app(tmp_path).name == "good"


def test_an_app_may_have_modules_of_its_own_that_change(tmp_path: Path) -> None:
    write(tmp_path, app=GOOD + "    import own_words\n    server.words = own_words.WORDS\n")
    write(tmp_path, own_words="WORDS = 1")
    assert vars(load_app(tmp_path))["words"] == 1
    write(tmp_path, own_words="WORDS = 'other'")
    assert vars(load_app(tmp_path))["words"] == "other"


def test_dataclasses_work_in_apps(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nimport dataclasses\n" + textwrap.dedent(GOOD)
    text += "\n@dataclasses.dataclass\nclass Poll:\n    question: str\n"
    write(tmp_path, app=text)
    assert load_app(tmp_path).name == "good"


def test_an_apps_module_does_not_shadow_the_standard_library(tmp_path: Path) -> None:
    sys.modules.pop("colorsys", None)
    write(tmp_path, app=GOOD + "    import colorsys\n    colorsys.rgb_to_hsv\n", colorsys="")
    assert load_app(tmp_path).name == "good"


def test_missing(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert error.code == "app_missing"
    assert "no app.py in it" in error.message
    error = refused(tmp_path / "none")
    assert error.code == "app_missing"
    assert "no such directory" in error.message


@pytest.mark.parametrize(
    "app, line, says",
    [
        ("x = 1\ndef f(:\n", 2, "SyntaxError: "),
        ("import ftweb\n\n\nx = missing\n", 4, "NameError: name 'missing' is not defined"),
        ("import not_there_at_all\n", 1, "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("import ftweb\nserver = ftweb.init_server('')\n", 2, "ValueError: The server's name ''"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("def f():\n    return 1 // 0\n\nf()\n", 2, "ZeroDivisionError"),
        ("raise AssertionError\n", 1, "AssertionError"),
    ],
)
def test_an_app_that_fails_to_import_says_where(
    tmp_path: Path, app: str, line: int, says: str
) -> None:
    write(tmp_path, app=app)
    error = refused(tmp_path)
    assert error.code == "app_broken"
    assert error.message.startswith(f"{tmp_path / 'app.py'}:{line}: ")
    assert says in error.message
    assert "ftweb_app" not in sys.modules


def test_an_error_in_a_module_of_the_app_is_placed_there(tmp_path: Path) -> None:
    write(tmp_path, app="import own_part\n", own_part="\n\n1 // 0\n")
    assert refused(tmp_path).message.startswith(f"{tmp_path / 'own_part.py'}:3: ZeroDivisionError")
    write(tmp_path, own_part="\nbroken(\n")
    assert f"{tmp_path / 'own_part.py'}:2: SyntaxError" in refused(tmp_path).message
    assert "own_part" not in sys.modules


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(b"x = '\xff'\n")
    error = refused(tmp_path)
    assert error.code == "app_broken"
    assert str(tmp_path / "app.py") in error.message


def test_an_app_has_exactly_one_server_with_a_handler(tmp_path: Path) -> None:
    write(tmp_path, app="x = 1")
    assert "no server. Make one" in refused(tmp_path).message
    write(tmp_path, app="import ftweb\na = ftweb.init_server('a')\nb = ftweb.init_server('b')\n")
    assert "several: 'a', 'b'" in refused(tmp_path).message
    write(tmp_path, app="import ftweb\nserver = ftweb.init_server('a')\n")
    error = refused(tmp_path)
    assert error.code == "no_handler"
    assert "@server.on_receive" in error.message


def test_what_a_broken_app_registered_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, app="import own_half\nraise ValueError\n", own_half="X = 1\n")
    refused(tmp_path)
    assert "own_half" not in sys.modules
    write(
        tmp_path,
        app=GOOD + "    import own_half\n    assert own_half.X == 22\n",
        own_half="X = 22\n",
    )
    assert load_app(tmp_path).name == "good"
