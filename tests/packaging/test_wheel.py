"""The wheel of ``make build`` stands alone: no Node, no work tree, no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 60

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as ``make build`` does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=SECONDS)
    (path,) = folder.glob("ftweb-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts folder of a new environment with the wheel and nothing from this one."""
    wheelhouse = ROOT / "build" / "wheelhouse"
    if not wheelhouse.is_dir():
        pytest.fail("build/wheelhouse is missing; run 'make setup'.")
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, with_pip=True)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    command: list[str | Path] = [
        *(scripts / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"),
        *("--no-index", "--find-links", wheelhouse, wheel),
    ]
    subprocess.run(command, check=True, timeout=SECONDS, env=plain_environment())
    return scripts


def plain_environment() -> dict[str, str]:
    """An environment with nothing of the work tree in it, and no Node on its path."""
    return {"PATH": os.defpath, "PYTHONUTF8": "1", "HOME": "/nonexistent"}


def test_wheel_carries_the_runtime(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    dist = ROOT / "static" / "dist"
    shipped = {
        f"ftweb/_dist/{path.relative_to(dist).as_posix()}"
        for path in dist.rglob("*")
        if path.is_file()
    }
    assert shipped <= names
    assert "ftweb/_dist/pyodide/pyodide.asm.wasm.gz" in names
    assert "ftweb/py.typed" in names
    assert not any(name.startswith(("tests/", "static/", "pyodide_app/")) for name in names)


def test_help_works_without_node(installed: Path, tmp_path: Path) -> None:
    assert shutil.which("node", path=str(installed)) is None
    done = subprocess.run(
        [installed / "ftweb", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**plain_environment(), "PATH": str(installed)},
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


@pytest.fixture
def running(installed: Path, tmp_path: Path) -> Iterator[dict[str, object]]:
    """What ``ftweb run --json`` of the installed wheel says first; it must end cleanly."""
    app = tmp_path / "voting"
    shutil.copytree(ROOT / "examples" / "voting", app)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[str | Path] = [
        *(installed / "ftweb", "run", app, "--json", "--no-browser", "--no-mdns"),
        *("--host", "127.0.0.1", "--port", str(port), "--data", tmp_path / "data"),
    ]
    environment = {**plain_environment(), "PATH": str(installed), "HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "ftweb run ended at once"
        yield json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


def test_run_serves_everything_that_a_tab_loads(running: dict[str, object]) -> None:
    base = f"http://127.0.0.1:{running['port']}"
    manifest = json.loads((ROOT / "static" / "dist" / "manifest.json").read_text())
    with httpx.Client(base_url=base, timeout=SECONDS) as client:
        assert "text/html" in client.get("/").headers["content-type"]
        assert client.get("/ftweb/client.js").headers["content-type"].startswith("text/javascript")
        for name, size in manifest["files"].items():
            if name.startswith("pyodide/"):
                response = client.get(f"/ftweb/runtime/{manifest['build']}/{name}")
                assert (response.status_code, len(response.content)) == (200, size), name
