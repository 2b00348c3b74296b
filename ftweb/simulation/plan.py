"""What is to happen in one schedule: drawn from its seed, and small enough to be read.

Swarm testing: each schedule draws its own mix (which kinds of fault may happen at all, how bad
the network is, how small the limits are), because a mix of everything all the time would never
show what needs one thing without another. A plan is data, so a failing one can be made smaller
(:mod:`ftweb.simulation.shrink`) and kept.

A. Groce et al., *Swarm testing*, ISSTA 2012.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

HOST_POINTS: Final = ("handler begins", "handler has run")
PAGE_POINTS: Final = ("save", "saved", "send", "applied", "restored")
BRIDGE_POINTS: Final = ("save", "saved", "send", "applied", "released")
"""Where a replica touches the outside: the points between append, quorum, apply and reply. Only a
host runs handlers, only a bridge releases anything; a bridge that restores is a bridge that
starts."""

IN_THE_MIDDLE: Final = (
    "host crashes in the middle",
    "page crashes in the middle",
    "page crashes restoring",
    "bridge crashes in the middle",
    "bridge crashes in the middle",
)

HOST_FAULTS: Final = ("host crashes", "host leaves", "hand-over", "host freezes", "host cut off")

KINDS: Final = (
    *HOST_FAULTS,
    "page crashes",
    "page vanishes",
    "host crashes in the middle",
    "page crashes in the middle",
    "page crashes restoring",
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
    "power cut",
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
    "voters change",
    "deaf leader",
    "storm",
    "burst of joins",
)


ON_DISK: Final = ("disk damaged", "power cut")
"""Kinds that only real storage shows."""

AIMED: Final = ("short reigns", "rival changes")
"""Kinds of which only aimed schedules have any."""

BY_THE_WAY: Final = (
    *dict.fromkeys(f"crash at {at}" for at in (*HOST_POINTS, *PAGE_POINTS, *BRIDGE_POINTS)),
    "loss",
    "repeat",
    "reorder",
    "cut",
    "severed",
    "frame cut short",
    "bit flipped in a snapshot",
    "bit flipped in storage",
    "row cut short in storage",
    "save torn",
    "session evicted",
    "quorum lost",
)
"""What else goes wrong, and is counted when it does: what the kinds above, the weather and the
small limits lead to."""


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


def pick[T](items: Sequence[T], x: float) -> T | None:
    """One of them, chosen by a number in [0, 1); None if there are none."""
    return items[int(x * len(items))] if items else None


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
        heartbeat, election_timeout: of the core's settings.
        trailing_entries, snapshot_chunk: of the core's settings.
        one_by_one: each entry has a message of its own, and waits for the answer to the one before:
            any of them can be the last to arrive.
        deaf: while all is healed but that, a leader hears nobody; the others must do without.
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
    election_timeout: float = 1_500.0
    trailing_entries: int = 500
    one_by_one: bool = False
    snapshot_chunk: int = 49_152
    compact_entries: int = 1_000
    sessions: int = 4_000
    sqlite: bool = False
    careful: bool = True
    deaf: bool = False
    faults: tuple[Fault, ...] = ()


def draw_plan(seed: int) -> Plan:
    """The schedule of a seed. A few are of an aimed kind: one in a hundred of :func:`unrest`, one
    of :func:`short_reigns`."""
    plan = _draw_plan(seed)
    if seed % 100 == 99:
        return unrest(plan)
    return short_reigns(plan) if seed % 100 == 49 else plan


PERIODS: Final = 15
"""Of one schedule of :func:`short_reigns`; each third is one of rival changes."""


def unrest(plan: Plan) -> Plan:
    """Aimed at elections and changes of the voters, whose bugs need long sequences: nobody dies,
    but hints without reason make one election after another, each side of each cut has leaders of
    its own, and whoever leads changes the voters."""
    draw = random.Random(f"unrest {plan.seed}")
    faults = []
    cuts = ["partition", "overlapping majorities", "one-way cut", "deaf leader", "link cut"]

    def fault(at: float, kind: str, lasts: float = 0.0, y: float | None = None) -> None:
        y = draw.random() if y is None else y
        faults.append(Fault(at=at, kind=kind, lasts=lasts, x=draw.random(), y=y))

    for at in range(600, 3_600, 400):
        fault(at, draw.choice([*cuts, "host cut off", "host cut off"]), draw.choice([150.0, 300.0]))
        for number in range(draw.choice([0, 1, 2, 3])):
            fault(at + 5 + 10 * number, "voters change", y=draw.choice([0.0, 0.9, 0.9]))
        fault(at + 60, "wrong hint", y=draw.choice([0.0, 0.0, 0.9]))
        for number in range(draw.choice([0, 1, 2])):
            fault(at + 90 + 30 * number, "voters change", y=draw.choice([0.0, 0.9]))
        fault(at + 320, draw.choice(["hand-over", "wrong hint", "voters change"]), y=0.0)
    return replace(
        plan,
        tabs=draw.choice([4, 4, 5]),
        requests=60,
        bursts=60,
        duration=4_000.0,
        low=0.5,
        high=3.0,
        loss=draw.choice([0.0, 0.1]),
        repeat=0.0,
        reorder=0.0,
        heartbeat=150.0,
        one_by_one=draw.random() < 0.5,
        careful=False,
        trailing_entries=500,
        compact_entries=1_000,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def short_reigns(plan: Plan) -> Plan:
    """Aimed at what one leader leaves to the next: whoever leads falls silent after a few messages,
    another is elected at once, and entries have messages of their own. Figure 3.7 of the
    dissertation is a sequence of five such reigns. The rarest of the bugs that need one shows in
    one of sixty periods, so there are many."""
    draw = random.Random(f"reigns {plan.seed}")
    faults = []
    for period in range(PERIODS):
        at = 700.0 + 1_100.0 * period
        kind = "rival changes" if period % 3 == 2 else "short reigns"
        faults.append(Fault(at=at, kind=kind, lasts=900.0, x=draw.random(), y=draw.random()))
        if kind == "rival changes":
            continue  # a sequence of its own, which others would only disturb
        for after in range(50, 1_000, 150):
            kind = draw.choice(["voters change", "voters change", "wrong hint", "link cut"])
            x, y = draw.random(), draw.random()
            faults.append(Fault(at=at + after, kind=kind, lasts=100.0, x=x, y=y))
    return replace(
        unrest(plan),
        tabs=draw.choice([4, 4, 5]),
        duration=700.0 + 1_100.0 * PERIODS,
        heartbeat=50.0,
        election_timeout=500.0,
        loss=0.0,
        one_by_one=draw.random() < 0.9,
        faults=tuple(faults),
    )


def _draw_plan(seed: int) -> Plan:
    # A text, so that neighbouring seeds and the run's own generator have nothing in common.
    draw = random.Random(f"plan {seed}")
    duration = draw.choice([1_500.0, 2_500.0])
    bad = draw.random() < 0.5
    one_by_one = draw.random() < 0.05  # and quick, or there would be no time for fifty votes
    low, high = draw.choice([(0.5, 3.0), (1.0, 10.0), (5.0, 40.0), (12.5, 62.5)])
    if one_by_one:
        low, high = 0.5, 3.0
    faults = _draw_faults(draw, duration)
    return Plan(
        seed=seed,
        tabs=draw.choice([4, 4, 4, 5, 6]),
        local=draw.choice([0, 1, 1, 2]),
        clients=draw.choice([0, 0, 1, 2]),
        requests=draw.randrange(56, 66),
        bursts=draw.choice([3, 4, 6, 8, 30]),
        duration=duration,
        low=low,
        high=high,
        loss=draw.choice([0.01, 0.05, 0.16]) if bad and draw.random() < 0.6 else 0.0,
        repeat=draw.choice([0.02, 0.1, 0.5]) if bad and draw.random() < 0.5 else 0.0,
        reorder=draw.choice([0.02, 0.2]) if bad and draw.random() < 0.5 else 0.0,
        damage=0.3 if draw.random() < 0.1 else 0.0,
        heartbeat=draw.choice([150.0, 450.0, 600.0]),
        trailing_entries=draw.choice([0, 3, 20, 500]),
        one_by_one=one_by_one,
        snapshot_chunk=draw.choice([300, 2_000, 49_152]),
        compact_entries=draw.choice([8, 30, 1_000]),
        sessions=draw.choice([4, 5, 6]) if draw.random() < 0.05 else 4_000,
        sqlite=draw.random() < 0.15 or any(fault.kind in ON_DISK for fault in faults),
        careful=draw.random() < 0.75,
        deaf=draw.random() < 0.1,
        faults=faults,
    )


def _draw_faults(draw: random.Random, duration: float) -> tuple[Fault, ...]:
    possible = draw.sample(KINDS, draw.randrange(2, 9))
    kinds = [draw.choice(possible) for _ in range(draw.choice([1, 2, 3, 4, 6, 8]))]
    if draw.random() < 0.6:
        kinds.append(draw.choice(HOST_FAULTS))
    if draw.random() < 0.35:  # each of their points is to be met by some of any thousand schedules
        kinds.append(draw.choice(IN_THE_MIDDLE))
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
