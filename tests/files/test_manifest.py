"""Manifests: what is accepted, what an id stands for, and that ids never say the same of two."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.errors import FileError, Refusal
from ftweb.files import (
    Manifest,
    check_manifest,
    chunk_bytes_for,
    describe,
    find_manifests,
    parse_manifest,
)
from ftweb.files.manifest import CHUNK_BYTES_LEAST
from ftweb.limits import (
    BATCH_BYTES,
    FILE_BYTES,
    FILE_CHUNK_BYTES,
    FILE_CHUNK_BYTES_MOST,
    FILE_CHUNKS,
    FILE_NAME_CHARS,
    PAYLOAD_BYTES,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "manifests.json").read_text(encoding="utf-8")
)
CONTENT = bytes(range(256)) * 1000  # 256,000 bytes: three chunks and a bit of 64 KiB
GOOD = describe("slides.pdf", "application/pdf", [CONTENT], chunk_bytes=CHUNK_BYTES_LEAST)


def but(**changes: Any) -> dict[str, Any]:
    return {**GOOD.to_dict(), **changes}


def test_what_a_manifest_says() -> None:
    assert GOOD.size == len(CONTENT)
    assert GOOD.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert [GOOD.chunk_size(index) for index in range(4)] == [65536, 65536, 65536, 59392]
    assert list(GOOD.chunks) == [
        hashlib.sha256(CONTENT[start : start + 65536]).hexdigest()
        for start in range(0, len(CONTENT), 65536)
    ]
    assert parse_manifest(json.loads(json.dumps(GOOD.to_dict()))) == GOOD


def test_an_empty_file_has_no_chunks() -> None:
    empty = describe("nothing", "text/plain", [], chunk_bytes=FILE_CHUNK_BYTES)
    assert (empty.size, empty.chunks) == (0, ())
    assert empty.sha256 == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["manifest"]["name"])
def test_ids_are_the_same_in_every_language(vector: dict[str, Any]) -> None:
    assert parse_manifest(vector["manifest"]).id == vector["id"]


@given(st.binary(max_size=300_000), st.lists(st.integers(1, 300_000), max_size=6))
def test_pieces_do_not_matter(content: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = [content[a:b] for a, b in itertools.pairwise(edges)]
    whole = describe("x", "text/plain", [content], chunk_bytes=CHUNK_BYTES_LEAST)
    assert describe("x", "text/plain", pieces, chunk_bytes=CHUNK_BYTES_LEAST) == whole
    assert sum(whole.chunk_size(index) for index in range(len(whole.chunks))) == len(content)


WRONG: dict[str, list[Any]] = {
    "name": ["", " a", "a/b", "a\\b", "..", "a\nb", "a\u202eb", "a\ud800", "a" * 201, 5, None],
    "media_type": ["", "text", "Text/plain", "a/b; c=d", "a/b\n", "a/" + "b" * 200, 1],
    "size": [-1, 1.0, True, "1", FILE_BYTES + 1, 0, 65536, 262_145, None],
    "chunk_bytes": [0, 1, 65535, 100_000, 2**30, 65536.0, True, "65536"],
    "sha256": ["", "A" * 64, "0" * 63, 0, None],
    "chunks": [[], None, "0" * 64, ["0" * 64] * 5, ["x" * 64] * 4, [1] * 4],
    "more": [1],
}


@pytest.mark.parametrize(
    "change", [{key: value} for key, values in WRONG.items() for value in values]
)
def test_what_is_no_manifest(change: dict[str, Any]) -> None:
    with pytest.raises(FileError) as caught:
        parse_manifest(but(**change))
    assert caught.value.code == "bad_manifest"
    assert caught.value.message.endswith(".")
    with pytest.raises(Refusal) as refused:
        check_manifest(but(**change))
    assert refused.value.code == "bad_file"


@pytest.mark.parametrize("value", [None, [], "x", 1, {}, {"name": "x"}])
def test_what_is_nothing_like_one(value: Any) -> None:
    with pytest.raises(FileError):
        parse_manifest(value)
    with pytest.raises(Refusal):
        check_manifest(value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.fixed_dictionaries(dict.fromkeys(GOOD.to_dict(), _JSON)) | _JSON)
def test_nonsense_is_refused_and_nothing_else(value: Any) -> None:
    with contextlib.suppress(FileError):
        parse_manifest(value)


_MANIFESTS = st.builds(
    lambda content, name, kind: describe(name, kind, [content], chunk_bytes=CHUNK_BYTES_LEAST),
    st.binary(max_size=200),
    st.sampled_from(["a", "b", "1", "text plain"]),
    st.sampled_from(["text/plain", "text/html", "a/1"]),
)


@given(_MANIFESTS, _MANIFESTS)
def test_an_id_stands_for_one_manifest(one: Manifest, other: Manifest) -> None:
    assert (one.id == other.id) == (one == other)


@given(st.integers(0, FILE_BYTES))
def test_every_size_has_a_chunk_size_that_fits(size: int) -> None:
    chosen = chunk_bytes_for(size)
    assert -(-size // chosen) <= FILE_CHUNKS
    assert FILE_CHUNK_BYTES <= chosen <= FILE_CHUNK_BYTES_MOST


def test_the_largest_file() -> None:
    with pytest.raises(FileError, match="at most") as caught:
        chunk_bytes_for(FILE_BYTES + 1)
    assert caught.value.code == "too_large"
    largest = {
        "name": "\U0001f600" * FILE_NAME_CHARS,
        "media_type": "a/" + "b" * 125,
        "size": FILE_BYTES,
        "chunk_bytes": FILE_CHUNK_BYTES_MOST,
        "sha256": "0" * 64,
        "chunks": ["0" * 64] * FILE_CHUNKS,
    }
    parse_manifest(largest)
    size = len(json.dumps(largest, separators=(",", ":")))
    assert size < PAYLOAD_BYTES
    assert 2 * size < BATCH_BYTES  # as a request and as the change that it makes


def test_manifests_in_a_state() -> None:
    other = describe("b", "text/plain", [b"b"], chunk_bytes=FILE_CHUNK_BYTES)
    state = {
        "files": {"1": {"manifest": GOOD.to_dict(), "by": "x"}},
        "list": [[other.to_dict()], 5, None, {"name": "x"}],
        "not": but(size=1),
    }
    assert {found.id for found in find_manifests(state)} == {GOOD.id, other.id}
    assert list(find_manifests(None)) == []
