"""Conditional and range requests, after RFC 9110, sections 13 and 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.bridge.ranges import Answer, decide, parse_range

ETAG = '"abc"'


@pytest.mark.parametrize(
    "header, spans",
    [
        ("bytes=0-499", ((0, 500),)),
        ("bytes=500-999", ((500, 1000),)),
        ("bytes=-500", ((9500, 10000),)),
        ("bytes=9500-", ((9500, 10000),)),
        ("bytes=0-0,-1", ((0, 1), (9999, 10000))),
        ("bytes= 0-0 , 2-3", ((0, 1), (2, 4))),
        ("bytes=500-600,601-999", ((500, 601), (601, 1000))),
        ("BYTES=1-2", ((1, 3),)),
        ("bytes=0-99999", ((0, 10000),)),
        ("bytes=-99999", ((0, 10000),)),
        ("bytes=,1-2,", ((1, 3),)),
        ("bytes=20000-,5-6", ((5, 7),)),
        ("bytes=10000-", ()),
        ("bytes=-0", ()),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(9)), ()),
        ("bytes=0-,0-,0-", ()),
        ("bytes=0-9,5-20", ((0, 10), (5, 21))),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=a-b", None),
        ("bytes=1", None),
        ("bytes", None),
        ("bytes=1-2-3", None),
        ("bytes=+1-2", None),
        ("bytes=١-٢", None),
        ("pages=1-2", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_ranges(header: str, spans: tuple[tuple[int, int], ...] | None) -> None:
    assert parse_range(header, 10_000) == spans


WHOLE = Answer(status=200, spans=((0, 10),))


@pytest.mark.parametrize(
    "headers, answer",
    [
        ({}, WHOLE),
        ({"if-match": ETAG}, WHOLE),
        ({"if-match": '"x", "abc"'}, WHOLE),
        ({"if-match": "*"}, WHOLE),
        ({"if-match": '"x"'}, Answer(status=412)),
        ({"if-match": 'W/"abc"'}, Answer(status=412)),
        ({"if-match": '"x"', "range": "bytes=0-1"}, Answer(status=412)),
        ({"if-none-match": ETAG}, Answer(status=304)),
        ({"if-none-match": 'W/"abc"'}, Answer(status=304)),
        ({"if-none-match": "*"}, Answer(status=304)),
        ({"if-none-match": '"x"'}, WHOLE),
        ({"if-none-match": ETAG, "range": "bytes=0-1"}, Answer(status=304)),
        ({"if-match": ETAG, "if-none-match": ETAG}, Answer(status=304)),
        ({"if-modified-since": "Sat, 29 Oct 1994 19:43:31 GMT"}, WHOLE),
        ({"range": "bytes=2-3"}, Answer(status=206, spans=((2, 4),))),
        ({"range": "bytes=2-3", "if-range": ETAG}, Answer(status=206, spans=((2, 4),))),
        ({"range": "bytes=2-3", "if-range": '"x"'}, WHOLE),
        ({"range": "bytes=2-3", "if-range": 'W/"abc"'}, WHOLE),
        ({"range": "bytes=2-3", "if-range": "Sat, 29 Oct 1994 19:43:31 GMT"}, WHOLE),
        ({"range": "bytes=10-", "if-range": '"x"'}, WHOLE),
        ({"range": "bytes=10-"}, Answer(status=416)),
        ({"range": "nonsense"}, WHOLE),
    ],
)
def test_conditions(headers: dict[str, str], answer: Answer) -> None:
    assert decide(headers, etag=ETAG, size=10) == answer


@given(st.text() | st.from_regex(r"bytes=[0-9, -]*"), st.integers(0, 100))
def test_whatever_is_asked_for_is_in_the_file(header: str, size: int) -> None:
    for start, end in parse_range(header, size) or ():
        assert 0 <= start < end <= size
