"""``scripts/system_tools`` on machines of all kinds, made of stub programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "system_tools"

ROOT_ID = "#!/bin/sh\necho 0\n"
USER_ID = "#!/bin/sh\necho 1000\n"
BROWSER = "#!/bin/sh\n"
REFUSING = "#!/bin/sh\nexit 1\n"

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the script where only the given programs (name: text) exist."""
    for tool in ("sh", "env", "chmod", "cat", "uname"):
        source = shutil.which(tool)
        assert source is not None
        (tmp_path / tool).symlink_to(source)

    def run(programs: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        for name, text in programs.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        # The script itself adds the folders for administrators' programs; "ip" may be there.
        return subprocess.run(
            [tmp_path / "sh", SCRIPT, *arguments],
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def apt(tmp_path: Path) -> str:
    """An apt-get that logs what it is told, and "installs" every browser."""
    log = tmp_path / "apt.log"
    made = [tmp_path / name for name in ("chromium", "firefox-esr", "WebKitWebDriver", "Xvfb")]
    lines = [f": >{path}\nchmod 755 {path}" for path in made]
    return "\n".join(["#!/bin/sh", f'echo "$@" >>{log}', *lines, ""])


@pytest.mark.parametrize(
    "present, wanted",
    [
        (["google-chrome"], "chromium"),
        (["firefox"], "firefox"),
        (["WebKitWebDriver", "Xvfb"], "webkit"),
    ],
)
def test_nothing_is_done_when_there_is_a_browser(
    run: Run, apt: str, tmp_path: Path, present: list[str], wanted: str
) -> None:
    programs = dict.fromkeys(present, BROWSER)
    done = run({**programs, "apt-get": apt, "id": ROOT_ID}, wanted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "apt.log").exists()


@pytest.mark.parametrize(
    "who",
    [
        pytest.param({"id": ROOT_ID}, id="root"),
        pytest.param(
            {"id": USER_ID, "sudo": '#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift\n"$@"\n'},
            id="sudo without password",
        ),
    ],
)
@pytest.mark.parametrize(
    "wanted, packages",
    [
        ("chromium", ["chromium"]),
        ("firefox", ["firefox-esr"]),
        ("webkit", ["webkit2gtk-driver", "xvfb"]),
    ],
)
def test_a_browser_is_installed_where_that_is_possible(
    run: Run, apt: str, tmp_path: Path, who: dict[str, str], wanted: str, packages: list[str]
) -> None:
    true = shutil.which("true")
    assert true is not None
    (tmp_path / "true").symlink_to(true)
    done = run({"apt-get": apt, **who}, wanted)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "apt.log").read_text().splitlines()
    assert [command.split()[0] for command in commands] == ["update", "install"]
    assert commands[1].split()[-len(packages) :] == packages


@pytest.mark.parametrize(
    "programs, hint",
    [
        pytest.param({"apt-get": BROWSER, "id": USER_ID}, "apt-get", id="no root, no sudo"),
        pytest.param(
            {"dnf": BROWSER, "id": USER_ID, "sudo": REFUSING}, "dnf", id="sudo asks a password"
        ),
        pytest.param({"id": ROOT_ID}, "no known package manager", id="no package manager"),
        pytest.param({"apt-get": REFUSING, "id": ROOT_ID}, "could not install", id="no network"),
    ],
)
@pytest.mark.parametrize("wanted, name", [("chromium", "Chromium"), ("firefox", "Firefox")])
def test_else_it_says_how(
    run: Run, programs: dict[str, str], hint: str, wanted: str, name: str
) -> None:
    done = run(programs, wanted)
    assert done.returncode == 1
    assert hint in done.stderr
    assert name in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "programs, hint",
    [
        pytest.param({"apt-get": BROWSER, "id": USER_ID}, "webkit2gtk-driver xvfb", id="no root"),
        pytest.param({"apt-get": REFUSING, "id": ROOT_ID}, "could not install", id="no network"),
        pytest.param({"dnf": BROWSER, "id": ROOT_ID}, "only Debian and Ubuntu", id="no Debian"),
        pytest.param({"WebKitWebDriver": BROWSER, "id": ROOT_ID}, "Xvfb", id="no display"),
    ],
)
def test_webkit_is_had_on_debian_and_missed_in_so_many_words(
    run: Run, programs: dict[str, str], hint: str
) -> None:
    done = run(programs, "webkit")
    assert done.returncode == 1
    assert hint in done.stderr
    assert "WebKitGTK" in done.stderr
    assert done.stderr.count("\n") == 1


def test_usage(run: Run) -> None:
    assert run({}, "opera").returncode == 2
