"""What is to happen while bridges are apart: drawn from a seed (:mod:`ftweb.simulation.apart`)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

STEPS: Final = (
    "leave",
    "left",
    "arrive",
    "arrived",
    "save",
    "saved",
    "restored",
    "applied",
    "send",
)
"""Where a bridge is killed: the steps of a meeting first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApartPlan:
    """One schedule; drawn from its seed."""

    seed: int
    bridges: int
    tabs: int
    requests: int
    duration: float
    continues: bool
    sqlite: bool
    compact_entries: int
    trailing_entries: int
    partitions: tuple[tuple[float, float, int], ...]
    """(when, how long, which bridges are on one side, as bits)."""
    kills: tuple[tuple[float, int, str | None, int], ...]
    """(when, which bridge, at which step or at once, at which time that step is reached)."""
    moves: tuple[tuple[float, int, int], ...]
    """(when, which page, to which bridge)."""
    crashes: tuple[tuple[float, int], ...]
    """(when, which page is gone)."""


def draw_apart(seed: int) -> ApartPlan:
    """The plan of a seed."""
    draw = random.Random(f"apart {seed}")
    bridges = 2 if draw.random() < 0.6 else 3
    duration = draw.uniform(8_000.0, 14_000.0)
    partitions: list[tuple[float, float, int]] = []
    at = draw.uniform(1_500.0, 3_000.0)
    while at < duration and len(partitions) < 3:
        lasts = draw.uniform(2_500.0, 7_000.0)
        partitions.append((at, lasts, 1 + draw.randrange(2**bridges - 2)))
        at += lasts + draw.uniform(200.0, 3_000.0)
    kills: list[tuple[float, int, str | None, int]] = []
    for _ in range(draw.choice((0, 0, 1, 1, 2, 3))):
        step = draw.choice((None, *STEPS))
        count = 1 if step in STEPS[:4] else draw.randint(1, 40)
        kills.append((draw.uniform(1_000.0, duration), draw.randrange(bridges), step, count))
    return ApartPlan(
        seed=seed,
        bridges=bridges,
        tabs=draw.randint(3, 7),
        requests=draw.randint(30, 80),
        duration=duration,
        continues=draw.random() < 0.85,
        sqlite=draw.random() < 0.2,
        compact_entries=draw.choice((15, 40, 1_000)),
        trailing_entries=draw.choice((0, 10, 100)),
        partitions=tuple(partitions),
        kills=tuple(kills),
        moves=tuple(
            (draw.uniform(2_000.0, duration), draw.randrange(8), draw.randrange(bridges))
            for _ in range(draw.randint(0, 6))
        ),
        crashes=tuple(
            (draw.uniform(2_000.0, duration), draw.randrange(8)) for _ in range(draw.randint(0, 3))
        ),
    )
