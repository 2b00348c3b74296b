"""The smallest schedule that still shows a violation.

Delta debugging on the plan: leave out faults, first many at once and then one by one; then bad
weather, small limits, pages, clients, requests. A smaller plan counts if it violates the same
invariant. Since a schedule is a function of its plan, the result can be kept and replayed.

A. Zeller, R. Hildebrandt, *Simplifying and isolating failure-inducing input*, TSE 28(2), 2002.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from ftweb.simulation.plan import Fault, Plan
from ftweb.simulation.schedule import run
from ftweb.simulation.workload import App

BUDGET: Final = 300
"""Schedules tried: ten seconds' worth."""

_USUAL: Final = Plan(seed=0)
_SETTINGS: Final = (
    "loss",
    "repeat",
    "reorder",
    "damage",
    "sqlite",
    "sessions",
    "snapshot_chunk",
    "compact_entries",
    "trailing_entries",
    "heartbeat",
    "careful",
    "one_by_one",
    "deaf",
)


def shrink(
    plan: Plan,
    invariant: str,
    *,
    app: App | None = None,
    budget: int | None = None,
    on_try: Callable[[Plan], None] = lambda plan: None,
) -> Plan:
    """Make a plan smaller.

    Args:
        plan: shows a violation.
        invariant: of which the violation is.
        app: what runs.
        budget: schedules that may be tried; None: ``BUDGET``.
        on_try: told of each smaller plan that still shows it.
    """
    budget = BUDGET if budget is None else budget
    tried = 0
    progress = True
    while progress and tried < budget:
        progress = False
        for smaller in _smaller(plan):
            tried += 1
            result = run(smaller, app=app)
            if result.violation is not None and result.violation.invariant == invariant:
                plan, progress = smaller, True
                on_try(plan)
                break
            if tried >= budget:
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans that have less, the boldest first."""
    faults = plan.faults
    size = len(faults)
    while size:
        for start in range(0, len(faults), size):
            yield replace(plan, faults=faults[:start] + faults[start + size :])
        size //= 2
    for name in _SETTINGS:
        usual = getattr(_USUAL, name)
        if getattr(plan, name) != usual:
            yield replace(plan, **{name: usual})
    if plan.clients:
        yield replace(plan, clients=0)
    if plan.tabs > 1:
        yield replace(plan, tabs=plan.tabs - 1)
    if plan.local:
        yield replace(plan, local=plan.local - 1)
    if plan.requests > 1:
        yield replace(plan, requests=plan.requests // 2)
        yield replace(plan, requests=plan.requests - 1)
    if plan.bursts > 1:
        yield replace(plan, bursts=plan.bursts // 2)
    last = max((fault.at for fault in faults), default=500.0) + 300.0
    if last < plan.duration:
        yield replace(plan, duration=last)


def to_json(plan: Plan) -> str:
    """A plan as text, to be kept."""
    return json.dumps(dataclasses.asdict(plan))


def from_json(text: str) -> Plan:
    """What :func:`to_json` gave.

    Raises:
        ValueError, TypeError: it is something else.
    """
    content: dict[str, Any] = json.loads(text)
    faults = tuple(Fault(**fault) for fault in content.pop("faults"))
    return Plan(**content, faults=faults)
