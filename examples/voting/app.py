"""Classroom voting: the server side. It runs in whichever browser tab hosts the class.

1. A *ballot* belongs to a device, not to a page load: reloading or opening a second tab does
   not give a second vote. A later vote of the same device replaces the earlier one until the
   poll is closed.
2. A poll is ``ready`` (prepared, nobody sees it), ``open`` or ``closed``. One of them is
   ``current``: the presenter's screen shows it big, and the phones follow.
3. ``shown`` decides whether phones *display* the results. It hides nothing: the state, with
   every ballot under its device id, is in every tab, because any tab may have to take over.
   A device id is a random number, but this is not a secret ballot.
4. Whatever arrives may be nonsense. It is refused with a code and a sentence; a refused
   request changes nothing.

=================  =====================================================  ====================
message ``type``   further members                                        reply
=================  =====================================================  ====================
``create_poll`` ★  ``kind``, ``question``, ``options``, ``open`` (true)   ``poll_id``
``open_poll`` ★    ``poll_id``: start a prepared poll (= ``reopen_poll``)  the poll's standing
``close_poll`` ★   ``poll_id``                                            the poll's standing
``reopen_poll`` ★  ``poll_id``                                            the poll's standing
``show_results`` ★ ``poll_id``                                            the poll's standing
``hide_results`` ★ ``poll_id``                                            the poll's standing
``select_poll`` ★  ``poll_id``: make it the current one                   the poll's standing
``delete_poll`` ★  ``poll_id``, with all its ballots                      ``poll_id``
``vote``           ``poll_id``, ``choice``                                ``accepted``: true
``tally``          ``poll_id``                                            ``counts``, ``voters``
=================  =====================================================  ====================

★ presenters only. The standing is ``{"poll_id", "status", "shown"}``. A ``choice`` is

- ``single``: one option, named by its index as a string: ``"0"``, ``"1"``, …
- ``multiple``: a list of one or more different options;
- ``rating``: ``"1"`` to ``"5"`` (the number is taken too). ``options`` may name the ends of the
  scale (two labels) or every step (five);
- ``text``: up to 200 characters. Answers that differ only in case and spacing count together,
  under their most frequent spelling.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import ftweb
from ftweb import Refusal
from ftweb.app import Source

KINDS: Final = ("single", "multiple", "rating", "text")
STEPS: Final = ("1", "2", "3", "4", "5")

POLLS: Final = 50
"""Polls kept: a term of one class. 500 ballots in each stay far below the size of a state."""
OPTIONS: Final = 20
"""Options of one poll: more cannot be read from the back row."""
QUESTION_CHARS: Final = 300
OPTION_CHARS: Final = 120
ANSWER_CHARS: Final = 200
RAW_CHARS: Final = 2_000
"""Longest text that is looked at at all: it may shrink when its spaces are collapsed."""

server = ftweb.init_server(
    "classroom-vote",
    state={"created": 0, "current": None, "polls": {}},
    on_quorum_loss="continue",
)


@server.on_receive
def receive(message: Any, source: Source) -> Any:
    """Answer one message: see the table above."""
    if not isinstance(message, dict):
        raise Refusal("bad_message", "A message is an object with a type.")
    kind = message.get("type")
    if isinstance(kind, str):
        if kind in FOR_PRESENTERS:
            if not source.presenter:
                raise Refusal("not_presenter", "Only the presenter's page may do that.")
            return FOR_PRESENTERS[kind](message)
        if kind == "vote":
            return vote(message, source.device_id)
        if kind == "tally":
            return tally(message)
    raise Refusal("unknown_type", "There is no message of that type.")


# --- the presenter --------------------------------------------------------------------------


def create_poll(message: Mapping[str, Any]) -> dict[str, Any]:
    """Add a poll and make it the current one; open at once unless ``open`` is false."""
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refusal("bad_kind", "A poll is single, multiple, rating or text.")
    question = clean(message.get("question"), QUESTION_CHARS)
    if question is None:
        raise Refusal("bad_question", f"Ask a question of up to {QUESTION_CHARS} characters.")
    options = check_options(kind, message.get("options", []))
    opened = message.get("open", True)
    if not isinstance(opened, bool):
        raise Refusal("bad_message", "open is true or false.")
    with server.change() as state:
        if len(state["polls"]) >= POLLS:
            raise Refusal("too_many_polls", f"There are {POLLS} polls already: delete old ones.")
        number = state["created"] + 1
        poll_id = f"p{number}"
        state["created"] = number
        state["polls"][poll_id] = {
            "kind": kind,
            "question": question,
            "options": options,
            "status": "open" if opened else "ready",
            "shown": False,
            "ballots": {},
        }
        if opened or state["current"] is None:
            state["current"] = poll_id
    return {"poll_id": poll_id}


def check_options(kind: str, value: Any) -> list[str]:
    """The options as they are kept, or a refusal that says what is wrong with them."""
    if value is None:
        value = []
    if not isinstance(value, list) or len(value) > OPTIONS:
        raise Refusal("bad_options", f"Options are a list of up to {OPTIONS} texts.")
    options = [clean(option, OPTION_CHARS) for option in value]
    texts = [option for option in options if option is not None]
    if len(texts) < len(options):
        raise Refusal("bad_options", f"Every option is a text of up to {OPTION_CHARS} characters.")
    if kind == "text" and texts:
        raise Refusal("bad_options", "A poll with free answers has no options.")
    if kind == "rating" and len(texts) not in (0, 2, 5):
        raise Refusal("bad_options", "A rating has no labels, one for each end, or all five.")
    if kind in ("single", "multiple"):
        if len(texts) < 2:
            raise Refusal("bad_options", "Give at least two options.")
        if len({text.lower() for text in texts}) < len(texts):
            raise Refusal("bad_options", "Two options are the same.")
    return texts


def set_status(status: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The handler that opens or closes a poll. Opening one also puts it on the screen."""

    def handle(message: Mapping[str, Any]) -> dict[str, Any]:
        with server.change() as state:
            poll_id, poll = find(state, message)
            poll["status"] = status
            if status == "open":
                state["current"] = poll_id
            return standing(poll_id, poll)

    return handle


