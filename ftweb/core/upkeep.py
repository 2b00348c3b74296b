"""Upkeep: which single change of the configuration to make next. Pure: no clock, no state.

Wanted, in this order (the package docstring gives the reasons):

1. *Members*: every bridge, and at most ``max_tabs`` tabs: the leader, then by rank, one per
   device first. Dead and shunned nodes are not members.
2. *Voters* are members that are caught up: bridges, and the best tab of each device. Hidden
   phones only if there is nobody else. Always an odd number:

   - five, at most two on a device, if three devices or more can give them; with several bridges
     one on each device first, since then no laptop is needed;
   - else three, one on each of three devices, or with two devices bridge, tab and the other;
   - else one, a bridge if there is one.

   So no device holds so many that the others lack a majority, once there are three.
3. *Successors*: members that are caught up, by class of rank, then longest up, then round trip.
   Bridges are last.

The way there is one voter at a time, and only over configurations whose majority answers now.
From an even number a dead voter is removed at once: that needs one acknowledgement less. From an
odd number it needs as many as before, of fewer; so, if the set is not full, its replacement
comes first, and if the dead one turns out to live after all, it helps until then. Others leave
when the set is filled, and only while all that stay answer: from five to four is one loss less
to survive. Learners and successors follow along in the same entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from ftweb.core import quorum
from ftweb.core.presence import REMOTE_HIDDEN, rank_class
from ftweb.core.settings import Settings
from ftweb.core.types import (
    Configuration,
    DeviceId,
    Milliseconds,
    NodeId,
    NodeKind,
    PeerInfo,
    Record,
)

type Rank = tuple[int, bool, Milliseconds, Milliseconds, NodeId]


class Situation(Record, frozen=True, kw_only=True):
    """All that upkeep looks at."""

    configuration: Configuration
    leader: NodeId
    infos: Mapping[NodeId, PeerInfo]
    """The directory. Members missing in it are being waited for, and stay as they are."""
    dead: AbstractSet[NodeId]
    shunned: AbstractSet[NodeId]
    caught_up: AbstractSet[NodeId]
    """Members that would not hold a quorum up, the leader included."""
    alive: AbstractSet[NodeId]
    """Members that answer, the leader included."""
    settings: Settings


def next_configuration(situation: Situation) -> Configuration | None:
    """The next change, or None if all is as wanted or must wait."""
    old = situation.configuration
    members = _wanted_members(situation)
    voters = _next_voters(situation, members)
    keep = set(voters)
    learners = tuple(node for node in old.members if node in members and node not in keep)
    learners += tuple(node for node in members if node not in keep and node not in learners)
    new = Configuration(
        voters=voters,
        learners=learners,
        successors=_successors(situation, set(voters + learners)),
    )
    same_members = set(new.voters) == set(old.voters) and set(new.learners) == set(old.learners)
    if same_members:
        waiting = any(node not in situation.infos for node in old.members)
        if waiting or new.successors == old.successors:
            return None
    return new


def _wanted_members(situation: Situation) -> list[NodeId]:
    """Rule 1, best first. Members that are missing in the directory but not dead stay."""
    old = situation.configuration
    barred = (situation.dead | situation.shunned) - {situation.leader}
    waiting = [node for node in old.members if node not in situation.infos and node not in barred]
    here = [
        info
        for node, info in situation.infos.items()
        if node not in barred and (info.ready or node in old.members)
    ]
    here.sort(key=_sticky_rank(old.members, situation.leader))
    bridges = [info.node_id for info in here if info.kind is NodeKind.BRIDGE]
    tabs = [info for info in here if info.kind is NodeKind.TAB]
    places = situation.settings.max_tabs - len(waiting)
    return [*_spread(tabs, places), *waiting, *bridges]


def _spread(tabs: Iterable[PeerInfo], places: int) -> list[NodeId]:
    """Takes tabs in order, one per device first, then further ones of the same devices."""
    first: list[NodeId] = []
    further: list[NodeId] = []
    devices: set[DeviceId] = set()
    for info in tabs:
        (further if info.device_id in devices else first).append(info.node_id)
        devices.add(info.device_id)
    return (first + further)[: max(places, 0)]


def _sticky_rank(
    incumbents: Sequence[NodeId], leader: NodeId | None = None
) -> Callable[[PeerInfo], tuple[bool, Rank]]:
    """By class; within one, incumbents stay; then longest up, then round trip. The leader,
    if given, comes before all: it has its place as long as it leads."""

    def key(info: PeerInfo) -> tuple[bool, Rank]:
        node = info.node_id
        rank = (rank_class(info), node not in incumbents, info.since, info.rtt, node)
        return node != leader, rank

    return key


# --- voters -------------------------------------------------------------------------------


def _next_voters(situation: Situation, members: Sequence[NodeId]) -> tuple[NodeId, ...]:
    """One voter more or less than now, or the same."""
    voters = situation.configuration.voters
    dead = [node for node in voters if node in situation.dead and node != situation.leader]
    adds: list[NodeId] = []
    drops: list[NodeId] = []
    if all(node in situation.infos or node in dead for node in voters):
        wanted = wanted_voters(situation, members, situation.caught_up)
        adds = [node for node in wanted if node not in voters]
        # The leader joins last: were it lost with only two voters, the other would be stuck.
        adds.sort(key=lambda node: node == situation.leader)
        drops = [node for node in voters if node not in wanted and node not in dead]
        if drops and len(wanted) != len(wanted_voters(situation, members, frozenset(members))):
            drops = []  # somebody is still catching up: do not shrink yet
        drops.sort(key=lambda node: _staying_power(situation, node))
    room = len(voters) < situation.settings.max_voters
    fuller = [(*voters, node) for node in adds[:1] if room and node in situation.alive]
    without_dead = [_without(voters, node) for node in dead]
    smaller = [_without(voters, node) for node in drops]
    if (adds and room) or not all(node in situation.alive for node in voters if node not in drops):
        smaller = []
    even = len(voters) % 2 == 0
    choices = without_dead + fuller + smaller if even else fuller + without_dead + smaller
    for choice in choices:
        if choice and quorum.holds(choice, situation.alive):
            return choice
    return voters


def _staying_power(situation: Situation, node: NodeId) -> tuple[bool, bool, bool]:
    """Who leaves first: the unresponsive, then phones about to be frozen, bridges last."""
    info = situation.infos[node]
    lasting = rank_class(info) != REMOTE_HIDDEN
    return node in situation.alive, lasting, info.kind is NodeKind.BRIDGE


def _without(voters: tuple[NodeId, ...], node: NodeId) -> tuple[NodeId, ...]:
    return tuple(voter for voter in voters if voter != node)


def wanted_voters(
    situation: Situation, members: Sequence[NodeId], caught_up: AbstractSet[NodeId]
) -> list[NodeId]:
    """Rule 2, of those that are voters or ``caught_up``."""
    old = situation.configuration.voters
    can = [
        situation.infos[node]
        for node in members
        if node in situation.infos and (node in caught_up or node in old)
    ]
    can.sort(key=_sticky_rank(old))
    lasting = [info for info in can if rank_class(info) != REMOTE_HIDDEN]
    can = lasting or can
    bridges = [info for info in can if info.kind is NodeKind.BRIDGE]
    best: dict[DeviceId, PeerInfo] = {}
    for info in can:
        if info.kind is NodeKind.TAB:
            best.setdefault(info.device_id, info)
    tabs = list(best.values())
    devices = {info.device_id for info in can}
    limit = situation.settings.max_voters
    mixed = [*bridges[:1], *tabs, *bridges[1:]]
    if len(devices) >= 3:
        for size in range(limit, 3, -2):
            chosen = _choose(_spread_out(bridges, tabs), size, (size - 1) // 2)
            if chosen:
                return chosen
        grounded = {info.device_id for info in bridges}
        by_device = [info for info in tabs if info.device_id in grounded]
        by_device += bridges
        by_device += [info for info in tabs if info.device_id not in grounded]
        return _choose(by_device, min(3, limit), 1)
    if len(devices) == 2 and limit >= 3:
        chosen = _choose(mixed, 3, 2)
        if chosen:
            return chosen
    return [info.node_id for info in mixed[:1]]


def _spread_out(bridges: list[PeerInfo], tabs: list[PeerInfo]) -> list[PeerInfo]:
    """In which order bridges and tabs become the five voters.

    With one bridge it comes first: all ways lead through it. With several no laptop is needed, so
    none gets a second voter while other devices can give one: the best tab, the bridges of other
    devices, the other tabs, then the rest.
    """
    if len(bridges) < 2 or not tabs:
        return [*bridges[:1], *tabs, *bridges[1:]]
    best = tabs[0]
    others = [info for info in bridges if info.device_id != best.device_id]
    apart = {info.device_id for info in others}
    single = [info for info in tabs[1:] if info.device_id not in apart]
    rest = [info for info in (*tabs[1:], *bridges) if info not in single and info not in others]
    return [best, *others, *single, *rest]


def _choose(infos: Iterable[PeerInfo], size: int, per_device: int) -> list[NodeId]:
    """The first ``size`` with at most ``per_device`` of each device; empty if there are fewer."""
    chosen: list[NodeId] = []
    taken: dict[DeviceId, int] = {}
    for info in infos:
        count = taken.get(info.device_id, 0)
        if count < per_device and len(chosen) < size:
            taken[info.device_id] = count + 1
            chosen.append(info.node_id)
    return chosen if len(chosen) == size else []


# --- successors ---------------------------------------------------------------------------


def _successors(situation: Situation, members: AbstractSet[NodeId]) -> tuple[NodeId, ...]:
    """Rule 3. A member that is being waited for keeps a place before the bridges."""
    old = situation.configuration.successors
    listed = [
        node
        for node in members
        if node in situation.caught_up or node in old or node in situation.configuration.voters
    ]
    unknown: Rank = (REMOTE_HIDDEN, True, 0.0, 0.0, NodeId(""))

    def rank(node: NodeId) -> Rank:
        info = situation.infos.get(node)
        if info is None:
            return (*unknown[:4], node)
        return (rank_class(info), False, info.since, info.rtt, node)

    return tuple(sorted(listed, key=rank))
