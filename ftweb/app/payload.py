"""What may travel: JSON values, checked and copied in one walk.

Rules:

1. A value is None, a bool, a number, a text, or a list or dict of values. Tuples become lists;
   subclasses (enumerations, ordered dicts) become the plain type; drafts become plain values.
2. Whole numbers stay within ±(2**53 - 1): beyond that browsers round silently (RFC 7493, section
   2.2). NaN and infinities are no JSON.
3. Texts encode as UTF-8, so there are no lone surrogates.
4. Nesting and keys stay within :mod:`ftweb.limits`. The limit on nesting also ends cycles.
5. What comes out shares nothing mutable with what went in: app code may go on changing its own
   objects.

Errors name the place: ``the reply, at ballots/7: a set is not JSON``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ftweb.core.types import Json
from ftweb.errors import LimitError
from ftweb.limits import JSON_DEPTH, JSON_KEY_CHARS, PAYLOAD_BYTES

SAFE_INTEGER: Final = 2**53 - 1
"""The largest whole number that JavaScript holds exactly."""

_ENCODER: Final = msgspec.json.Encoder()

_COMPACT: Final = json.JSONEncoder(separators=(",", ":")).encode
"""Made once: ``json.dumps`` with separators makes an encoder for each call, which took half of the
time, and every replica weighs every reply."""

_CANONICAL: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False
).encode


class _Bad(Exception):  # noqa: N818 - a signal within this module
    """A value that may not travel; gathers its path on the way up."""

    def __init__(self, reason: str, error: type[Exception], code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.code = code
        self.path: list[str | int] = []


def plain(value: Any, *, what: str = "The value", depth: int = 0) -> Json:
    """Check a value and give a copy of it made of plain JSON types.

    Args:
        value: anything that app code may hand over.
        what: how to call it in an error.
        depth: how deep the place is that it goes to.

    Raises:
        TypeError: something in it is not JSON.
        ValueError: a number or text in it that JSON cannot hold.
        LimitError: ``too_deep``.
    """
    try:
        return _copy(value, depth)
    except _Bad as bad:
        place = "/".join(str(step) for step in reversed(bad.path))
        message = f"{what}{', at ' + place if place else ''}: {bad.reason}."
        if bad.code is not None:
            raise LimitError(message, code=bad.code) from None
        raise bad.error(message) from None


def check(
    value: Any, *, what: str = "The value", limit: int = PAYLOAD_BYTES, depth: int = 0
) -> Json:
    """Like :func:`plain`, and bounded in size.

    Raises:
        LimitError: also ``too_large``.
    """
    copied = plain(value, what=what, depth=depth)
    length = size(copied)
    if length > limit:
        raise LimitError(f"{what} has {length} bytes as JSON; at most {limit} may travel.")
    return copied


def size(value: Json) -> int:
    """Bytes of a plain value as JSON."""
    return len(_ENCODER.encode(value))


def encode(value: Json) -> bytes:
    """Compact JSON of a plain value, keys in their order."""
    return _ENCODER.encode(value)


def decode(data: bytes | str) -> Json:
    """The value of JSON that :func:`encode` made."""
    return msgspec.json.decode(data)


def clone(value: Json) -> Json:
    """A copy of a value that is known to be plain: no checks, so faster than :func:`plain`."""
    kind = type(value)
    if kind is dict:
        return {key: clone(item) for key, item in value.items()}
    if kind is list:
        return [clone(item) for item in value]
    return value


def same(a: Json, b: Json) -> bool:
    """Whether two plain values are the same JSON: 1, 1.0 and true are not, nor is key order."""
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is dict or kind is list or kind is float:
        return _ENCODER.encode(a) == _ENCODER.encode(b)
    return bool(a == b)


def canonical(value: Json) -> bytes:
    """The one form of a value that all replicas agree on, whatever the order of keys.

    The standard library's encoder, since a digest must not depend on which version of another
    encoder runs under CPython here and under Pyodide there.
    """
    return _CANONICAL(value).encode()


def weight(value: Json) -> int:
    """A size that every replica computes alike: characters as compact ASCII JSON.

    Replicated decisions (which cached reply goes first) may depend on it; see
    :func:`canonical` for why it is not :func:`size`.
    """
    kind = type(value)
    if kind is int:
        return len(str(value))  # what most handlers answer: their weighing was a twentieth of all
    return 4 if value is None else len(_COMPACT(value))


def digest(value: Json) -> str:
    """SHA-256 of the canonical form, as hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _copy(value: Any, depth: int) -> Json:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise _Bad(
                "a whole number beyond ±(2**53 - 1) is rounded by browsers; use text", ValueError
            )
        return value
    if kind is float:
        if not math.isfinite(value):
            raise _Bad(f"{value} is not JSON", ValueError)
        return value
    if kind is dict:
        return _copy_object(value, depth)
    if kind is list or kind is tuple:
        return _copy_array(value, depth)
    return _copy_other(value, depth)


