"""The replicated state machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.app import Changed, Machine, Replied, Sent, SessionOpened, commands
from ftweb.app.sessions import ACKNOWLEDGED, EXPIRED, Sessions
from ftweb.errors import FrameError, StorageError
from ftweb.frames import Failure
from tests.app.rig import START


def begun(state: Any = None, **limits: Any) -> Machine:
    machine = Machine(sessions=Sessions(**limits))
    machine.apply(1, commands.genesis(guid="g", name="n", bundle="b", state=state, at=START))
    return machine


def request(client: str, session: int, serial: int, *, at: int = START, **fields: Any) -> Any:
    fields.setdefault("acknowledged", 0)
    return commands.request(client_id=client, session=session, serial=serial, at=at, **fields)


def test_genesis_says_which_app_this_is() -> None:
    machine = Machine()
    state = {"a": [1]}
    command = commands.genesis(guid="g", name="n", bundle="b", state=state, at=START)
    effects = machine.apply(3, command)
    assert effects == [Changed(index=3, patch=[{"op": "replace", "path": "", "value": {"a": [1]}}])]
    assert (machine.guid, machine.name, machine.bundle) == ("g", "n", "b")
    assert (machine.state, machine.applied_index, machine.clock) == ({"a": [1]}, 3, START)
    command["state"]["a"].append(2)
    assert machine.state == {"a": [1]}, "the log entry is not shared"


def test_a_request_releases_change_messages_and_reply_in_this_order() -> None:
    machine = begun({"n": 1})
    assert machine.apply(2, commands.open_session(client_id="ada", at=START)) == [
        SessionOpened(client_id="ada", session=2)
    ]
    change = [{"op": "replace", "path": "/n", "value": 2}]
    outbox = [
        commands.Outgoing(to=["bo", "ada"], payload="x"),
        commands.Outgoing(to=None, payload=1),
    ]
    effects = machine.apply(3, request("ada", 2, 1, change=change, outbox=outbox, reply={"r": 1}))
    assert effects == [
        Changed(index=3, patch=change),
        Sent(index=3, position=0, to=("bo", "ada"), payload="x"),
        Sent(index=3, position=1, to=None, payload=1),
        Replied(client_id="ada", session=2, serial=1, payload={"r": 1}),
    ]
    assert machine.state == {"n": 2}


def test_the_same_request_twice_in_the_log_takes_effect_once() -> None:
    machine = begun({"list": []})
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    for index, reply in ((3, "first"), (4, "second")):
        effects = machine.apply(
            index,
            request(
                "ada", 2, 1,
                change=[{"op": "add", "path": "/list/0", "value": reply}],
                outbox=[commands.Outgoing(to=None, payload=reply)],
                reply=reply,
            ),
        )  # fmt: skip
        assert effects[-1] == Replied(client_id="ada", session=2, serial=1, payload="first")
        assert len(effects) == (3 if index == 3 else 1)
    assert machine.state == {"list": ["first"]}


def test_requests_without_a_session_change_nothing() -> None:
    machine = begun({"n": 1})
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    change = [{"op": "replace", "path": "/n", "value": 2}]
    for client, session in (("bo", 2), ("ada", 1), ("ada", 3)):
        effects = machine.apply(
            machine.applied_index + 1, request(client, session, 1, change=change, reply="yes")
        )
        assert effects == [Replied(client_id=client, session=session, serial=1, error=EXPIRED)]
    assert machine.state == {"n": 1}


def test_a_session_may_end_by_the_very_entry_that_uses_it() -> None:
    machine = begun({"n": 1}, seconds=10)
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    change = [{"op": "replace", "path": "/n", "value": 2}]
    effects = machine.apply(3, request("ada", 2, 1, change=change, at=START + 10_001))
    assert effects == [Replied(client_id="ada", session=2, serial=1, error=EXPIRED)]
    assert machine.state == {"n": 1}


def test_errors_are_replies_and_are_kept() -> None:
    machine = begun({})
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    error = Failure(code="poll_closed", message="Too late.")
    replied = Replied(client_id="ada", session=2, serial=1, error=error)
    assert machine.apply(3, request("ada", 2, 1, error=error)) == [replied]
    assert machine.reply_for("ada", 2, 1) == replied


def test_reply_for_says_only_what_is_certain() -> None:
    machine = begun({}, most=2)
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    assert machine.session_of("ada") == SessionOpened(client_id="ada", session=2)
    assert machine.session_of("bo") is None
    assert machine.reply_for("ada", 2, 1) is None
    assert machine.reply_for("bo", 99, 1) is None, "may have been opened, and not come here yet"
    machine.apply(3, request("ada", 2, 1, reply=1))
    machine.apply(4, request("ada", 2, 2, reply=2, acknowledged=1))
    one, two = machine.reply_for("ada", 2, 1), machine.reply_for("ada", 2, 2)
    assert one is not None
    assert two is not None
    assert (one.error, two.payload) == (ACKNOWLEDGED, 2)
    for index, client in ((5, "bo"), (6, "cy")):
        machine.apply(index, commands.open_session(client_id=client, at=START))
    gone = machine.reply_for("ada", 2, 2)
    assert gone is not None
    assert gone.error == EXPIRED


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "nonsense", "at": 1},
        commands.genesis(guid="g", name="n", bundle="b", state=None, at=1),
        request("ada", 2, 1, change=[{"op": "remove", "path": "/none"}]),
        request(
            "ada",
            2,
            1,
            change=[
                {"op": "add", "path": "/x", "value": 1},
                {"op": "add", "path": "/y/z", "value": 1},
            ],
        ),
    ],
)
def test_a_defective_command_raises_and_changes_nothing(data: Any) -> None:
    machine = begun({"n": 1})
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    before = machine.snapshot()
    with pytest.raises(FrameError):
        machine.apply(3, data)
    assert machine.snapshot() == before


def test_entries_come_once_and_after_the_genesis() -> None:
    opening = commands.open_session(client_id="ada", at=START)
    with pytest.raises(FrameError, match="before the genesis"):
        Machine().apply(1, opening)
    machine = begun({})
    with pytest.raises(FrameError, match="applied before"):
        machine.apply(1, opening)


# --- snapshots ------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bo", "cy"]),
        st.sampled_from(["open", "request", "repeat", "error"]),
        st.integers(0, 40_000),
    ),
    max_size=30,
)


def play(machine: Machine, steps: Any, first: int) -> list[Any]:
    """Commands as a host would append them, and what they released."""
    effects: list[Any] = []
    at = machine.clock
    for index, (client, what, gap) in enumerate(steps, start=first):
        at += gap
        session = machine.sessions.number_of(client)
        if what == "open" or session is None:
            command = commands.open_session(client_id=client, at=at)
        else:
            serial = index // 3 if what == "repeat" else index
            command = request(
                client, session, serial, at=at, acknowledged=max(0, serial - 5), reply=index,
                change=[{"op": "add", "path": f"/{client}", "value": [index, 0.5]}],
                error=Failure(code="no", message="é") if what == "error" else None,
            )  # fmt: skip
        effects.append(machine.apply(index, command))
    return effects


@given(STEPS, STEPS)
def test_a_restored_machine_goes_on_exactly_as_the_first(before: Any, after: Any) -> None:
    limits = {"most": 2, "seconds": 100, "chars": 60}
    machine = begun({"z": {}, "a": "é"}, **limits)
    play(machine, before, first=2)
    other = Machine(sessions=Sessions(**limits))
    other.restore(machine.snapshot())
    assert other.digest() == machine.digest()
    assert other.snapshot() == machine.snapshot()
    first = machine.applied_index + 1
    assert play(other, after, first) == play(machine, after, first)
    assert other.digest() == machine.digest()


def test_a_snapshot_is_restored_as_a_whole_or_not_at_all() -> None:
    machine = begun({"n": 1})
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    text = machine.snapshot()
    other = begun({"other": True})
    before = other.snapshot()
    content = json.loads(text)
    broken = [text[:-1], "", "null", "[]", "{}", text.replace('"version":2', '"version":9')]
    broken += [json.dumps({**content, "sessions": {"clock": 1}})]
    broken += [json.dumps({key: value for key, value in content.items() if key != "guid"})]
    for bad in broken:
        with pytest.raises(StorageError) as caught:
            other.restore(bad)
        assert caught.value.code == "storage_untrusted"
        assert other.snapshot() == before
    other.restore(text)
    assert other.digest() == machine.digest()


def test_digests_tell_states_apart() -> None:
    digests = {begun({"n": 1}).digest(), begun({"n": 2}).digest()}
    machine = begun({"n": 1})
    machine.apply(2, commands.open_session(client_id="ada", at=START))
    digests.add(machine.digest())
    machine.apply(3, request("ada", 2, 1))
    digests.add(machine.digest())
    assert len(digests) == 4
