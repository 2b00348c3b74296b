"""An in-memory cluster for the tests of the core: real nodes, a clock and a network of its own.

The network is a queue of messages with delivery times; a policy decides when, whether and how
often each arrives. Every step is checked against Raft's safety properties (figure 3.2).
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ftweb.core.configuration import EMPTY, from_data, may_follow, problem
from ftweb.core.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    RequestVote,
    RequestVoteResponse,
)
from ftweb.core.node import Node
from ftweb.core.ready import Ready
from ftweb.core.settings import Settings
from ftweb.core.types import (
    DeviceId,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    NodeKind,
    PeerInfo,
    Role,
    Snapshot,
)

type Policy = Callable[[Message], Iterable[float]]


def configuration_entry(
    voters: Iterable[str],
    learners: Iterable[str] = (),
    successors: Iterable[str] | None = None,
    *,
    index: int = 1,
    term: int = 1,
) -> Entry:
    voters, learners = list(voters), list(learners)
    listed = voters + learners if successors is None else list(successors)
    return Entry(
        index=index,
        term=term,
        kind=EntryKind.CONFIGURATION,
        data={"voters": voters, "learners": learners, "successors": listed},
    )


class Member:
    """A node with what its driver keeps: storage and state machine."""

    def __init__(self, cluster: Cluster, node_id: str, entries: Iterable[Entry] = ()) -> None:
        self.cluster = cluster
        self.id = NodeId(node_id)
        self.hard_state: HardState | None = None
        self.snapshot: Snapshot | None = None
        self.entries: dict[int, Entry] = {entry.index: entry for entry in entries}
        self.applied: list[Any] = []
        self.applied_index = 0
        self.alive = True
        self.paused = False
        self.readies: list[Ready] = []
        self.configuration = EMPTY
        self.node = self._make()

    def _make(self) -> Node:
        return Node(
            node_id=self.id,
            settings=self.cluster.settings,
            jitter=self.cluster.jitter,
            now=self.cluster.now,
            hard_state=self.hard_state,
            snapshot=self.snapshot,
            entries=[self.entries[index] for index in sorted(self.entries)],
        )

    def restart(self) -> None:
        """The same node from what it saved (a driver may do so while its storage is intact)."""
        self.applied, self.applied_index = [], 0
        if self.snapshot is not None:
            self._restore(self.snapshot)
        self.alive = True
        self.node = self._make()

    def drain(self) -> list[Message]:
        """Does all that the node wants done; returns the messages it sent."""
        sent: list[Message] = []
        while self.alive and (ready := self.node.ready()) is not None:
            self.readies.append(ready)
            del self.readies[:-50]
            self._save(ready)
            sent.extend(ready.messages)
            for entry in ready.committed:
                self._apply(entry)
        self.cluster.check(self)
        return sent

    def _save(self, ready: Ready) -> None:
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.snapshot is not None:
            self.snapshot = ready.snapshot
            self.entries.clear()
            self._restore(ready.snapshot)
        if ready.entries:
            first = ready.entries[0].index
            for index in [index for index in self.entries if index >= first]:
                del self.entries[index]
            self.entries.update({entry.index: entry for entry in ready.entries})

    def _restore(self, snapshot: Snapshot) -> None:
        self.applied = json.loads(snapshot.data)
        self.applied_index = snapshot.last_index
        self.cluster.check_snapshot(self)

    def _apply(self, entry: Entry) -> None:
        assert entry.index == self.applied_index + 1, "applied once and in order"
        self.applied_index = entry.index
        if entry.kind is EntryKind.COMMAND:
            self.applied.append(entry.data)
        self.cluster.check_applied(self, entry)

    def compact(self, index: int | None = None) -> Snapshot:
        upto = self.applied_index if index is None else index
        assert upto == self.applied_index, "the state machine is only known as of now"
        self.snapshot = self.node.compact(upto, json.dumps(self.applied))
        for old in [index for index in self.entries if index <= self.snapshot.last_index]:
            del self.entries[old]
        return self.snapshot


class Cluster:
    """Members, clock and network."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        jitter: Callable[[], float] = lambda: 0.0,
        policy: Policy = lambda message: (0.0,),
    ) -> None:
        self.settings = settings or Settings()
        self.jitter = jitter
        self.policy = policy
        self.now = 1000.0
        self.members: dict[str, Member] = {}
        self.cut: set[tuple[str, str]] = set()
        self.infos: dict[str, PeerInfo] = {}
        self.delivered = 0
        self.trace: Callable[[str], None] | None = None
        self._queue: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self.leaders: dict[int, str] = {}
        self.committed: dict[int, tuple[int, str]] = {}

    # --- members --------------------------------------------------------------------------

    def add(self, node_id: str, entries: Iterable[Entry] = ()) -> Member:
        member = self.members[node_id] = Member(self, node_id, entries)
        return member

    def start(
        self,
        voters: Iterable[str],
        learners: Iterable[str] = (),
        successors: Iterable[str] | None = None,
    ) -> Cluster:
        """Members that all hold the same first entry."""
        entry = configuration_entry(voters, learners, successors)
        for node_id in entry.data["voters"] + entry.data["learners"]:
            self.add(node_id, [entry])
        return self

    def node(self, node_id: str) -> Node:
        return self.members[node_id].node

    def crash(self, node_id: str) -> None:
        """Gone for good; nobody is told."""
        self.members[node_id].alive = False
        self.infos.pop(node_id, None)

    def live(self) -> list[Member]:
        return [member for member in self.members.values() if member.alive]

    def leader(self) -> Member | None:
        """The live leader of the highest term."""
        leading = [member for member in self.live() if member.node.role is Role.LEADER]
        return max(leading, key=lambda member: member.node.term, default=None)

    # --- directory ------------------------------------------------------------------------

    def info(
        self,
        node_id: str,
        device: str,
        *,
        kind: NodeKind = NodeKind.TAB,
        local: bool = False,
        visible: bool = True,
        ready: bool = True,
    ) -> PeerInfo:
        before = self.infos.get(node_id)
        info = PeerInfo(
            node_id=NodeId(node_id),
            device_id=DeviceId(device),
            kind=kind,
            local=local,
            visible=visible,
            since=before.since if before else self.now,
            ready=ready,
        )
        self.infos[node_id] = info
        return info

    def directory(self) -> None:
        """The bridges tell every live node who is there."""
        for member in self.live():
            if not member.paused:
                member.node.peers(list(self.infos.values()), self.now)
                self.send(member)

    def lost(self, node_id: str) -> None:
        """The bridges tell every live node that one has just gone."""
        for member in self.live():
            if not member.paused:
                member.node.lost(NodeId(node_id), self.now)
                self.send(member)

    # --- time and messages ----------------------------------------------------------------

    def send(self, member: Member) -> None:
        for message in member.drain():
            if (message.sender, message.to) in self.cut:
                continue
            for delay in self.policy(message):
                item = (self.now + delay, next(self._order), message)
                heapq.heappush(self._queue, item)

    def drop(self) -> int:
        """Loses everything that is under way; returns how much that was."""
        for member in self.live():
            if not member.paused:
                self.send(member)
        count = len(self._queue)
        self._queue.clear()
        return count

    def deliver(self) -> bool:
        """Delivers the next message that is due now."""
        for member in self.live():
            if not member.paused:
                self.send(member)
        while self._queue and self._queue[0][0] <= self.now:
            _, _, message = heapq.heappop(self._queue)
            to = self.members.get(message.to)
            if to is None or not to.alive or to.paused or (message.sender, message.to) in self.cut:
                continue
            self.delivered += 1
            if self.trace is not None:
                self.trace(describe(message))
            to.node.step(message, self.now)
            self.send(to)
            return True
        return False

    def stabilize(self) -> None:
        """Delivers all that is due now and what follows from it, without time passing."""
        for _ in range(100_000):
            if not self.deliver():
                return
        raise AssertionError("the nodes never stop talking")

    def advance(self, duration: float) -> None:
        """Lets time pass: ticks nodes when they are due, delivers messages when they are."""
        end = self.now + duration
        self.stabilize()
        turns = itertools.count()
        while True:
            assert next(turns) < 1000 + 100 * duration, "a node is due again and again"
            due = self._queue[0][0] if self._queue else math.inf
            for member in self.members.values():
                if member.alive and not member.paused:
                    due = min(due, member.node.next_deadline())
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            for member in self.live():
                if not member.paused and member.node.next_deadline() <= self.now:
                    member.node.tick(self.now)
                    self.send(member)
            self.stabilize()

    def advance_until(self, done: Callable[[], bool], limit: float = 60_000.0) -> float:
        """Lets time pass until something is so; returns how long that took."""
        began = self.now
        self.stabilize()
        while not done():
            assert self.now - began < limit, "it never came to that"
            self.advance(10.0)
        return self.now - began

    # --- safety (figure 3.2) --------------------------------------------------------------

    def check(self, member: Member) -> None:
        """Election Safety: at most one leader per term. Configurations: rule 7 of the package."""
        node = member.node
        if node.configuration != member.configuration:
            self.check_configurations(member)
            member.configuration = node.configuration
        if node.role is Role.LEADER:
            known = self.leaders.setdefault(node.term, member.id)
            assert known == member.id, f"{known} and {member.id} both lead in term {node.term}"

    def check_configurations(self, member: Member) -> None:
        """Along a log, consecutive configurations differ by one voter at most, and none is
        appended in a term before an entry of that term was."""
        configuration = member.node.configuration
        assert len(configuration.voters) <= self.settings.max_voters
        assert problem(configuration) is None or configuration == EMPTY
        previous: Entry | None = None
        noops = set()
        for index in sorted(member.entries):
            entry = member.entries[index]
            if entry.kind is EntryKind.NOOP:
                noops.add(entry.term)
            if entry.kind is EntryKind.CONFIGURATION:
                if previous is not None:
                    assert may_follow(from_data(previous.data), from_data(entry.data))
                    gap = min(member.entries) > 1  # an earlier no-op may be compacted away
                    assert gap or entry.term in noops or index == 1
                previous = entry

    def check_applied(self, member: Member, entry: Entry) -> None:
        """State Machine Safety: nobody applies another entry at the same index."""
        value = (entry.term, json.dumps([entry.kind, entry.data]))
        known = self.committed.setdefault(entry.index, value)
        assert known == value, f"{member.id} applied {value} at {entry.index}, another {known}"

    def check_snapshot(self, member: Member) -> None:
        """A snapshot stands for exactly the commands applied up to it."""
        commands = [
            json.loads(self.committed[index][1])[1]
            for index in range(1, member.applied_index + 1)
            if json.loads(self.committed[index][1])[0] == EntryKind.COMMAND
        ]
        assert member.applied == commands

    def check_logs(self) -> None:
        """Log Matching and Leader Completeness, over what the live nodes saved."""
        logs = [member.entries for member in self.live()]
        for one, other in itertools.combinations(logs, 2):
            agree = [i for i in one.keys() & other.keys() if one[i].term == other[i].term]
            if agree:
                for index in one.keys() & other.keys():
                    if index <= max(agree):
                        assert one[index] == other[index], f"logs differ below {max(agree)}"
        leader = self.leader()
        if leader is not None:
            for index, (term, _) in self.committed.items():
                if leader.entries and index >= min(leader.entries):
                    assert leader.entries[index].term == term, "a leader lacks what is committed"


