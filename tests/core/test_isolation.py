"""The core has no I/O, clock, randomness or loop: habit 1 of sans-I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "ftweb" / "core").glob("*.py"))

FORBIDDEN = {"asyncio", "random", "secrets", "time", "datetime", "threading", "socket", "os", "js"}

BARE = """
import sys, types
import msgspec  # of which the core's values are made; it does no I/O either
package = types.ModuleType("ftweb")  # without ftweb/__init__.py, which imports the app layer
package.__path__ = [sys.argv[1]]
sys.modules["ftweb"] = package
before = set(sys.modules)
import ftweb.core
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def test_imports_only_msgspec_and_the_standard_library_and_none_of_its_io() -> None:
    found = subprocess.run(
        [sys.executable, "-I", "-c", BARE, str(ROOT / "ftweb")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "ftweb.core.node" in found
    tops = {name.partition(".")[0] for name in found} - {"ftweb"}
    assert tops <= set(sys.stdlib_module_names)
    assert not tops & {"asyncio", "random", "secrets", "socket", "ssl", "js", "pyodide"}
    ours = {name for name in found if name.startswith("ftweb.") and "core" not in name}
    assert ours <= {"ftweb.errors", "ftweb.limits"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_imports_a_clock_or_chance(path: Path) -> None:
    """``time`` is loaded by any interpreter, so the sources are looked at as well."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert not imported & FORBIDDEN


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_have_one_concept_and_a_test_file(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
    name = "test_isolation.py" if path.stem == "__init__" else f"test_{path.stem}.py"
    assert (Path(__file__).parent / name).exists(), f"{path.name} has no {name}"
