"""The app as one file: a zip that is the same, byte for byte, wherever it is made.

Rules:

1. It holds every file below the app's directory except hidden ones (a name that begins with a
   dot), ``__pycache__`` and compiled Python; links are followed only inside the directory.
2. Entries are sorted by path; time stamps, permissions and the maker's system are fixed, and
   nothing is compressed: deflate gives other bytes with another zlib. HTTP compresses instead.
3. Its name is the SHA-256 of its bytes.
4. Names that differ only by case or Unicode form are refused: they would be one file on some
   machines and two on others.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ftweb.errors import AppLoadError
from ftweb.limits import BUNDLE_BYTES

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """An app as it travels."""

    sha256: str
    data: bytes
    pages: Mapping[str, bytes]
    """Files below ``pages/``, by their path from there."""


def make_bundle(app_dir: Path) -> Bundle:
    """Read an app's directory into a bundle.

    Raises:
        AppLoadError: ``app_missing``: no such directory, or no ``app.py`` in it;
            ``app_broken``: too large, unreadable, or ambiguous names.
    """
    if not (app_dir / "app.py").is_file():
        raise AppLoadError(
            f"There is no app in {app_dir}: it must be a directory with an app.py. `ftweb run`"
            " takes that directory.",
            code="app_missing",
        )
    contents: dict[str, bytes] = {}
    folded: dict[str, str] = {}
    size = 0
    try:
        for name, path in sorted(_files(app_dir)):
            key = unicodedata.normalize("NFC", name).casefold()
            if key in folded:
                raise AppLoadError(
                    f"{app_dir}: {folded[key]} and {name} are the same name on some systems;"
                    " rename one."
                )
            folded[key] = name
            size += path.stat().st_size
            if size > BUNDLE_BYTES:
                raise AppLoadError(
                    f"{app_dir} holds more than {BUNDLE_BYTES // 2**20} MiB (at {name}). Every"
                    " tab loads it all: move large files elsewhere."
                )
            contents[name] = path.read_bytes()
    except OSError as error:
        raise AppLoadError(
            f"{error.filename or app_dir} cannot be read: {error.strerror}."
        ) from error
    return _bundle(_zip(contents), contents)


def read_bundle(data: bytes, *, sha256: str) -> Bundle:
    """Take a bundle that another bridge served.

    Args:
        data: what came.
        sha256: what was asked for.

    Raises:
        AppLoadError: ``app_broken``: it is another file, too large, or not made by rules 1 and 2.
    """
    if len(data) > BUNDLE_BYTES or hashlib.sha256(data).hexdigest() != sha256:
        raise AppLoadError("The app that came from the other bridge is not what it announced.")
    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > BUNDLE_BYTES:
                raise AppLoadError("The app that came from the other bridge is too large.")
            for info in archive.infolist():
                contents[info.filename] = archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise AppLoadError(f"The app that came from the other bridge is damaged: {error}") from None
    return _bundle(data, contents)


def _bundle(data: bytes, contents: Mapping[str, bytes]) -> Bundle:
    return Bundle(
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
        pages=MappingProxyType(
            {
                name.removeprefix("pages/"): content
                for name, content in contents.items()
                if name.startswith("pages/")
            }
        ),
    )


def _files(app_dir: Path) -> Iterator[tuple[str, Path]]:
    root = app_dir.resolve()
    for folder, directories, names in app_dir.walk():
        directories[:] = [d for d in directories if not d.startswith(".") and d != "__pycache__"]
        for name in names:
            path = folder / name
            if name.startswith(".") or name.endswith((".pyc", ".pyo")):
                continue
            if not path.resolve().is_relative_to(root) or not path.is_file():
                continue
            yield path.relative_to(app_dir).as_posix(), path


def _zip(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = _UNIX
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED
            archive.writestr(info, content)
    return buffer.getvalue()
