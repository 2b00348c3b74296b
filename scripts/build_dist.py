"""Makes ``static/dist``: what a bridge serves below ``/ftweb/``. Does only what has changed.

1. ``static/dist/pyodide`` by ``scripts/build_pyodide.py``, when a module that goes to tabs, a pin
   or the Pyodide version has changed.
2. The TypeScript runtime by ``npm run build``, when its source or the folder of step 1 has
   changed. It is told the hash of that folder (``FTWEB_RUNTIME_HASH``), puts it into the build id
   and writes the id to ``build-id.txt``.
3. ``manifest.json``, and a ``.gz`` beside each file that gets smaller by it: compressed once here
   rather than by the bridge for each phone. (Browsers take no brotli over plain HTTP.)

The fingerprints of what was built are kept in ``build/``, not in ``static/dist``, which is
shipped as it is.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import build_pyodide

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "static" / "dist"
WORK = ROOT / "build"

COMPRESSED_ENOUGH = 0.95
"""A ``.gz`` must be this much smaller to be worth its inflating."""


def fingerprint(paths: Iterable[Path], *words: str) -> str:
    """A hash over names and contents."""
    total = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(ROOT).as_posix()}\0{content}\n".encode())
    for word in words:
        total.update(f"{word}\n".encode())
    return total.hexdigest()


def pyodide_inputs() -> list[Path]:
    """All that step 1 depends on."""
    modules = [
        path
        for folder in ("ftweb", "pyodide_app")
        for path in (ROOT / folder).rglob("*.py")
        if build_pyodide.for_tabs(path.relative_to(ROOT).as_posix())
    ]
    scripts = ("build_pyodide.py", "compile_archives.py", "in_pyodide.mjs")
    return [
        *modules,
        *(ROOT / "scripts" / name for name in scripts),
        ROOT / "pyproject.toml",
        ROOT / "hatch_build.py",
        build_pyodide.REQUIREMENTS,
        build_pyodide.NPM / "package.json",
    ]


def static_inputs() -> list[Path]:
    """All that step 2 depends on, besides the outcome of step 1."""
    paths = [ROOT / "package.json", ROOT / "package-lock.json", *ROOT.glob("tsconfig*.json")]
    for folder in ("src", "scripts"):
        paths += [path for path in (ROOT / "static" / folder).rglob("*") if path.is_file()]
    return paths


def is_current(name: str, wanted: str, made: Path) -> bool:
    """Was ``made`` built from what ``wanted`` stands for?"""
    stamp = WORK / f"{name}.stamp"
    return made.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted


def mark_current(name: str, wanted: str) -> None:
    """Remember what was built."""
    (WORK / f"{name}.stamp").write_text(wanted, encoding="ascii")


def say(text: str) -> None:
    """One line of progress, like those of ``scripts/setup``."""
    print(f"\033[1m==>\033[0m {text}", flush=True)


def make_pyodide() -> bool:
    """Step 1. Returns whether there was anything to do."""
    wanted = fingerprint(pyodide_inputs())
    target = DIST / "pyodide"
    if is_current("pyodide", wanted, target):
        return False
    say("Browser runtime: Pyodide, standard library and wheels as byte code")
    fresh = WORK / "pyodide-fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    build_pyodide.build(fresh)
    # Aside first: a bridge that is running from this folder misses it for a moment only.
    DIST.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    mark_current("pyodide", wanted)
    return True


def make_static() -> bool:
    """Step 2. Returns whether there was anything to do."""
    shipped = [path for path in (DIST / "pyodide").iterdir() if path.suffix != ".gz"]
    runtime = fingerprint(shipped)
    wanted = fingerprint(static_inputs(), runtime)
    if is_current("static", wanted, DIST / "build-id.txt"):
        return False
    say("Browser runtime: TypeScript")
    environment = {**os.environ, "FTWEB_RUNTIME_HASH": runtime}
    subprocess.run(["npm", "run", "--silent", "build"], check=True, cwd=ROOT, env=environment)
    mark_current("static", wanted)
    return True


def finish() -> None:
    """Step 3."""
    sizes = {}
    for path in sorted(DIST.rglob("*")):
        name = path.relative_to(DIST).as_posix()
        if not path.is_file() or path.suffix == ".gz" or name == "manifest.json":
            continue
        content = path.read_bytes()
        sizes[name] = len(content)
        sibling = path.with_name(f"{path.name}.gz")
        if sibling.exists() and gzip.decompress(sibling.read_bytes()) == content:
            continue
        sibling.unlink(missing_ok=True)
        packed = gzip.compress(content, compresslevel=9, mtime=0)
        if len(packed) < COMPRESSED_ENOUGH * len(content):
            sibling.write_bytes(packed)
    pyodide = json.loads((build_pyodide.NPM / "package.json").read_text(encoding="utf-8"))
    manifest = {
        "build": (DIST / "build-id.txt").read_text(encoding="ascii").strip(),
        "pyodide": pyodide["version"],
        "files": sizes,
    }
    text = json.dumps(manifest, indent=1)
    (DIST / "manifest.json").write_text(f"{text}\n", encoding="utf-8")


def main() -> None:
    started = time.monotonic()
    WORK.mkdir(exist_ok=True)
    # Two builds at a time (a test run beside a set-up) would write the same files.
    with (WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = [make_pyodide(), make_static()]
        if any(made) or not (DIST / "manifest.json").exists():
            finish()
            size = sum(path.stat().st_size for path in DIST.rglob("*") if path.is_file())
            took = time.monotonic() - started
            say(f"Browser runtime: static/dist, {size / 1e6:.0f} MB, made in {took:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        output = (error.stderr or b"").decode(errors="replace")
        command = " ".join(map(str, error.cmd))
        sys.exit(f"{output}ftweb: the build stopped: '{command}' failed ({error.returncode}).")
