"""What a file is, told so that anybody may deliver it and everybody can check it.

1. A file is cut into chunks of ``chunk_bytes`` (a power of two), the last one shorter. Its
   manifest names each chunk's SHA-256 and the whole's.
2. A file's **id** is the SHA-256 of its manifest, written as lines of UTF-8 (:attr:`Manifest.id`):
   the same in every language, with no rules of JSON. Whoever knows an id can check the manifest,
   whoever has the manifest every byte; so it does not matter who sent them.
3. Ids are also the only keys to files: who has not seen the manifest cannot guess one.
4. Everything is bounded by :mod:`ftweb.limits`, and names are safe to show and to save.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from ftweb.errors import FileError, Refusal
from ftweb.limits import (
    FILE_BYTES,
    FILE_CHUNK_BYTES,
    FILE_CHUNK_BYTES_MOST,
    FILE_CHUNKS,
    FILE_NAME_CHARS,
    FILE_TYPE_CHARS,
)

CHUNK_BYTES_LEAST: Final = 64 * 1024
"""Smaller chunks would make more requests than data."""

KEYS: Final = frozenset({"name", "media_type", "size", "chunk_bytes", "sha256", "chunks"})

_HASH = re.compile(r"[0-9a-f]{64}")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_NOT_IN_NAMES = frozenset("/\\\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A file, described. Made by :func:`parse_manifest` or :func:`describe`, which check it."""

    name: str
    media_type: str
    size: int
    chunk_bytes: int
    sha256: str
    """Of the whole, in hex."""
    chunks: tuple[str, ...]
    """SHA-256 of each chunk, in order."""

    @cached_property
    def id(self) -> str:
        """The file's id: the SHA-256 of these lines, each ended by a newline."""
        lines = (
            "ftweb file 1",
            self.name,
            self.media_type,
            str(self.size),
            str(self.chunk_bytes),
            self.sha256,
            *self.chunks,
        )
        return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()

    def chunk_size(self, index: int) -> int:
        """Bytes of one chunk."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for states, messages and HTTP."""
        return {
            "name": self.name,
            "media_type": self.media_type,
            "size": self.size,
            "chunk_bytes": self.chunk_bytes,
            "sha256": self.sha256,
            "chunks": list(self.chunks),
        }


def parse_manifest(value: Any) -> Manifest:
    """Check what claims to be a manifest, from wherever it came.

    Raises:
        FileError: ``bad_manifest``, with what is wrong.
    """
    if not isinstance(value, dict) or value.keys() != KEYS:
        raise FileError(f"A manifest is an object with {', '.join(sorted(KEYS))}.")
    name, media_type = value["name"], value["media_type"]
    if not is_name(name):
        raise FileError(
            f"A file's name has 1 to {FILE_NAME_CHARS} characters, on one line, and no slashes."
        )
    if (
        not isinstance(media_type, str)
        or len(media_type) > FILE_TYPE_CHARS
        or not _TYPE.fullmatch(media_type)
    ):
        raise FileError("A media type looks like text/plain, in lower case, without parameters.")
    size, chunk_bytes = value["size"], value["chunk_bytes"]
    if not _is_int(size) or not 0 <= size <= FILE_BYTES:
        raise FileError(f"A file has 0 to {FILE_BYTES} bytes.")
    if (
        not _is_int(chunk_bytes)
        or not CHUNK_BYTES_LEAST <= chunk_bytes <= FILE_CHUNK_BYTES_MOST
        or chunk_bytes & (chunk_bytes - 1)
    ):
        raise FileError(
            f"A chunk size is a power of two from {CHUNK_BYTES_LEAST} to {FILE_CHUNK_BYTES_MOST}."
        )
    chunks = value["chunks"]
    if not isinstance(chunks, list) or len(chunks) != -(-size // chunk_bytes):
        raise FileError("A manifest has one hash for each chunk.")
    if len(chunks) > FILE_CHUNKS:
        raise FileError(f"A file has at most {FILE_CHUNKS} chunks; make them larger.")
    if not all(_is_hash(one) for one in (value["sha256"], *chunks)):
        raise FileError("Hashes are SHA-256: 64 hex digits in lower case.")
    return Manifest(
        name=name,
        media_type=media_type,
        size=size,
        chunk_bytes=chunk_bytes,
        sha256=value["sha256"],
        chunks=tuple(chunks),
    )


def check_manifest(value: Any) -> Manifest:
    """For an app's handler: the manifest in a message, or a refusal with the code ``bad_file``.

    Raises:
        Refusal: it is none; its sender is told why.
    """
    try:
        return parse_manifest(value.copy() if hasattr(value, "copy") else value)
    except FileError as error:
        raise Refusal("bad_file", error.message) from None


def describe(name: str, media_type: str, pieces: Iterable[bytes], *, chunk_bytes: int) -> Manifest:
    """The manifest of some content, read once in pieces of any length.

    Raises:
        FileError: name or type cannot be used, or there is too much content.
    """
    whole, chunk, room = hashlib.sha256(), hashlib.sha256(), chunk_bytes
    chunks: list[str] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece)
        whole.update(view)
        size += len(view)
        while len(view):
            part, view = view[:room], view[room:]
            chunk.update(part)
            room -= len(part)
            if room == 0:
                chunks.append(chunk.hexdigest())
                chunk, room = hashlib.sha256(), chunk_bytes
    if room < chunk_bytes:
        chunks.append(chunk.hexdigest())
    return parse_manifest(
        {
            "name": name,
            "media_type": media_type,
            "size": size,
            "chunk_bytes": chunk_bytes,
            "sha256": whole.hexdigest(),
            "chunks": chunks,
        }
    )


def chunk_bytes_for(size: int) -> int:
    """The chunk size that everybody uses for a file of ``size`` bytes.

    Raises:
        FileError: the file is too large.
    """
    if size > FILE_BYTES:
        raise FileError(f"A file has at most {FILE_BYTES} bytes.", code="too_large")
    chosen = FILE_CHUNK_BYTES
    while chosen * FILE_CHUNKS < size:
        chosen *= 2
    return chosen


def find_manifests(state: Any) -> Iterator[Manifest]:
    """Every manifest that stands anywhere in an app's state, the last ones first."""
    stack = [state]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.keys() == KEYS:
                try:
                    yield parse_manifest(value)
                    continue
                except FileError:
                    pass  # something of the app's that looks like one
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def is_name(name: Any) -> bool:
    """Whether a file may be called so: safe to show on a line, and to save under."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= FILE_NAME_CHARS
        and name == name.strip()
        and name not in (".", "..")
        and not any(
            one in _NOT_IN_NAMES or unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")
            for one in name
        )
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None
