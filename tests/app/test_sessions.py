"""Sessions: the same request, the same reply, once."""

from __future__ import annotations

import json

import pytest

from ftweb.app.sessions import ACKNOWLEDGED, EXPIRED, Kept, Sessions, Standing
from ftweb.frames import Failure
from ftweb.limits import SESSION_GAP_SECONDS, SESSION_REPLIES
from tests.app.rig import START


def answer(
    sessions: Sessions,
    client: str,
    session: int,
    serial: int,
    *,
    acknowledged: int = 0,
    at: int = START,
    reply: object = None,
) -> Kept:
    """One request in the log."""
    return sessions.answer(
        client_id=client,
        session=session,
        serial=serial,
        acknowledged=acknowledged,
        at=at,
        kept=Kept(payload=reply if reply is not None else f"reply {serial}"),
    )


def test_opening_is_idempotent_and_numbers_are_the_logs() -> None:
    sessions = Sessions()
    assert sessions.number_of("ada") is None
    assert sessions.open("ada", 7) == 7
    assert sessions.open("ada", 9) == 7
    assert sessions.open("bo", 10) == 10
    assert sessions.number_of("ada") == 7
    assert len(sessions) == 2


def test_the_same_request_gets_the_same_reply_in_any_order() -> None:
    sessions = Sessions()
    sessions.open("ada", 1)
    sessions.open("bo", 2)
    for serial in (2, 1, 3):
        assert sessions.look("ada", 1, serial) is Standing.NEW
        assert (
            answer(sessions, "ada", 1, serial, reply=f"first {serial}").payload == f"first {serial}"
        )
    assert answer(sessions, "bo", 2, 1, reply="other").payload == "other"
    for serial in (1, 2, 3):
        assert sessions.look("ada", 1, serial) is Standing.REPLIED
        assert answer(sessions, "ada", 1, serial, reply="again").payload == f"first {serial}"
        assert sessions.kept("ada", serial).payload == f"first {serial}"


def test_acknowledged_replies_are_dropped_and_never_run_again() -> None:
    sessions = Sessions()
    sessions.open("ada", 1)
    for serial in (1, 2, 3):
        answer(sessions, "ada", 1, serial)
    answer(sessions, "ada", 1, 4, acknowledged=2)
    assert [sessions.look("ada", 1, serial) for serial in range(1, 6)] == [
        Standing.ACKNOWLEDGED,
        Standing.ACKNOWLEDGED,
        Standing.REPLIED,
        Standing.REPLIED,
        Standing.NEW,
    ]
    assert answer(sessions, "ada", 1, 1).error == ACKNOWLEDGED
    answer(sessions, "ada", 1, 5, acknowledged=1)
    assert sessions.look("ada", 1, 2) is Standing.ACKNOWLEDGED, "the floor never falls"


def test_a_request_that_acknowledges_itself_runs_once() -> None:
    sessions = Sessions()
    sessions.open("ada", 1)
    assert answer(sessions, "ada", 1, 5, acknowledged=9).payload == "reply 5"
    assert answer(sessions, "ada", 1, 5, acknowledged=9).error == ACKNOWLEDGED


def test_a_client_cannot_run_further_ahead_than_its_replies_are_kept() -> None:
    sessions = Sessions()
    sessions.open("ada", 1)
    for serial in range(1, SESSION_REPLIES + 1):
        answer(sessions, "ada", 1, serial)
    assert sessions.look("ada", 1, 1) is Standing.REPLIED
    answer(sessions, "ada", 1, SESSION_REPLIES + 1)
    assert sessions.look("ada", 1, 1) is Standing.ACKNOWLEDGED
    assert sessions.look("ada", 1, 2) is Standing.REPLIED


@pytest.mark.parametrize("session", [0, 1, 3, 99])
def test_a_session_that_is_not_there_is_expired(session: int) -> None:
    sessions = Sessions()
    sessions.open("bo", 1)
    sessions.open("ada", 2)
    before = sessions.to_json()
    assert sessions.look("ada", session, 1) is Standing.EXPIRED
    assert answer(sessions, "ada", session, 1).error == EXPIRED
    sessions_after = sessions.to_json()
    assert sessions_after["sessions"] == before["sessions"]


