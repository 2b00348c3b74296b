"""Modules import only from layers below them (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS: list[tuple[str, ...]] = [
    ("ftweb.limits", "ftweb.errors"),
    ("ftweb.core", "ftweb.files"),
    ("ftweb.epochs", "ftweb.wire_types"),
    ("ftweb.frames",),
    ("ftweb.codec",),
    ("ftweb.app",),
    ("ftweb.storage",),
    ("ftweb.beginning", "ftweb.hearing", "ftweb.remembering"),
    ("ftweb.replica",),
    ("ftweb.driver", "ftweb.transports", "ftweb"),
    ("ftweb.flyweb",),
    ("ftweb.relay",),
    ("ftweb.bridge",),
    # Above the bridge, whose mDNS browser finds servers by name.
    ("ftweb.client",),
    ("ftweb.simulation",),
    ("ftweb.cli", "ftweb.__main__"),
    ("pyodide_app",),
]

ONLY_HERE = {
    "js": "pyodide_app",
    "pyodide": "pyodide_app",
    "pyodide_js": "pyodide_app",
    "starlette": "ftweb.bridge",
    "uvicorn": "ftweb.bridge",
    "sqlite3": "ftweb.bridge",
    "click": "ftweb.cli",
}
"""Packages that belong to one part."""


def layer_of(module: str) -> int | None:
    """The position of a module's layer; the longest matching name counts."""
    best: tuple[int, int] | None = None
    for position, names in enumerate(LAYERS):
        for name in names:
            exact_only = name == "ftweb"
            if module == name or (not exact_only and module.startswith(name + ".")):
                found = (len(name), position)
                best = max(best, found) if best else found
    return best[1] if best else None


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    """All Python files of the product."""
    return sorted(path for top in ("ftweb", "pyodide_app") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Names that a file imports when it is imported itself (not inside functions)."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_what_runs_in_tabs_plans_by_delays() -> None:
    """Pyodide's loop refuses a ``call_at`` whose time passes during the call."""
    elsewhere = ("ftweb.bridge", "ftweb.client", "ftweb.cli", "ftweb.simulation")
    found = [
        f"{module_name(path)}:{node.lineno}"
        for path in sources()
        if not module_name(path).startswith(elsewhere)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "call_at"
    ]
    assert found == []


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    module = module_name(path)
    own = layer_of(module)
    assert own is not None, f"{module} stands in no layer: add it to docs and to LAYERS"
    for name in imports(path):
        other = layer_of(name)
        if other is None or name == "ftweb":
            continue
        # The package's front door re-exports lazily what lies above it.
        if module == "ftweb" and name.startswith("ftweb.client"):
            continue
        assert other <= own, f"{module} imports {name} from a layer above"
        top = name.partition(".")[0]
        assert top in ("ftweb", "pyodide_app")


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_packages_stay_in_their_part(path: Path) -> None:
    module = module_name(path)
    for name in imports(path):
        home = ONLY_HERE.get(name.partition(".")[0])
        assert home is None or module == home or module.startswith(home + "."), (
            f"{module} imports {name}, which belongs to {home}"
        )


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
