"""How much memory a browser's processes took, as the kernel counts it.

``VmHWM`` is the highest resident size that a process has had; writing 5 to its ``clear_refs``
begins the count anew (proc(5)). So nothing is missed between two looks, as it would be by sampling.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it comes without

_KIND = re.compile(r"--(?:utility-sub-)?type=([\w.-]+)")

type Peaks = dict[str, float]
"""Highest size in MB by kind of process: of a kind that has several, the largest one's."""


def begin(pid: int) -> Peaks:
    """Count peaks of a browser's processes from now on. Gives what they have now."""
    for process in _processes(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")
    return _largest(pid, "VmRSS")


def peaks(pid: int) -> Peaks:
    """The highest since :func:`begin`; of processes that are younger, since their start."""
    return _largest(pid, "VmHWM")


def _processes(pid: int) -> list[int]:
    root = psutil.Process(pid)
    return [root.pid, *(child.pid for child in root.children(recursive=True))]


def _largest(pid: int, key: str) -> Peaks:
    found: Peaks = defaultdict(float)
    for process in _processes(pid):
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().decode()
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue  # it has ended
        size = [line.split()[1] for line in status.splitlines() if line.startswith(f"{key}:")]
        if size:
            kind = named[1] if (named := _KIND.search(command)) else "browser"
            found[kind] = max(found[kind], int(size[0]) / 1000)
    return dict(found)
