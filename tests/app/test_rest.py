"""May others still be going on in an epoch that was left? Held against a small model of Raft.

The model has terms, votes, logs and single changes of the configuration that are in force as soon
as they are appended, and nothing else: any order of steps that Raft allows can happen. Nodes leave
one after the other; as soon as the rule says that nobody can go on, nothing may ever be committed
that is in no log of those who left.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftweb.app.lineage import Rest
from ftweb.frames import Left

EPOCH = 7
NODES = ["bridge", "a", "b", "c", "d", "e", "f"]

type Record = tuple[int, int, tuple[str, ...] | None]
"""Term, a number that no other entry has, and the voters that it brings."""


@dataclass
class Member:
    """What a node has, and what it promised."""

    log: list[Record]
    term: int = 1
    leads: int = 0
    """The term in which it leads; 0 for none."""
    acknowledged: dict[str, int] = field(default_factory=dict)

    @property
    def configurations(self) -> list[tuple[str, ...]]:
        return [voters for _, _, voters in self.log if voters is not None]

    @property
    def end(self) -> tuple[int, int]:
        return self.log[-1][0], len(self.log)


class Group:
    """All nodes of an epoch."""

    def __init__(self, draw: random.Random, voters: int) -> None:
        self.draw = draw
        first: Record = (1, 0, tuple(NODES[:voters]))
        self.members = {name: Member(log=[first]) for name in NODES}
        self.gone: set[str] = set()
        self.committed: dict[int, Record] = {1: first}
        self.number = 0

    def step(self) -> None:
        """Anything that may happen."""
        kinds = [self._elect, self._append, self._replicate, self._replicate, self._replicate]
        self.draw.choice(kinds)()

    def leave(self, name: str) -> Left:
        """This one accepts nothing any more."""
        self.gone.add(name)
        member = self.members[name]
        term, index = member.end
        voters = list(member.configurations[-1])
        return Left(node=name, epoch=EPOCH, term=term, index=index, voters=voters)

    def _there(self) -> list[str]:
        return [name for name in NODES if name not in self.gone]

    def _elect(self) -> None:
        name = self.draw.choice(self._there())
        member = self.members[name]
        voters = member.configurations[-1]
        if name not in voters:
            return
        term = member.term = member.term + 1
        member.leads = 0
        votes = 0
        for other in self._there():
            voter = self.members[other]
            asked = other in voters and self.draw.random() < 0.8
            if other == name:
                votes += 1
            elif asked and voter.term < term and voter.end <= member.end:
                voter.term, voter.leads = term, 0
                votes += 1
        if 2 * votes > len(voters):
            member.leads, member.acknowledged = term, {}
            self._put(member, name, None)

    def _put(self, member: Member, name: str, voters: tuple[str, ...] | None) -> None:
        self.number += 1
        member.log.append((member.term, self.number, voters))
        self._acknowledge(member, name, len(member.log))

    def _leading(self) -> list[str]:
        return [n for n in self._there() if self.members[n].leads == self.members[n].term > 0]

    def _append(self) -> None:
        leading = self._leading()
        if not leading:
            return
        name = self.draw.choice(leading)
        member = self.members[name]
        voters: tuple[str, ...] | None = None
        own = next(i for i, (term, _, _) in enumerate(member.log, 1) if term == member.term)
        changed = max(i for i, (_, _, found) in enumerate(member.log, 1) if found)
        settled = self._committed_upto(member)
        if own <= settled and changed <= settled and self.draw.random() < 0.6:
            now = member.configurations[-1]
            other = self.draw.choice(NODES)
            if other not in now:
                voters = (*now, other)
            elif len(now) > 1:
                voters = tuple(voter for voter in now if voter != other)
        self._put(member, name, voters)

    def _replicate(self) -> None:
        leading = self._leading()
        if not leading:
            return
        name = self.draw.choice(leading)
        member = self.members[name]
        other = self.draw.choice(self._there())
        follower = self.members[other]
        if other == name or follower.term > member.term:
            return
        upto = self.draw.randint(1, len(member.log))
        if follower.term < member.term:
            follower.term, follower.leads = member.term, 0
        same = 0
        while same < min(len(follower.log), upto) and follower.log[same] == member.log[same]:
            same += 1
        if same < upto:
            follower.log = member.log[:upto]
        self._acknowledge(member, other, upto)

    def _acknowledge(self, leader: Member, name: str, upto: int) -> None:
        leader.acknowledged[name] = max(leader.acknowledged.get(name, 0), upto)
        settled = self._committed_upto(leader)
        for index in range(1, settled + 1):
            record = leader.log[index - 1]
            assert self.committed.setdefault(index, record) == record, "the model breaks Raft"

    def _committed_upto(self, leader: Member) -> int:
        voters = leader.configurations[-1]
        for index in range(len(leader.log), 0, -1):
            if leader.log[index - 1][0] != leader.term:
                break
            if 2 * sum(leader.acknowledged.get(v, 0) >= index for v in voters) > len(voters):
                return index
        return 0


def play(seed: int, lives: list[bool] | None = None) -> bool:
    """One story; gives whether the rule held. What it said is put into ``lives``."""
    draw = random.Random(seed)
    group = Group(draw, draw.randint(2, 5))
    for _ in range(draw.randint(5, 120)):
        group.step()
    first = group.leave("bridge")
    rest = Rest(
        epoch=EPOCH, term=first.term, index=first.index, voters=first.voters, gone=["bridge"]
    )
    known = dict(enumerate(group.members["bridge"].log, 1))
    leavers = draw.sample(NODES[1:], draw.randint(0, len(NODES) - 2))
    while True:
        if lives is not None:
            lives.append(rest.lives)
        if not rest.lives:
            for _ in range(200):
                group.step()
            logs = [group.members[name].log for name in group.gone]
            return all(
                any(len(log) >= index and log[index - 1] == record for log in logs)
                for index, record in group.committed.items()
            )
        for _ in range(draw.randint(0, 40)):
            group.step()
        if not leavers:
            return bool(known)
        rest = rest.without(group.leave(leavers.pop()))


@given(st.integers(0, 2**48))
def test_where_the_rule_says_so_nobody_goes_on(seed: int) -> None:
    assert play(seed)


def test_it_says_so_often_enough() -> None:
    lives: list[bool] = []
    for seed in range(400):
        assert play(seed, lives)
    assert lives.count(False) > 100
    assert lives.count(True) > 400


def majority(self: Rest) -> bool:
    """Forgets that an even set and its neighbour have only half in common."""
    return 2 * len(self.missed) > len(self.voters)


def shorter(self: Rest, left: Left) -> Rest:
    """Takes whoever has left for one who had nothing of its own."""
    return Rest(
        epoch=EPOCH,
        term=self.term,
        index=self.index,
        voters=self.voters,
        gone=[*self.gone, left.node],
    )


@pytest.mark.parametrize("name, wrong", [("lives", property(majority)), ("without", shorter)])
def test_each_part_of_the_rule_is_needed(
    name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rest, name, wrong)
    assert not all(play(seed) for seed in range(2_600, 2_700))


def test_a_word_counts_once_and_for_its_epoch_only() -> None:
    rest = Rest(epoch=EPOCH, term=2, index=10, voters=["x", "y", "z"], gone=["x"])
    left = Left(node="y", epoch=EPOCH, term=2, index=10)
    assert rest.lives
    assert rest.missed == {"y", "z"}
    assert rest.without(Left(node="y", epoch=EPOCH + 1, term=2, index=10)) is rest
    assert not rest.without(left).lives
    assert rest.without(left).without(left) == rest.without(left)
    longer = Left(node="y", epoch=EPOCH, term=2, index=11)
    assert rest.without(longer).lives, "it does not say which configurations it knew"


def test_a_bridge_that_was_the_only_voter_misses_nobody() -> None:
    assert not Rest(epoch=EPOCH, term=1, index=2, voters=["bridge"], gone=["bridge"]).lives
    assert Rest(epoch=EPOCH, term=1, index=2, voters=["x"], gone=["bridge"]).lives
    assert not Rest(epoch=EPOCH, term=0, index=0, voters=[]).lives
