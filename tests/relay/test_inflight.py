"""Who is refused after hosts died, and who is not: the rules of ftweb.relay.inflight."""

from __future__ import annotations

from ftweb.frames import Forward, Source
from ftweb.limits import HOST_DEATHS_PER_REQUEST, REQUESTS_TRACKED
from ftweb.relay.inflight import InFlight, Key

A: Key = ("client-a", 7, 1)
B: Key = ("client-b", 8, 1)
C: Key = ("client-c", 9, 1)


def frame(key: Key, term: int = 1) -> Forward:
    source = Source(client_id=key[0], device_id="device")
    return Forward(epoch=1, term=term, source=source, session=key[1], serial=key[2])


def send(inflight: InFlight, host: str, *keys: Key) -> list[str]:
    """Clients send, or repeat, their requests. Returns what became of each."""
    outcome = []
    for key in keys:
        forward = inflight.forward(key, host, frame(key))
        outcome.append(
            "waits" if forward is None else "refused" if forward.refuse is not None else "runs"
        )
    return outcome


def test_a_request_that_stuck_is_refused_by_every_later_host() -> None:
    inflight = InFlight()
    assert send(inflight, "h1", A, B) == ["runs", "runs"]
    inflight.stuck(A, "h1")
    assert send(inflight, "h2", A, B) == ["refused", "runs"]
    assert send(inflight, "h3", A, B) == ["refused", "runs"]


def test_the_refusal_names_the_reason() -> None:
    inflight = InFlight()
    send(inflight, "h1", A)
    inflight.stuck(A, "h1")
    forward = inflight.forward(A, "h2", frame(A))
    assert forward is not None
    assert forward.refuse is not None
    assert forward.refuse.code == "handler_timeout"


def test_only_the_node_that_had_it_may_call_it_stuck() -> None:
    inflight = InFlight()
    send(inflight, "h1", A)
    inflight.stuck(A, "somebody")
    inflight.stuck(B, "h1")
    assert send(inflight, "h2", A, B) == ["runs", "runs"]


def test_a_request_alone_on_each_host_that_died_is_refused() -> None:
    inflight = InFlight()
    for number in range(HOST_DEATHS_PER_REQUEST):
        assert send(inflight, f"h{number}", A) == ["runs"]
        inflight.died(f"h{number}")
    assert send(inflight, "next", A) == ["refused"]


def test_one_death_is_nobodys_fault() -> None:
    inflight = InFlight()
    send(inflight, "h1", A, B)
    inflight.died("h1")
    assert send(inflight, "h2", A, B) == ["runs", "runs"]


def test_of_several_suspects_only_the_culprit_is_refused() -> None:
    inflight = InFlight()
    for host in ("h1", "h2"):
        assert send(inflight, host, A, B, C) == ["runs"] * 3
        inflight.died(host)
    # All three are suspects now: they go one at a time, in the order in which they come.
    assert send(inflight, "h3", B, A, C) == ["runs", "waits", "waits"]
    released = inflight.replied(B)  # B was innocent
    assert released == frame(A)
    inflight.died("h3")  # A is the culprit
    assert send(inflight, "h4", A, C) == ["refused", "runs"]
    inflight.replied(A)
    inflight.replied(C)
    assert len(inflight) == 0


def test_suspects_do_not_hold_up_others() -> None:
    inflight = InFlight()
    for host in ("h1", "h2"):
        send(inflight, host, A, B)
        inflight.died(host)
    assert send(inflight, "h3", A, B, C) == ["runs", "waits", "runs"]
    assert inflight.replied(C) is None


def test_innocent_suspects_all_get_their_turn() -> None:
    inflight = InFlight()
    for host in ("h1", "h2"):
        send(inflight, host, A, B, C)
        inflight.died(host)
    send(inflight, "h3", A, B, C)
    assert inflight.replied(A) == frame(B)
    assert inflight.replied(B) == frame(C)
    assert inflight.replied(C) is None


def test_a_waiting_suspect_is_not_released_to_a_dead_host() -> None:
    inflight = InFlight()
    for host in ("h1", "h2"):
        send(inflight, host, A, B)
        inflight.died(host)
    send(inflight, "h3", A, B)
    inflight.died("h3")
    assert send(inflight, "h4", A, B) == ["refused", "runs"]
    assert inflight.replied(A) is None


def test_a_turn_ends_with_its_term() -> None:
    """A's client has gone: what was sent for it, or waits, for an earlier term is run by nobody."""
    inflight = InFlight()
    for host in ("h1", "h2"):
        send(inflight, host, A, B, C)
        inflight.died(host)
    assert send(inflight, "h3", B, A) == ["runs", "waits"]
    assert inflight.forward(C, "h3", frame(C, term=2)) == frame(C, term=2)  # not held up by B
    assert inflight.forward(B, "h3", frame(B, term=2)) is None
    assert inflight.replied(C) == frame(B, term=2)  # and not A's, of term 1
    assert inflight.replied(B) is None


def test_what_was_answered_elsewhere_is_no_longer_pending() -> None:
    inflight = InFlight()
    keys: list[Key] = [("client-a", 7, serial) for serial in range(1, 6)]
    send(inflight, "h1", *keys)
    assert inflight.pending("client-a") == 5
    inflight.acknowledged("client-a", 7, 3)
    assert inflight.pending("client-a") == 2
    assert not inflight.knows(("client-a", 7, 3))
    assert inflight.knows(("client-a", 7, 4))
    inflight.acknowledged("client-a", 99, 0)  # another session: the old one is over
    assert inflight.pending("client-a") == 0


def test_it_is_bounded() -> None:
    inflight = InFlight()
    for number in range(REQUESTS_TRACKED + 10):
        send(inflight, "h1", (f"client-{number}", 1, 1))
    assert len(inflight) == REQUESTS_TRACKED
    assert not inflight.knows(("client-0", 1, 1))
    assert inflight.pending("client-0") == 0
