"""The voting app's handlers: every message, every refusal, one ballot per device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.examples.conftest import Classroom

PLANETS = {
    "type": "create_poll",
    "kind": "single",
    "question": "Which planet has the longest day?",
    "options": ["Mercury", "Venus", "Mars"],
}
DEEP: Any = [[[[[[[[]]]]]]]]
NOT_IDS = [None, "", "p", "p0", "p2", "P1", 1, True, ["p1"], {"p1": 1}, "p1" * 9000]


async def create(voting: Classroom, **changes: Any) -> str:
    reply = await voting.send({**PLANETS, **changes}, presenter=True)
    assert set(reply) == {"poll_id"}
    poll_id: str = reply["poll_id"]
    return poll_id


async def vote(voting: Classroom, poll_id: str, choice: Any, who: str = "ada") -> None:
    reply = await voting.send({"type": "vote", "poll_id": poll_id, "choice": choice}, who=who)
    assert reply == {"accepted": True}


async def tally(voting: Classroom, poll_id: str) -> dict[str, int]:
    reply = await voting.send({"type": "tally", "poll_id": poll_id})
    assert reply["poll_id"] == poll_id
    assert reply["voters"] == len(voting.state["polls"][poll_id]["ballots"])
    counts: dict[str, int] = reply["counts"]
    return counts


async def refused_vote(voting: Classroom, poll_id: Any, choice: Any) -> str:
    return await voting.refused({"type": "vote", "poll_id": poll_id, "choice": choice})


# --- creating -------------------------------------------------------------------------------


async def test_a_poll_is_open_and_on_the_screen_as_soon_as_it_is_created(
    voting: Classroom,
) -> None:
    assert await create(voting) == "p1"
    assert voting.state == {
        "created": 1,
        "current": "p1",
        "polls": {
            "p1": {
                "kind": "single",
                "question": "Which planet has the longest day?",
                "options": ["Mercury", "Venus", "Mars"],
                "status": "open",
                "shown": False,
                "ballots": {},
            }
        },
    }


async def test_ids_count_on_and_are_not_used_again(voting: Classroom) -> None:
    assert [await create(voting), await create(voting)] == ["p1", "p2"]
    await voting.send({"type": "delete_poll", "poll_id": "p2"}, presenter=True)
    assert await create(voting) == "p3"


async def test_a_prepared_poll_waits(voting: Classroom) -> None:
    first = await create(voting)
    second = await create(voting, open=False)
    assert voting.state["polls"][second]["status"] == "ready"
    assert voting.state["current"] == first
    assert await refused_vote(voting, second, "0") == "poll_closed"
    reply = await voting.send({"type": "open_poll", "poll_id": second}, presenter=True)
    assert reply == {"poll_id": second, "status": "open", "shown": False}
    assert voting.state["current"] == second
    await vote(voting, second, "0")


async def test_texts_are_tidied(voting: Classroom) -> None:
    poll_id = await create(
        voting,
        question="  Cafe\u0301\n or\ttea?\u202e ",
        options=["\x00Cafe\u0301 ", "\u2066tea\u2069", "👩\u200d🏫"],
    )
    poll = voting.state["polls"][poll_id]
    assert poll["question"] == "Café or tea?"
    assert poll["options"] == ["Café", "tea", "👩\u200d🏫"]


@pytest.mark.parametrize("kind", [None, "", "SINGLE", "choice", 1, True, ["single"], {}])
async def test_bad_kind(voting: Classroom, kind: Any) -> None:
    assert await voting.refused({**PLANETS, "kind": kind}, presenter=True) == "bad_kind"


@pytest.mark.parametrize(
    "question", [None, "", " \n ", "\u200b", "\u202e", 5, ["?"], DEEP, "x" * 301, "x" * 60_000]
)
async def test_bad_question(voting: Classroom, question: Any) -> None:
    assert await voting.refused({**PLANETS, "question": question}, presenter=True) == "bad_question"


@pytest.mark.parametrize(
    "kind, options",
    [
        ("single", None),
        ("single", []),
        ("single", ["one"]),
        ("multiple", ["one"]),
        ("single", "AB"),
        ("single", {"0": "A", "1": "B"}),
        ("single", ["A", ""]),
        ("single", ["A", "  "]),
        ("single", ["A", None]),
        ("single", ["A", 1]),
        ("single", ["A", ["B"]]),
        ("single", ["A", DEEP]),
        ("single", ["A", "a "]),
        ("multiple", ["A", "B", "A"]),
        ("single", ["A", "x" * 121]),
        ("single", [str(number) for number in range(21)]),
        ("single", [str(number) for number in range(5000)]),
        ("rating", ["low"]),
        ("rating", ["low", "middle", "high"]),
        ("text", ["one", "two"]),
    ],
)
async def test_bad_options(voting: Classroom, kind: str, options: Any) -> None:
    message = {**PLANETS, "kind": kind, "options": options}
    assert await voting.refused(message, presenter=True) == "bad_options"


async def test_limits_are_what_is_allowed(voting: Classroom) -> None:
    options = [f"{number} ".ljust(120, "x") for number in range(20)]
    poll_id = await create(voting, question="x" * 300, options=options)
    assert voting.state["polls"][poll_id]["options"] == options


async def test_too_many_polls(voting: Classroom) -> None:
    for _ in range(50):
        await create(voting)
    assert await voting.refused(PLANETS, presenter=True) == "too_many_polls"
    await voting.send({"type": "delete_poll", "poll_id": "p7"}, presenter=True)
    assert await create(voting) == "p51"


# --- voting ---------------------------------------------------------------------------------


async def test_one_ballot_per_device_and_it_can_be_changed(voting: Classroom) -> None:
    poll_id = await create(voting)
    for who, choice in zip("abaac", "02112", strict=True):
        await vote(voting, poll_id, choice, who)
    assert await tally(voting, poll_id) == {"0": 0, "1": 1, "2": 2}
    assert sorted(voting.state["polls"][poll_id]["ballots"].values()) == ["1", "2", "2"]


async def test_two_pages_of_one_device_share_a_ballot(voting: Classroom) -> None:
    poll_id = await create(voting)
    for page, choice in [("before the reload", "0"), ("after the reload", "1")]:
        message = {"type": "vote", "poll_id": poll_id, "choice": choice}
        await voting.send(message, who=page, device="phone")
    assert await tally(voting, poll_id) == {"0": 0, "1": 1, "2": 0}


async def test_the_presenter_may_vote(voting: Classroom) -> None:
    poll_id = await create(voting)
    message = {"type": "vote", "poll_id": poll_id, "choice": "0"}
    assert await voting.send(message, who="teacher", presenter=True) == {"accepted": True}


@pytest.mark.parametrize("choice", [None, "", "3", "-1", "00", "0 ", "０", "²", 0, True, ["0"], {}])
async def test_bad_single_choice(voting: Classroom, choice: Any) -> None:
    poll_id = await create(voting)
    assert await refused_vote(voting, poll_id, choice) == "bad_choice"


async def test_multiple_choice(voting: Classroom) -> None:
    poll_id = await create(voting, kind="multiple")
    await vote(voting, poll_id, ["2", "0"], "ada")
    await vote(voting, poll_id, ["2"], "ben")
    await vote(voting, poll_id, ["0", "1", "2"], "cem")
    assert await tally(voting, poll_id) == {"0": 2, "1": 1, "2": 3}
    assert ["0", "2"] in voting.state["polls"][poll_id]["ballots"].values()


@pytest.mark.parametrize(
    "choice",
    [None, "0", [], ["3"], ["0", "0"], ["0", 1], [["0"]], [None], {"0": True}, ["0"] * 9000],
)
async def test_bad_multiple_choice(voting: Classroom, choice: Any) -> None:
    poll_id = await create(voting, kind="multiple")
    assert await refused_vote(voting, poll_id, choice) == "bad_choice"


@pytest.mark.parametrize("options", [None, [], ["not at all", "very"], ["--", "-", "o", "+", "++"]])
async def test_rating(voting: Classroom, options: Any) -> None:
    poll_id = await create(voting, kind="rating", options=options)
    for who, choice in [("ada", "1"), ("ben", 4), ("cem", "4"), ("dan", 5)]:
        await vote(voting, poll_id, choice, who)
    assert await tally(voting, poll_id) == {"1": 1, "2": 0, "3": 0, "4": 2, "5": 1}
    assert set(voting.state["polls"][poll_id]["ballots"].values()) == {"1", "4", "5"}


@pytest.mark.parametrize(
    "choice", [None, "", "0", "6", 0, 6, -1, 2**40, 3.0, 2.5, True, "3.0", ["3"], {}]
)
async def test_bad_rating(voting: Classroom, choice: Any) -> None:
    poll_id = await create(voting, kind="rating", options=[])
    assert await refused_vote(voting, poll_id, choice) == "bad_choice"


async def test_free_answers_that_differ_in_case_and_spacing_count_together(
    voting: Classroom,
) -> None:
    poll_id = await create(voting, kind="text", options=[])
    answers = ["Paris", " paris", "PARIS ", "Paris", "New  York", "new york", "Cafe\u0301", "Café"]
    for number, answer in enumerate(answers):
        await vote(voting, poll_id, answer, f"device {number}")
    counts = await tally(voting, poll_id)
    # By frequency; of spellings that are equally frequent the first in order of characters.
    assert list(counts.items()) == [("Paris", 4), ("Café", 2), ("New York", 2)]


@pytest.mark.parametrize("choice", [None, "", "  \n", "\u200b\u200d", 7, ["a"], {}, "x" * 201])
async def test_bad_answer(voting: Classroom, choice: Any) -> None:
    poll_id = await create(voting, kind="text", options=[])
    assert await refused_vote(voting, poll_id, choice) == "bad_choice"


async def test_an_answer_of_200_characters_after_tidying(voting: Classroom) -> None:
    poll_id = await create(voting, kind="text", options=[])
    await vote(voting, poll_id, " " + "😀" * 199 + "\n\n")
    assert await tally(voting, poll_id) == {"😀" * 199: 1}


@pytest.mark.parametrize("poll_id", NOT_IDS)
async def test_unknown_poll(voting: Classroom, poll_id: Any) -> None:
    await create(voting)
    assert await refused_vote(voting, poll_id, "0") == "unknown_poll"
    assert await voting.refused({"type": "tally", "poll_id": poll_id}) == "unknown_poll"
    for kind in ("close_poll", "reopen_poll", "show_results", "select_poll", "delete_poll"):
        message = {"type": kind, "poll_id": poll_id}
        assert await voting.refused(message, presenter=True) == "unknown_poll"


# --- running a poll -------------------------------------------------------------------------


async def test_no_votes_between_close_and_reopen(voting: Classroom) -> None:
    poll_id = await create(voting)
    await vote(voting, poll_id, "0")
    closed = await voting.send({"type": "close_poll", "poll_id": poll_id}, presenter=True)
    assert closed == {"poll_id": poll_id, "status": "closed", "shown": False}
    assert await refused_vote(voting, poll_id, "1") == "poll_closed"
    assert await refused_vote(voting, poll_id, "nonsense") == "poll_closed"
    assert await tally(voting, poll_id) == {"0": 1, "1": 0, "2": 0}
    # Twice does no harm: a presenter with two screens may do so.
    assert closed == await voting.send({"type": "close_poll", "poll_id": poll_id}, presenter=True)
    await voting.send({"type": "reopen_poll", "poll_id": poll_id}, presenter=True)
    await vote(voting, poll_id, "1")
    assert await tally(voting, poll_id) == {"0": 0, "1": 1, "2": 0}


async def test_results_are_shown_and_hidden(voting: Classroom) -> None:
    poll_id = await create(voting)
    for kind, shown in [("show_results", True), ("hide_results", False)]:
        reply = await voting.send({"type": kind, "poll_id": poll_id}, presenter=True)
        assert reply == {"poll_id": poll_id, "status": "open", "shown": shown}
        assert voting.state["polls"][poll_id]["shown"] is shown


async def test_the_screen_follows_the_presenter(voting: Classroom) -> None:
    first, second = await create(voting), await create(voting)
    assert voting.state["current"] == second
    await voting.send({"type": "select_poll", "poll_id": first}, presenter=True)
    assert voting.state["current"] == first
    await voting.send({"type": "reopen_poll", "poll_id": second}, presenter=True)
    assert voting.state["current"] == second


async def test_deleting_takes_the_ballots_and_leaves_the_newest_on_the_screen(
    voting: Classroom,
) -> None:
    polls = [await create(voting) for _ in range(11)]
    await vote(voting, "p11", "0")
    reply = await voting.send({"type": "delete_poll", "poll_id": "p11"}, presenter=True)
    assert reply == {"poll_id": "p11"}
    assert voting.state["current"] == "p10"  # not p9, the last in order of letters
    assert await refused_vote(voting, "p11", "0") == "unknown_poll"
    await voting.send({"type": "select_poll", "poll_id": "p3"}, presenter=True)
    await voting.send({"type": "delete_poll", "poll_id": "p4"}, presenter=True)
    assert voting.state["current"] == "p3"
    for poll_id in polls:
        if poll_id in voting.state["polls"]:
            await voting.send({"type": "delete_poll", "poll_id": poll_id}, presenter=True)
    assert voting.state == {"created": 11, "current": None, "polls": {}}


@pytest.mark.parametrize(
    "kind",
    [
        "create_poll",
        "open_poll",
        "close_poll",
        "reopen_poll",
        "show_results",
        "hide_results",
        "select_poll",
        "delete_poll",
    ],
)
async def test_only_presenters(voting: Classroom, kind: str) -> None:
    poll_id = await create(voting)
    # Whatever else is wrong with the message, that is said first, and nothing more.
    for message in ({**PLANETS, "type": kind, "poll_id": poll_id}, {"type": kind, "poll_id": []}):
        assert await voting.refused(message) == "not_presenter"


# --- nonsense -------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [None, True, 0, 1.5, "vote", [], ["vote"], DEEP, "x" * 60_000])
async def test_a_message_is_an_object(voting: Classroom, message: Any) -> None:
    assert await voting.refused(message) == "bad_message"


@pytest.mark.parametrize("kind", [None, "", "Vote", "votes", "__class__", 1, ["vote"], {}, DEEP])
async def test_unknown_type(voting: Classroom, kind: Any) -> None:
    assert await voting.refused({"type": kind}, presenter=True) == "unknown_type"
    assert await voting.refused({}) == "unknown_type"


@pytest.mark.parametrize("value", [0, 1, None, "yes", []])
async def test_open_is_true_or_false(voting: Classroom, value: Any) -> None:
    assert await voting.refused({**PLANETS, "open": value}, presenter=True) == "bad_message"


async def test_members_that_nobody_asked_for_are_not_kept(voting: Classroom) -> None:
    poll_id = await create(voting, shown=True, ballots={"x": "0"}, extra="x" * 1000)
    poll = voting.state["polls"][poll_id]
    assert set(poll) == {"kind", "question", "options", "status", "shown", "ballots"}
    assert not poll["shown"]
    assert not poll["ballots"]


# --- size -----------------------------------------------------------------------------------


async def test_a_ballot_is_small_in_the_state_and_in_the_log(voting: Classroom) -> None:
    poll_id = await create(voting)
    before = len(json.dumps(voting.state))
    for number in range(30):
        await vote(voting, poll_id, "1", f"device {number}")
    per_ballot = (len(json.dumps(voting.state)) - before) / 30
    assert per_ballot < 50  # 500 voters and 50 polls: 1.25 MB of the 4 MiB that are allowed
