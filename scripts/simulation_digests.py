"""Prints the trace digests of simulated schedules as JSON: to compare interpreters by.

    python scripts/simulation_digests.py SEED-SEED SEED …
    node scripts/in_pyodide.mjs scripts/simulation_digests.py SEED-SEED SEED …

Everything is kept in memory, since Pyodide has no SQLite. There msgspec comes from the wheel that
tabs load, so ``static/dist`` must have been built.
"""

from __future__ import annotations

import json
import logging
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def borrow_wheel() -> None:
    """Make the tabs' msgspec importable."""
    (wheel,) = (ROOT / "static" / "dist" / "pyodide").glob("msgspec-*.whl")
    folder = "/tmp/wheels"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    sys.path.insert(0, folder)


def main() -> None:
    """Run the schedules of the seeds on the command line."""
    sys.path.insert(0, str(ROOT))
    if sys.platform == "emscripten":
        sys.dont_write_bytecode = True
        borrow_wheel()
    from ftweb.simulation.plan import draw_plan
    from ftweb.simulation.schedule import run

    logging.disable(logging.CRITICAL)
    digests = {}
    for argument in sys.argv[1:]:
        first, _, last = argument.partition("-")
        for seed in range(int(first), int(last or first) + 1):
            result = run(replace(draw_plan(seed), sqlite=False))
            digests[seed] = [result.digest, str(result.violation), result.votes, result.events]
    print(json.dumps({"python": sys.version.split()[0], "digests": digests}))


if __name__ == "__main__":
    main()
