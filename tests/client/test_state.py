"""The state copy and its JSON Patches."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb import frames
from ftweb.client.state import PatchError, StateCopy, apply_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "b/c", "~d"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["", "a", "b", "b/c", "~d", "0"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(before=JSON, after=JSON)
def test_a_recorded_patch_leads_to_the_new_value_and_leaves_the_old_alone(
    before: Any, after: Any
) -> None:
    patch = jsonpatch.make_patch(before, after).patch
    kept = copy.deepcopy(before)
    result = apply_patch(before, patch)
    assert repr(before) == repr(kept)
    assert result == after


def test_untouched_parts_are_shared() -> None:
    before = {"polls": {"1": {"question": "?"}}, "ballots": {"a": 1}}
    after = apply_patch(before, [{"op": "add", "path": "/ballots/b", "value": 2}])
    assert after == {"polls": {"1": {"question": "?"}}, "ballots": {"a": 1, "b": 2}}
    assert after["polls"] is before["polls"]
    assert before["ballots"] == {"a": 1}


def test_a_copy_is_a_value_of_its_own() -> None:
    patch: list[dict[str, Any]] = [
        {"op": "add", "path": "/a/x", "value": 1},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/a/y", "value": 2},
        {"op": "add", "path": "/b/deep/z", "value": 3},
    ]
    before: dict[str, Any] = {"a": {"deep": {}}}
    assert apply_patch(before, patch) == {
        "a": {"deep": {}, "x": 1, "y": 2},
        "b": {"deep": {"z": 3}, "x": 1},
    }
    assert before == {"a": {"deep": {}}}


def test_a_value_of_the_patch_is_not_changed_by_it() -> None:
    value: dict[str, Any] = {"deep": {}}
    patch: list[dict[str, Any]] = [
        {"op": "add", "path": "/a", "value": value},
        {"op": "add", "path": "/a/deep/x", "value": 1},
    ]
    assert apply_patch({}, patch) == {"a": {"deep": {"x": 1}}}
    assert value == {"deep": {}}


@pytest.mark.parametrize(
    "document,operation,expected",
    [
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": 1}, {"op": "replace", "path": "", "value": [2]}, [2]),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": [1]}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": [1], "b": [1]}),
        ({"a/b": 1, "m~n": 2}, {"op": "remove", "path": "/a~1b"}, {"m~n": 2}),
        ({"m~n": 2}, {"op": "replace", "path": "/m~0n", "value": 3}, {"m~n": 3}),
        ({"a": {"b": [1, 1.0]}}, {"op": "test", "path": "/a", "value": {"b": [1, 1]}}, None),
    ],
)
def test_operations(document: Any, operation: dict[str, Any], expected: Any) -> None:
    assert apply_patch(document, [operation]) == (document if expected is None else expected)


@pytest.mark.parametrize(
    "document,operation",
    [
        ({}, {"op": "remove", "path": "/a"}),
        ({}, {"op": "replace", "path": "/a", "value": 1}),
        ({}, {"op": "add", "path": "/a/b", "value": 1}),
        ([1], {"op": "add", "path": "/2", "value": 1}),
        ([1], {"op": "replace", "path": "/1", "value": 1}),
        ([1], {"op": "remove", "path": "/-"}),
        ([1], {"op": "remove", "path": "/00"}),
        ([1], {"op": "remove", "path": "/-1"}),
        ([1], {"op": "remove", "path": "/"}),
        (7, {"op": "add", "path": "/a", "value": 1}),
        ({"a": {}}, {"op": "move", "from": "/a", "path": "/a/b"}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": True}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 2}),
        ({}, {"op": "add", "path": "a", "value": 1}),
        ({}, {"op": "add", "path": "/a"}),
        ({}, {"op": "add", "path": 3, "value": 1}),
        ({}, {"op": "shout", "path": "/a", "value": 1}),
        ({}, {"path": "/a"}),
    ],
)
def test_what_does_not_apply_is_refused(document: Any, operation: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        apply_patch(document, [operation])


def state(index: int, value: Any, *, epoch: int = 1) -> frames.State:
    return frames.State(epoch=epoch, index=index, value=value)


def change(after: int, index: int, value: Any, *, epoch: int = 1) -> frames.Change:
    patch = [{"op": "replace", "path": "/n", "value": value}]
    return frames.Change(epoch=epoch, after=after, index=index, patch=patch)


def test_changes_apply_only_where_they_belong() -> None:
    held = StateCopy()
    assert held.replace(state(5, {"n": 0})) is True
    assert held.change(change(5, 7, 1)) is True
    assert (held.value, held.index) == ({"n": 1}, 7)
    assert held.change(change(5, 7, 2)) is False, "seen already"
    assert held.change(change(8, 9, 3)) is None, "a gap"
    assert held.change(change(7, 8, 3, epoch=2)) is None, "another history"
    assert (held.value, held.index) == ({"n": 1}, 7)


def test_an_older_whole_state_is_not_taken() -> None:
    held = StateCopy()
    held.replace(state(5, {"n": 5}))
    assert held.replace(state(4, {"n": 4})) is False
    assert held.value == {"n": 5}
    assert held.replace(state(2, {"n": 2}, epoch=2)) is True
    assert (held.value, held.position) == ({"n": 2}, (2, 2))


def test_another_epoch_is_followed_also_to_a_lower_number() -> None:
    """Two histories have met, and the one with the lower number has stayed."""
    held = StateCopy()
    held.replace(state(2, {"n": 2}, epoch=2))
    assert held.change(change(2, 10, 9, epoch=1)) is None
    assert held.replace(state(1, {"n": 1}, epoch=1)) is True
    assert (held.value, held.position) == ({"n": 1}, (1, 1))


def test_a_patch_that_does_not_apply_changes_nothing() -> None:
    held = StateCopy()
    held.replace(state(5, {"m": 5}))
    assert held.change(change(5, 6, 1)) is None
    assert (held.value, held.index) == ({"m": 5}, 5)
