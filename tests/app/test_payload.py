"""Which values may travel."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given

from ftweb.app import payload
from ftweb.errors import LimitError
from ftweb.limits import JSON_DEPTH, JSON_KEY_CHARS
from tests.app.strategies import VALUES


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(VALUES)
def test_json_comes_out_as_it_went_in_but_shares_nothing(value: Any) -> None:
    copied = payload.plain(value)
    assert json.dumps(copied) == json.dumps(value)
    if isinstance(value, dict | list):
        assert copied is not value
    assert payload.clone(value) == value
    assert payload.decode(payload.encode(value)) == value


def test_the_copy_is_deep() -> None:
    inner: list[int] = []
    copied = payload.plain({"a": inner})
    inner.append(1)
    assert copied == {"a": []}


def test_tuples_and_subclasses_become_plain() -> None:
    value = OrderedDict(a=(1, Size.BIG), b=Colour.RED)
    copied = payload.plain(value)
    assert copied == {"a": [1, 3], "b": "red"}
    assert [type(copied), type(copied["a"]), type(copied["a"][1]), type(copied["b"])] == [
        dict,
        list,
        int,
        str,
    ]
    assert type(next(iter(payload.plain({Colour.RED: 1})))) is str


@pytest.mark.parametrize(
    "value, error, says",
    [
        ({"a": [1, {2, 3}]}, TypeError, r"The reply, at a/1: a set is not JSON \(use a list\)"),
        ({"a": b"x"}, TypeError, "at a: a bytes is not JSON"),
        (object(), TypeError, "The reply: an object is not JSON"),
        ({1: "x"}, TypeError, r"at 1: keys are texts in JSON, not int; use str\(\)"),
        ([math.nan], ValueError, "at 0: nan is not JSON"),
        ([math.inf], ValueError, "inf is not JSON"),
        (2**53, ValueError, "rounded by browsers"),
        (-(2**53), ValueError, "rounded by browsers"),
        ("\ud800", ValueError, "surrogate"),
        ({"\udfff": 1}, ValueError, "surrogate"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(
    value: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        payload.plain(value, what="The reply")


def test_the_largest_exact_numbers_may_travel() -> None:
    for number in (2**53 - 1, -(2**53 - 1)):
        assert payload.plain(number) == number


def test_nesting_is_bounded_and_cycles_end() -> None:
    assert payload.plain(nested(JSON_DEPTH)) == nested(JSON_DEPTH)
    with pytest.raises(LimitError) as caught:
        payload.plain(nested(JSON_DEPTH + 1))
    assert caught.value.code == "too_deep"
    with pytest.raises(LimitError):
        payload.plain(nested(JSON_DEPTH), depth=1)
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(LimitError):
        payload.plain(cycle)


def test_keys_are_bounded() -> None:
    payload.plain({"k" * JSON_KEY_CHARS: 1})
    with pytest.raises(LimitError) as caught:
        payload.plain({"k" * (JSON_KEY_CHARS + 1): 1})
    assert caught.value.code == "too_deep"
    with pytest.raises(LimitError):
        payload.plain_key("k" * (JSON_KEY_CHARS + 1), what="The state")


def test_size_is_bounded_in_bytes_not_characters() -> None:
    assert payload.check("é" * 4, limit=10) == "éééé"  # 8 bytes and 2 quotes
    with pytest.raises(LimitError) as caught:
        payload.check("é" * 5, limit=10)
    assert caught.value.code == "too_large"


def test_same_tells_apart_what_json_tells_apart() -> None:
    different = [1, 1.0, True, "1", None, 0, False, [], {}, [1], [True], {"a": 1, "b": 2}]
    for i, a in enumerate(different):
        for j, b in enumerate(different):
            assert payload.same(a, b) == (i == j), (a, b)
    assert not payload.same({"a": 1, "b": 2}, {"b": 2, "a": 1})


@given(VALUES)
def test_the_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return [turned(x) for x in item] if isinstance(item, list) else item

    assert payload.digest(turned(value)) == payload.digest(value)
    assert json.loads(payload.canonical(value)) == value


def test_digests_of_different_values_differ() -> None:
    assert len({payload.digest(value) for value in (1, 1.0, True, "1", [1], None)}) == 6
    assert payload.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