def set_shown(shown: bool) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The handler that shows the results on the phones, or hides them."""

    def handle(message: Mapping[str, Any]) -> dict[str, Any]:
        with server.change() as state:
            poll_id, poll = find(state, message)
            poll["shown"] = shown
            return standing(poll_id, poll)

    return handle


def select_poll(message: Mapping[str, Any]) -> dict[str, Any]:
    """Make a poll the one on the presenter's screen."""
    with server.change() as state:
        poll_id, poll = find(state, message)
        state["current"] = poll_id
        return standing(poll_id, poll)


def delete_poll(message: Mapping[str, Any]) -> dict[str, Any]:
    """Forget a poll and its ballots. The newest of the others takes its place on the screen."""
    with server.change() as state:
        poll_id, _ = find(state, message)
        del state["polls"][poll_id]
        if state["current"] == poll_id:
            left = sorted(state["polls"], key=lambda other: int(other[1:]))
            state["current"] = left[-1] if left else None
    return {"poll_id": poll_id}


FOR_PRESENTERS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "create_poll": create_poll,
    "open_poll": set_status("open"),
    "close_poll": set_status("closed"),
    "reopen_poll": set_status("open"),
    "show_results": set_shown(True),
    "hide_results": set_shown(False),
    "select_poll": select_poll,
    "delete_poll": delete_poll,
}


# --- everybody ------------------------------------------------------------------------------


def vote(message: Mapping[str, Any], device_id: str) -> dict[str, Any]:
    """Record a device's ballot, in place of the one it gave before."""
    with server.change() as state:
        _, poll = find(state, message)
        if poll["status"] != "open":
            raise Refusal("poll_closed", "This poll is not open for votes.")
        poll["ballots"][device_id] = check_choice(poll, message.get("choice"))
    return {"accepted": True}


