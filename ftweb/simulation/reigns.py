"""Faults of those who lead: changes of the voters, reigns cut short, leaders that hear nobody.

Raft's subtle rules are about what one leader leaves to the next. Faults drawn at random hardly ever
show what happens without them, so two kinds here are sequences (see
:func:`ftweb.simulation.plan.short_reigns`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftweb import frames
from ftweb.core import Configuration, Role, quorum
from ftweb.simulation.plan import Fault, pick

if TYPE_CHECKING:
    from ftweb.simulation.nodes import Node
    from ftweb.simulation.room import Room


def voters_change(room: Room, fault: Fault, *, of: Node | None = None) -> bool:
    """Whoever leads, or believes so, takes a voter more or one less than upkeep would; or only
    that one."""
    changed = False
    for node in room.nodes() if of is None else [of]:
        core = node.replica.node
        if core.role is Role.LEADER and not node.process.frozen:
            new = _another_voter_or_one_less(room, core.configuration, fault)
            if new is not None and core.change_configuration(new, node.process.monotonic()):
                node.wake()
                changed = True
    return changed


def _another_voter_or_one_less(
    room: Room, old: Configuration, fault: Fault
) -> Configuration | None:
    alive = {node.replica.node_id for node in room.nodes()}
    others = sorted(alive.difference(old.voters))
    if others and (len(old.voters) == 1 or fault.y < 0.5):
        voters = (*old.voters, pick(others, fault.x) or others[0])
    elif len(old.voters) > 1:
        gone = pick(old.voters, fault.x)
        voters = tuple(voter for voter in old.voters if voter != gone)
    else:
        return None
    if room.plan.careful and not quorum.holds(voters, alive):
        return None
    learners = tuple(node for node in old.members if node not in voters)
    successors = (*old.successors, *(node for node in voters if node not in old.successors))
    return Configuration(voters=voters, learners=learners, successors=successors)


def deaf_leader(room: Room, fault: Fault) -> bool:
    """Consensus of the others does not reach it; what it says reaches them."""
    leader = room.leader()
    if leader is None:
        return False
    return room.sever(
        {(name, leader.id) for name in room.names() if name != leader.id}, fault.lasts
    )


def short_reigns(room: Room, fault: Fault) -> bool:
    """Whoever comes to lead may send a few messages; then it is silent as long as it leads, and the
    others are told that it has gone. When hasty (0.45 of the cases) it has fewer, and nearly always
    changes the voters."""
    if room.world.mute is not None:
        return False
    hasty = fault.x >= 0.55
    left: dict[tuple[str, int, int], int] = {}

    def mute(node: Node) -> bool:
        core = node.replica.node
        if core.role is not Role.LEADER:
            return False
        reign = node.id, node.replica.epoch, core.term
        if reign not in left:
            draw = room.world.random.random
            left[reign] = int(draw() ** (2 if hasty else 1) * 12)
            room.world.after(5.0 + 40.0 * draw(), _tell_lost, room, node.id)
            if draw() < (
                0.9 if hasty else 0.6
            ):  # at the very beginning, before anything of its term is committed
                change = Fault(at=0.0, kind="voters change", x=draw(), y=draw())
                room.world.after(3.0 * draw(), voters_change, room, change)
        left[reign] -= 1
        if left[reign] == -1:
            room.world.counts["reign cut short"] += 1
            room.world.say(f"{node.id} leads in term {core.term}, and is silent from now on")
        return left[reign] < 0

    def end() -> None:
        room.world.mute = None

    room.world.mute = mute
    room.world.after(fault.lasts, end)
    return True


def rival_changes(room: Room, fault: Fault) -> bool:
    """Two leaders change the voters, each heard by few; then the first one leads again. This is
    what Ongaro's correction of single-server changes (raft-dev, 10 July 2015) is there for: of four
    voters 1 adds 5, 2 removes 1, and then {2, 3} and {1, 4, 5} are majorities that share nobody."""
    first = room.leader()
    if first is None or room.world.mute is not None:
        return False
    if len(first.replica.node.configuration.voters) % 2:
        voters_change(room, Fault(at=0.0, kind="voters change", x=fault.x, y=0.9))
    for after in range(1, 60):  # as soon as there are four, before upkeep makes them five again
        room.world.after(float(after), _rivals, room, first, fault)
    return True


def _rivals(room: Room, first: Node, fault: Fault) -> None:
    old = first.replica.node.configuration.voters
    if room.world.mute is not None or len(old) % 2 or first is not room.leader():
        return
    if first.replica.node_id not in old:
        return
    if not voters_change(room, Fault(at=0.0, kind="voters change", x=fault.x, y=0.0), of=first):
        return
    second: Node | None = None

    def mute(node: Node) -> bool:
        nonlocal second
        if node is first:
            return True
        if second is None and node.replica.node.role is Role.LEADER and node.id in old:
            second = node
            third = pick([voter for voter in old if voter not in (first.id, node.id)], fault.y)
            there = {node.id, third or node.id}
            here = [name for name in room.names() if name not in there]
            pairs = {(a, b) for a in here for b in there} | {(b, a) for a in here for b in there}
            room.sever(pairs, fault.lasts)
            room.world.after(0.0, change)
        return False

    def change() -> None:
        assert second is not None
        x = (old.index(first.replica.node_id) + 0.5) / len(old)
        voters_change(room, Fault(at=0.0, kind="voters change", x=x, y=0.9), of=second)

    def swap() -> None:
        room.world.mute = None
        if second is not None:
            room.world.say(f"{first.id} is heard again, {second.id} by few")
            _tell_lost(room, second.id)

    room.world.mute = mute
    room.world.after(5.0, _tell_lost, room, first.id)
    room.world.after(250.0, swap)


def _tell_lost(room: Room, about: str) -> None:
    for node in room.nodes():
        if node.id != about:
            node.process.do(node.replica.receive, frames.Lost(node_id=about))
