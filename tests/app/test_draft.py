"""Drafts behave like the plain values they stand for, and record what was done to them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.app import patch, payload
from ftweb.app.draft import DraftDict, DraftList, Scope, draft_to_plain
from ftweb.app.recorder import Recorder
from ftweb.errors import FtwebError, LimitError
from ftweb.limits import JSON_DEPTH
from tests.app.strategies import CONTAINERS, VALUES

PEOPLE = [{"name": "Ada", "age": 36}, {"name": "Bo", "age": 7}]


def draft_of(state: Any) -> tuple[Recorder, Any]:
    """A recorder on the state, and a draft of it."""
    recorder = Recorder(state)
    return recorder, Scope(recorder).root()


def operations(recorder: Recorder) -> Any:
    return recorder.finish().operations


# --- against plain values -------------------------------------------------------------------


def _walk(container: Any, random: Random) -> list[Any]:
    """The way to some container within a container."""
    path: list[Any] = []
    while random.random() < 0.7:
        steps = list(container) if isinstance(container, dict) else range(len(container))
        inner = [step for step in steps if isinstance(container[step], dict | list)]
        if not inner:
            break
        path.append(random.choice(inner))
        container = container[path[-1]]
    return path


def _mutate(container: Any, random: Random, values: list[Any]) -> Any:
    """Do something to a dict or list, or to a draft of one; the same for the same ``random``."""
    value = copy.deepcopy(random.choice(values))
    if isinstance(container, dict | DraftDict):
        keys = ["a", "b", "a/b", "~", "", "0", *container]
        key = random.choice(keys)
        match random.randrange(12):
            case 0 | 1 | 2:
                container[key] = value
            case 3:
                del container[key]
            case 4:
                return container.pop(key, None)
            case 5:
                return container.popitem()
            case 6:
                found = container.setdefault(key, value)
                return copy.deepcopy(found)
            case 7:
                container.update({key: value, random.choice(keys): 1})
            case 8:
                container |= {key: value}
            case 9:
                container.clear()
            case 10:
                container[key] += 1
            case 11:
                container[key] = copy.deepcopy(container[random.choice(keys)])
        return None
    index = random.randint(-len(container) - 1, len(container))
    other = random.randint(-len(container) - 1, len(container))
    match random.randrange(15):
        case 0:
            container[index] = value
        case 1:
            del container[index]
        case 2 | 3:
            container.insert(index, value)
        case 4:
            container.append(value)
        case 5:
            container.extend(_several(value, random.randrange(6)))
        case 6:
            return container.pop(index)
        case 7:
            container.remove(value)
        case 8:
            container.reverse()
        case 9:
            container.sort(key=lambda item: json.dumps(item, default=draft_to_plain))
        case 10:
            container[index:other] = _several(value, random.randrange(4))
        case 11:
            del container[index:other]
        case 12:
            container[::2] = _several(value, len(container[::2]))
        case 13:
            del container[:: random.choice([2, 3, -2])]
        case 14:
            container.clear()
    return None


def _several(value: Any, count: int) -> list[Any]:
    """Copies that share nothing: in a draft nothing is shared."""
    return [copy.deepcopy(value) for _ in range(count)]


def _do(root: Any, seed: int, path: list[Any], values: list[Any]) -> tuple[str, Any]:
    container = root
    for step in path:
        container = container[step]
    try:
        return "gave", copy.deepcopy(_mutate(container, Random(seed), values))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        return "raised", type(error)


@given(
    CONTAINERS,
    st.lists(VALUES, min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 2**32), max_size=6), max_size=4),
    st.randoms(use_true_random=False),
)
def test_a_draft_is_like_the_value_and_its_patch_repeats_it(
    original: Any, values: list[Any], blocks: list[list[int]], random: Random
) -> None:
    # Several blocks of one request; some are rolled back, like one that raised.
    plain = copy.deepcopy(original)
    head = copy.deepcopy(original)
    recorder = Recorder(head)
    for block in blocks:
        before = copy.deepcopy(plain)
        mark = recorder.mark()
        scope = Scope(recorder)
        draft = scope.root()
        for seed in block:
            path = _walk(plain, random)
            assert _do(draft, seed, path, values) == _do(plain, seed, path, values)
            assert json.dumps(recorder.root) == json.dumps(plain)
            assert draft == plain
        scope.open = False
        if random.random() < 0.3:
            recorder.rollback(mark)
            plain = before
            assert json.dumps(recorder.root) == json.dumps(plain)
    recorded = recorder.finish()
    replayed = patch.apply(copy.deepcopy(original), recorded.operations)
    assert json.dumps(replayed) == json.dumps(plain)
    assert payload.size(replayed) <= payload.size(original) + recorded.size
    assert {operation["op"] for operation in recorded.operations} <= patch.RECORDED
    recorder.rollback()
    assert json.dumps(recorder.root) == json.dumps(original)


# --- what is recorded -----------------------------------------------------------------------


def test_nested_changes_are_recorded_with_their_paths() -> None:
    recorder, state = draft_of({"polls": {"a/b": {"votes": [1, 2]}}, "n": 1})
    state["polls"]["a/b"]["votes"].append(3)
    state["polls"]["~"] = None
    state["n"] += 1
    del state["polls"]["a/b"]["votes"][0]
    assert operations(recorder) == [
        {"op": "add", "path": "/polls/a~1b/votes/2", "value": 3},
        {"op": "add", "path": "/polls/~0", "value": None},
        {"op": "replace", "path": "/n", "value": 2},
        {"op": "remove", "path": "/polls/a~1b/votes/0"},
    ]


def test_replacing_one_place_again_and_again_is_one_operation() -> None:
    recorder, state = draft_of({"n": 0})
    for _ in range(5):
        state["n"] += 1
    assert operations(recorder) == [{"op": "replace", "path": "/n", "value": 5}]


def test_what_is_built_up_within_a_new_value_is_one_operation() -> None:
    recorder, state = draft_of({})
    state["poll"] = {}
    poll = state["poll"]
    poll["options"] = []
    poll["options"].append("yes")
    poll["options"] += ["no"]
    poll["options"].sort()
    assert operations(recorder) == [
        {"op": "add", "path": "/poll", "value": {"options": ["no", "yes"]}}
    ]


def test_inserting_twice_in_one_place_is_two_operations() -> None:
    recorder, state = draft_of([])
    state.insert(0, "b")
    state.insert(0, "a")
    assert operations(recorder) == [
        {"op": "add", "path": "/0", "value": "b"},
        {"op": "add", "path": "/0", "value": "a"},
    ]


def test_writing_what_is_there_is_no_change_but_types_count() -> None:
    recorder, state = draft_of({"n": 1, "list": [1, {"a": 2}], "flag": True})
    state["n"] = 1
    state["list"] = [1, {"a": 2}]
    state["list"][1] = {"a": 2}
    state["list"] += []
    state["list"] = state["list"]
    state["list"].sort(key=str)
    assert operations(recorder) == []
    state["n"] = 1.0
    state["flag"] = 1
    assert [operation["value"] for operation in operations(recorder)] == [1.0, 1]
    assert json.dumps(recorder.root) == '{"n": 1.0, "list": [1, {"a": 2}], "flag": 1}'


def test_recorded_operations_are_out_of_reach() -> None:
    recorder, state = draft_of({})
    state["a"] = {"list": []}
    taken = operations(recorder)
    state["a"]["list"].append(1)
    assert taken == [{"op": "add", "path": "/a", "value": {"list": []}}]


# --- on purpose unlike plain values ----------------------------------------------------------


def test_assigning_copies() -> None:
    recorder, state = draft_of({"a": {"x": []}})
    mine: dict[str, Any] = {"list": []}
    state["mine"] = mine
    mine["list"].append("later")
    state["b"] = state["a"]
    state["b"]["x"].append(1)
    state["a"]["self"] = state["a"]
    assert recorder.root == {
        "a": {"x": [], "self": {"x": []}},
        "mine": {"list": []},
        "b": {"x": [1]},
    }


def test_what_is_taken_out_is_a_plain_copy() -> None:
    recorder, state = draft_of({"queue": [{"name": "Ada"}, {"name": "Bo"}], "last": {"x": []}})
    first = state["queue"].pop(0)
    first["name"] = "changed"
    assert type(first) is dict
    assert state.popitem() == ("last", {"x": []})
    assert type(state["queue"].copy()) is list
    assert type(state["queue"] + [1]) is list
    assert type([1] + state["queue"]) is list
    assert type(state | {"b": 1}) is dict
    assert type(copy.deepcopy(state)) is dict
    assert type(draft_to_plain({"q": state["queue"]})["q"]) is list
    recorder.rollback()
    assert recorder.root == {
        "queue": [{"name": "Ada"}, {"name": "Bo"}],
        "last": {"x": []},
    }


def test_parts_follow_when_their_list_shifts() -> None:
    recorder, state = draft_of({"people": copy.deepcopy(PEOPLE)})
    bo = state["people"][1]
    state["people"].insert(0, {"name": "Cy"})
    bo["age"] = 8
    state["people"].sort(key=lambda person: person["name"], reverse=True)
    bo["age"] = 9
    assert recorder.root["people"] == [
        {"name": "Cy"},
        {"name": "Bo", "age": 9},
        {"name": "Ada", "age": 36},
    ]
    original = {"people": copy.deepcopy(PEOPLE)}
    assert patch.apply(original, operations(recorder)) == recorder.root


def test_equal_parts_of_a_list_are_not_mixed_up() -> None:
    recorder, state = draft_of([{"n": 0}, {"n": 0}, {"n": 0}])
    second = state[1]
    state.insert(0, "new")
    second["n"] = 1
    assert recorder.root == ["new", {"n": 0}, {"n": 1}, {"n": 0}]
    assert operations(recorder)[-1] == {"op": "replace", "path": "/2/n", "value": 1}


def test_turning_around_what_only_looks_equal_is_a_change() -> None:
    recorder, state = draft_of([1, 1.0, True])
    state.reverse()
    assert json.dumps(recorder.root) == "[true, 1.0, 1]"
    assert json.dumps(operations(recorder)[0]["value"]) == "[true, 1.0, 1]"


@pytest.mark.parametrize("how", ["deleted", "replaced", "cleared", "popped", "above", "root"])
def test_a_detached_part_reads_but_does_not_write(how: str) -> None:
    recorder, state = draft_of({"box": {"list": [[1, 2]]}})
    part = state["box"]["list"][0]
    match how:
        case "deleted":
            del state["box"]["list"][0]
        case "replaced":
            state["box"]["list"][0] = [9]
        case "cleared":
            state["box"]["list"].clear()
        case "popped":
            state["box"]["list"].pop()
        case "above":
            state["box"] = {"list": [[1, 2], 3]}
        case "root":
            recorder.replace_root({"box": 1})
    assert part == [1, 2]
    before = recorder.finish()
    with pytest.raises(FtwebError, match="removed or replaced"):
        part.append(3)
    assert recorder.finish() == before


def test_drafts_end_with_their_block_and_then_with_their_request() -> None:
    recorder = Recorder({"a": [1]})
    scope = Scope(recorder)
    part = scope.root()["a"]
    scope.open = False
    assert part == [1]
    with pytest.raises(FtwebError, match="block has ended"):
        part.append(2)
    recorder.alive = False
    for use in (lambda: part == [1], lambda: part[0], lambda: len(part), lambda: list(part)):
        with pytest.raises(FtwebError, match="request that is done"):
            use()


def test_a_state_without_parts_has_no_draft() -> None:
    with pytest.raises(FtwebError, match="commit_state"):
        Scope(Recorder(5)).root()


# --- bad values ------------------------------------------------------------------------------


def test_bad_values_name_their_place_and_change_nothing() -> None:
    recorder, state = draft_of({"a": {"b": [1]}})
    attempts: list[Callable[[], Any]] = [
        lambda: state["a"].__setitem__("c", {1, 2}),
        lambda: state["a"].__setitem__(5, 1),
        lambda: state["a"]["b"].append(object()),
        lambda: state["a"]["b"].extend([1, object()]),
        lambda: state["a"]["b"].__setitem__(slice(0, 1), [object()]),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(TypeError, match=r"The state's /a/c, at x: a set is not JSON"):
        state["a"]["c"] = {"x": {1}}
    with pytest.raises(ValueError, match="nan"):
        state["a"]["b"][0] = float("nan")
    assert recorder.root == {"a": {"b": [1]}}
    assert operations(recorder) == []


def test_depth_counts_from_the_root() -> None:
    deep: Any = {}
    for _ in range(JSON_DEPTH - 2):
        deep = {"x": deep}
    recorder, state = draft_of({"a": {}})
    state["a"] = deep  # the root is one more
    with pytest.raises(LimitError):
        state["b"] = {"x": deep}
    bottom = state["a"]
    while "x" in bottom:
        bottom = bottom["x"]
    with pytest.raises(LimitError):
        bottom["x"] = {}
    bottom["x"] = 1
    assert "b" not in recorder.root


# --- the rest of the interfaces ---------------------------------------------------------------


def test_reading() -> None:
    _, state = draft_of({"d": {"x": 1, "y": [2]}, "l": [1, [2], {"z": 3}, 1]})
    d, items = state["d"], state["l"]
    assert isinstance(d, DraftDict)
    assert isinstance(items, DraftList)
    assert list(d) == list(d.keys()) == ["x", "y"]
    assert list(reversed(d)) == ["y", "x"]
    assert dict(d) == {"x": 1, "y": [2]}
    assert d == {"y": [2], "x": 1}
    assert {"x": 1, "y": d["y"]} == d
    assert d != {"x": 1}
    assert d.get("none") is None
    assert d.get("y") == [2]
    assert "x" in d
    assert len(items) == 4
    assert items == [1, [2], {"z": 3}, 1]
    assert items != (1, [2], {"z": 3}, 1)
    assert items[1:3] == [[2], {"z": 3}]
    assert items[-1] == 1
    assert list(reversed(items)) == [1, {"z": 3}, [2], 1]
    assert items.index([2]) == 1
    assert items.index(items[2]) == 2
    assert items.count(1) == 2
    assert [2] in items
    assert items[1] in items
    assert items * 2 == 2 * items
    assert repr(d) == "DraftDict({'x': 1, 'y': [2]})"
    assert repr(items) == "DraftList([1, [2], {'z': 3}, 1])"
    for use in (lambda: items[4], lambda: d["none"], lambda: items.index(9), lambda: hash(d)):
        with pytest.raises((IndexError, KeyError, ValueError, TypeError)):
            use()
    with pytest.raises(KeyError):
        d.pop("none")
    with pytest.raises(TypeError):
        d.pop("none", 1, 2)


def test_the_parts_of_iterations_can_be_changed() -> None:
    recorder, state = draft_of({"people": copy.deepcopy(PEOPLE), "by": {"a": {"n": 1}}})
    for person in state["people"]:
        person["age"] += 1
    for part in state["by"].values():
        part["n"] = 2
    for person in state["people"][:1]:
        person["first"] = True
    assert [operation["path"] for operation in operations(recorder)] == [
        "/people/0/age",
        "/people/1/age",
        "/by/a/n",
        "/people/0/first",
    ]


def test_setdefault_gives_a_draft_of_what_it_sets() -> None:
    recorder, state = draft_of({})
    state.setdefault("list", []).append(1)
    state.setdefault("list", []).append(2)
    assert recorder.root == {"list": [1, 2]}


def test_multiplying_in_place_makes_no_aliases() -> None:
    recorder, state = draft_of({"l": [{}]})
    state["l"] *= 2
    state["l"][0]["a"] = 1
    assert recorder.root == {"l": [{"a": 1}, {}]}
