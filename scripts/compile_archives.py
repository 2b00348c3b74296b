"""Turns archives of Python source into archives of byte code. Runs inside Pyodide.

    node scripts/in_pyodide.mjs scripts/compile_archives.py JOB.json

``JOB.json`` is a list of ``{"source", "target", "kind": "stdlib" | "wheel"}``. What comes out:

1. ``module.pyc`` in the place of ``module.py`` (the layout that imports without source), with an
   unchecked hash instead of a time stamp: nothing is compared at import, and the same source
   gives the same bytes.
2. Every entry has the same date and the entries are sorted, and the zip is written by Pyodide's
   own zlib: the output depends on the source alone, not on the machine that built it.
3. The standard library loses docstrings and assertions (level 2, which it is tested with) and
   what a tab cannot use, see ``_left_out``. Wheels keep both: assertions are ours to fail.
4. anyio stays source: it looks up its own names in its own ``.py`` when they are first asked for.
5. Wheels keep their data, licences and metadata, without the read-me in it; type stubs and
   ``*.data`` (scripts for a shell) go. ``RECORD`` is written anew.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import sys
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[attr-defined]
from pathlib import Path

LEFT_OUT_PACKAGES = (
    # They need processes, terminals, raw sockets or another system, or serve development only.
    "__phello__",
    "_pyio",
    "_pyrepl",
    "asyncio/proactor_events",
    "asyncio/windows_events",
    "asyncio/windows_utils",
    "bdb",
    "cProfile",
    "ctypes/macholib",
    "doctest",
    "ftplib",
    "http/server",
    "imaplib",
    "mailbox",
    "multiprocessing",
    "pdb",
    "pickletools",
    "poplib",
    "profile",
    "pstats",
    "pydoc",
    "smtplib",
    "socketserver",
    "sqlite3",
    "unittest",
    "wsgiref",
    "xmlrpc",
)
"""Modules and packages of the standard library that are not shipped to tabs: a third of its size,
which every phone would load over the room's Wi-Fi."""

ENCODINGS = (
    *("__init__", "aliases", "ascii", "base64_codec", "charmap", "cp1250", "cp1251", "cp1252"),
    *("cp1253", "cp1254", "cp1257", "cp437", "cp850", "hex_codec", "idna", "iso8859_1"),
    *("iso8859_15", "iso8859_2", "latin_1", "punycode", "raw_unicode_escape", "undefined"),
    *("unicode_escape", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"),
    *("utf_7", "utf_8", "utf_8_sig", "zlib_codec"),
)
"""Encodings that are shipped: Unicode's, and those of text files that a class may bring along. The
other eighty tables are a sixth of the standard library."""

DATE = (1980, 1, 1, 0, 0, 0)


def _left_out(name: str) -> bool:
    """Is this file of the standard library's archive not for tabs?"""
    stem = name.removesuffix(".py")
    if any(stem == package or stem.startswith(f"{package}/") for package in LEFT_OUT_PACKAGES):
        return True
    folder, _, module = stem.rpartition("/")
    return folder == "encodings" and module not in ENCODINGS


def _compiled(source: bytes, path: str, *, optimize: int) -> bytes:
    code = compile(source, path, "exec", dont_inherit=True, optimize=optimize)
    data: bytes = _code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    return data


def _write(path: Path, files: dict[str, bytes], *, compression: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type = compression
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, compresslevel=9)


def compile_stdlib(source: Path, target: Path) -> None:
    """The standard library as Pyodide imports it, straight from the zip."""
    where = f"/lib/python{sys.version_info.major}{sys.version_info.minor}.zip"
    files = {}
    with zipfile.ZipFile(source) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".py") and not _left_out(name):
                files[f"{name}c"] = _compiled(archive.read(name), f"{where}/{name}", optimize=2)
    # Stored, since the bridge sends it with gzip: that is a tenth smaller than a compressed zip,
    # and the browser's inflating is faster than Python's at each import.
    _write(target, files, compression=zipfile.ZIP_STORED)


def compile_wheel(source: Path, target: Path) -> None:
    """A wheel that Pyodide unpacks into site-packages."""
    files = {}
    with zipfile.ZipFile(source) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        info = info.removesuffix("WHEEL")
        tag = "-".join(target.stem.split("-")[-3:])
        for name in sorted(archive.namelist()):
            data = archive.read(name)
            if name.startswith(info):
                if name == f"{info}WHEEL":
                    kept = [x for x in data.decode().splitlines() if x and "Tag:" not in x]
                    data = "\n".join([*kept, f"Tag: {tag}", ""]).encode()
                elif name == f"{info}METADATA":
                    data = data.partition(b"\n\n")[0] + b"\n"  # without the read-me
                elif "licenses/" not in name:
                    continue
            elif name.endswith(("/", ".pyi")) or ".data/" in name:
                continue
            elif name.endswith(".py") and not name.startswith("anyio/"):
                data = _compiled(data, f"site-packages/{name}", optimize=0)
                name = f"{name}c"
            files[name] = data
    record = "".join(f"{name},{_record_hash(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}RECORD"] = f"{record}{info}RECORD,,\n".encode()
    _write(target, files, compression=zipfile.ZIP_DEFLATED)


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def main() -> None:
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        make = {"stdlib": compile_stdlib, "wheel": compile_wheel}[job["kind"]]
        make(Path(job["source"]), Path(job["target"]))


if __name__ == "__main__":
    main()
