"""An author's own app under simulation: handlers, requests, invariants."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ftweb.errors import AppLoadError
from ftweb.simulation.app_support import AuthorsApp
from ftweb.simulation.runner import run_many

GOOD = """
    import ftweb
    server = ftweb.init_server("polls", state={"ballots": {}})

    @server.on_receive
    def receive(message, source):
        with server.change() as state:
            state["ballots"][source.device_id] = message["choice"]
            return len(state["ballots"])
"""

FORGETFUL = """
    import ftweb
    server = ftweb.init_server("polls", state={"ballots": {}, "total": 0})
    total = 0

    @server.on_receive
    def receive(message, source):
        global total
        total += 1
        with server.change() as state:
            state["ballots"][source.device_id] = message["choice"]
            state["total"] = total
"""

SIMULATION = """
    from ftweb.simulation.app_support import invariant, requests

    @requests
    def ask(person, draw):
        if person.state is None:
            return None
        return {"choice": draw.choice(["yes", "no"])}

    @invariant
    def choices_are_choices(state):
        assert set(state["ballots"].values()) <= {"yes", "no"}

    @invariant
    def no_vote_is_lost(state, history):
        for request in history:
            if request.acknowledged:
                assert request.device in state["ballots"], request.device

    @invariant
    def nothing_is_forgotten(state, history):
        if "total" in state:
            assert state["total"] >= sum(request.acknowledged for request in history)
"""


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Path]:
    def make(app: str, simulation: str = SIMULATION, where: str = "simulation.py") -> Path:
        (tmp_path / "app.py").write_text(textwrap.dedent(app), encoding="utf-8")
        path = tmp_path / where
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(simulation), encoding="utf-8")
        return tmp_path

    return make


@pytest.mark.parametrize("where", ["simulation.py", "tests/test_app.py"])
def test_a_good_app_has_no_violations(make_app: Callable[..., Path], where: str) -> None:
    summary = run_many(range(5), app_dir=make_app(GOOD, where=where))
    assert [str(found.violation) for found in summary.violations] == []
    assert summary.votes > 100


def test_an_app_that_keeps_something_outside_of_its_state_is_found(
    make_app: Callable[..., Path],
) -> None:
    summary = run_many(range(12), app_dir=make_app(FORGETFUL))
    assert summary.violations
    violation = summary.violations[0].violation
    assert violation is not None
    assert violation.invariant == "nothing_is_forgotten"


def test_an_invariant_is_checked_after_every_change(make_app: Callable[..., Path]) -> None:
    never = SIMULATION.replace('<= {"yes", "no"}', '<= {"yes"}')
    summary = run_many(range(1), app_dir=make_app(GOOD, never))
    violation = summary.violations[0].violation
    assert violation is not None
    assert violation.invariant == "choices_are_choices"
    assert summary.votes < 20


def test_an_app_may_send_the_same_words_again(make_app: Callable[..., Path]) -> None:
    chatty = GOOD.replace("return len(", 'server.broadcast("voted")\n            return len(')
    summary = run_many(range(5), app_dir=make_app(chatty))
    assert [str(found.violation) for found in summary.violations] == []


def test_somebody_has_to_say_what_is_asked(make_app: Callable[..., Path]) -> None:
    with pytest.raises(AppLoadError, match="@requests"):
        AuthorsApp(make_app(GOOD, SIMULATION.replace("@requests", "")))


def test_errors_in_the_simulation_are_told(make_app: Callable[..., Path]) -> None:
    with pytest.raises(AppLoadError, match=r"simulation\.py: ZeroDivisionError"):
        AuthorsApp(make_app(GOOD, "import ftweb.simulation\n1 / 0"))


def test_a_mistake_in_the_simulation_names_function_file_and_line(
    make_app: Callable[..., Path],
) -> None:
    wrong = SIMULATION.replace('set(state["ballots"].values())', 'set(state["votes"])')
    (found,) = run_many(range(1), app_dir=make_app(GOOD, wrong)).violations
    line = wrong.splitlines().index('        assert set(state["votes"]) <= {"yes", "no"}') + 1
    assert str(found.violation) == (
        f"choices_are_choices: it raised KeyError: 'votes' (simulation.py:{line})"
    )
    wrong = SIMULATION.replace("person.state", "person.stat")
    (found,) = run_many(range(1), app_dir=make_app(GOOD, wrong)).violations
    assert "ask: it raised AttributeError: 'Person' object has no" in str(found.violation)


def test_what_requests_were_answered_with_is_told(make_app: Callable[..., Path]) -> None:
    choosy = GOOD.replace(
        "with server.change()",
        'if message["choice"] == "no": raise KeyError("no")\n        with server.change()',
    )
    summary = run_many(range(3), app_dir=make_app(choosy))
    assert [str(found.violation) for found in summary.violations] == []
    assert summary.votes
    assert summary.errors["handler_failed"] > 10
    seed, example = summary.examples["handler_failed"]
    assert seed == 0
    assert "receive raised KeyError: 'no'" in example


VOTING = Path(__file__).parents[2] / "examples" / "voting"


def test_the_example_holds_what_it_says() -> None:
    summary = run_many(range(1, 16), app_dir=VOTING)
    assert [str(found.violation) for found in summary.violations] == []
    assert summary.votes >= 15 * 30
    assert summary.with_host_change >= 8


@pytest.mark.parametrize(
    "line, broken, invariant",
    [
        (
            'poll["ballots"][device_id] = check_choice(poll, message.get("choice"))',
            'poll["ballots"].setdefault(device_id, check_choice(poll, message.get("choice")))',
            "the_last_ballot_counts",
        ),
        (
            'poll["ballots"][device_id] = check_choice(poll, message.get("choice"))',
            'poll["ballots"][f"x{device_id}"] = check_choice(poll, message.get("choice"))',
            "every_ballot_was_cast",
        ),
        (
            '            state["current"] = poll_id\n    return {"poll_id": poll_id}',
            '            state["current"] = "p0"\n    return {"poll_id": poll_id}',
            "the_current_poll_is_one_of_the_polls",
        ),
    ],
)
def test_a_broken_example_is_found(line: str, broken: str, invariant: str, tmp_path: Path) -> None:
    for name in ("app.py", "simulation.py"):
        text = (VOTING / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(line, broken), encoding="utf-8")
    summary = run_many(range(1, 21), app_dir=tmp_path)
    found = {result.violation.invariant for result in summary.violations if result.violation}
    assert invariant in found