def check_choice(poll: Mapping[str, Any], choice: Any) -> str | list[str]:
    """The choice as it is kept, or a refusal."""
    kind = poll["kind"]
    if kind == "text":
        answer = clean(choice, ANSWER_CHARS)
        if answer is None:
            raise Refusal("bad_choice", f"Write an answer of up to {ANSWER_CHARS} characters.")
        return answer
    if kind == "rating":
        if isinstance(choice, int) and 1 <= choice <= 5:
            choice = str(choice)
        if not isinstance(choice, str) or choice not in STEPS:
            raise Refusal("bad_choice", "A rating goes from 1 to 5.")
        return choice
    names = [str(index) for index in range(len(poll["options"]))]
    if kind == "single":
        if not isinstance(choice, str) or choice not in names:
            raise Refusal("bad_choice", "That is not one of the options.")
        return choice
    if not isinstance(choice, list) or not 1 <= len(choice) <= len(names):
        raise Refusal("bad_choice", "Choose one or more of the options.")
    if not all(isinstance(one, str) and one in names for one in choice):
        raise Refusal("bad_choice", "That is not one of the options.")
    if len(set(choice)) < len(choice):
        raise Refusal("bad_choice", "Each option can be chosen once.")
    return sorted(choice, key=int)


def tally(message: Mapping[str, Any]) -> dict[str, Any]:
    """Count a poll. Every option is there, also those without votes."""
    with server.change() as state:  # only read: get_state() would copy every poll
        poll_id, poll = find(state, message)
        return {"poll_id": poll_id, "counts": count(poll), "voters": len(poll["ballots"])}


def count(poll: Mapping[str, Any]) -> dict[str, int]:
    """Votes by option; for free answers by spelling, most frequent first.

    ``pages/lib/polls.js`` counts in the same way, and a test compares the two.
    """
    choices = poll["ballots"].values()
    if poll["kind"] == "text":
        return count_answers(choices)
    names = STEPS if poll["kind"] == "rating" else map(str, range(len(poll["options"])))
    counts = dict.fromkeys(names, 0)
    for choice in choices:
        for name in [choice] if isinstance(choice, str) else choice:
            counts[name] += 1
    return counts


def count_answers(answers: Iterable[str]) -> dict[str, int]:
    """Group answers by their letters alone. Ties are broken by spelling (as JavaScript orders
    strings), never by who came first, so that every tab gets the same."""
    spellings: dict[str, Counter[str]] = {}
    for answer in answers:
        spellings.setdefault(answer.lower(), Counter())[answer] += 1
    groups = [
        (-group.total(), min(group, key=lambda one: (-group[one], one.encode("utf-16-be"))))
        for group in spellings.values()
    ]
    groups.sort(key=lambda group: (group[0], group[1].encode("utf-16-be")))
    return {spelling: -negative for negative, spelling in groups}


# --- helpers --------------------------------------------------------------------------------


def find(state: Any, message: Mapping[str, Any]) -> tuple[str, Any]:
    """The poll that a message is about."""
    poll_id = message.get("poll_id")
    if not isinstance(poll_id, str) or poll_id not in state["polls"]:
        raise Refusal("unknown_poll", "There is no such poll; it may have been deleted.")
    return poll_id, state["polls"][poll_id]


def standing(poll_id: str, poll: Mapping[str, Any]) -> dict[str, Any]:
    """What the presenter is told after changing a poll."""
    return {"poll_id": poll_id, "status": poll["status"], "shown": poll["shown"]}


def clean(value: Any, longest: int) -> str | None:
    """A person's text as one line, or None if there is nothing to read or too much of it.

    Control characters and direction overrides go: one answer must not turn round the text that
    surrounds it on the projector.
    """
    if not isinstance(value, str) or len(value) > RAW_CHARS:
        return None
    text = unicodedata.normalize("NFC", value)
    text = " ".join("".join(one for one in text if one.isspace() or not unwanted(one)).split())
    if len(text) > longest or not any(unicodedata.category(one)[0] not in "CMZ" for one in text):
        return None
    return text


def unwanted(character: str) -> bool:
    """Whether it is a control character, half a surrogate pair, or a direction override."""
    return (
        unicodedata.category(character) in ("Cc", "Cs")
        or "\u202a" <= character <= "\u202e"
        or "\u2066" <= character <= "\u2069"
    )