def _copy_object(value: Mapping[Any, Any], depth: int) -> dict[str, Json]:
    if depth >= JSON_DEPTH:
        raise _Bad(f"nested deeper than {JSON_DEPTH}", LimitError, "too_deep")
    result: dict[str, Json] = {}
    key: Any = None
    try:
        for key, item in value.items():
            result[check_key(key)] = _copy(item, depth + 1)
    except _Bad as bad:
        bad.path.append(_shown(key))
        raise
    return result


def _copy_array(value: Sequence[Any], depth: int) -> list[Json]:
    if depth >= JSON_DEPTH:
        raise _Bad(f"nested deeper than {JSON_DEPTH}", LimitError, "too_deep")
    result: list[Json] = []
    try:
        for item in value:
            result.append(_copy(item, depth + 1))
    except _Bad as bad:
        bad.path.append(len(result))
        raise
    return result


def _copy_other(value: Any, depth: int) -> Json:
    """Drafts and subclasses; everything else is refused."""
    reveal = getattr(type(value), "__ftweb_plain__", None)
    if reveal is not None:
        return _copy(reveal(value), depth)
    if isinstance(value, str):
        return _copy(str.__str__(value), depth)
    if isinstance(value, int):
        return _copy(int.__int__(value), depth)
    if isinstance(value, float):
        return _copy(float.__float__(value), depth)
    if isinstance(value, Mapping):
        return _copy_object(value, depth)
    if isinstance(value, list | tuple):
        return _copy_array(value, depth)
    name = type(value).__name__
    hint = " (use a list)" if isinstance(value, set | frozenset | range) else ""
    raise _Bad(f"{'an' if name[:1] in 'aeiou' else 'a'} {name} is not JSON{hint}", TypeError)


def check_key(key: Any) -> str:
    """A key of an object, as plain text.

    Raises:
        _Bad: it is no text, too long, or no Unicode. Only for use under :func:`plain` and in
            drafts, which turn it into a public error.
    """
    if not isinstance(key, str):
        raise _Bad(f"keys are texts in JSON, not {type(key).__name__}; use str()", TypeError)
    if type(key) is not str:
        key = str.__str__(key)
    if len(key) > JSON_KEY_CHARS:
        raise _Bad(f"a key is longer than {JSON_KEY_CHARS} characters", LimitError, "too_deep")
    return key if key.isascii() else _text(key)


def plain_key(key: Any, *, what: str) -> str:
    """Check one key by itself.

    Raises:
        TypeError, ValueError, LimitError: as :func:`plain`.
    """
    if type(key) is str and len(key) <= JSON_KEY_CHARS and key.isascii():
        return key
    checked: str = next(iter(plain({key: None}, what=what)))
    return checked


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Bad("a text with half a surrogate pair is not Unicode", ValueError) from None
    return value


def _shown(key: Any) -> str:
    text = str(key) if isinstance(key, str | int | float | tuple) else type(key).__name__
    return text.encode(errors="replace").decode()[:40]
