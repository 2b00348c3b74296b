"""Which wheel hatchling makes.

1. The usual one (``make build``): the package and, as ``ftweb/_dist``, the built browser runtime
   with Pyodide, so that an installed ``ftweb run`` needs neither Node nor a network. Without
   ``static/dist`` there is nothing to serve, so the build stops instead of making half a wheel.
2. ``FTWEB_BUILD=runtime`` (only ``scripts/build_pyodide.py`` sets it): the raw material of the
   wheel that Pyodide loads, which has ``pyodide_app`` and no ``_dist``.
3. An editable install needs neither: it finds ``static/dist`` in the work tree.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FtwebBuildHook(BuildHookInterface[Any]):
    """Adds what the chosen wheel needs besides the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if version == "editable":
            return
        if os.environ.get("FTWEB_BUILD") == "runtime":
            build_data["force_include"][str(root / "pyodide_app")] = "pyodide_app"
            return
        dist = root / "static" / "dist"
        if not (dist / "manifest.json").is_file():
            raise SystemExit(
                "The browser runtime is not built (static/dist/manifest.json is missing). "
                "Run 'make setup' first, then 'make build'."
            )
        for path in sorted(dist.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(dist).as_posix()
                build_data["force_include"][str(path)] = f"ftweb/_dist/{name}"
