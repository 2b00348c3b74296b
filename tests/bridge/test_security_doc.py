"""docs/security.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from ftweb.errors import CODES
from ftweb.limits import (
    FRAME_BYTES,
    HELLO_SECONDS,
    NODES_PER_MINUTE,
    PAYLOAD_BYTES,
    SILENCE_SECONDS,
    SLOW_READER_BYTES,
)
from ftweb.relay.connection import CLOSE_CODES, SILENT

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TEXT.splitlines()
    if line.startswith("|") and line.count("|") == 4 and "---" not in line
]


def test_codes_and_close_codes_are_the_real_ones() -> None:
    seen = set()
    for _, answer, close in ROWS:
        for code in re.findall(r"`(\w+)`", answer):
            if code not in CODES:
                continue
            seen.add(code)
            if close.isdigit() and close != "1009":
                assert CLOSE_CODES[code] == int(close), code
    assert seen >= set(CLOSE_CODES) - {"slow_reader"}


def test_bounds_are_the_real_ones() -> None:
    whats = " ".join(what for what, _, _ in ROWS)
    assert f"{FRAME_BYTES // 1024} KiB" in whats
    assert f"{PAYLOAD_BYTES // 1024} KiB" in whats
    assert f"{SLOW_READER_BYTES // 2**20} MiB behind" in whats
    assert f"no `hello` in {HELLO_SECONDS:g} s" in whats
    assert f"more than {NODES_PER_MINUTE} replicas a minute" in whats
    assert ("nothing for 20 s", "", str(SILENT)) in ROWS
    assert SILENCE_SECONDS == 20
