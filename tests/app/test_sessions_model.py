"""Sessions against a model that keeps everything for ever and decides by the rules' words."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftweb.app.sessions import ACKNOWLEDGED, EXPIRED, Kept, Sessions
from ftweb.limits import SESSION_REPLIES
from tests.app.rig import START

MOST = 3
AGE = 10.0
"""Seconds after which a silent session ends."""

CLIENTS = st.sampled_from(["ada", "bo", "cy", "di"])


class Remembered:
    """One session, as the model has it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.used = 0
        self.last = 0
        """The entry that used it last: two may have the same time stamp."""
        self.floor = 0
        self.replies: dict[int, Kept] = {}
        """Every reply ever given."""


class SessionsModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.sessions = Sessions(most=MOST, seconds=AGE)
        self.index = 0
        self.at = START
        self.model: dict[str, Remembered] = {}
        self.runs: dict[tuple[str, int, int], int] = {}
        self.sessions.advance(self.at)

    def tick(self, seconds: float) -> None:
        """The next entry is stamped so much later; whoever was silent for too long is gone."""
        self.index += 1
        self.at += int(seconds * 1000)
        for client, session in list(self.model.items()):
            if self.at - session.used > AGE * 1000:
                del self.model[client]

    @rule(client=CLIENTS, seconds=st.floats(0, 4))
    def open(self, client: str, seconds: float) -> None:
        self.tick(seconds)
        self.sessions.advance(self.at)
        number = self.sessions.open(client, self.index)
        session = self.model.setdefault(client, Remembered(self.index))
        self.use(session)
        if len(self.model) > MOST:
            del self.model[min(self.model, key=lambda one: self.model[one].last)]
        assert number == session.number

    @rule(
        client=CLIENTS,
        serial=st.integers(1, SESSION_REPLIES + 6),
        behind=st.integers(0, 5),
        old=st.booleans(),
        seconds=st.floats(0, 4),
    )
    def request(self, client: str, serial: int, behind: int, old: bool, seconds: float) -> None:
        self.tick(seconds)
        session = self.model.get(client)
        number = session.number - old if session else max(1, self.index - 3)
        acknowledged = max(0, serial - 1 - behind)
        kept = Kept(payload=f"{client} {number} {serial} run at {self.index}")
        given = self.sessions.answer(
            client_id=client,
            session=number,
            serial=serial,
            acknowledged=acknowledged,
            at=self.at,
            kept=kept,
        )
        if session is None or session.number != number:
            assert given.error == EXPIRED
            return
        self.use(session)
        if serial in session.replies and serial > session.floor:
            assert given == session.replies[serial]
        elif serial <= session.floor:
            assert given.error == ACKNOWLEDGED
        else:
            assert given == kept
            key = (client, number, serial)
            self.runs[key] = self.runs.get(key, 0) + 1
            session.replies[serial] = kept
            session.floor = max(session.floor, serial - SESSION_REPLIES)
        session.floor = max(session.floor, acknowledged)

    def use(self, session: Remembered) -> None:
        session.used, session.last = self.at, self.index

    @rule()
    def go_on_from_a_copy(self) -> None:
        copied: Any = self.sessions.to_json()
        self.sessions = self.sessions.empty()
        self.sessions.load(copied)
        assert self.sessions.to_json() == copied

    @invariant()
    def nothing_runs_twice(self) -> None:
        assert all(count == 1 for count in self.runs.values())

    @invariant()
    def those_are_kept_who_should_be(self) -> None:
        for client, session in self.model.items():
            found = self.sessions.number_of(client)
            assert found == session.number
        assert len(self.sessions) <= MOST


SessionsModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSessions = SessionsModel.TestCase