def test_the_session_silent_for_longest_goes_first() -> None:
    sessions = Sessions(most=2)
    sessions.open("ada", 1)
    sessions.open("bo", 2)
    answer(sessions, "ada", 1, 1)
    sessions.open("cy", 3)
    assert ["ada" in sessions, "bo" in sessions, "cy" in sessions] == [True, False, True]
    assert sessions.open("bo", 4) == 4, "opened anew, it is another session"
    assert answer(sessions, "bo", 2, 1).error == EXPIRED


def test_sessions_end_after_silence_by_stamped_time() -> None:
    sessions = Sessions(seconds=100)
    sessions.advance(START)
    sessions.open("ada", 1)
    sessions.open("bo", 2)
    answer(sessions, "bo", 2, 1, at=START + 60_000)
    sessions.advance(START + 100_000)
    assert "ada" in sessions
    assert sessions.look("ada", 1, 1, at=START + 100_001) is Standing.EXPIRED
    assert "ada" in sessions, "looking changes nothing"
    assert answer(sessions, "ada", 1, 1, at=START + 100_001).error == EXPIRED
    assert ["ada" in sessions, "bo" in sessions] == [False, True]


def test_a_request_in_time_keeps_its_session_alive() -> None:
    sessions = Sessions(seconds=100)
    sessions.advance(START)
    sessions.open("ada", 1)
    for n in range(1, 10):
        assert answer(sessions, "ada", 1, n, at=START + n * 90_000).error is None


def test_clocks_that_jump_end_nobodys_session() -> None:
    sessions = Sessions()
    sessions.advance(START)
    sessions.open("ada", 1)
    for jump in (-1, 365 * 24, 0, -24, 365 * 48):
        sessions.advance(START + jump * 3600 * 1000)
        assert sessions.look("ada", 1, 1) is Standing.NEW
    assert sessions.clock == START + 365 * 48 * 3600 * 1000
    assert sessions.time <= 3 * SESSION_GAP_SECONDS * 1000


def test_who_hoards_replies_loses_the_oldest_others_lose_none() -> None:
    sessions = Sessions(chars=1_000)
    sessions.open("ada", 1)
    sessions.open("hoarder", 2)
    answer(sessions, "ada", 1, 1)
    for serial in range(1, 20):
        answer(sessions, "hoarder", 2, serial, reply="x" * 100)
        kept = [session[4] for session in sessions.to_json()["sessions"]]
        assert sum(len(json.dumps(reply)) for replies in kept for _, reply, _ in replies) <= 1_000
    assert sessions.look("ada", 1, 1) is Standing.REPLIED
    assert sessions.look("hoarder", 2, 1) is Standing.ACKNOWLEDGED
    assert sessions.look("hoarder", 2, 19) is Standing.REPLIED
    answer(sessions, "hoarder", 2, 20, reply="x" * 2_000)
    assert sessions.look("hoarder", 2, 20) is Standing.ACKNOWLEDGED, "alone it was too much"
    assert sessions.look("ada", 1, 1) is Standing.REPLIED


def test_json_holds_everything() -> None:
    sessions = Sessions(most=3, seconds=50, chars=100)
    sessions.advance(START)
    sessions.open("ada", 1)
    sessions.open("bo", 2)
    answer(sessions, "ada", 1, 2, acknowledged=1)
    failure = Failure(code="x", message="y")
    sessions.answer(
        client_id="bo", session=2, serial=1, acknowledged=0, at=START + 5, kept=Kept(error=failure)
    )
    for other in (sessions.copy(), sessions.empty()):
        if not len(other):
            other.load(json.loads(json.dumps(sessions.to_json())))
        assert other.to_json() == sessions.to_json()
        assert other.kept("bo", 1) == Kept(error=failure)
        # The same from here on, limits included, and independent of the first.
        untouched = json.dumps(sessions.to_json())
        for table in (other, other.copy()):
            table.open("cy", 5)
            table.open("di", 6)
            answer(table, "di", 6, 1, reply="z" * 80, at=START + 6)
            assert "ada" not in table
            assert table.look("bo", 2, 1) is Standing.REPLIED
        assert json.dumps(sessions.to_json()) == untouched


def test_a_placeholder_can_get_its_number() -> None:
    sessions = Sessions()
    sessions.open("ada", -1)
    sessions.renumber("ada", 5)
    assert sessions.number_of("ada") == 5
