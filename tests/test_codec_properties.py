"""All frames and all consensus messages, made from their types: they survive the way over the wire,
and a damaged one is refused or says something else that is just as well-formed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import inspect as types

from ftweb import codec, frames
from ftweb.core import messages
from ftweb.errors import CODES, FtwebError

FRAMES = [frame for frame in frames.Frame.__value__.__args__ if frame is not frames.Raft]
MESSAGES = messages.Message.__value__.__args__

WHOLE = 2**53 - 1

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-WHOLE, WHOLE) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def strategy(kind: types.Type) -> st.SearchStrategy[Any]:
    """Values of a type, within what it declares."""
    match kind:
        case types.AnyType():
            return anything
        case types.NoneType():
            return st.none()
        case types.RawType():  # passed on as it is
            return anything.map(lambda value: msgspec.Raw(msgspec.json.encode(value)))
        case types.BoolType():
            return st.booleans()
        case types.IntType(ge=ge, le=le):
            return st.integers(-WHOLE if ge is None else ge, WHOLE if le is None else le)
        case types.FloatType(ge=ge, le=le):
            return st.floats(-1e15 if ge is None else ge, 1e15 if le is None else le)
        case types.StrType(pattern=str() as pattern):
            return st.from_regex(pattern.removesuffix("$") + r"\Z", fullmatch=True)
        case types.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=12 if most is None else min(most, 12))
        case types.LiteralType(values=values):
            return st.sampled_from(values)
        case types.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case types.ListType(item_type=item, min_length=least, max_length=most):
            return st.lists(strategy(item), min_size=least or 0, max_size=min(most or 3, 3))
        case types.VarTupleType(item_type=item):
            return st.lists(strategy(item), max_size=3).map(tuple)
        case types.TupleType(item_types=items):
            return st.tuples(*map(strategy, items))
        case types.DictType(key_type=key, value_type=value):
            return st.dictionaries(strategy(key), strategy(value), max_size=3)
        case types.UnionType(types=options):
            return st.one_of(*map(strategy, options))
        case types.StructType(cls=struct, fields=fields):
            return st.builds(struct, **{field.name: strategy(field.type) for field in fields})
        case _:
            raise NotImplementedError(f"Say how values of {kind} are made.")


def of(cls: type) -> st.SearchStrategy[Any]:
    if cls is messages.AppendEntries:
        return strategy(types.type_info(cls)).map(followed)
    if cls is messages.InstallSnapshot:
        return strategy(types.type_info(cls)).map(
            lambda chunk: msgspec.structs.replace(chunk, total=chunk.offset + len(chunk.data))
        )
    return strategy(types.type_info(cls))


def followed(message: messages.AppendEntries) -> messages.AppendEntries:
    """The same with entries that follow one another, as a leader's do."""
    first, term = message.prev_log_index + 1, max(message.prev_log_term, message.term)
    entries = tuple(
        msgspec.structs.replace(entry, index=first + place, term=term)
        for place, entry in enumerate(message.entries)
    )
    return msgspec.structs.replace(message, term=term, entries=entries)


def framed(message: messages.Message, epoch: int) -> str:
    return codec.encode(codec.encode_message(message, epoch=epoch))


def told(text: str) -> Any:
    """What a frame says, body included; None if it is refused with a documented code."""
    try:
        frame = codec.decode(text)
        if isinstance(frame, frames.Raft):
            return frame.epoch, codec.decode_message(frame)
    except FtwebError as refused:
        if refused.code not in CODES:
            raise
        return None
    return frame


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
def test_every_frame_survives_the_round_trip(kind: type) -> None:
    @settings(max_examples=40)
    @given(of(kind))
    def check(frame: frames.Frame) -> None:
        text = codec.encode(frame)
        assert codec.decode(text) == frame
        assert codec.encode(codec.decode(text)) == text

    check()


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_consensus_message_survives_the_round_trip(kind: type) -> None:
    @settings(max_examples=40)
    @given(of(kind), st.integers(0, WHOLE))
    def check(message: Any, epoch: int) -> None:
        assume(message.sender and message.to)  # the envelope says that ids are never empty
        assert told(framed(message, epoch)) == (epoch, message)

    check()


damage = st.tuples(
    st.sampled_from(["change", "insert", "delete", "cut", "swap", "double"]),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from('0123456789-+.eE{}[],:"\\ntfu\x00ü \u202e'),
)


def damaged(text: str, how: str, where: float, character: str) -> str:
    place = int(where * len(text))
    before, at, after = text[:place], text[place : place + 1], text[place + 1 :]
    match how:
        case "change":
            return before + character + after
        case "insert":
            return before + character + at + after
        case "delete":
            return before + after
        case "cut":
            return before
        case "swap":
            return before + after[:1] + at + after[1:]
        case _:
            return before + at + at + after


@pytest.mark.parametrize("kind", [*FRAMES, *MESSAGES], ids=lambda kind: kind.__name__)
def test_a_damaged_frame_is_refused_or_well_formed(kind: type) -> None:
    """Nothing but documented errors escapes, and what is accepted is accepted again as the same:
    no text means one thing to one peer and another to the next it is passed on to."""

    @settings(max_examples=60)
    @given(of(kind), st.lists(damage, min_size=1, max_size=3))
    def check(value: Any, damages: list[tuple[str, float, str]]) -> None:
        text = framed(value, 1) if kind in MESSAGES else codec.encode(value)
        for how, where, character in damages:
            text = damaged(text, how, where, character)
        said = told(text)
        if said is None:
            return
        if isinstance(said, tuple):
            epoch, message = said
            assert told(framed(message, epoch)) == said
        else:
            assert told(codec.encode(said)) == said

    check()
