"""Makes ``static/dist/pyodide``: everything that a tab loads to run Python.

    python scripts/build_pyodide.py TARGET_FOLDER

1. Pyodide's own files come from the npm package, unchanged.
2. The standard library is compiled to ``.pyc`` (see ``scripts/compile_archives.py``), because
   compiling it in each tab is two thirds of a stock boot. The stock archive goes along as
   ``python_stdlib_stock.zip``: the worker boots from it when the other one fails.
3. The wheels are the project's own, less what only a bridge needs, and the pinned ones of
   ``requirements/pyodide.txt``, all compiled too.
4. ``ftweb-lock.json`` names just these wheels, with their hashes, so that ``loadPyodide`` loads
   them from the bridge; Pyodide's own lock points to a server on the internet.
5. The same inputs give the same bytes. Nothing here needs a network once the wheels of step 3
   are in ``build/wheels``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from pyodide_lock import PyodideLockSpec
from pyodide_lock.utils import add_wheels_to_spec, update_package_sha256

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build"
STAGE = WORK / "stage"
NPM = ROOT / "node_modules" / "pyodide"
REQUIREMENTS = ROOT / "requirements" / "pyodide.txt"

PLATFORM = "pyemscripten_2026_0_wasm32"
"""The platform that PyPI's wheels name for this Pyodide's ABI. Pyodide's lock calls the same
platform by its compiler, so binary wheels are renamed on the way."""

NOT_FOR_TABS = (
    "ftweb/__main__.py",
    "ftweb/beginning.py",
    "ftweb/bridge/",
    "ftweb/cli/",
    "ftweb/client.py",
    "ftweb/client/",
    "ftweb/simulation/",
    "ftweb/transports/binary.py",
    "ftweb/transports/fetching.py",
    "ftweb/transports/websocket.py",
)
"""What a tab never imports; it would only make every phone's download larger."""


def for_tabs(name: str) -> bool:
    """Does this file (a path as in the wheel) belong into the tabs' wheel?"""
    return not name.startswith(NOT_FOR_TABS)


def fetch_wheels() -> list[Path]:
    """The pinned wheels of step 3, downloaded once."""
    pins = REQUIREMENTS.read_bytes()
    folder = WORK / "wheels" / hashlib.sha256(pins).hexdigest()[:16]
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        python = _lock_info()["python"].rpartition(".")[0]
        command = [
            *(sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:", "-d", str(folder)),
            *("--platform", PLATFORM, "--python-version", python),
            *("--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"),
            *("-r", str(REQUIREMENTS)),
        ]
        subprocess.run(command, check=True)
        (folder / "complete").touch()
    return sorted(folder.glob("*.whl"))


def own_wheel(folder: Path) -> Path:
    """The project's wheel as hatchling builds it for tabs, less ``NOT_FOR_TABS``."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    environment = {**os.environ, "FTWEB_BUILD": "runtime"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
    (wheel,) = folder.glob("ftweb-*.whl")
    slim = wheel.with_suffix(".slim")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(slim, "w") as target:
        for name in source.namelist():
            if for_tabs(name):
                target.writestr(name, source.read(name))
    return slim.rename(wheel)


def _lock_info() -> dict[str, str]:
    lock = json.loads((NPM / "pyodide-lock.json").read_text(encoding="utf-8"))
    info: dict[str, str] = lock["info"]
    return info


def _final_name(wheel: Path, info: dict[str, str]) -> str:
    """The name under which a compiled wheel is served; its tag says what the byte code needs."""
    name, version, _python, _abi, platform = wheel.stem.split("-")
    minor = "".join(info["python"].split(".")[:2])
    if platform == "any":
        return f"{name}-{version}-py{minor}-none-any.whl"
    return f"{name}-{version}-cp{minor}-cp{minor}-{info['platform']}_{info['arch']}.whl"


def build(target: Path) -> None:
    """Fills ``target``, which must not exist yet."""
    _copy_runtime(target)
    shutil.copyfile(NPM / "python_stdlib.zip", target / "python_stdlib_stock.zip")
    sources = _sources()
    lock = _lock(sources)

    stdlib = _stdlib()
    jobs = [_job("wheel", source, target / source.name) for source in sources]
    if not stdlib.exists():
        jobs.append(_job("stdlib", NPM / "python_stdlib.zip", stdlib))
    jobs_file = STAGE / "jobs.json"
    jobs_file.write_text(json.dumps(jobs), encoding="utf-8")
    in_pyodide("scripts/compile_archives.py", _inside(jobs_file))
    shutil.copyfile(stdlib, target / "python_stdlib.zip")

    for package in lock.packages.values():
        update_package_sha256(package, target / package.file_name)
    lock.to_json(target / "ftweb-lock.json", indent=1)
    for path in target.iterdir():
        path.chmod(0o644)  # Pyodide's file system knows no umask, and one npm file is executable


def build_stock(target: Path) -> None:
    """The same with nothing compiled: what ``benchmarks/pyodide_boot.py`` compares with."""
    _copy_runtime(target)
    shutil.copyfile(NPM / "python_stdlib.zip", target / "python_stdlib.zip")
    sources = _sources()
    for source in sources:
        shutil.copyfile(source, target / source.name)
    _lock(sources).to_json(target / "ftweb-lock.json", indent=1)


def _copy_runtime(target: Path) -> None:
    target.mkdir(parents=True)
    for name in ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm"):
        shutil.copyfile(NPM / name, target / name)


def _sources() -> list[Path]:
    """All wheels with their source, under the names that they are served by."""
    info = _lock_info()
    shutil.rmtree(STAGE, ignore_errors=True)
    (STAGE / "own").mkdir(parents=True)
    sources = []
    for wheel in (own_wheel(STAGE / "own"), *fetch_wheels()):
        source = STAGE / _final_name(wheel, info)
        shutil.copyfile(wheel, source)
        sources.append(source)
    return sources


def _lock(sources: list[Path]) -> PyodideLockSpec:
    """A lock of just these wheels. From source, since the tool finds import names by ``.py``."""
    empty = PyodideLockSpec.from_json(NPM / "pyodide-lock.json")
    empty.packages = {}
    return add_wheels_to_spec(empty, sources, base_path=STAGE)


def _job(kind: str, source: Path, target: Path) -> dict[str, str]:
    return {"kind": kind, "source": _inside(source), "target": _inside(target)}


def _stdlib() -> Path:
    """Where the compiled standard library is kept between builds: it changes with Pyodide only."""
    key = hashlib.sha256((NPM / "python_stdlib.zip").read_bytes())
    key.update((ROOT / "scripts" / "compile_archives.py").read_bytes())
    folder = WORK / "stdlib"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key.hexdigest()[:16]}.zip"


def _inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def in_pyodide(script: str, *arguments: str) -> None:
    """Runs a script of the work tree inside Pyodide."""
    subprocess.run(["node", "scripts/in_pyodide.mjs", script, *arguments], check=True, cwd=ROOT)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
