"""Errors: the tree, the codes, and their documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ftweb import errors
from ftweb.errors import CODES, FtwebError, Refusal

DOCS = Path(__file__).parent.parent / "docs" / "errors.md"
CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, FtwebError) and cls is not Refusal
]


def test_every_code_is_documented_with_its_sentence() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (.+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert dict(rows) == CODES
    assert len(rows) == len(CODES)


def test_codes_are_words_and_sentences() -> None:
    for code, sentence in CODES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert sentence.endswith(".")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_a_documented_code_and_stands_in_the_tree(cls: type[FtwebError]) -> None:
    assert cls("x").code in CODES
    assert cls.__name__ in (errors.__doc__ or "")
    error = cls("What happened.", code="too_large")
    assert (error.code, error.message, str(error)) == (
        "too_large", "What happened.", "What happened.",
    )  # fmt: skip
    assert cls("x").code != "too_large" or cls is errors.LimitError, "the class keeps its own code"


def test_a_refusal_has_the_apps_code() -> None:
    refusal = Refusal("poll_closed", "The poll is closed.")
    assert (refusal.code, refusal.message) == ("poll_closed", "The poll is closed.")
    assert Refusal("poll_closed").message == "poll_closed"
    assert isinstance(refusal, FtwebError)
