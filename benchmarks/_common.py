"""What the benchmarks share: statistics, the class on a LAN, one JSON object as the result.

Rules for every benchmark:

1. It builds its own LAN and uses the product as a user does (``ftweb run``, real Chromium).
2. It prints one JSON object on stdout and nothing else there; progress goes to stderr.
3. It measures a baseline in the same run, on the same machine under the same load, and gives the
   ratio: absolute times of a shared two-core container mean little to somebody else.
4. It checks what it timed: a fast answer that lost a vote is reported as an error (exit 1).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # so that `python benchmarks/x.py` finds tests.lan and tests.e2e
    sys.path.insert(0, str(ROOT))


def summary(values: Sequence[float]) -> dict[str, float | int]:
    """The figures of a list of milliseconds."""
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered), 1),
        "p95": round(percentile(ordered, 95), 1),
        "min": round(ordered[0], 1),
        "max": round(ordered[-1], 1),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: with 20 values, the 95th percentile is the 19th."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # ceil
    return ordered[max(0, int(rank) - 1)]


def machine() -> dict[str, Any]:
    """Where this ran."""
    chromium = subprocess.run(
        ["chromium", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.system(),
        "chromium": chromium,
    }


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def count(tabs: int) -> None:
    """Progress of opening tabs, now and then."""
    if tabs % 10 == 0:
        say(f"{tabs} tabs")


def finish(result: dict[str, Any], *, ok: bool) -> None:
    """Print the result and end."""
    print(json.dumps({**result, "ok": ok}, indent=2))
    sys.exit(0 if ok else 1)
