"""Recording, marks and rolling back, apart from the drafts that use them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftweb.app import patch
from ftweb.app.draft import Scope
from ftweb.app.recorder import Recorder
from ftweb.errors import FtwebError, LimitError
from ftweb.limits import CHANGE_BYTES


def draft(recorder: Recorder) -> Any:
    return Scope(recorder).root()


def test_rolling_back_to_a_mark_keeps_what_came_before() -> None:
    recorder = Recorder({"n": 0, "z": 1})
    draft(recorder)["n"] = 1
    mark = recorder.mark()
    state = draft(recorder)
    state["n"] = 2
    del state["z"]
    state["new"] = []
    recorder.rollback(mark)
    assert json.dumps(recorder.root) == '{"n": 1, "z": 1}'
    assert recorder.finish().operations == [{"op": "replace", "path": "/n", "value": 1}]


def test_rolling_back_restores_the_order_of_keys() -> None:
    keys = ["d", "b", "a", "c"]
    recorder = Recorder(dict.fromkeys(keys, 0))
    state = draft(recorder)
    del state["b"]
    del state["c"]
    state["b"] = 1
    del state["d"]
    mark = recorder.mark()
    draft(recorder).clear()
    recorder.rollback(mark)
    assert list(recorder.root) == ["a", "b"]
    recorder.rollback()
    assert list(recorder.root) == keys


def test_rolling_back_restores_the_order_of_keys_as_of_the_mark() -> None:
    recorder = Recorder(dict.fromkeys("abcd", 0))
    del draft(recorder)["a"]
    mark = recorder.mark()
    del draft(recorder)["b"]
    recorder.rollback(mark)
    assert list(recorder.root) == ["b", "c", "d"]


def test_only_operations_on_the_same_value_are_merged() -> None:
    original = {"list": [1, 2, 3]}
    recorder = Recorder({"list": [1, 2, 3]})
    items = draft(recorder)["list"]
    del items[0]
    items[0] = 9  # the same path, but it was the second item before
    items[0] = 8
    operations = recorder.finish().operations
    assert operations == [
        {"op": "remove", "path": "/list/0"},
        {"op": "replace", "path": "/list/0", "value": 8},
    ]
    assert patch.apply(original, operations) == recorder.root == {"list": [8, 3]}


def test_a_fresh_container_is_not_fresh_any_more_after_rolling_back() -> None:
    recorder = Recorder({"list": [2, 1]})
    mark = recorder.mark()
    draft(recorder)["list"].sort()
    recorder.rollback(mark)
    draft(recorder)["list"].append(3)
    assert recorder.finish().operations == [{"op": "add", "path": "/list/2", "value": 3}]


def test_replacing_the_root_makes_earlier_operations_pointless_but_undoable() -> None:
    recorder = Recorder({"a": 1})
    draft(recorder)["a"] = 2
    mark = recorder.mark()
    draft(recorder)["b"] = 3
    recorder.replace_root([1])
    assert recorder.finish().operations == [
        {"op": "replace", "path": "/a", "value": 2},
        {"op": "replace", "path": "", "value": [1]},
    ]
    recorder.rollback(mark)
    assert recorder.root == {"a": 2}
    assert recorder.finish().operations == [{"op": "replace", "path": "/a", "value": 2}]
    recorder.rollback()
    assert recorder.root == {"a": 1}


def test_replacing_the_root_by_its_like_is_no_change() -> None:
    recorder = Recorder({"a": 1})
    recorder.replace_root({"a": 1})
    assert recorder.finish().operations == []


def test_the_size_of_a_change_is_bounded() -> None:
    recorder = Recorder({})
    draft(recorder)["a"] = "x" * (CHANGE_BYTES - 100)
    assert recorder.finish().size > CHANGE_BYTES - 100
    draft(recorder)["b"] = "x" * 100
    with pytest.raises(LimitError) as caught:
        recorder.finish()
    assert caught.value.code == "too_large"


def test_no_change_costs_nothing() -> None:
    recorded = Recorder({"a": 1}).finish()
    assert (recorded.operations, recorded.size) == ([], 0)


def test_a_recorder_that_is_done_says_so() -> None:
    recorder = Recorder({})
    recorder.check_alive()
    recorder.alive = False
    with pytest.raises(FtwebError, match=r"copy\(\)"):
        recorder.check_alive()
