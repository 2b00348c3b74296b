"""Many schedules, over several processes, and what came of them all.

With no violation in n schedules, the chance of one is below 3/n with 95 % confidence (the rule of
three); with k violations the bound is that of a Poisson count. It speaks of schedules as they are
drawn here, not of classrooms.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import logging
import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ftweb.simulation.app_support import AuthorsApp
from ftweb.simulation.plan import Plan, draw_plan
from ftweb.simulation.schedule import Result, run
from ftweb.simulation.workload import App, Workload

CHUNK: Final = 10
"""Schedules that a process is given at a time."""

ENOUGH_VOTES: Final = 50


@dataclass(kw_only=True, slots=True)
class Summary:
    """What came of many schedules.

    Attributes:
        violations: the results that have one, in the order of their seeds.
        with_votes: schedules that acknowledged ``ENOUGH_VOTES`` votes.
        with_host_change: schedules in which another tab hosted than before.
        with_five_nodes: schedules in which at least five replicas took part.
        cpu_seconds: of all processes.
        errors: how often which code was the answer to a request.
        examples: for each of these codes the lowest seed with it, and what was said there first.
    """

    schedules: int = 0
    violations: list[Result] = field(default_factory=list)
    votes: int = 0
    with_votes: int = 0
    host_changes: int = 0
    with_host_change: int = 0
    with_five_nodes: int = 0
    events: int = 0
    virtual_seconds: float = 0.0
    cpu_seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)
    _digests: dict[int, str] = field(default_factory=dict)

    def add(self, result: Result, cpu_seconds: float) -> None:
        """Count one result."""
        self.schedules += 1
        self.votes += result.votes
        self.with_votes += result.votes >= ENOUGH_VOTES
        self.host_changes += result.host_changes
        self.with_host_change += result.host_changes > 0
        self.with_five_nodes += result.nodes >= 5
        self.events += result.events
        self.virtual_seconds += result.seconds
        self.cpu_seconds += cpu_seconds
        self.counts.update(result.counts)
        self.errors.update(result.errors)
        for code, message in result.examples.items():
            example = (result.seed, message)
            self.examples[code] = min(self.examples.get(code, example), example)
        self._digests[result.seed] = result.digest
        if result.violation is not None:
            self.violations.append(result)
            self.violations.sort(key=lambda found: found.seed)

    @property
    def bound(self) -> float:
        """With 95 % confidence no more than this part of all schedules show a violation."""
        if not self.schedules:
            return 1.0
        return min(1.0, upper_bound(len(self.violations)) / self.schedules)

    @property
    def digest(self) -> str:
        """Of all traces, in the order of their seeds: two runs of the same schedules are the same
        run exactly if these are equal."""
        digests = "".join(digest for _, digest in sorted(self._digests.items()))
        return hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schedules": self.schedules,
            "violations": [
                {
                    "seed": result.seed,
                    "invariant": result.violation.invariant,
                    "what": result.violation.what,
                    "digest": result.digest,
                }
                for result in self.violations
                if result.violation is not None
            ],
            "bound_95": self.bound,
            "digest": self.digest,
            "votes_acknowledged": self.votes,
            "schedules_with_50_votes": self.with_votes,
            "schedules_with_5_nodes": self.with_five_nodes,
            "host_changes": self.host_changes,
            "schedules_with_host_change": self.with_host_change,
            "events": self.events,
            "virtual_seconds": round(self.virtual_seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "schedules_per_cpu_second": round(self.schedules / max(self.cpu_seconds, 1e-9), 1),
            "errors": {
                code: {"count": count, "example": self.examples[code][1]}
                for code, count in sorted(self.errors.items())
            },
            "counts": dict(sorted(self.counts.items())),
        }


def upper_bound(count: int) -> float:
    """The mean of a Poisson distribution that gives ``count`` or fewer with 5 % chance."""
    low, high = float(count), count + 10 * math.sqrt(count + 1)
    for _ in range(60):
        mean = (low + high) / 2
        chance = sum(
            math.exp(-mean + number * math.log(mean) - math.lgamma(number + 1))
            for number in range(count + 1)
        )
        low, high = (mean, high) if chance > 0.05 else (low, mean)
    return high


def load_app(directory: Path | None) -> App:
    """The app to be simulated: an author's, or the built-in workload."""
    return Workload() if directory is None else AuthorsApp(directory)


def plan_for(seed: int, app: App) -> Plan:
    """The plan of a seed; an author's app always has a presenter."""
    plan = draw_plan(seed)
    return plan if isinstance(app, Workload) else replace(plan, local=max(1, plan.local))


def run_seeds(seeds: Sequence[int], app_dir: Path | None = None) -> list[tuple[Result, float]]:
    """Run some schedules in this process; gives each result with its seconds of CPU."""
    # Crashes and full disks are what is simulated: nobody wants to read of each.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    # One schedule leaves little garbage; collecting it while others run costs a tenth, and so does
    # looking through all modules each time.
    collecting = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        app = load_app(app_dir)
        results = []
        for seed in seeds:
            started = time.process_time()
            result = run(plan_for(seed, app), app=app)
            if seed == seeds[-1]:
                gc.collect()  # counts as well
            results.append((result, time.process_time() - started))
        return results
    finally:
        logging.disable(before)
        gc.unfreeze()
        if collecting:
            gc.enable()


def run_many(
    seeds: range,
    *,
    jobs: int = 1,
    app_dir: Path | None = None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> Summary:
    """Run many schedules.

    Args:
        seeds: one schedule each.
        jobs: processes; with one, it all happens in this process.
        app_dir: an author's app.
        on_result: told of each result, in no particular order.
    """
    summary = Summary()
    for results in _results(seeds, jobs, app_dir):
        for result, seconds in results:
            summary.add(result, seconds)
            on_result(result)
    return summary


def _results(seeds: range, jobs: int, app_dir: Path | None) -> Iterator[list[tuple[Result, float]]]:
    chunks = (seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK))
    if jobs == 1:
        for chunk in chunks:
            yield run_seeds(chunk, app_dir)
        return
    # Spawned, not forked: whoever calls may have threads, as a progress bar does.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=spawn) as pool:
        # Only a few chunks ahead: a hundred thousand futures would be a lot to hold.
        running: set[Future[list[tuple[Result, float]]]] = {
            pool.submit(run_seeds, chunk, app_dir) for chunk in itertools.islice(chunks, 2 * jobs)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                for chunk in itertools.islice(chunks, 1):
                    running.add(pool.submit(run_seeds, chunk, app_dir))
                yield future.result()
