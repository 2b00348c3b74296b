"""The guide for app authors: its code runs and does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ftweb import limits

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "writing-apps.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_app_of_the_guide_runs_as_the_guide_tries_it(tmp_path: Path) -> None:
    app, trial = BLOCKS[0], BLOCKS[-1]
    assert "init_server" in app
    (tmp_path / "my-app").mkdir()
    (tmp_path / "my-app" / "app.py").write_text(app, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", trial],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "payload={'accepted': True}" in done.stdout
    assert "'counts': {'B': 1}" in done.stdout
    assert done.stdout.endswith("{'ballots': {'phone': 'B'}}\n")


def test_the_app_has_fifteen_lines() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 15


def test_the_limits_it_names_are_the_limits() -> None:
    text = " ".join(GUIDE.split())
    for sentence in (
        f"at most {limits.PAYLOAD_BYTES // 1024} KiB",
        f"{limits.STATE_BYTES // 2**20} MiB of state, {limits.CHANGE_BYTES // 1024} KiB of change",
        f"{limits.JSON_DEPTH} levels of nesting, keys of {limits.JSON_KEY_CHARS} characters",
        f"gets the last {limits.OUTBOX_REPLAY:,} when it is back",
    ):
        assert sentence in text
    assert limits.HANDLER_SECONDS == 1
