"""The pinned versions fit together, and no lock file names where packages come from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ftweb

ROOT = Path(__file__).resolve().parent.parent.parent


def pins(name: str) -> dict[str, str]:
    """Versions by package of one file in ``requirements/``."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    found = [line.split()[0].split("==") for line in lines if line and not line.startswith("#")]
    return {package.lower().replace("_", "-"): version for package, version in found}


def wanted() -> list[Requirement]:
    """Everything that pyproject.toml asks for by range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    texts = project["dependencies"] + [text for extra in extras for text in extra]
    return [Requirement(text) for text in texts if not text.startswith("ftweb")]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_constraints_fit_the_ranges(requirement: Requirement) -> None:
    assert pins("constraints.txt")[requirement.name.lower()] in requirement.specifier


def test_tabs_and_bridges_run_the_same_versions() -> None:
    everywhere = pins("constraints.txt")
    assert pins("pyodide.txt") == {name: everywhere[name] for name in pins("pyodide.txt")}


FOR_ASGI_APPS = {"anyio", "idna", "starlette", "typing-extensions"}
"""Loaded in a tab only when its app imports Starlette."""


def test_tabs_have_all_that_the_metadata_asks_for() -> None:
    in_tabs = {
        requirement.name
        for requirement in wanted()
        if requirement.marker and not requirement.marker.evaluate({"sys_platform": "emscripten"})
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    assert (names - in_tabs) | FOR_ASGI_APPS == set(pins("pyodide.txt"))


def test_python_lock_files_name_no_address() -> None:
    for path in (ROOT / "requirements").iterdir():
        assert "://" not in path.read_text(), path.name


def test_npm_lock_file_names_no_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_one_version_everywhere() -> None:
    versions = {
        name: json.loads((ROOT / name).read_text())["version"]
        for name in ("package.json", "package-lock.json")
    }
    assert set(versions.values()) == {ftweb.__version__}


def test_npm_lock_file_has_the_binaries_of_every_platform() -> None:
    """Else ``npm ci`` refuses it, on this platform too."""
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    optional = {
        name for package in packages.values() for name in package.get("optionalDependencies", {})
    }
    assert {name for name in optional if f"node_modules/{name}" not in packages} == set()
