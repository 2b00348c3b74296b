"""One request in the making."""

from __future__ import annotations

import pytest

from ftweb.app.transaction import Transaction
from ftweb.errors import FtwebError, LimitError
from ftweb.limits import CHANGE_BYTES, OUTBOX_MESSAGES, PAYLOAD_BYTES


def test_blocks_add_up_and_see_each_other() -> None:
    transaction = Transaction({"n": 0})
    with transaction.change() as state:
        state["n"] += 1
    transaction.commit_change([{"op": "add", "path": "/list", "value": [1]}])
    with transaction.change() as state:
        state["list"].append(state["n"])
    assert transaction.recorder.root == {"n": 1, "list": [1, 1]}
    assert len(transaction.finish().operations) == 2
    transaction.commit_state({"all": "new"})
    assert transaction.finish().operations[-1]["path"] == ""
    transaction.abandon()
    assert transaction.recorder.root == {"n": 0}
    assert not transaction.running


def test_a_block_that_raises_has_changed_nothing_and_the_next_may_go_on() -> None:
    transaction = Transaction({"n": 0, "list": [1, 2]})
    with transaction.change() as state:
        state["n"] = 1

    def block() -> None:
        with transaction.change() as state:
            state["n"] = 2
            state["list"].clear()
            state["n"] = 1 // 0

    with pytest.raises(ZeroDivisionError):
        block()
    with transaction.change() as state:
        state["list"].append(3)
    assert transaction.recorder.root == {"n": 1, "list": [1, 2, 3]}
    assert [operation["path"] for operation in transaction.finish().operations] == ["/n", "/list/2"]


def test_blocks_do_not_nest() -> None:
    transaction = Transaction({"n": 0})
    with transaction.change() as state:
        state["n"] = 1
        for attempt in (
            lambda: transaction.change().__enter__(),
            lambda: transaction.commit_change([]),
            lambda: transaction.commit_state(1),
        ):
            with pytest.raises(FtwebError, match=r"within a change\(\) block"):
                attempt()
    assert transaction.recorder.root == {"n": 1}
    block = transaction.change()
    block.__enter__()
    with pytest.raises(FtwebError, match="left open"):
        transaction.finish()


def test_a_patch_that_does_not_apply_can_be_caught() -> None:
    transaction = Transaction({"n": 0})
    for bad in (
        [{"op": "remove", "path": "/x"}],
        "nonsense",
        [{"op": "add", "path": "/a", "value": {1}}],
    ):
        with pytest.raises(FtwebError) as caught:
            transaction.commit_change(bad)
        assert caught.value.code == "bad_change"
    assert transaction.recorder.root == {"n": 0}


def test_a_new_state_is_checked() -> None:
    transaction = Transaction({"n": 0})
    with pytest.raises(TypeError):
        transaction.commit_state({1})
    with pytest.raises(LimitError):
        transaction.commit_state("x" * CHANGE_BYTES)
    assert transaction.recorder.root == {"n": 0}


def test_messages_are_copied_and_bounded() -> None:
    transaction = Transaction({})
    message = {"list": [1]}
    transaction.send("ada", message)
    transaction.send(["ada", "bo"], message)
    transaction.send(None, message)
    message["list"].append(2)
    assert [(out.to, out.payload) for out in transaction.outbox] == [
        (["ada"], {"list": [1]}),
        (["ada", "bo"], {"list": [1]}),
        (None, {"list": [1]}),
    ]
    for to, bad in (("a", {1}), ("a", "x" * PAYLOAD_BYTES), ("", 1), (["a", 5], 1), ("a" * 65, 1)):
        with pytest.raises(FtwebError) as caught:
            transaction.send(to, bad)  # type: ignore[arg-type]
        assert caught.value.code == "bad_reply"
    for _ in range(OUTBOX_MESSAGES - 3):
        transaction.send(None, 1)
    with pytest.raises(FtwebError, match="256 messages"):
        transaction.send(None, 1)
    transaction.abandon()
    assert transaction.outbox == []


def test_messages_are_bounded_altogether() -> None:
    transaction = Transaction({})
    for _ in range(3):
        transaction.send(None, "x" * (PAYLOAD_BYTES - 2))
    with pytest.raises(FtwebError) as caught:
        transaction.send(None, "x" * (PAYLOAD_BYTES - 2))
    assert caught.value.code == "bad_reply"


def test_drafts_of_a_closed_transaction_are_over() -> None:
    transaction = Transaction({"list": []})
    with transaction.change() as state:
        part = state["list"]
    assert part == []
    transaction.close()
    with pytest.raises(FtwebError):
        assert part == []


def test_a_block_left_open_when_all_is_abandoned_does_no_more_harm() -> None:
    transaction = Transaction({"n": 0})
    block = transaction.change()
    state = block.__enter__()
    state["n"] = 1
    transaction.abandon()
    assert not block.__exit__(ValueError, ValueError(), None)
    assert transaction.recorder.root == {"n": 0}
