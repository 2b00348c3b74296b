"""The frames and their documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ftweb import frames

ROOT = Path(__file__).parent.parent


def test_protocol_page_is_up_to_date() -> None:
    script = ROOT / "scripts" / "generate_protocol_docs.py"
    check = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert check.returncode == 0, "run scripts/generate_protocol_docs.py"


def test_every_frame_is_in_the_module_table() -> None:
    table = frames.__doc__ or ""
    for frame in frames.Frame.__value__.__args__:
        assert frame.__struct_config__.tag in table
