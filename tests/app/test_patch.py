"""JSON Patch by hand and from the log."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import jsonpointer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.app import patch
from ftweb.app.draft import Scope
from ftweb.app.recorder import Recorder
from ftweb.errors import FrameError, FtwebError, LimitError
from ftweb.limits import CHANGE_BYTES
from tests.app.strategies import CONTAINERS, VALUES


def carry_out(state: Any, operations: Any) -> Recorder:
    """Check a patch and carry it out on a copy of the state."""
    recorder = Recorder(copy.deepcopy(state))
    patch.perform(patch.check(operations), Scope(recorder))
    return recorder


STEPS = st.sampled_from(["", "a", "b", "a~1b", "~0", "~01", "0", "1", "2", "-", "01", "-1", "é"])
POINTERS = st.lists(STEPS, max_size=3).map(lambda steps: "".join("/" + step for step in steps))
OPERATIONS = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "test"]), "path": POINTERS, "value": VALUES}
    ),
    st.fixed_dictionaries({"op": st.just("remove"), "path": POINTERS}),
    st.fixed_dictionaries(
        {"op": st.sampled_from(["move", "copy"]), "from": POINTERS, "path": POINTERS}
    ),
)


@given(CONTAINERS, st.lists(OPERATIONS, min_size=1, max_size=3))
def test_patches_do_what_the_library_says_they_do(state: Any, operations: Any) -> None:
    try:
        expected = jsonpatch.apply_patch(state, operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        recorder = Recorder(copy.deepcopy(state))
        with pytest.raises(FtwebError) as caught:
            patch.perform(patch.check(operations), Scope(recorder))
        assert caught.value.code == "bad_change"
        assert json.dumps(recorder.root) == json.dumps(state)
        assert recorder.finish().operations == []
    else:
        recorder = carry_out(state, operations)
        assert recorder.root == expected
        recorded = recorder.finish().operations
        assert {operation["op"] for operation in recorded} <= patch.RECORDED
        assert json.dumps(patch.apply(copy.deepcopy(state), recorded)) == json.dumps(recorder.root)


LOGGED = OPERATIONS.filter(
    lambda operation: (
        operation["op"] in patch.RECORDED and (operation["op"], operation["path"]) != ("remove", "")
    )
)
"""The library takes the removal of the whole state for emptying it; no recorder writes it."""


@given(CONTAINERS, st.lists(LOGGED, min_size=1, max_size=4))
def test_patches_from_the_log_do_what_the_library_says_they_do(state: Any, operations: Any) -> None:
    try:
        expected = jsonpatch.apply_patch(state, operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        before = json.dumps(state)
        with pytest.raises(FrameError) as caught:
            patch.apply(state, operations)
        assert caught.value.code == "bad_change"
        assert json.dumps(state) == before
    else:
        assert json.dumps(patch.apply(state, operations)) == json.dumps(expected)


@pytest.mark.parametrize(
    "state, operations, result",
    [  # RFC 6902, appendix A, and a few more
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/baz", "value": "qux"}],
            {"baz": "qux", "foo": "bar"},
        ),
        ({"foo": [1, 2]}, [{"op": "add", "path": "/foo/1", "value": 9}], {"foo": [1, 9, 2]}),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
        ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
        ({"baz": 1}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        (
            {"foo": [1, 2, 3, 4]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": [1, 3, 4, 2]},
        ),
        ({"baz": "q"}, [{"op": "test", "path": "/baz", "value": "q"}], {"baz": "q"}),
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/child", "value": {"x": {}}}],
            {"foo": "bar", "child": {"x": {}}},
        ),
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/baz", "value": 1, "xyz": 2}],
            {"foo": "bar", "baz": 1},
        ),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        (
            {"foo": ["bar"]},
            [{"op": "add", "path": "/foo/-", "value": ["x"]}],
            {"foo": ["bar", ["x"]]},
        ),
        ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1]),
        (
            {"a": [1]},
            [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}],
            {"a": [1], "b": [1, 2]},
        ),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    ],
)
def test_valid_patches(state: Any, operations: Any, result: Any) -> None:
    assert carry_out(state, operations).root == result


@pytest.mark.parametrize(
    "operations, says",
    [
        ({"op": "add"}, "not a list of operations"),
        ([5], "Operation 0 .*not an object"),
        ([{"op": "add", "path": "/a"}], "no value"),
        ([{"op": "increment", "path": "/a"}], "no operation 'increment'"),
        ([{"path": "/a"}], "no operation None"),
        ([{"op": "remove"}], "a path is a text"),
        ([{"op": "remove", "path": "a"}], "does not start with /"),
        ([{"op": "remove", "path": "/~2"}], "neither 0 nor 1"),
        ([{"op": "move", "path": "/a"}], "a path is a text"),
        ([{"op": "remove", "path": "/none"}], r"nothing at \['none'\]"),
        ([{"op": "add", "path": "/list/9", "value": 1}], "nothing at"),
        ([{"op": "add", "path": "/list/01", "value": 1}], "nothing at"),
        ([{"op": "replace", "path": "/list/-", "value": 1}], "nothing at"),
        ([{"op": "add", "path": "/n/x", "value": 1}], "nothing at"),
        ([{"op": "remove", "path": ""}], "whole state cannot be removed"),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], "into itself"),
        ([{"op": "test", "path": "/n", "value": True}], "the test of '/n' failed"),
        (
            [{"op": "add", "path": "/x", "value": 1}, {"op": "test", "path": "/n", "value": 2}],
            "Operation 1",
        ),
    ],
)
def test_invalid_patches_say_why_and_change_nothing(operations: Any, says: str) -> None:
    state = {"n": 1, "list": [1], "o": {"p": 1}}
    recorder = Recorder(copy.deepcopy(state))
    with pytest.raises(FtwebError, match=says) as caught:
        patch.perform(patch.check(operations), Scope(recorder))
    assert caught.value.code == "bad_change"
    assert recorder.root == state


def test_copying_again_and_again_is_stopped_in_time() -> None:
    recorder = Recorder({"list": ["x" * 100]})
    doubling = [{"op": "copy", "from": "/list", "path": "/list/-"}] * 30  # 2**30 texts
    with pytest.raises(LimitError) as caught:
        patch.perform(patch.check(doubling), Scope(recorder))
    assert caught.value.code == "too_large"
    assert recorder.root == {"list": ["x" * 100]}


def test_patches_are_bounded() -> None:
    with pytest.raises(LimitError) as caught:
        patch.check([{"op": "add", "path": "/a", "value": "x" * CHANGE_BYTES}])
    assert caught.value.code == "too_large"
    with pytest.raises(TypeError):
        patch.check([{"op": "add", "path": "/a", "value": {1}}])


def test_a_patch_from_the_log_applies_as_a_whole_or_not_at_all() -> None:
    state = {"b": 1, "a": 2}
    operations: Any = [
        {"op": "remove", "path": "/b"},
        {"op": "add", "path": "/c", "value": [1]},
        {"op": "remove", "path": "/none"},
    ]
    with pytest.raises(FrameError) as caught:
        patch.apply(state, operations)
    assert caught.value.code == "bad_change"
    assert json.dumps(state) == '{"b": 1, "a": 2}'
    applied = patch.apply(state, operations[:2])
    assert applied == {"a": 2, "c": [1]}
    operations[1]["value"].append(2)
    assert applied == {"a": 2, "c": [1]}, "values are copied"
