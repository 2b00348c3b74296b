"""Epochs: their numbers, their lineage, and which of two histories stays when they meet.

A history is a tree. Every epoch but the first was begun by one bridge from its own replica: after
a restart, or because the quorum was gone for good. The *lineage* of an epoch lists its ancestors,
each with the last entry (term, index) that this branch has of it. Rules:

1. **Numbers.** An epoch's number is ``generation * 2**20 + salt``: higher means later on the whole,
   and two that begin at the same time without knowing of one another still differ.
2. **Indexes jump.** A new epoch's log begins a salted distance after what it goes on from
   (:func:`first_index`). So a session number, which is an index, tells in which branch it was
   given: one that lies in a gap, or ahead of the log, was given elsewhere.
3. **Who stays.** Of two epochs, the branches that left their last common ancestor are compared:
   whichever has the ancestor's log to the higher (term, index) stays. By Raft's argument that log
   holds every entry that a quorum of the ancestor had accepted, so nothing that was acknowledged
   there is missing. An epoch that *is* the ancestor stays: it has the log to its end. Equal
   branches are told apart by their numbers. This compares paths in a tree word by word, so it is
   a total order: the same at both sides, for any number of epochs, in whatever order they meet.
   What changes while they talk (how long a history is, who is heard) is left out on purpose.
4. **Who cannot go.** A branch can be given up only if the requests in it can be run again in the
   other: its journal reaches back to the common ancestor, or it has nothing of its own. If one
   cannot go, the other does; if neither can, rule 3 decides and the loser's data is kept aside.
5. **Who has nothing of its own** is a bridge without a quorum whose log of an ancestor does not
   reach further than the point at which the other branch left it: all it ever acknowledged is in
   the other one, which it may simply join.
6. A bridge goes to the other epoch only while that one has a quorum; otherwise both wait.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec

from ftweb.limits import ID_CHARS, LINEAGE

SALTS: Final = 2**20
"""Numbers of one generation. With it, 2**33 generations fit into what JavaScript holds exactly."""

GAP: Final = 2**16
"""Step by which a salt moves the beginning of a log: more than the entries that may be on their
way. 100,000 epochs still fit into 53 bits."""

LEAST_GAPS: Final = 256
"""Least distance between the logs of two epochs, in steps: 16 million entries, more than one epoch
appends while another one is begun beside it."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


def generation_of(epoch: int) -> int:
    """How many epochs there were up to this one: what people are shown."""
    return epoch // SALTS


def next_epoch(after: int, salt: int) -> int:
    """The number of an epoch that begins after another one (0: the first).

    Args:
        after: the highest number known.
        salt: random; whoever begins an epoch elsewhere draws another one.
    """
    return (generation_of(after) + 1) * SALTS + salt % SALTS


def first_index(last: int, epoch: int) -> int:
    """Up to where the log of an epoch counts as compacted, if it goes on from ``last``."""
    return last + (LEAST_GAPS + epoch % SALTS) * GAP


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """Where a branch left an ancestor."""

    epoch: Count
    """The ancestor."""
    term: Count
    index: Count
    """The last entry that this branch has of it."""
    base: Count
    """What followed has higher indexes than this; none lies between (rule 2)."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a bridge tells others of its history.

    Attributes:
        bridge: the bridge's own id.
        epoch: 0 for a newcomer, who has no history yet.
        lineage: the ancestors, oldest first.
        since: the journal holds every request since that epoch was left; 0: there is none.
        term, index: of the last entry of its log.
        applied: the last entry that is known to be committed.
        quorum: a majority of the voters can be reached from here.
    """

    bridge: Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARS)]
    epoch: Count
    lineage: Annotated[list[Fork], msgspec.Meta(max_length=LINEAGE)] = []
    since: Count = 0
    term: Count = 0
    index: Count = 0
    applied: Count = 0
    quorum: bool = False


