"""What is to happen in one schedule: drawn from its seed, and small enough to be read.

Swarm testing: each schedule draws its own mix (which kinds of fault may happen at all, how bad
the network is, how small the limits are), because a mix of everything all the time would never
show what needs one thing without another. A plan is data, so a failing one can be made smaller
(:mod:`ftweb.simulation.shrink`) and kept.

A. Groce et al., *Swarm testing*, ISSTA 2012.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

CRASH_POINTS: Final = (
    "handler begins",
    "handler has run",
    "save",
    "saved",
    "send",
    "applied",
    "released",
    "restored",
)
"""Where a replica touches the outside: the points between append, quorum, apply and reply."""

HOST_FAULTS: Final = ("host crashes", "host leaves", "hand-over", "host freezes", "host cut off")

KINDS: Final = (
    *HOST_FAULTS,
    "page crashes",
    "page vanishes",
    "crash in the middle",
    "bridge crashes in the middle",
    "reload",
    "page leaves",
    "row leaves",
    "join",
    "duplicate tab",
    "freeze",
    "laptop sleeps",
    "bridge killed",
    "disk full",
    "disk damaged",
    "partition",
    "one-way cut",
    "overlapping majorities",
    "link cut",
    "one-way link cut",
    "clogs",
    "slow link",
    "clock leap",
    "hidden",
    "network change",
    "wrong hint",
    "storm",
    "burst of joins",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that happens at some time.

    Attributes:
        at: milliseconds after the beginning.
        kind: one of :data:`KINDS`.
        lasts: milliseconds, for what ends by itself.
        x, y: in [0, 1): choose whom it meets and how badly, among those there by then.
    """

    at: float
    kind: str
    lasts: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One schedule.

    Attributes:
        seed: it was drawn from; also of what is drawn while it runs.
        tabs: pages with a replica at the beginning; the first ``local`` are on the laptop.
        clients: pages without one.
        requests: asked while faults happen.
        bursts: how many times people ask, all at once.
        duration: milliseconds of faults; then all is healed.
        low, high: delays of the network, in milliseconds and per hop.
        loss, repeat, reorder, damage: chances, per frame and hop.
        heartbeat: of the core's settings.
        trailing_entries, snapshot_chunk: of the core's settings.
        compact_entries: entries between two snapshots.
        sessions: how many are kept; fewer than there are pages means evictions.
        sqlite: the bridge keeps its replica in the real storage.
        careful: crashes spare a majority of the voters.
    """

    seed: int
    tabs: int = 5
    local: int = 1
    clients: int = 1
    requests: int = 75
    bursts: int = 12
    duration: float = 4_000.0
    low: float = 1.0
    high: float = 5.0
    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    damage: float = 0.0
    heartbeat: float = 150.0
    trailing_entries: int = 500
    snapshot_chunk: int = 49_152
    compact_entries: int = 1_000
    sessions: int = 4_000
    sqlite: bool = False
    careful: bool = True
    faults: tuple[Fault, ...] = ()


def draw_plan(seed: int) -> Plan:
    """The schedule of a seed."""
    # A text, so that neighbouring seeds and the run's own generator have nothing in common.
    draw = random.Random(f"plan {seed}")
    duration = draw.choice([2_000.0, 3_000.0])
    bad = draw.random() < 0.5
    low, high = draw.choice([(0.5, 3.0), (1.0, 10.0), (5.0, 40.0), (12.5, 62.5)])
    return Plan(
        seed=seed,
        tabs=draw.choice([4, 4, 5, 5, 6]),
        local=draw.choice([0, 1, 1, 2]),
        clients=draw.choice([0, 1, 2]),
        requests=draw.randrange(56, 66),
        bursts=draw.choice([4, 6, 6, 10, 30]),
        duration=duration,
        low=low,
        high=high,
        loss=draw.choice([0.01, 0.05, 0.16]) if bad and draw.random() < 0.6 else 0.0,
        repeat=draw.choice([0.02, 0.1, 0.5]) if bad and draw.random() < 0.5 else 0.0,
        reorder=draw.choice([0.02, 0.2]) if bad and draw.random() < 0.5 else 0.0,
        damage=0.3 if draw.random() < 0.1 else 0.0,
        heartbeat=draw.choice([150.0, 450.0, 600.0]),
        trailing_entries=draw.choice([0, 3, 20, 500]),
        snapshot_chunk=draw.choice([300, 2_000, 49_152]),
        compact_entries=draw.choice([8, 30, 1_000]),
        sessions=draw.choice([3, 4, 5]) if draw.random() < 0.05 else 4_000,
        sqlite=draw.random() < 0.15,
        careful=draw.random() < 0.75,
        faults=_draw_faults(draw, duration),
    )


def _draw_faults(draw: random.Random, duration: float) -> tuple[Fault, ...]:
    possible = draw.sample(KINDS, draw.randrange(2, 9))
    kinds = [draw.choice(possible) for _ in range(draw.choice([1, 2, 3, 4, 6, 8]))]
    if draw.random() < 0.6:
        kinds.append(draw.choice(HOST_FAULTS))
    if draw.random() < 0.15:
        kinds.append("crash in the middle")
    faults = [
        Fault(
            at=round(draw.uniform(400.0, duration), 1),
            kind=kind,
            lasts=round(draw.choice([100.0, 400.0, 800.0, 2_000.0]) * draw.uniform(0.5, 1.5), 1),
            x=draw.randrange(10_000) / 10_000,
            y=draw.randrange(10_000) / 10_000,
        )
        for kind in kinds
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at))
