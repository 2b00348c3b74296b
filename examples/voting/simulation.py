"""What a class does, and what must hold: for ``ftweb simulate --app examples/voting``.

The presenter makes polls, closes and reopens them; everybody votes, and votes again, from pages
that are reloaded and tabs that are doubled. It never leaves the laptop that it is run on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ftweb.simulation.app_support import Person, Request, invariant, requests

type Ballot = tuple[str, str]
"""Poll and device."""


@requests
def ask(person: Person, draw: random.Random) -> dict[str, Any] | None:
    """Votes for what is open; the presenter sees to it that something is."""
    if person.state is None:
        return None  # the page has not come up yet
    polls = person.state["polls"]
    poll_id = person.state["current"]
    if person.presenter and (poll_id is None or draw.random() < 0.1):
        return new_poll(person, draw)
    if poll_id is None:
        return None
    if person.presenter and draw.random() < 0.2:
        kind = draw.choice(["close_poll", "reopen_poll", "show_results", "hide_results", "tally"])
        return {"type": kind, "poll_id": poll_id}
    return {"type": "vote", "poll_id": poll_id, "choice": choose(polls[poll_id], person, draw)}


def new_poll(person: Person, draw: random.Random) -> dict[str, Any]:
    kind = draw.choice(["single", "multiple", "rating", "text"])
    return {
        "type": "create_poll",
        "kind": kind,
        "question": f"Question {person.number}",
        "options": ["red", "green", "blue"] if kind in ("single", "multiple") else [],
    }


def choose(poll: dict[str, Any], person: Person, draw: random.Random) -> Any:
    """Something that the poll takes, but for one time in fifty."""
    if draw.random() < 0.02:
        return "nonsense" * 100
    match poll["kind"]:
        case "text":
            return f"Answer {person.number}"
        case "rating":
            return draw.choice("12345")
        case "single":
            return draw.choice("012")
    return sorted(draw.sample("012", draw.randrange(1, 4)))


# --- after every change -----------------------------------------------------------------------


@invariant
def the_current_poll_is_one_of_the_polls(state: Any) -> None:
    assert state["current"] is None or state["current"] in state["polls"]


@invariant
def every_poll_is_numbered_once(state: Any) -> None:
    numbers = [int(poll_id[1:]) for poll_id in state["polls"]]
    assert sorted(numbers) == numbers
    assert all(number <= state["created"] for number in numbers)


# --- at the end -------------------------------------------------------------------------------


@invariant
def every_ballot_was_cast(state: Any, history: Sequence[Request]) -> None:
    votes = votes_of(history)
    for ballot, choice in ballots_in(state):
        asked = [vote.payload["choice"] for vote in votes[ballot] if not vote.refused]
        assert choice in asked, f"{ballot} holds {choice!r}, which nobody asked for"


@invariant
def no_acknowledged_ballot_is_lost(state: Any, history: Sequence[Request]) -> None:
    there = dict(ballots_in(state))
    for ballot, votes in votes_of(history).items():
        if any(vote.acknowledged for vote in votes):
            assert ballot in there, f"{ballot} was acknowledged and is not there"


@invariant
def the_last_ballot_counts(state: Any, history: Sequence[Request]) -> None:
    """Where there is no doubt which one that is: all others were answered before it was sent."""
    there = dict(ballots_in(state))
    for ballot, votes in votes_of(history).items():
        last = max(votes, key=lambda vote: vote.asked_at)
        if last.acknowledged and all(
            vote.answered_at <= last.asked_at for vote in votes if vote is not last
        ):
            assert there[ballot] == last.payload["choice"], f"{ballot} is not the last one"


@invariant
def every_poll_that_was_made_is_there_once(state: Any, history: Sequence[Request]) -> None:
    made = [request for request in history if request.payload["type"] == "create_poll"]
    told = [request.reply["poll_id"] for request in made if request.acknowledged]
    assert len(set(told)) == len(told), "two polls have one id"
    assert set(told) <= set(state["polls"])
    questions = [poll["question"] for poll in state["polls"].values()]
    assert len(set(questions)) == len(questions), "a poll was made twice"
    assert state["created"] <= len([request for request in made if not request.refused])


def votes_of(history: Sequence[Request]) -> defaultdict[Ballot, list[Request]]:
    votes: defaultdict[Ballot, list[Request]] = defaultdict(list)
    for request in history:
        if request.payload["type"] == "vote":
            votes[request.payload["poll_id"], request.device].append(request)
    return votes


def ballots_in(state: Any) -> Iterator[tuple[Ballot, Any]]:
    for poll_id, poll in state["polls"].items():
        for device, choice in poll["ballots"].items():
            yield (poll_id, device), choice