def describe(message: Message) -> str:
    """One line for transcripts: route, kind and the fields that tell something."""
    words = [f"{message.sender}->{message.to}", type(message).__name__, f"term={message.term}"]
    if isinstance(message, RequestVote):
        words.append(f"last={message.last_log_index}/{message.last_log_term}")
        words += ["pre_vote"] * message.pre_vote + ["transfer"] * message.transfer
    elif isinstance(message, RequestVoteResponse):
        words += ["pre_vote"] * message.pre_vote
        words.append("granted" if message.granted else "refused")
    elif isinstance(message, AppendEntries):
        words.append(f"prev={message.prev_log_index}/{message.prev_log_term}")
        words.append(f"commit={message.commit_index}")
        words += [describe_entry(entry) for entry in message.entries]
    elif isinstance(message, AppendEntriesResponse):
        if message.success:
            words.append(f"match={message.match_index}")
        else:
            words.append(f"refused conflict={message.conflict_index}/{message.conflict_term}")
    elif isinstance(message, InstallSnapshot):
        end = message.offset + len(message.data)
        words.append(f"last={message.last_index}/{message.last_term}")
        words.append(f"characters={message.offset}..{end}/{message.total}")
    elif isinstance(message, InstallSnapshotResponse):
        words.append(f"last={message.last_index} wants={message.offset}")
    return " ".join(words)


def describe_entry(entry: Entry) -> str:
    text = f"{entry.index}/{entry.term}"
    if entry.kind is EntryKind.COMMAND:
        return f"{text}:{json.dumps(entry.data)}"
    if entry.kind is EntryKind.CONFIGURATION:
        return f"{text}:{describe_configuration(entry.data)}"
    return f"{text}:noop"


def describe_configuration(data: Any) -> str:
    names = ("voters", "learners", "successors")
    return "+".join(f"{name}({' '.join(data[name])})" for name in names if data[name])


@pytest.fixture
def make_cluster() -> type[Cluster]:
    """The class, to be called with settings, jitter and policy."""
    return Cluster


@pytest.fixture
def first_entry() -> Callable[..., Entry]:
    """Makes a CONFIGURATION entry, by default the first of a log."""
    return configuration_entry


@pytest.fixture
def show() -> Callable[[Message], str]:
    """Puts a message into one line."""
    return describe


@pytest.fixture
def show_entry() -> Callable[[Entry], str]:
    """Puts a log entry into a few characters."""
    return describe_entry
