"""What can go wrong: each kind of fault, done to a room.

A fault chooses whom it meets among those there when its time comes; if nobody fits, it does not
happen and is not counted. What lasts is undone by an event of its own, and at the latest when the
room is healed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ftweb import frames
from ftweb.core import quorum
from ftweb.simulation import reigns
from ftweb.simulation.plan import BRIDGE_POINTS, HOST_POINTS, PAGE_POINTS, Fault, pick
from ftweb.simulation.world import Process

if TYPE_CHECKING:
    from ftweb.simulation.pages import Page
    from ftweb.simulation.room import Room

HOUR: Final = 3_600_000.0


def happen(room: Room, fault: Fault) -> None:
    """Do it, and count it if it happened."""
    if KINDS[fault.kind](room, fault):
        room.world.counts[fault.kind] += 1
        room.world.say(f"fault: {fault.kind}")


# --- helpers --------------------------------------------------------------------------------


def _host(room: Room) -> Page | None:
    return next((page for page in room.pages if page.hosting), None)


def _may_go(room: Room, victims: Sequence[Page]) -> bool:
    """Whether a majority of the voters is left, in every configuration that somebody holds."""
    if not room.plan.careful:
        return True
    gone = {page.node_id for page in victims}
    alive = {node.replica.node_id for node in room.nodes() if node.id not in gone}
    for node in room.nodes():
        configuration = node.replica.node.configuration
        if configuration.voters and not quorum.holds(configuration.voters, alive):
            return False
    return True


def _end(room: Room, page: Page | None, end: Callable[[Page], None]) -> bool:
    if page is None or not _may_go(room, [page]):
        return False
    end(page)
    return True


def _freeze(room: Room, process: Process, fault: Fault) -> bool:
    if process.frozen or not process.alive:
        return False
    process.freeze()
    slept = fault.lasts if fault.y < 0.3 else 0.0
    room.world.after(fault.lasts, lambda: process.thaw(slept=slept))
    return True


# --- pages ----------------------------------------------------------------------------------


def _host_crashes(room: Room, fault: Fault) -> bool:
    return _end(room, _host(room), lambda page: page.crash())


def _host_leaves(room: Room, fault: Fault) -> bool:
    return _end(room, _host(room), lambda page: page.leave())


def _hand_over(room: Room, fault: Fault) -> bool:
    host = _host(room)
    if host is None or host.node is None:
        return False
    host.process.do(host.node.replica.hand_over)
    return True


def _host_freezes(room: Room, fault: Fault) -> bool:
    host = _host(room)
    return host is not None and _freeze(room, host.process, fault)


def _host_cut_off(room: Room, fault: Fault) -> bool:
    host = _host(room)
    if host is None:
        return False
    return room.cut_link(host.link, up=True, down=True, lasts=fault.lasts)


def _page_crashes(room: Room, fault: Fault) -> bool:
    return _end(room, pick(room.pages, fault.x), lambda page: page.crash())


def _page_vanishes(room: Room, fault: Fault) -> bool:
    return _end(room, pick(room.pages, fault.x), lambda page: page.vanish())


def _page_leaves(room: Room, fault: Fault) -> bool:
    return _end(room, pick(room.pages, fault.x), lambda page: page.leave())


def _row_leaves(room: Room, fault: Fault) -> bool:
    pages = list(room.pages)
    count = 2 + int(fault.y * 2)
    start = int(fault.x * len(pages))
    row = (pages[start:] + pages[:start])[:count]
    if len(pages) - len(row) < 1 or not _may_go(room, row):
        return False
    for page in row:
        page.crash()
    return True


def _host_in_the_middle(room: Room, fault: Fault) -> bool:
    page = _host(room)
    if page is None or not _may_go(room, [page]):
        return False
    page.process.doom(pick(HOST_POINTS, fault.x) or "", 1 + int(fault.y * 1_009) % 3)
    return True


def _page_in_the_middle(room: Room, fault: Fault) -> bool:
    pages = [page for page in room.pages if page.node is not None]
    host = _host(room)
    page = host if host is not None and fault.y < 0.6 else pick(pages, fault.x)
    if page is None or not _may_go(room, [page]):
        return False
    point = PAGE_POINTS[int(fault.x * 997) % len(PAGE_POINTS)]
    page.process.doom(point, 1 + int(fault.y * 1_009) % 5)
    return True


def _page_restoring(room: Room, fault: Fault) -> bool:
    """A page crashes while it takes over a whole state: one that joins late, where snapshots are
    what joiners get; else one that goes over to the epoch of a bridge started again."""
    plan = room.plan
    if fault.y < 0.7 and plan.compact_entries < 100 and plan.trailing_entries < 10:
        room.join().process.doom("restored", 1)
        return True
    pages = [page for page in room.pages if page.node is not None]
    page = pick(pages, fault.x)
    if page is None or not room.bridge.process.alive or not _may_go(room, [page]):
        return False
    page.process.doom("restored", 1)
    room.bridge.crash()
    room.world.after(min(fault.lasts, 500.0), room.restart_bridge)
    return True


def _reload(room: Room, fault: Fault) -> bool:
    page = pick(room.pages, fault.x)
    if page is None or not _may_go(room, [page]):
        return False
    page.crash()
    room.join(device=page.device, local=page.local, replica=fault.y < 0.9)
    return True


def _join(room: Room, fault: Fault) -> bool:
    if len(room.pages) > 9:
        return False
    room.join(local=fault.x < 0.2, visible=fault.y < 0.8)
    return True


def _burst_of_joins(room: Room, fault: Fault) -> bool:
    if len(room.pages) > 7:
        return False
    for _ in range(3):
        room.join()
    return True


def _duplicate_tab(room: Room, fault: Fault) -> bool:
    page = pick(room.pages, fault.x)
    if page is None or len(room.pages) > 9:
        return False
    room.join(device=page.device, local=page.local)
    return True


def _freeze_page(room: Room, fault: Fault) -> bool:
    page = pick(room.pages, fault.x)
    return page is not None and _freeze(room, page.process, fault)


def _hidden(room: Room, fault: Fault) -> bool:
    host = _host(room)
    page = host if host is not None and fault.y < 0.5 else pick(room.pages, fault.x)
    if page is None:
        return False
    page.process.do(page.show, not page.visible)
    room.world.after(fault.lasts, lambda: page.process.do(page.show, not page.visible))
    return True


def _network_change(room: Room, fault: Fault) -> bool:
    host = _host(room)
    page = host if host is not None and fault.y < 0.4 else pick(room.pages, fault.x)
    if page is None:
        return False
    page.process.do(page.change_network)
    return True


def _clock_leap(room: Room, fault: Fault) -> bool:
    host = _host(room)
    processes = [page.process for page in room.pages] + [room.bridge.process]
    process = host.process if host is not None and fault.y < 0.5 else pick(processes, fault.x)
    if process is None:
        return False
    process.wall_offset += HOUR if fault.x < 0.5 else -HOUR
    return True


# --- the laptop -----------------------------------------------------------------------------


def _laptop_sleeps(room: Room, fault: Fault) -> bool:
    if not room.bridge.process.alive:
        return False
    for page in list(room.pages):
        if page.local:
            _freeze(room, page.process, fault)
    return _freeze(room, room.bridge.process, fault)


def _bridge_killed(room: Room, fault: Fault) -> bool:
    if not room.bridge.process.alive:
        return False
    room.bridge.crash()
    room.world.after(min(fault.lasts, 1_000.0), room.restart_bridge)
    return True


def _bridge_in_the_middle(room: Room, fault: Fault) -> bool:
    if not room.bridge.process.alive:
        return False
    point = BRIDGE_POINTS[int(fault.x * 997) % len(BRIDGE_POINTS)]
    room.bridge.process.doom(point, 1 + int(fault.y * 1_009) % 3)
    room.world.after(max(1_000.0, fault.lasts), room.restart_bridge)
    return True


def _disk_full(room: Room, fault: Fault) -> bool:
    if not room.bridge.running:
        return False
    room.bridge.node.storage.full = True
    room.world.after(fault.lasts, room.restart_bridge, True)
    return True


def _disk_damaged(room: Room, fault: Fault) -> bool:
    if not room.bridge.running or not room.plan.sqlite:
        return False
    room.bridge.damage_next = True
    room.bridge.crash()
    room.world.after(min(fault.lasts, 1_000.0), room.restart_bridge)
    return True


def _power_cut(room: Room, fault: Fault) -> bool:
    if not room.bridge.running or not room.plan.sqlite:
        return False
    room.bridge.lose_power(1 + int(fault.x * 997) % 5)
    room.world.after(max(1_000.0, fault.lasts), room.restart_bridge)
    return True


# --- the network ----------------------------------------------------------------------------


def _partition(room: Room, fault: Fault) -> bool:
    names = room.names()
    bits = int(fault.x * 65_536)
    side = {name for place, name in enumerate(names) if bits >> place & 1}
    return room.sever(
        {(a, b) for a in names for b in names if a != b and (a in side) != (b in side)},
        fault.lasts,
    )


def _one_way(room: Room, fault: Fault) -> bool:
    names = room.names()
    one, other = pick(names, fault.x), pick(names, fault.y)
    if one is None or other is None or one == other:
        return False
    return room.sever({(one, other)}, fault.lasts)


def _overlapping(room: Room, fault: Fault) -> bool:
    """Two groups that cannot hear one another, and some who hear both."""
    names = room.names()
    bits = int(fault.x * 65_536), int(fault.y * 65_536)
    left = {name for place, name in enumerate(names) if bits[0] >> place & 1}
    middle = {name for place, name in enumerate(names) if bits[1] >> place & 1}
    return room.sever(
        {
            (a, b)
            for a in names
            for b in names
            if a not in middle and b not in middle and (a in left) != (b in left)
        },
        fault.lasts,
    )


def _link_cut(room: Room, fault: Fault) -> bool:
    page = pick(room.pages, fault.x)
    return page is not None and room.cut_link(page.link, up=True, down=True, lasts=fault.lasts)


def _one_way_link_cut(room: Room, fault: Fault) -> bool:
    page = pick(room.pages, fault.x)
    up = fault.y < 0.5
    return page is not None and room.cut_link(page.link, up=up, down=not up, lasts=fault.lasts)


def _clogs(room: Room, fault: Fault) -> bool:
    """Several directions hold everything; each is freed at a time of its own."""
    ways = [way for page in room.pages for way in (page.link.up, page.link.down)]
    chosen = [way for way in ways if not way.cut and room.world.random.random() < 0.3]
    for way in chosen:
        way.clogged = True
        room.world.after(fault.lasts * room.world.random.random(), room.network.release, way)
    return bool(chosen)


def _slow_link(room: Room, fault: Fault) -> bool:
    page = pick(room.pages, fault.x)
    if page is None:
        return False
    for way in (page.link.up, page.link.down):
        way.slow = 2 + 10 * fault.y
    room.world.after(fault.lasts, lambda: setattr(page.link.up, "slow", 1.0))
    room.world.after(fault.lasts, lambda: setattr(page.link.down, "slow", 1.0))
    return True


def _wrong_hint(room: Room, fault: Fault) -> bool:
    leader = room.leader()
    about = leader.id if leader and fault.y < 0.5 else pick(room.names(), fault.x)
    if about is None:
        return False
    for node in room.nodes():
        if room.world.random.random() < 0.7:
            node.process.do(node.replica.receive, frames.Lost(node_id=about))
    return True


def _storm(room: Room, fault: Fault) -> bool:
    weather = room.network.weather
    if weather is room.storm:
        return False
    room.network.weather = room.storm
    room.world.after(fault.lasts, room.calm)
    return True


KINDS: Final[dict[str, Callable[[Room, Fault], bool]]] = {
    "host crashes": _host_crashes,
    "host leaves": _host_leaves,
    "hand-over": _hand_over,
    "host freezes": _host_freezes,
    "host cut off": _host_cut_off,
    "page crashes": _page_crashes,
    "page vanishes": _page_vanishes,
    "host crashes in the middle": _host_in_the_middle,
    "page crashes in the middle": _page_in_the_middle,
    "page crashes restoring": _page_restoring,
    "bridge crashes in the middle": _bridge_in_the_middle,
    "reload": _reload,
    "page leaves": _page_leaves,
    "row leaves": _row_leaves,
    "join": _join,
    "duplicate tab": _duplicate_tab,
    "freeze": _freeze_page,
    "laptop sleeps": _laptop_sleeps,
    "bridge killed": _bridge_killed,
    "disk full": _disk_full,
    "disk damaged": _disk_damaged,
    "power cut": _power_cut,
    "partition": _partition,
    "one-way cut": _one_way,
    "overlapping majorities": _overlapping,
    "link cut": _link_cut,
    "one-way link cut": _one_way_link_cut,
    "clogs": _clogs,
    "slow link": _slow_link,
    "clock leap": _clock_leap,
    "hidden": _hidden,
    "network change": _network_change,
    "wrong hint": _wrong_hint,
    "voters change": reigns.voters_change,
    "deaf leader": reigns.deaf_leader,
    "short reigns": reigns.short_reigns,
    "rival changes": reigns.rival_changes,
    "storm": _storm,
    "burst of joins": _burst_of_joins,
}
