"""Bridges that were apart and meet again: schedules, what they once found, and planted bugs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ftweb.app import lineage as lineages
from ftweb.app import sessions
from ftweb.app.lineage import Lineage
from ftweb.epochs import Summary, Verdict
from ftweb.relay import meeting as meetings
from ftweb.relay.meeting import Meeting
from ftweb.simulation.apart import run_apart
from ftweb.simulation.apart_plan import draw_apart
from ftweb.storage import Switching

SCHEDULES = 300
CHUNK = 25


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


COUNTED: Counter[str] = Counter()


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_every_acknowledged_vote_counts_once_after_the_heal(first: int) -> None:
    for seed in range(first, first + CHUNK):
        result = run_apart(draw_apart(seed))
        assert result.violation is None, f"seed {seed}: {result.violation}"
        COUNTED.update(result.counts)
        COUNTED["votes"] += result.votes


def test_the_schedules_say_something() -> None:
    if not COUNTED:  # this test alone
        for seed in range(CHUNK):
            COUNTED.update(run_apart(draw_apart(seed)).counts)
    for kind in ("partition", "epochs begun", "epochs entered", "nodes replaced", "move"):
        assert COUNTED[kind] >= CHUNK, kind
    assert COUNTED["bridge killed"] >= CHUNK // 5


FOUND = {
    "a directory from before the partition made an epoch firm": (63, 76),
    "frames left over from the old epoch led a newcomer back into it": (28, 124, 183),
    "the saved log's own end made the epoch firm, and its requests were in no journal": (249, 382),
    "a member that missed the last changes claimed a quorum that was none": (111,),
    "where a node had left the last epoch but one, only a bridge knew that had crashed": (935,),
    "a learner of another bridge's later epoch was replaced by nobody": (118,),
}
"""What schedules have found, and the seeds of those that did."""


@pytest.mark.parametrize("seed", [seed for seeds in FOUND.values() for seed in seeds])
def test_what_was_found_once_stays_away(seed: int) -> None:
    assert run_apart(draw_apart(seed)).violation is None


@pytest.mark.parametrize("seed", [3, 63])
def test_a_seed_is_one_story(seed: int) -> None:
    assert run_apart(draw_apart(seed)).digest == run_apart(draw_apart(seed)).digest


def test_waiting_refuses_and_loses_nothing() -> None:
    plans = [plan for plan in map(draw_apart, range(60)) if not plan.continues]
    assert len(plans) >= 3
    for plan in plans:
        result = run_apart(plan)
        assert result.violation is None


# --- planted bugs ---------------------------------------------------------------------------------

type Plant = Callable[[pytest.MonkeyPatch], None]


def _journal_not_in_the_snapshot(patch: pytest.MonkeyPatch) -> None:
    original = Lineage.load

    def load(self: Lineage, data: Any) -> None:
        original(self, {**data, "journal": []})

    patch.setattr(Lineage, "load", load)


def _holes_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sessions, "_dig", lambda session, first, last: None)


def _node_id_kept(patch: pytest.MonkeyPatch) -> None:
    original = Meeting.__init__

    def init(self: Meeting, **arguments: Any) -> None:
        replica = arguments["replica"]
        original(self, **{**arguments, "new_node_id": lambda: replica.node_id})

    patch.setattr(Meeting, "__init__", init)


def _both_sides_keep(patch: pytest.MonkeyPatch) -> None:
    from ftweb.epochs import judge as original

    def judge(mine: Summary, theirs: Summary) -> Verdict:
        verdict = original(mine, theirs)
        return Verdict.STAY if verdict is Verdict.JOIN and mine.epoch else verdict

    patch.setattr(meetings, "judge", judge)


def _replay_not_durable(patch: pytest.MonkeyPatch) -> None:
    original = Switching.arrive
    patch.setattr(Switching, "arrive", lambda self, replays: original(self, ()))


def _arrival_ahead_of_the_new_replica(patch: pytest.MonkeyPatch) -> None:
    """The journal is written when the bridge leaves, and then forgotten when it goes back."""
    original = Meeting._leave

    def leave(self: Meeting, mine: Summary, goal: Summary) -> None:
        self._replica.machine.lineage.journal.clear()
        original(self, mine, goal)

    patch.setattr(Meeting, "_leave", leave)


def _tail_not_journaled(patch: pytest.MonkeyPatch) -> None:
    def start(self: Lineage, epoch: int) -> None:
        self._tail = epoch, lineages._Forgetful()  # type: ignore[attr-defined]

    class Forgetful(list[Any]):
        def append(self, item: Any) -> None:
            pass

    patch.setattr(lineages, "_Forgetful", Forgetful, raising=False)
    patch.setattr(Lineage, "start_journal", start)


PLANTED: dict[str, tuple[Plant, int]] = {
    "journal left out of the snapshot": (_journal_not_in_the_snapshot, 40),
    "holes forgotten": (_holes_forgotten, 60),
    "both sides keep": (_both_sides_keep, 10),
    "pending replay not durable": (_replay_not_durable, 150),
    "journal dropped on leaving": (_arrival_ahead_of_the_new_replica, 20),
    "end of the saved log not journaled": (_tail_not_journaled, 100),
    "node id kept in the other epoch": (_node_id_kept, 20),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    plant, within = PLANTED[name]
    plant(monkeypatch)
    for seed in range(within):
        violation = run_apart(draw_apart(seed)).violation
        if violation is not None:
            record_property("schedules", seed + 1)
            record_property("invariant", violation.invariant)
            return
    pytest.fail(f"not caught within {within} schedules")
