"""One schedule, from its plan to its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ftweb.simulation.invariants import Violation
from ftweb.simulation.plan import Plan
from ftweb.simulation.room import Room
from ftweb.simulation.workload import App, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of one schedule.

    Attributes:
        seed: of its plan.
        digest: of its trace: the same seed gives the same one, anywhere.
        violation: what did not hold; None if everything did.
        votes: acknowledged ones.
        nodes: replicas that took part.
        host_changes: how often another (term, tab) hosted than before.
        counts: how often each kind of fault, and each thing worth counting, happened.
        events: on the heap.
        seconds: of virtual time.
        errors: how often which code was the answer to a request.
        examples: for each of these codes, what was said first.
    """

    seed: int
    digest: str
    violation: Violation | None
    votes: int
    nodes: int
    host_changes: int
    events: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)


def run(
    plan: Plan, *, app: App | None = None, narrate: Callable[[str], None] | None = None
) -> Result:
    """Run one schedule.

    Args:
        plan: see :func:`ftweb.simulation.plan.draw_plan`.
        app: what runs; by default votes and registers.
        narrate: takes the lines of a transcript.

    An exception out of the code under simulation is a violation too: nothing there may raise.
    """
    app = app or Workload()
    room = Room(plan, app, narrate=narrate)
    violation: Violation | None = None
    try:
        room.run()
    except Violation as found:
        violation = found
    except Exception as error:
        violation = Violation("no exception", f"{type(error).__name__}: {error}")
        violation.__cause__ = error
    finally:
        room.bridge.close()
    if violation is not None:
        room.world.say(f"VIOLATION {violation}")
    counts = dict(sorted(room.world.counts.items()))
    failures = [request.error for request in room.history.requests if request.error is not None]
    errors = Counter(failure.code for failure in failures)
    if errors["session_expired"]:
        counts["session evicted"] = errors["session_expired"]
    return Result(
        seed=plan.seed,
        digest=room.world.digest(),
        violation=violation,
        votes=sum(app.is_vote(request.payload) for request in room.history.acknowledged),
        nodes=room.nodes_made,
        host_changes=max(0, len(room.bridge.hosts) - 1),
        events=room.world.events,
        seconds=room.world.now / 1000,
        counts=counts,
        errors=dict(errors),
        examples={failure.code: failure.message for failure in reversed(failures)},
    )
