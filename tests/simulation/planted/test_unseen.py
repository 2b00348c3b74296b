"""Bugs that break no promise, so that no schedule can show them: scripted tests catch these.

* *A message of a lower term left unanswered*: in etcd such a node was stuck for ever. Here upkeep
  drops who does not answer, and asks it for a sign of life with messages that it does not answer
  either: one replica less, and nobody is told anything wrong.
* *Hand-over to one that is not caught up*: its log is behind, so the voters refuse it, and the old
  leader goes on after one election timeout.
* *Two hand-overs at once*: two candidates in one term, of which one can win.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from ftweb.core.election import Election
from ftweb.core.follower import Follower
from ftweb.core.leadership import Leadership
from ftweb.core.messages import TimeoutNow
from ftweb.simulation.plan import draw_plan
from ftweb.simulation.schedule import run
from tests.core import test_dissertation as scripts
from tests.core.conftest import configuration_entry

type Patch = pytest.MonkeyPatch


def lower_terms_left_unanswered(patch: Patch) -> None:
    original = Election.answer

    def answer(self: Election, message: Any) -> None:
        if message.term >= self._state.term:
            original(self, message)

    patch.setattr(Follower, "refuse_old_term", lambda self, message: None)
    patch.setattr(Election, "answer", answer)


def transfer_to_one_not_caught_up(patch: Patch) -> None:
    def go_on(self: Leadership, answered: Any) -> None:
        if self.transfer is not None and self.transfer.target == answered:
            state = self._state
            state.outbox.append(TimeoutNow(sender=state.node_id, to=answered, term=state.term))

    patch.setattr(Leadership, "_continue_transfer", go_on)


def two_transfers_at_once(patch: Patch) -> None:
    original = Leadership.begin_transfer

    def begin(self: Leadership, to: Any) -> bool:
        self.transfer = None
        return original(self, to)

    patch.setattr(Leadership, "begin_transfer", begin)


def single(*entries: Any, **options: Any) -> scripts.Single:
    return scripts.Single(configuration_entry, *entries, **options)


TERMS, TRANSFER = scripts.TestTerms(), scripts.TestTransfer()

CAUGHT: dict[Callable[[Patch], None], Callable[..., None]] = {
    lower_terms_left_unanswered: (TERMS.test_a_message_of_a_lower_term_is_answered_with_the_higher),
    transfer_to_one_not_caught_up: TRANSFER.test_waits_until_the_target_has_everything,
    two_transfers_at_once: TRANSFER.test_one_at_a_time_and_given_up_after_an_election_timeout,
}


@pytest.mark.parametrize("plant", CAUGHT, ids=lambda plant: plant.__name__)
def test_a_scripted_test_catches_it(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    script = CAUGHT[plant]
    script(single)
    plant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        script(single)


@pytest.mark.parametrize("plant", CAUGHT, ids=lambda plant: plant.__name__)
def test_no_schedule_shows_it(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    logging.disable(logging.CRITICAL)
    try:
        plant(monkeypatch)
        for seed in range(10):
            assert run(draw_plan(seed)).violation is None
    finally:
        logging.disable(logging.NOTSET)
