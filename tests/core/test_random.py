"""Seeded random schedules against the whole core, upkeep included.

Each seed makes a class: a bridge first, then tabs and phones that come, go, freeze, reload, hide
and show; a network that loses, repeats, delays and reorders; partitions, one-way cuts, wrong and
missing lost-hints, directories that come late, restarts from storage, snapshots, hand-overs,
proposals all the while. The cluster checks safety at each step (see conftest); at the end all is
healed and the group must be well again within ten election timeouts.

Crashes keep a majority of voters alive and reachable in every configuration that a live member
holds: what happens beyond that is not this module's subject.

``FTWEB_SEEDS=1000-1999`` runs those instead. A failure prints its seed; the schedule is a
function of it alone.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from ftweb.core import quorum
from ftweb.core.messages import Message
from ftweb.core.presence import BRIDGE, rank_class
from ftweb.core.settings import Settings
from ftweb.core.types import NodeId, NodeKind, Role
from ftweb.errors import NotLeaderError

if TYPE_CHECKING:
    from tests.core.conftest import Cluster, Member

DURATION = 12_000.0
"""Virtual milliseconds of chaos per seed."""

DEFAULT_SEEDS = range(200)
CHUNK = 20
"""Seeds per test case: fewer lines in the report."""


def seeds() -> list[range]:
    asked = os.environ.get("FTWEB_SEEDS")
    chosen = DEFAULT_SEEDS
    if asked:
        first, _, last = asked.partition("-")
        chosen = range(int(first), int(last or first) + 1)
    return [
        range(start, min(start + CHUNK, chosen.stop))
        for start in range(chosen.start, chosen.stop, CHUNK)
    ]


class Chaos:
    """One seed's schedule."""

    def __init__(self, cluster_type: type[Cluster], seed: int) -> None:
        self.random = random.Random(seed)
        draw = self.random
        self.loss = draw.choice([0.0, 0.0, 0.02, 0.1, 0.3])
        self.repeat = draw.choice([0.0, 0.02, 0.1])
        self.delay = draw.choice([(0.0, 1.0), (1.0, 10.0), (5.0, 80.0), (25.0, 125.0)])
        self.hints = draw.choice([1.0, 1.0, 0.7, 0.0])
        settings = Settings(trailing_entries=draw.choice([0, 3, 50]), snapshot_chunk_chars=40)
        self.cluster = cluster_type(settings, jitter=draw.random, policy=self.policy)
        self.count = 0
        self.proposed = 0
        self.directory_due: float | None = None
        first_entry = self._first_entry()
        self.cluster.add("b0", [first_entry])
        self.cluster.info("b0", "laptop0", kind=NodeKind.BRIDGE, local=True)
        self.tell_directory()

    @staticmethod
    def _first_entry() -> Any:
        from ftweb.core.types import Entry, EntryKind

        data = {"voters": ["b0"], "learners": [], "successors": ["b0"]}
        return Entry(index=1, term=1, kind=EntryKind.CONFIGURATION, data=data)

    def policy(self, message: Message) -> list[float]:
        draw = self.random.random
        low, high = self.delay
        if draw() < self.loss:
            return []
        delays = [low + (high - low) * draw()]
        if draw() < self.repeat:
            delays.append(high * 5 * draw())
        return delays

    # --- events ---------------------------------------------------------------------------

    def run(self) -> bool:
        cluster = self.cluster
        end = cluster.now + DURATION
        events = [
            (self.join, 3),
            (self.crash, 3),
            (self.freeze, 2),
            (self.thaw, 3),
            (self.partition, 1),
            (self.one_way, 1),
            (self.heal, 2),
            (self.toggle, 2),
            (self.wrong_hint, 1),
            (self.propose, 12),
            (self.compact, 2),
            (self.hand_over, 1),
            (self.restart, 1),
            (self.reconnect, 1),
        ]
        kinds = [event for event, weight in events for _ in range(weight)]
        while cluster.now < end:
            cluster.advance(self.random.choice([0.0, 1.0, 20.0, 100.0, 400.0]))
            self.random.choice(kinds)()
            if self.directory_due is not None and cluster.now >= self.directory_due:
                self.tell_directory()
        return self.recover()

    def join(self) -> None:
        live = self.cluster.live()
        if len(live) >= 9:
            return
        self.count += 1
        draw = self.random
        if draw.random() < 0.1:
            device = f"laptop{draw.randrange(2)}"
            name = f"b{self.count}"
            self.cluster.add(name)
            self.cluster.info(name, device, kind=NodeKind.BRIDGE, local=True)
        elif draw.random() < 0.4:
            name = f"t{self.count}"
            self.cluster.add(name)
            self.cluster.info(name, f"laptop{draw.randrange(2)}", local=True)
        else:
            name = f"p{self.count}"
            self.cluster.add(name)
            self.cluster.info(name, f"phone{draw.randrange(6)}", visible=draw.random() < 0.8)
        self.directory_later()

    def survivable(self, victim: str) -> bool:
        cut = {node for pair in self.cluster.cut for node in pair}
        alive = {
            member.id
            for member in self.cluster.live()
            if member.id != victim and not member.paused and member.id not in cut
        }
        for member in self.cluster.live():
            configuration = member.node.configuration
            if member.id in configuration.members and not quorum.holds(configuration.voters, alive):
                return False
        return True

    def crash(self) -> None:
        victim = self.random.choice(self.cluster.live())
        leader = self.cluster.leader()
        if leader is not None and self.random.random() < 0.5:
            victim = leader
        if not self.survivable(victim.id):
            return
        self.cluster.crash(victim.id)
        self.hint(victim.id)
        self.directory_later()

    def hint(self, gone: str) -> None:
        for member in self.cluster.live():
            if not member.paused and self.random.random() < self.hints:
                member.node.lost(NodeId(gone), self.cluster.now)
                self.cluster.send(member)

    def freeze(self) -> None:
        self.random.choice(self.cluster.live()).paused = True

    def thaw(self) -> None:
        for member in self.cluster.live():
            if member.paused and self.random.random() < 0.7:
                member.paused = False
                if self.random.random() < 0.5:
                    self.reconnected(member)

    def reconnected(self, member: Member) -> None:
        info = self.cluster.infos.pop(member.id, None)
        if info is not None:
            self.cluster.info(
                info.node_id,
                info.device_id,
                kind=info.kind,
                local=info.local,
                visible=info.visible,
            )
            self.directory_later()

    def reconnect(self) -> None:
        member = self.random.choice(self.cluster.live())
        self.hint(member.id)
        self.reconnected(member)

    def partition(self) -> None:
        names = [member.id for member in self.cluster.live()]
        side = {name for name in names if self.random.random() < 0.5}
        for one in names:
            for other in names:
                if (one in side) != (other in side):
                    self.cluster.cut.add((one, other))

    def one_way(self) -> None:
        live = self.cluster.live()
        if len(live) > 1:
            one, other = self.random.sample(live, 2)
            self.cluster.cut.add((one.id, other.id))

    def heal(self) -> None:
        self.cluster.cut.clear()

    def toggle(self) -> None:
        member = self.random.choice(self.cluster.live())
        info = self.cluster.infos.get(member.id)
        if info is not None and rank_class(info) != BRIDGE:
            self.cluster.info(
                info.node_id, info.device_id, local=info.local, visible=not info.visible
            )
            self.directory_later()

    def wrong_hint(self) -> None:
        self.hint(self.random.choice(self.cluster.live()).id)

    def propose(self) -> None:
        for member in self.cluster.live():
            if member.node.role is Role.LEADER and not member.paused:
                for _ in range(self.random.choice([1, 1, 3])):
                    self.proposed += 1
                    try:
                        member.node.propose(self.proposed, self.cluster.now)
                    except NotLeaderError:
                        break
                self.cluster.send(member)

    def compact(self) -> None:
        member = self.random.choice(self.cluster.live())
        if member.applied_index:
            member.compact()

    def hand_over(self) -> None:
        leader = self.cluster.leader()
        if leader is not None and not leader.paused:
            target = self.random.choice(self.cluster.live())
            leader.node.transfer_leadership(target.id, self.cluster.now)
            self.cluster.send(leader)

    def restart(self) -> None:
        self.random.choice(self.cluster.live()).restart()

    # --- the directory --------------------------------------------------------------------

    def directory_later(self) -> None:
        if self.directory_due is None:
            self.directory_due = self.cluster.now + self.random.choice([0.0, 5.0, 50.0, 500.0])

    def tell_directory(self) -> None:
        """To the leaders, as bridges do; sometimes others know it too."""
        self.directory_due = None
        infos = list(self.cluster.infos.values())
        for member in self.cluster.live():
            leads = member.node.role is Role.LEADER
            if not member.paused and (leads or self.random.random() < 0.2):
                member.node.peers(infos, self.cluster.now)
                self.cluster.send(member)

    # --- the end --------------------------------------------------------------------------

    def recover(self) -> bool:
        """All is healed: within ten election timeouts the group must be well. Returns False if
        it cannot be, because a quorum is gone."""
        cluster = self.cluster
        cluster.cut.clear()
        self.loss = self.repeat = 0.0
        self.delay = (1.0, 5.0)
        for member in cluster.live():
            if member.paused:
                member.paused = False
        told: set[tuple[str, int]] = set()

        def well() -> bool:
            leader = cluster.leader()
            if leader is None:
                return False
            if (leader.id, leader.node.term) not in told:
                told.add((leader.id, leader.node.term))
                leader.node.peers(list(cluster.infos.values()), cluster.now)
                cluster.send(leader)
            return self.is_well(leader)

        limit = 10 * cluster.settings.election_timeout
        try:
            cluster.advance_until(well, limit)
        except AssertionError:
            if not self.quorum_lives():
                return False
            raise
        for attempt in range(3):  # a hand-over that was under way may still take the lead away
            cluster.advance_until(lambda: cluster.leader() is not None, limit)
            leader = cluster.leader()
            assert leader is not None
            leader.node.propose(f"last {attempt}", cluster.now)
            cluster.advance(cluster.settings.election_timeout)
            members = [cluster.members[node] for node in leader.node.configuration.members]
            if all(f"last {attempt}" in member.applied for member in members):
                break
        else:
            raise AssertionError("nothing is committed any more")
        cluster.check_logs()
        for member in members:
            assert member.applied == leader.applied
        assert len(set(map(str, leader.applied))) == len(leader.applied)
        return True

    def quorum_lives(self) -> bool:
        """A voter that crashes unnoticed in the round trip in which the voters change leaves a
        quorum dead, against the schedule's intent (departure B of the package)."""
        members = self.cluster.live()
        longest = max(
            (member for member in members if member.entries),
            key=lambda member: (member.entries[max(member.entries)].term, max(member.entries)),
        )
        return quorum.holds(longest.node.configuration.voters, {m.id for m in members})

    def is_well(self, leader: Member) -> bool:
        """Led from the best place, an odd number of voters, all alive, nothing pending."""
        node = leader.node
        configuration = node.configuration
        alive = {member.id for member in self.cluster.live()}
        ranks = [rank_class(self.cluster.infos[m]) for m in configuration.members if m in alive]
        own = rank_class(self.cluster.infos[leader.id])
        tabs = [i for i in self.cluster.infos.values() if i.kind is NodeKind.TAB and i.ready]
        return (
            node.quorum_active
            and set(configuration.members) <= alive
            and len(configuration.voters) % 2 == 1
            and own == min([*ranks, BRIDGE])
            and sum(self.cluster.infos[m].kind is NodeKind.TAB for m in configuration.members)
            == min(len(tabs), self.cluster.settings.max_tabs)
            and node.commit_index == node.last_index
            and not node.transferring
        )


@pytest.mark.parametrize("chunk", seeds(), ids=lambda chunk: f"{chunk.start}-{chunk.stop - 1}")
def test_random_schedules(make_cluster: type[Cluster], chunk: range) -> None:
    lost = 0
    for seed in chunk:
        try:
            lost += not Chaos(make_cluster, seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert lost <= 1, "a quorum may get lost by bad luck, but not as often as that"
