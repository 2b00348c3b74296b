"""``ftweb simulate``: many seeded fault schedules, or one of them with its transcript.

1. The report goes to stdout, the progress bar to stderr. Nothing of what is reported depends on
   how many processes there were, or on when they were done.
2. A violation ends with status 1, the smallest schedule that still shows it, and the command that
   replays it. So does an author's app that acknowledged nothing: that must not pass for a success.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ftweb.simulation import shrink
from ftweb.simulation.plan import Plan
from ftweb.simulation.runner import Summary, load_app, plan_for, run_many
from ftweb.simulation.schedule import Result, run
from ftweb.simulation.workload import App

VIOLATED = 1
SHOWN = 10
"""Violations that are told of one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateOptions:
    """What was asked for on the command line."""

    schedules: int
    seed: int
    jobs: int | None
    app_dir: Path | None
    replay: str | None
    as_json: bool


def simulate(options: SimulateOptions) -> int:
    """Run the command; returns the exit status."""
    app = load_app(options.app_dir)  # early, for its errors
    if options.replay is not None:
        return _replay(_find_plan(options.replay, app), app, options)
    seeds = range(options.seed, options.seed + options.schedules)
    started = time.monotonic()
    summary = _run_with_progress(seeds, options.jobs or os.cpu_count() or 1, options)
    smallest = _smallest(summary.violations[0], app) if summary.violations else None
    if options.as_json:
        report: dict[str, Any] = summary.to_json()
        report["seed"] = options.seed
        report["seconds"] = round(time.monotonic() - started, 1)
        if smallest is not None:
            report["smallest"] = json.loads(shrink.to_json(smallest))
        click.echo(json.dumps(report))
    else:
        _tell(summary, options, smallest, time.monotonic() - started)
    if options.app_dir is not None and not summary.votes:
        click.secho(
            "No request was acknowledged, so this shows nothing of the app. What its @requests "
            "function asks for, or the answers above, say why.",
            fg="red",
            err=True,
        )
        return VIOLATED
    return VIOLATED if summary.violations else 0


def _run_with_progress(seeds: range, jobs: int, options: SimulateOptions) -> Summary:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[found]}"),
    )
    found = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("schedules", total=len(seeds), found="no violations")

        def advance(result: Result) -> None:
            nonlocal found
            found += result.violation is not None
            progress.update(
                task, advance=1, found=f"[red]{found} violations" if found else "no violations"
            )

        return run_many(
            seeds,
            jobs=min(jobs, max(1, len(seeds) // 10)),
            app_dir=options.app_dir,
            on_result=advance,
        )


def _smallest(result: Result, app: App) -> Plan:
    assert result.violation is not None
    return shrink.shrink(plan_for(result.seed, app), result.violation.invariant, app=app)


def _tell(
    summary: Summary, options: SimulateOptions, smallest: Plan | None, seconds: float
) -> None:
    share = max(1, summary.schedules) / 100
    click.echo(
        f"{summary.schedules} schedules (seeds {options.seed} to"
        f" {options.seed + summary.schedules - 1}) in {seconds:.1f} s:"
        f" {summary.schedules / max(summary.cpu_seconds, 1e-9):.1f} a second and core"
    )
    click.echo(
        f"violations            {len(summary.violations)}"
        f"   (95 %: at most {summary.bound:.2g} of all schedules)"
    )
    click.echo(
        f"votes acknowledged    {summary.votes}"
        f"   (50 in {summary.with_votes / share:.0f} % of the schedules)"
    )
    click.echo(
        f"host changes          {summary.host_changes}"
        f"   (in {summary.with_host_change / share:.0f} % of the schedules)"
    )
    for code, count in sorted(summary.errors.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"{code:<20}  {count}   ({summary.examples[code][1]})")
    click.echo(f"digest of all traces  {summary.digest}")
    click.echo("what happened:")
    for kind, count in sorted(summary.counts.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"  {count:>9}  {kind}")
    for result in summary.violations[:SHOWN]:
        click.secho(f"seed {result.seed}: {result.violation}", fg="red")
    if smallest is not None:
        app = f" --app {shlex.quote(str(options.app_dir))}" if options.app_dir else ""
        click.echo(
            f"Smallest schedule that shows it; as a file, for --replay:\n{shrink.to_json(smallest)}"
        )
        click.echo(f"All of it: ftweb simulate{app} --replay {summary.violations[0].seed}")


def _find_plan(replay: str, app: App) -> Plan:
    """A seed, or the file that a smaller plan was kept in."""
    if replay.lstrip("-").isdigit():
        return plan_for(int(replay), app)
    try:
        return shrink.from_json(Path(replay).read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(
            f"{replay} is neither a seed nor a file with a schedule: {error.strerror}.",
            param_hint="--replay",
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise click.BadParameter(
            f"{replay} holds no schedule of this version of ftweb: {error}.",
            param_hint="--replay",
        ) from error


def _replay(plan: Plan, app: App, options: SimulateOptions) -> int:
    logging.disable(logging.CRITICAL)
    try:
        lines: list[str] = []
        result = run(plan, app=app, narrate=lines.append if options.as_json else click.echo)
    finally:
        logging.disable(logging.NOTSET)
    violation = result.violation
    if options.as_json:
        click.echo(
            json.dumps(
                {
                    "seed": result.seed,
                    "digest": result.digest,
                    "violation": None
                    if violation is None
                    else {"invariant": violation.invariant, "what": violation.what},
                    "votes_acknowledged": result.votes,
                    "host_changes": result.host_changes,
                    "counts": result.counts,
                    "plan": json.loads(shrink.to_json(plan)),
                    "transcript": lines,
                }
            )
        )
    else:
        click.echo(f"plan                  {shrink.to_json(plan)}")
        click.echo(f"trace digest          {result.digest}")
        click.echo(f"votes acknowledged    {result.votes}")
        click.echo(f"violation             {violation or 'none'}")
    return VIOLATED if violation is not None else 0
