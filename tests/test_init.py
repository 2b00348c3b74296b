"""The package's front door: what it offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ftweb

ROOT = Path(__file__).parent.parent


def test_every_name_it_offers_is_there() -> None:
    for name in ftweb.__all__:
        assert getattr(ftweb, name) is not None
    assert set(ftweb.__all__) <= set(dir(ftweb))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ftweb.nonsense  # noqa: B018


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project.get("version", ftweb.__version__) == ftweb.__version__


def test_an_app_needs_nothing_that_a_browser_tab_lacks() -> None:
    # In a process of its own, since this one has imported everything already.
    script = """
import sys
before = set(sys.modules)
import ftweb
print(*sorted(name for name in set(sys.modules) - before if name.partition('.')[0] in
    {'ftweb', 'asyncio', 'inspect', 'json', 'msgspec'}))
import ftweb.app
tops = {name.partition('.')[0] for name in set(sys.modules) - before}
print(*sorted(tops - set(sys.stdlib_module_names)))
print(*sorted(name for name in sys.modules if name.startswith('ftweb.')))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    alone, tops, ours = done.stdout.splitlines()
    assert alone == "ftweb", "importing ftweb alone loads next to nothing"
    # msgspec uses typing_extensions if it happens to be there.
    allowed = {"ftweb", "msgspec", "typing_extensions"}
    assert set(tops.split()) <= allowed
    assert not {name for name in ours.split() if name.startswith(("ftweb.client", "ftweb.bridge"))}
