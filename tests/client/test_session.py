"""The exactly-once rules of a client session, without any socket."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ftweb import frames
from ftweb.client.events import (
    Event,
    Outcome,
    Received,
    Refused,
    Replied,
    StateChanged,
    StatusChanged,
    Welcomed,
)
from ftweb.client.session import PROVISIONAL_KEPT, ClientSession
from ftweb.errors import RequestError

LIMITS = frames.Limits(
    frame_bytes=2**18,
    payload_bytes=2**16,
    json_depth=32,
    json_key_chars=256,
    pending_requests=4,
    ping_seconds=5.0,
    handler_seconds=1.0,
)
WELCOME = frames.Welcome(
    version=1,
    client_id="c" * 32,
    device_id="d" * 32,
    presenter=False,
    bridge="b" * 32,
    name="vote",
    guid="g" * 32,
    bundle="0" * 64,
    runtime="/ftweb/runtime/0/",
    join_url="",
    local=False,
    limits=LIMITS,
)


def status(host: str | None = "h1", *, term: int = 1, epoch: int = 1, participants: int = 1,
           quorum: bool = True) -> frames.Status:  # fmt: skip
    return frames.Status(
        epoch=epoch,
        term=term,
        host=host,
        successors=[],
        quorum=quorum,
        participants=participants,
    )


def make() -> ClientSession:
    return ClientSession(client_key="1" * 32, device_key="2" * 32, token="T")


def joined(*, session: int | None = 7, host: str | None = "h1") -> ClientSession:
    """A client past its joining, with nothing left to send or to tell."""
    client = make()
    client.opened(0.0)
    client.receive(WELCOME, 0.0)
    client.receive(status(host), 0.0)
    if session is not None:
        client.receive(frames.Session(session=session), 0.0)
    client.frames_to_send()
    client.events()
    return client


def requests(client: ClientSession) -> list[tuple[int, int, int, Any]]:
    """(session, serial, acknowledged, payload) of the requests that would be sent now."""
    return [
        (frame.session, frame.serial, frame.acknowledged, frame.payload)
        for frame in client.frames_to_send()
        if isinstance(frame, frames.Request)
    ]


# --- joining ------------------------------------------------------------------------------


def test_joining() -> None:
    client = make()
    client.opened(0.0)
    assert client.frames_to_send() == [
        frames.Hello(
            version=1, client_key="1" * 32, device_key="2" * 32, token="T", client="python"
        )
    ]
    before = client.connected
    client.receive(WELCOME, 0.0)
    assert (before, client.connected) == (False, True)
    assert client.events() == [Welcomed(welcome=WELCOME)]
    assert client.frames_to_send() == []
    client.receive(status(None), 0.0)
    assert client.frames_to_send() == [], "no host: a bridge would drop it"
    client.receive(status("h1"), 0.0)
    assert client.frames_to_send() == [frames.OpenSession()]
    assert client.events() == [
        StatusChanged(status=status(None)),
        StatusChanged(status=status("h1")),
    ]


def test_draining_hands_over_once() -> None:
    client = make()
    client.opened(0.0)
    client.receive(WELCOME, 0.0)
    assert client.frames_to_send()
    assert client.events()
    assert not client.frames_to_send()
    assert not client.events()


def test_the_session_is_asked_for_until_it_comes() -> None:
    client = joined(session=None)
    client.request("a", 0.0)
    assert client.frames_to_send() == [], "asked already"
    client.tick(1.0)
    assert frames.OpenSession() not in client.frames_to_send()
    client.receive(frames.Pong(n=1), 4.0)
    client.tick(5.0)
    assert frames.OpenSession() in client.frames_to_send()
    client.receive(status("h2", term=2), 6.0)
    assert client.frames_to_send() == [frames.OpenSession()]
    client.receive(frames.Session(session=9), 6.0)
    assert requests(client) == [(9, 1, 0, "a")]
    client.receive(frames.Session(session=9), 6.0)
    assert client.frames_to_send() == [], "a second answer is nothing new"


# --- requests -----------------------------------------------------------------------------


def test_a_request_and_its_reply() -> None:
    client = joined()
    assert client.request({"n": 1}, 0.0) == 1
    assert requests(client) == [(7, 1, 0, {"n": 1})]
    client.receive(frames.Reply(serial=1, payload="yes"), 0.1)
    assert client.events() == [Replied(serial=1, payload="yes")]
    assert client.pending == 0
    client.receive(frames.Reply(serial=1, payload="again"), 0.2)
    assert client.events() == [], "one result per request"


def test_a_refusal_is_a_result() -> None:
    client = joined()
    client.request("a", 0.0)
    failure = frames.Failure(code="poll_closed", message="Too late.")
    client.receive(frames.Reply(serial=1, error=failure), 0.1)
    assert client.events() == [Replied(serial=1, error=failure)]


def test_acknowledged_is_below_the_lowest_unanswered() -> None:
    client = joined()
    for payload in "abc":
        client.request(payload, 0.0)
    assert [request[2] for request in requests(client)] == [0, 0, 0]
    client.receive(frames.Reply(serial=2), 0.0)
    client.request("d", 0.0)
    assert requests(client) == [(7, 4, 0, "d")]
    client.receive(frames.Reply(serial=1), 0.0)
    client.request("e", 0.0)
    assert requests(client) == [(7, 5, 2, "e")]


def test_too_many_pending() -> None:
    client = joined()
    for _ in range(LIMITS.pending_requests):
        client.request("a", 0.0)
    with pytest.raises(RequestError) as caught:
        client.request("b", 0.0)
    assert caught.value.code == "too_many_pending"
    client.receive(frames.Reply(serial=2), 0.0)
    with pytest.raises(RequestError):
        client.request("b", 0.0)  # replicas would forget the reply to the first one
    client.receive(frames.Reply(serial=1), 0.0)
    client.request("b", 0.0)


def test_everything_unanswered_is_repeated_to_a_new_host_in_order() -> None:
    client = joined()
    for payload in "abc":
        client.request(payload, 0.0)
    client.receive(frames.Reply(serial=2), 0.0)
    client.frames_to_send()
    client.receive(status("h1", participants=9), 0.0)
    assert requests(client) == [], "a head count is no new host"
    client.receive(status(None, term=2), 0.0)
    assert requests(client) == []
    client.request("d", 0.0)
    assert requests(client) == [], "no host: kept"
    client.receive(status("h2", term=2), 0.0)
    assert requests(client) == [(7, 1, 0, "a"), (7, 3, 0, "c"), (7, 4, 0, "d")]
    client.receive(status("h2", term=3), 0.0)
    assert len(requests(client)) == 3, "another term"
    client.receive(status("h2", term=3, epoch=2), 0.0)
    assert len(requests(client)) == 3, "another epoch"


def test_the_same_host_after_none_is_asked_again() -> None:
    client = joined()
    client.request("a", 0.0)
    client.frames_to_send()
    client.receive(status(None), 0.0)
    client.receive(status("h1"), 0.0)
    assert requests(client) == [(7, 1, 0, "a")]


def test_everything_unanswered_is_repeated_on_a_new_socket() -> None:
    client = joined()
    client.request("a", 0.0)
    client.frames_to_send()
    client.closed()
    assert not client.connected
    client.request("b", 1.0)
    assert client.frames_to_send() == []
    client.opened(2.0)
    assert [type(frame) for frame in client.frames_to_send()] == [frames.Hello]
    client.receive(WELCOME, 2.0)
    assert requests(client) == [], "the bridge has not said who hosts"
    client.receive(status("h1"), 2.0)
    assert requests(client) == [(7, 1, 0, "a"), (7, 2, 0, "b")]


def test_what_waits_for_long_is_repeated() -> None:
    client = joined()
    client.request("a", 0.0)
    client.frames_to_send()
    client.tick(4.0)
    assert requests(client) == []
    client.tick(5.0)
    assert requests(client) == [(7, 1, 0, "a")]
    client.tick(9.0)
    assert requests(client) == []


def test_an_expired_session_fails_what_was_sent_and_keeps_what_was_not() -> None:
    client = joined()
    for payload in "abc":
        client.request(payload, 0.0)
    client.receive(status(None), 0.0)
    client.request("d", 0.0)
    client.frames_to_send()
    client.events()
    failure = frames.Failure(code="session_expired", message="Gone.")
    client.receive(frames.Reply(serial=2, error=failure), 0.0)
    assert sorted(event.serial for event in client.events() if isinstance(event, Replied)) == [
        1,
        2,
        3,
    ]
    client.receive(frames.Session(session=7), 0.0)
    client.receive(status("h2", term=2), 0.0)
    assert client.frames_to_send() == [frames.OpenSession()], "not the dead session again"
    client.receive(frames.Session(session=30), 0.0)
    assert requests(client) == [(30, 4, 3, "d")]
    client.events()
    client.receive(frames.Reply(serial=3, error=failure), 0.0)
    assert not client.events(), "a late answer of the old session"


def test_a_session_of_another_part_that_expired_is_followed_by_one_with_a_lower_number() -> None:
    client = joined()
    client.request("a", 0.0)
    client.frames_to_send()
    failure = frames.Failure(code="session_expired", message="Gone.")
    client.receive(frames.Reply(serial=1, error=failure), 0.0)
    client.request("b", 0.0)
    client.frames_to_send()
    client.receive(frames.Session(session=3), 0.0)
    assert requests(client) == [(3, 2, 1, "b")]


# --- messages, state, status ----------------------------------------------------------------


def message(index: int, position: int) -> frames.Message:
    return frames.Message(index=index, position=position, payload=[index, position])


def received(client: ClientSession) -> list[Any]:
    return [event.payload for event in client.events() if isinstance(event, Received)]


def test_a_message_is_handled_once() -> None:
    client = joined()
    for one in (message(5, 0), message(5, 1), message(5, 1), message(5, 0), message(4, 3)):
        client.receive(one, 0.0)
    assert received(client) == [[5, 0], [5, 1]]
    client.closed()
    client.opened(1.0)
    (hello,) = client.frames_to_send()
    assert isinstance(hello, frames.Hello)
    assert hello.message_index == 4, "the rest of the last index may have been lost"
    client.receive(WELCOME, 1.0)
    for one in (message(5, 0), message(5, 1), message(5, 2), message(8, 0)):
        client.receive(one, 1.0)
    assert received(client) == [[5, 2], [8, 0]]


def test_a_provisional_reply_that_turns_out_otherwise_is_told_once() -> None:
    client = joined()
    client.request(msgspec.Raw(b'{"seat":4}'), 0.0)
    client.receive(frames.Reply(serial=1, payload="yours", provisional=True), 0.0)
    client.events()
    client.receive(status("h1", epoch=2), 0.0)
    taken = frames.Failure(code="taken", message="Taken.")
    outcome = frames.Outcome(index=30, serial=1, error=taken)
    client.receive(outcome, 0.0)
    client.receive(outcome, 0.0)
    (told,) = [event for event in client.events() if isinstance(event, Outcome)]
    assert (told.request, told.reply, told.previous_reply) == ({"seat": 4}, None, "yours")
    assert told.error is not None
    assert (told.error.code, told.previous_error) == ("taken", None)


def test_an_outcome_of_what_was_never_answered_is_its_answer() -> None:
    client = joined()
    client.request("a", 0.0)
    client.receive(frames.Outcome(index=30, serial=1, payload="late"), 0.0)
    assert client.events() == [Replied(serial=1, payload="late")]
    assert client.pending == 0


def test_firm_replies_are_not_kept_and_of_provisional_ones_not_all() -> None:
    client = joined()
    for serial in range(1, PROVISIONAL_KEPT + 3):
        client.request(serial, 0.0)
        firm = serial == PROVISIONAL_KEPT + 2
        client.receive(frames.Reply(serial=serial, provisional=not firm), 0.0)
    client.events()
    for index, serial in enumerate((1, 2, PROVISIONAL_KEPT + 2)):
        client.receive(frames.Outcome(index=9 + index, serial=serial, payload="no"), 0.0)
    assert [event.request for event in client.events() if isinstance(event, Outcome)] == [2]


def test_messages_of_another_epoch_count_anew() -> None:
    client = joined()
    client.receive(message(5, 0), 0.0)
    client.receive(status("h1", epoch=2), 0.0)
    client.receive(message(3, 0), 0.0)
    assert received(client) == [[5, 0], [3, 0]]


def test_messages_that_come_before_the_status_of_their_epoch_are_remembered() -> None:
    """Who joins is sent the state, then messages, then the status: a schedule of the simulator was
    given the same message again by the next connection."""
    client = joined()
    client.receive(frames.State(epoch=2, index=6, value=None), 0.0)
    client.receive(message(7, 0), 0.0)
    client.receive(status("h1", epoch=2), 0.0)
    client.receive(message(7, 0), 0.0)
    assert received(client) == [[7, 0]]


def test_state_follows_changes_and_heals_gaps() -> None:
    client = joined()
    client.receive(frames.State(epoch=1, index=3, value={"n": 0}), 0.0)

    def change(after: int, index: int) -> frames.Change:
        patch = [{"op": "replace", "path": "/n", "value": index}]
        return frames.Change(epoch=1, after=after, index=index, patch=patch)

    client.receive(change(3, 4), 0.0)
    assert client.events() == [StateChanged(value={"n": 0}), StateChanged(value={"n": 4})]
    client.receive(change(6, 7), 0.0)
    client.receive(change(7, 8), 0.0)
    assert client.frames_to_send() == [frames.Resync()], "asked once"
    assert client.events() == []
    client.receive(frames.State(epoch=1, index=8, value={"n": 8}), 0.0)
    assert client.events() == [StateChanged(value={"n": 8})]
    client.receive(change(9, 10), 0.0)
    assert client.frames_to_send() == [frames.Resync()]
    client.closed()
    client.opened(1.0)
    (hello,) = client.frames_to_send()
    assert isinstance(hello, frames.Hello)
    assert (hello.epoch, hello.state_index) == (1, 8)


def test_the_same_status_twice_is_no_news() -> None:
    client = joined()
    client.receive(status("h1"), 0.0)
    assert client.events() == []
    client.receive(status("h1", quorum=False), 0.0)
    assert client.events() == [StatusChanged(status=status("h1", quorum=False))]


# --- alive? ---------------------------------------------------------------------------------


def test_pings_measure_the_round_trip() -> None:
    client = joined()
    assert client.tick(5.0)
    assert client.frames_to_send() == [frames.Ping(n=1)]
    client.receive(frames.Pong(n=1), 5.25)
    assert client.tick(10.0)
    assert client.frames_to_send() == [frames.Ping(n=2, rtt=250.0)]
    client.receive(frames.Pong(n=1), 10.5)
    client.receive(frames.Ping(n=40), 10.5)
    assert client.frames_to_send() == [frames.Pong(n=40)]
    client.tick(15.0)
    assert client.frames_to_send() == [frames.Ping(n=3, rtt=250.0)], "the late pong was another's"


def test_a_silent_bridge_is_taken_for_gone() -> None:
    client = joined()
    assert client.tick(5.0)
    assert client.tick(10.0)
    assert not client.tick(15.0)
    client.opened(15.0)
    assert client.tick(20.0)
    assert not client.tick(30.0), "no welcome either"


def test_errors_of_the_bridge() -> None:
    client = joined()
    client.receive(frames.Error(code="node_id_in_use", message="Not yours.", fatal=False), 0.0)
    client.receive(frames.Error(code="rate_limited", message="Too fast."), 0.0)
    assert client.events() == [Refused(code="rate_limited", message="Too fast.")]


def test_what_is_refused_twice_as_malformed_is_not_repeated_for_ever() -> None:
    client = joined()
    refusal = frames.Failure(code="too_deep", message="Nested too deep.")
    client.request("poison", 0.0)
    client.closed(frames.Failure(code="rate_limited", message="Not its fault."))
    client.request("never sent", 0.0)
    client.closed(refusal)
    assert client.events() == []
    client.closed(refusal)
    assert client.events() == [Replied(serial=1, error=refusal)]
    client.opened(1.0)
    client.receive(WELCOME, 1.0)
    client.receive(status(), 1.0)
    assert requests(client) == [(7, 2, 1, "never sent")]
    client.closed(refusal)
    client.opened(2.0)
    client.receive(frames.Reply(serial=2, payload="fine"), 2.0)
    client.events()
    client.request("later", 2.0)
    client.closed(refusal)
    assert client.events() == [], "a reply in between: not twice in a row"


def test_another_server_knows_nothing_of_the_old_ones_session() -> None:
    client = joined()
    client.receive(frames.State(epoch=3, index=30, value="old"), 0.0)
    client.receive(message(40, 0), 0.0)
    client.request("sent", 0.0)
    client.closed()
    client.request("never sent", 0.0)
    client.events()
    client.opened(1.0)
    client.frames_to_send()
    client.receive(msgspec.structs.replace(WELCOME, guid="other"), 1.0)
    (failed,) = [event for event in client.events() if isinstance(event, Replied)]
    assert failed.serial == 1
    assert failed.error is not None
    assert failed.error.code == "session_expired"
    client.receive(frames.State(epoch=1, index=2, value="new"), 1.0)
    client.receive(status(), 1.0)
    client.receive(frames.Session(session=3), 1.0)
    client.receive(message(5, 0), 1.0)
    assert client.state.value == "new"
    assert requests(client) == [(3, 2, 1, "never sent")]
    assert received(client) == [[5, 0]]


def test_frames_for_others_are_ignored() -> None:
    client = joined()
    client.receive(frames.Lost(node_id="x"), 0.0)
    assert client.events() == []
    assert client.frames_to_send() == []


def test_leaving_says_bye_only_where_somebody_listens() -> None:
    client = joined()
    client.leave()
    assert client.frames_to_send() == [frames.Bye()]
    client.closed()
    client.leave()
    assert client.frames_to_send() == []


# --- any schedule ---------------------------------------------------------------------------


class ExactlyOnce(RuleBasedStateMachine):
    """A client against a server that keeps its word (one run and one cached reply for each
    session and serial), over a network that loses, repeats and reorders whatever it likes.

    Every request gets exactly one result; a success means that it was run once; nothing is run
    twice; and once the network heals, nothing is left waiting.
    """

    @initialize()
    def start(self) -> None:
        self.client = make()
        self.now = 0.0
        self.term = 1
        self.hosted = False
        self.up = False
        self.index = 10
        self.session: int | None = None
        self.cache: dict[tuple[int, int], frames.Reply] = {}
        self.ran: Counter[str] = Counter()
        self.to_server: list[frames.Frame] = []
        self.to_client: list[frames.Frame] = []
        self.sent: dict[int, str] = {}
        self.results: dict[int, list[Replied]] = {}

    def pump(self) -> None:
        self.to_server += self.client.frames_to_send()
        for event in self.client.events():
            self.take(event)

    def take(self, event: Event) -> None:
        if isinstance(event, Replied):
            self.results.setdefault(event.serial, []).append(event)

    def connect(self) -> None:
        self.up = True
        self.to_server, self.to_client = [], []
        self.client.opened(self.now)
        self.client.frames_to_send()
        self.client.receive(WELCOME, self.now)
        self.tell_status()

    def tell_status(self) -> None:
        host = f"host{self.term}" if self.hosted else None
        self.client.receive(status(host, term=self.term), self.now)
        self.pump()

    def serve(self, frame: frames.Frame) -> None:
        if not self.hosted:
            return
        if isinstance(frame, frames.OpenSession):
            if self.session is None:
                self.index += 1
                self.session = self.index
            self.to_client.append(frames.Session(session=self.session))
        if isinstance(frame, frames.Request):
            key = (frame.session, frame.serial)
            if key not in self.cache:
                if frame.session == self.session:
                    self.ran[frame.payload] += 1
                    self.cache[key] = frames.Reply(serial=frame.serial, payload=frame.payload)
                else:
                    failure = frames.Failure(code="session_expired", message="")
                    self.cache[key] = frames.Reply(serial=frame.serial, error=failure)
            self.to_client.append(self.cache[key])

    def deliver(self, frame: frames.Frame) -> None:
        self.client.receive(frame, self.now)
        self.pump()

    @rule()
    def send(self) -> None:
        payload = f"request {len(self.sent) + 1}"
        with contextlib.suppress(RequestError):  # too many pending
            self.sent[self.client.request(payload, self.now)] = payload
        self.pump()

    @rule(at=st.integers(0, 20), keep=st.booleans())
    @precondition(lambda self: self.up and self.to_server)
    def reach_server(self, at: int, keep: bool) -> None:
        at %= len(self.to_server)
        self.serve(self.to_server[at] if keep else self.to_server.pop(at))

    @rule(at=st.integers(0, 20), keep=st.booleans())
    @precondition(lambda self: self.up and self.to_client)
    def reach_client(self, at: int, keep: bool) -> None:
        at %= len(self.to_client)
        self.deliver(self.to_client[at] if keep else self.to_client.pop(at))

    @rule()
    @precondition(lambda self: self.to_server or self.to_client)
    def lose_everything_on_the_way(self) -> None:
        self.to_server, self.to_client = [], []

    @rule()
    def close_socket(self) -> None:
        self.up = False
        self.client.closed()
        self.to_server, self.to_client = [], []

    @rule()
    def reconnect(self) -> None:
        self.connect()

    @rule()
    def lose_host(self) -> None:
        self.hosted = False
        if self.up:
            self.tell_status()

    @rule()
    def new_host(self) -> None:
        self.term += 1
        self.hosted = True
        if self.up:
            self.tell_status()

    @rule()
    def expire_session(self) -> None:
        self.session = None

    @rule(seconds=st.floats(0.1, 6.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.up:
            self.client.receive(frames.Pong(n=0), self.now)
            self.client.tick(self.now)
            self.pump()

    @invariant()
    def one_result_at_most_and_the_right_one(self) -> None:
        for serial, results in getattr(self, "results", {}).items():
            assert len(results) == 1
            if results[0].error is None:
                assert results[0].payload == self.sent[serial]
                assert self.ran[self.sent[serial]] == 1
            else:
                assert results[0].error.code == "session_expired"
        assert all(count == 1 for count in getattr(self, "ran", {}).values())

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self.hosted = True
        self.connect()
        for _ in range(6):
            self.now += 5.0
            self.client.receive(frames.Pong(n=0), self.now)
            self.client.tick(self.now)
            self.pump()
            while self.to_server or self.to_client:
                while self.to_server:
                    self.serve(self.to_server.pop(0))
                while self.to_client:
                    self.deliver(self.to_client.pop(0))
        assert self.results.keys() == self.sent.keys()
        assert self.client.pending == 0
        self.one_result_at_most_and_the_right_one()


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
