"""Downloads the wheels of ftweb's own dependencies, in the versions of this environment.

``tests/packaging`` installs the built wheel from them, as a user would, but with no network.

    python scripts/wheelhouse.py FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    target = sys.argv[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    command = [
        *(sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"),
        *("--only-binary", ":all:", "-d", target),
        *("-c", str(ROOT / "requirements" / "constraints.txt")),
        *project["dependencies"],
    ]
    raise SystemExit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
