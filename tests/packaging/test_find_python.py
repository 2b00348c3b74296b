"""``scripts/find_python`` on machines of all kinds, made of stub interpreters."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "find_python"

GOOD = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
OLD = '#!/bin/sh\ncase "$2" in *version_info*) exit 1 ;; esac\necho "should not be asked"\n'
SHIM = '#!/bin/sh\necho "pyenv: python3.13: command not found" >&2\nexit 127\n'
NO_VENV = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'

type Find = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Runs the script where only the given programs (path below the machine: text) exist."""
    for tool in ("sh", "ls", "sort"):
        source = shutil.which(tool)
        assert source is not None
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(source)

    def run(programs: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
        for name, text in programs.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        return subprocess.run(
            [tmp_path / "bin" / "sh", SCRIPT],
            env={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param({"bin/python3": GOOD}, id="only python3"),
        pytest.param({"bin/python3": OLD, "bin/python3.12": GOOD}, id="python3 is too old"),
        pytest.param(
            {"bin/python3.13": SHIM, "home/.pyenv/versions/3.13.0/bin/python": GOOD},
            id="pyenv with shims that fail",
        ),
        pytest.param(
            {"bin/python3.13": NO_VENV, "bin/python3.12": GOOD}, id="the newest has no venv"
        ),
    ],
)
def test_found(find: Find, programs: dict[str, str]) -> None:
    found = find(programs)
    assert (found.returncode, found.stdout.strip()) == (0, sys.executable)
    assert found.stderr == ""


def test_pyenv_root(find: Find, tmp_path: Path) -> None:
    programs = {"elsewhere/versions/3.12.1/bin/python": GOOD}
    assert find(programs).returncode == 1
    assert find(programs, PYENV_ROOT=str(tmp_path / "elsewhere")).returncode == 0


def test_chosen_by_hand(find: Find, tmp_path: Path) -> None:
    programs = {"bin/python3": GOOD, "mine": OLD}
    found = find(programs, FTWEB_PYTHON=str(tmp_path / "mine"))
    assert found.returncode == 1
    assert "FTWEB_PYTHON" in found.stderr


@pytest.mark.parametrize(
    "programs, missing",
    [
        ({}, "no Python >= 3.12"),
        ({"bin/python3": OLD, "bin/python3.13": SHIM}, "no Python >= 3.12"),
        ({"home/.pyenv/versions/3.11.7/bin/python": GOOD}, "no Python >= 3.12"),
        ({"bin/python3": NO_VENV}, "python3-venv"),
    ],
)
def test_missing_says_so_in_one_line(find: Find, programs: dict[str, str], missing: str) -> None:
    found = find(programs)
    assert (found.returncode, found.stdout) == (1, "")
    assert missing in found.stderr
    assert found.stderr.count("\n") == 1
