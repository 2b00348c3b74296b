"""``static/dist`` as the scripts build it."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DIST = ROOT / "static" / "dist"

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def rebuilt() -> Path:
    """The Pyodide folder, built a second time from the same source."""
    subprocess.run([sys.executable, ROOT / "scripts" / "build_dist.py"], check=True)
    target = ROOT / "build" / "rebuilt"
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_pyodide.py", target], check=True, cwd=ROOT
    )
    return target


def test_the_same_source_gives_the_same_bytes(rebuilt: Path) -> None:
    def hashes(folder: Path) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.iterdir()
            if path.suffix != ".gz"
        }

    assert hashes(rebuilt) == hashes(DIST / "pyodide")


def test_second_run_has_nothing_to_do() -> None:
    def build() -> str:
        command = [sys.executable, str(ROOT / "scripts" / "build_dist.py")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    build()
    before = {path: path.stat().st_mtime_ns for path in DIST.rglob("*")}
    assert build() == ""
    assert {path: path.stat().st_mtime_ns for path in DIST.rglob("*")} == before


def test_lock_names_the_wheels_beside_it_by_content() -> None:
    folder = DIST / "pyodide"
    lock = json.loads((folder / "ftweb-lock.json").read_text())
    for package in lock["packages"].values():
        wheel = folder / package["file_name"]
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() == package["sha256"]
    extras = {"anyio", "idna", "starlette", "typing-extensions"}
    assert set(lock["packages"]) == {"ftweb", "msgspec", *extras}
    # Loaded for apps that import them, and for no other: nothing that all tabs load needs them.
    needed = {need for name in ("ftweb", "msgspec") for need in lock["packages"][name]["depends"]}
    assert needed.isdisjoint(extras)
    assert "://" not in json.dumps(lock)


def test_archives_hold_byte_code_and_no_source() -> None:
    archives = [DIST / "pyodide" / "python_stdlib.zip", *(DIST / "pyodide").glob("*.whl")]
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if path.name.startswith("anyio-"):
            continue  # it reads its own source
        assert any(name.endswith(".pyc") for name in names), path.name
        assert [name for name in names if name.endswith(".py")] == [], path.name


def test_tabs_wheel_has_no_bridge() -> None:
    (wheel,) = (DIST / "pyodide").glob("ftweb-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[1] for name in archive.namelist() if name.startswith("ftweb/")}
        assert "pyodide_app/boot.pyc" in archive.namelist()
    assert {"core", "app", "driver.pyc", "codec.pyc"} <= tops
    assert tops & {"bridge", "cli", "client", "simulation", "_dist"} == set()


def test_compressed_files_are_what_they_stand_for() -> None:
    packed = list(DIST.rglob("*.gz"))
    assert {"pyodide.asm.wasm.gz", "client.js.gz"} <= {path.name for path in packed}
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes(), path.name


def test_manifest_lists_every_file() -> None:
    manifest = json.loads((DIST / "manifest.json").read_text())
    sizes = {
        path.relative_to(DIST).as_posix(): path.stat().st_size
        for path in DIST.rglob("*")
        if path.is_file() and path.suffix != ".gz" and path.name != "manifest.json"
    }
    assert manifest["files"] == sizes
    assert manifest["build"]
