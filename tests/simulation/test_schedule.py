"""Thousands of schedules without a violation, each the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ftweb.simulation.plan import AIMED, BY_THE_WAY, KINDS, Plan, draw_plan
from ftweb.simulation.runner import run_many, run_seeds
from ftweb.simulation.schedule import run

FIRST = int(os.environ.get("FTWEB_SIMULATE_SEED", "1"))
SCHEDULES = int(os.environ.get("FTWEB_SIMULATE", "2000"))
"""A minute or so on two idle cores. ``FTWEB_SIMULATE=100000 pytest tests/simulation`` runs more."""


def test_no_schedule_shows_a_violation() -> None:
    summary = run_many(range(FIRST, FIRST + SCHEDULES), jobs=os.cpu_count() or 1)
    print(json.dumps(summary.to_json()))
    assert [str(found.violation) for found in summary.violations] == []
    # Else the above would say little:
    assert summary.with_votes >= 0.95 * SCHEDULES
    assert summary.with_five_nodes >= 0.99 * SCHEDULES
    assert summary.with_host_change >= 0.5 * SCHEDULES
    rare = {
        kind for kind in (*KINDS, *AIMED, *BY_THE_WAY) if summary.counts[kind] < 0.01 * SCHEDULES
    }
    assert rare == set(), "each is to happen 1,000 times in 100,000 schedules"


def test_a_seed_gives_the_same_trace_in_another_process() -> None:
    """Also if strings hash to something else there."""
    seeds = range(1, 13)
    here = [(result.digest, result.counts) for result, _ in run_seeds(seeds)]
    again = [(result.digest, result.counts) for result, _ in run_seeds(seeds)]
    assert here == again
    script = (
        "import json; from ftweb.simulation.runner import run_seeds;"
        f"print(json.dumps([[r.digest, r.counts] for r, _ in run_seeds(range({seeds.start},"
        f" {seeds.stop}))]))"
    )
    for hash_seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert [(digest, counts) for digest, counts in json.loads(done.stdout)] == here


def test_a_transcript_changes_nothing() -> None:
    lines: list[str] = []
    told = run(draw_plan(7), narrate=lines.append)
    assert told == run(draw_plan(7))
    assert any("hosts, epoch 1" in line for line in lines)


def test_a_quiet_class_answers_everything() -> None:
    result = run(Plan(seed=5, requests=60))
    assert result.violation is None
    assert result.votes >= 50
    assert result.counts == {}


def test_an_exception_of_the_code_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftweb.core.node import Node

    def step(self: Node, message: object, now: float) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Node, "step", step)
    violation = run(Plan(seed=5)).violation
    assert violation is not None
    assert violation.invariant == "no exception"
    assert "planted" in violation.what