class Verdict(enum.Enum):
    """What a bridge does about another one's history."""

    TOGETHER = "together"
    """They are in the same epoch."""
    STAY = "stay"
    JOIN = "join"
    """Give up the own epoch, run what is in its journal again in the other."""
    ASIDE = "aside"
    """Give up the own epoch, which cannot be run again: keep its data aside."""
    WAIT = "wait"
    """The other one stays, but has no quorum to join yet."""


def judge(mine: Summary, theirs: Summary) -> Verdict:
    """What ``mine`` does now that it knows ``theirs`` (rules 3 to 6).

    Whatever one side is told to do, the other side is not told to come over.
    """
    if mine.epoch == theirs.epoch:
        return Verdict.TOGETHER
    if not theirs.epoch:
        return Verdict.STAY
    if not mine.epoch:
        return Verdict.JOIN if theirs.quorum else Verdict.WAIT
    if _has_nothing_of_its_own(mine, theirs):
        return Verdict.JOIN if theirs.quorum else Verdict.WAIT
    can_go, they_can_go = _can_go(mine, theirs), _can_go(theirs, mine)
    loses = _rank(mine, theirs) < _rank(theirs, mine) if can_go == they_can_go else can_go
    if not loses:
        return Verdict.STAY
    if not theirs.quorum:
        return Verdict.WAIT
    return Verdict.JOIN if can_go else Verdict.ASIDE


def common_ancestor(one: Summary, other: Summary) -> int:
    """The last epoch in which both were; 0 if there is none."""
    theirs = set(_path(other))
    return next((epoch for epoch in reversed(_path(one)) if epoch in theirs), 0)


def _path(summary: Summary) -> list[int]:
    return [*(fork.epoch for fork in summary.lineage), summary.epoch]


def _left(summary: Summary, ancestor: int) -> tuple[tuple[int, int], int] | None:
    """Where this branch left an ancestor, and the number of the epoch that it went to; None if it
    is still there."""
    path = _path(summary)
    for place, fork in enumerate(summary.lineage):
        if fork.epoch == ancestor:
            return (fork.term, fork.index), path[place + 1]
    return None


def _rank(one: Summary, other: Summary) -> tuple[int, tuple[int, int], int]:
    """Rule 3: the higher one stays."""
    ancestor = common_ancestor(one, other)
    if not ancestor:
        # Two beginnings of one server, as when a data directory was lost: no order is better than
        # another, but there has to be one.
        return 0, (0, 0), _path(one)[0]
    left = _left(one, ancestor)
    return (1, (0, 0), 0) if left is None else (0, *left)


def _can_go(one: Summary, other: Summary) -> bool:
    """Rule 4: whether all that this branch alone has is in its journal."""
    if not one.since:
        return False
    ancestor = common_ancestor(one, other)
    path = _path(one)
    return ancestor != 0 and one.since in path and path.index(one.since) <= path.index(ancestor)


def _has_nothing_of_its_own(one: Summary, other: Summary) -> bool:
    """Rule 5."""
    if one.quorum or one.epoch != common_ancestor(one, other):
        return False
    left = _left(other, one.epoch)
    return left is not None and (one.term, one.index) <= left[0]


def begins(mine: Summary, linked: list[Summary]) -> bool:
    """Whether a bridge whose quorum is gone for good is the one to begin a new epoch.

    Of those that are linked, in the same epoch and without a quorum, the one whose log reaches
    furthest is: so the others have nothing of their own (rule 5) and join it. A bridge that can
    go to somebody else's epoch goes there and begins none.
    """
    for other in linked:
        verdict = judge(mine, other)
        if verdict in (Verdict.JOIN, Verdict.ASIDE):
            return False
        if verdict is Verdict.TOGETHER and (
            other.quorum or (_end(other), mine.bridge) > (_end(mine), other.bridge)
        ):
            return False
    return not mine.quorum and mine.epoch != 0


def _end(summary: Summary) -> tuple[int, int]:
    return summary.term, summary.index
