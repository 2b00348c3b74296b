"""Conditional and range requests as RFC 9110 defines them, for content with a strong ETag.

1. The order of conditions is that of section 13.2.2. There are no modification dates, so
   conditions on dates are ignored, and an ``If-Range`` with a date never matches.
2. A ``Range`` that is not understood, or of another unit, is ignored: the whole comes with 200.
3. One satisfiable range is answered 206, several as ``multipart/byteranges`` in the order asked
   for, none with 416.
4. More than ``FILE_RANGES``, or more than two that overlap, is refused with 416, as section 14.2
   allows: they are a way to make a server work for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ftweb.limits import FILE_RANGES

type Span = tuple[int, int]
"""First byte, and the one after the last."""

_SPEC = re.compile(r"(\d*)-(\d*)", re.ASCII)
_DIGITS = 18
"""Longest number looked at: an exabyte."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """How a GET or HEAD is to be answered."""

    status: Literal[200, 206, 304, 412, 416]
    spans: tuple[Span, ...] = ()
    """What to send: one for 200, one or more for 206."""


def decide(headers: Mapping[str, str], *, etag: str, size: int) -> Answer:
    """What a GET or HEAD with these headers gets.

    Args:
        headers: names in lower case; repeated ones joined by commas.
        etag: of the content, with its quotes; a strong one.
        size: of the content.
    """
    whole = Answer(status=200, spans=((0, size),))
    if_match = headers.get("if-match")
    if if_match is not None and not _lists(if_match, etag, weak=False):
        return Answer(status=412)
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None and _lists(if_none_match, etag, weak=True):
        return Answer(status=304)
    wanted = headers.get("range")
    if wanted is None:
        return whole
    if_range = headers.get("if-range")
    if if_range is not None and if_range.strip() != etag:
        return whole
    spans = parse_range(wanted, size)
    if spans is None:
        return whole
    return Answer(status=206, spans=spans) if spans else Answer(status=416)


def parse_range(header: str, size: int) -> tuple[Span, ...] | None:
    """The satisfiable ranges of a Range header; none of them: refuse; None: ignore the header."""
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    spans: list[Span] = []
    parts = [part.strip() for part in specs.split(",")]
    for part in parts:
        if not part:
            continue  # a list may have empty elements (section 5.6.1.2)
        match = _SPEC.fullmatch(part)
        if match is None or part == "-" or len(part) > 2 * _DIGITS:
            return None
        first, last = match.groups()
        if not first:
            start, end = max(0, size - int(last)), size
        elif last and int(last) < int(first):
            return None
        else:
            start, end = int(first), min(size, int(last) + 1) if last else size
        if start < end:
            spans.append((start, end))
        elif not first and int(last) == 0:
            continue  # the last zero bytes: not satisfiable
    if not any(parts):
        return None
    if len([part for part in parts if part]) > FILE_RANGES or _overlaps(spans) > 2:
        return ()
    return tuple(spans)


def _overlaps(spans: list[Span]) -> int:
    return sum(
        any(one[0] < other[1] and other[0] < one[1] for at, other in enumerate(spans) if at != own)
        for own, one in enumerate(spans)
    )


def _lists(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags has this one, by weak or by strong comparison."""
    for part in header.split(","):
        one = part.strip()
        if one == "*" or one == etag or (weak and one == f"W/{etag}"):
            return True
    return False
