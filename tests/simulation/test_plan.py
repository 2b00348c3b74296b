"""Plans are a function of their seed, and between them hold every kind of fault."""

from __future__ import annotations

from collections import Counter

from ftweb.simulation import faults
from ftweb.simulation.plan import AIMED, KINDS, draw_plan


def test_a_seed_gives_one_plan() -> None:
    assert draw_plan(5) == draw_plan(5)
    assert draw_plan(5) != draw_plan(6)


def test_every_kind_of_fault_is_drawn_and_known() -> None:
    assert set(faults.KINDS) == {*KINDS, *AIMED}
    drawn = Counter(fault.kind for seed in range(1_000) for fault in draw_plan(seed).faults)
    assert set(drawn) == {*KINDS, *AIMED}
    assert min(drawn[kind] for kind in KINDS) >= 40


def test_faults_are_in_order_and_within_the_schedule() -> None:
    for seed in range(200):
        plan = draw_plan(seed)
        times = [fault.at for fault in plan.faults]
        assert times == sorted(times)
        assert all(0 < at <= plan.duration for at in times)
