"""``ftweb simulate``: summary, JSON, replay, and what it says of a violation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ftweb.cli.commands import cli
from tests.simulation.planted.leaders import BUGS


def simulate(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["simulate", *arguments])


def test_a_summary() -> None:
    done = simulate("--schedules", "4", "--seed", "1")
    assert done.exit_code == 0, done.output
    assert "4 schedules (seeds 1 to 4)" in done.stdout
    assert "violations            0   (95 %: at most 0.75 of all schedules)" in done.stdout


def test_json_is_one_object_and_says_the_same_with_several_jobs() -> None:
    reports = []
    for jobs in ("1", "2"):
        done = simulate("--schedules", "20", "--json", "--jobs", jobs)
        assert done.exit_code == 0, done.output
        reports.append(json.loads(done.stdout))
    for report in reports:
        for timing in ("seconds", "cpu_seconds", "schedules_per_cpu_second", "virtual_seconds"):
            del report[timing]
    assert reports[0] == reports[1]
    assert reports[0]["violations"] == []
    assert reports[0]["votes_acknowledged"] >= 50 * 15


def test_a_replay_is_the_same_every_time() -> None:
    one, other = simulate("--replay", "7"), simulate("--replay", "7")
    assert one.exit_code == 0
    assert one.stdout == other.stdout
    assert "trace digest" in one.stdout
    assert "bridge-1 starts, epoch 1" in one.stdout
    told = json.loads(simulate("--replay", "7", "--json").stdout)
    assert told["digest"] in one.stdout
    assert told["transcript"]


def test_a_violation_is_named_made_small_and_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ftweb.simulation.shrink.BUDGET", 40)
    BUGS["repeated_requests_run_again"].plant(monkeypatch)
    done = simulate("--schedules", "12", "--seed", "0", "--jobs", "1", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["violations"][0]["invariant"] == "exactly once"
    smallest = tmp_path / "smallest.json"
    smallest.write_text(json.dumps(report["smallest"]), encoding="utf-8")
    again = simulate("--replay", str(smallest))
    assert again.exit_code == 1
    assert "violation             exactly once" in again.stdout


@pytest.mark.parametrize("what", ["nonsense", "{}", "[1"])
def test_what_cannot_be_replayed_is_misuse(what: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    if what != "nonsense":
        path.write_text(what, encoding="utf-8")
    done = simulate("--replay", str(path))
    assert done.exit_code == 2
    assert "--replay" in done.output


def test_an_app_without_simulation_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import ftweb\nserver = ftweb.init_server('a')\n"
        "@server.on_receive\ndef receive(message):\n    return 1\n",
        encoding="utf-8",
    )
    done = simulate("--app", str(tmp_path))
    assert done.exit_code == 1
    assert "@requests" in str(done.exception)


def test_an_app_that_acknowledged_nothing_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import ftweb\nserver = ftweb.init_server('a')\n"
        "@server.on_receive\ndef receive(message):\n    return message['x']\n",
        encoding="utf-8",
    )
    (tmp_path / "simulation.py").write_text(
        "from ftweb.simulation.app_support import requests\n"
        "@requests\ndef ask(person, draw):\n    return {}\n",
        encoding="utf-8",
    )
    done = simulate("--app", str(tmp_path), "--schedules", "2", "--jobs", "1")
    assert done.exit_code == 1
    assert "handler_failed" in done.stdout
    assert "receive raised KeyError: 'x'" in done.stdout
    assert "No request was acknowledged" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "applies_before_commit",
        "outbox_released_again_with_a_new_host",
        "replies_cached_by_serial_only",
        "reply_before_commit",
        "sessions_left_out_of_snapshots",
    ],
)
def test_with_a_bug_in_place_it_names_the_invariant(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftweb.simulation.shrink.BUDGET", 1)
    BUGS[name].plant(monkeypatch)
    done = simulate("--schedules", "20", "--seed", "1", "--jobs", "1", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["violations"][0]["invariant"] in BUGS[name].caught_by


def test_people_can_try_a_bug_over_the_command_line() -> None:
    """With a process of its own, and its exit status."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.simulation.planted", "applies_before_commit"),
            *("--schedules", "10", "--seed", "1", "--json"),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["violations"][0]["invariant"]
    assert found in BUGS["applies_before_commit"].caught_by
