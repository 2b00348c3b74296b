"""A schedule is the same one under CPython and under Pyodide: nothing depends on the interpreter,
its version, its word size or its floats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SEEDS = ("1-18", "99", "149")
"""The last two are of the aimed kinds."""


def digests(*command: str) -> dict[str, Any]:
    done = subprocess.run(
        [*command, "scripts/simulation_digests.py", *SEEDS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_twenty_schedules_leave_the_same_traces_in_both() -> None:
    here = digests(sys.executable)
    pyodide = digests("node", "scripts/in_pyodide.mjs")
    assert len(here["digests"]) == 20
    assert here["python"] != pyodide["python"], "they are of different versions, too"
    assert pyodide["digests"] == here["digests"]
