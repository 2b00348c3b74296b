"""What a replica says when it leaves an epoch; all else is tested with its driver."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from ftweb import frames
from ftweb.app import Effect
from ftweb.core import NodeId
from ftweb.limits import LEFT_EPOCHS
from ftweb.replica import Clock, NodeStatus, Replica
from ftweb.storage import MemoryStorage, Saved

CLOCK = Clock(monotonic=lambda: 1000.0, wall=lambda: 0.0, jitter=random.Random(1).random)


class Paper:
    """Takes what the replica sends and tells."""

    def __init__(self) -> None:
        self.sent: list[frames.Frame] = []
        self.restorations = 0

    def applied(self, index: int, effects: Sequence[Effect]) -> None:
        pass

    def restored(self) -> None:
        self.restorations += 1

    def status(self, status: NodeStatus) -> None:
        pass


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def replica(paper: Paper) -> Replica:
    """In epoch 1, with nothing."""
    made = Replica(
        node_id=NodeId("n"),
        storage=MemoryStorage(),
        send=paper.sent.append,
        clock=CLOCK,
        listener=paper,
    )
    made.begin(Saved.nothing(epoch=1))
    return made


def enter(replica: Replica, epoch: int) -> None:
    replica.receive(frames.Enter(epoch=epoch))
    replica.turn()


def test_it_tells_of_the_last_epochs_that_it_has_left(replica: Replica) -> None:
    assert replica.left == []
    for epoch in range(2, LEFT_EPOCHS + 4):
        enter(replica, epoch)
    left = [(one.node, one.epoch) for one in replica.left]
    assert left == [("n", epoch) for epoch in range(3, LEFT_EPOCHS + 3)]


def test_it_never_goes_back(replica: Replica) -> None:
    enter(replica, 3)
    enter(replica, 2)
    assert replica.epoch == 3
    assert [one.epoch for one in replica.left] == [1]


def test_of_the_epoch_before_it_answers_of_others_not(replica: Replica, paper: Paper) -> None:
    enter(replica, 3)
    replica.receive(frames.Recall(epoch=2, term=0, index=0))
    replica.receive(frames.Recall(epoch=1, term=0, index=0))
    replica.turn()
    (answer,) = (frame for frame in paper.sent if isinstance(frame, frames.Recalled))
    assert (answer.epoch, answer.items, answer.last, answer.left) == (1, [], True, None)


def test_after_its_end_it_takes_no_part(replica: Replica, paper: Paper) -> None:
    assert list(replica.end()) == [], "it had nothing"
    told = paper.restorations
    enter(replica, 2)
    assert replica.epoch == 1
    assert paper.restorations == told
