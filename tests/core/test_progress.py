from __future__ import annotations

import pytest

from ftweb.core.progress import Mode, Progress
from ftweb.core.snapshot import build
from ftweb.core.types import Configuration


def replicating(match: int = 5) -> Progress:
    progress = Progress(next_index=match + 1, now=0.0)
    progress.accepted(match, 0)
    return progress


def test_probes_one_message_at_a_time() -> None:
    progress = Progress(next_index=6, now=0.0)
    progress.sent(8, 100)
    assert (progress.mode, progress.waiting, progress.next_index) == (Mode.PROBE, True, 6)
    progress.accepted(8, 0)
    assert (progress.mode, progress.waiting, progress.next_index) == (Mode.REPLICATE, False, 9)


def test_runs_ahead_within_the_window() -> None:
    progress = replicating()
    for last in (6, 7, 8):
        assert progress.has_room(3, 1000)
        progress.sent(last, 10)
    assert progress.next_index == 9
    assert not progress.has_room(3, 1000)
    assert not progress.has_room(9, 30)
    progress.accepted(7, 0)
    assert progress.has_room(2, 20)
    assert not progress.has_room(1, 1000)


def test_match_never_falls() -> None:
    progress = replicating(5)
    assert not progress.accepted(3, 0)
    assert (progress.match_index, progress.next_index) == (5, 6)


def test_steps_back_once_for_many_refusals() -> None:
    progress = replicating(5)
    for last in (6, 7, 8):
        progress.sent(last, 10)
    assert progress.refused(3, sent_at=1.0, now=2.0)
    assert (progress.mode, progress.next_index) == (Mode.PROBE, 6)  # never below the match
    assert not progress.refused(3, sent_at=1.5, now=2.5)  # sent before stepping back
    assert progress.refused(6, sent_at=2.0, now=3.0)


def test_silence_stops_running_ahead() -> None:
    progress = replicating(5)
    progress.sent(9, 10)
    progress.went_silent()
    assert (progress.mode, progress.next_index) == (Mode.PROBE, 6)


def test_snapshot_until_it_reaches_the_log() -> None:
    progress = replicating(5)
    configuration = Configuration(voters=())
    snapshot = build(last_index=20, last_term=1, configuration=configuration, data="text")
    progress.send_snapshot(snapshot)
    assert not progress.refused(1, sent_at=9.0, now=9.0)
    progress.accepted(7, offset=20)  # a heartbeat's answer: still too far behind
    assert progress.mode is Mode.SNAPSHOT
    progress.accepted(20, offset=20)
    assert progress.sending is None
    assert progress.next_index == 21


def test_round_trips_are_smoothed() -> None:
    progress = Progress(next_index=1, now=0.0)
    progress.heard(10.0, 30.0)
    assert (progress.rtt, progress.rtt_variation) == (2.5, 5.0)  # one says little
    for sent_at in range(100, 2000, 10):
        progress.heard(float(sent_at), sent_at + 40.0)
    assert progress.rtt == pytest.approx(40.0, abs=1.0)
    assert progress.rtt_variation == pytest.approx(0.0, abs=1.0)


def test_only_newer_messages_prove_that_it_follows() -> None:
    progress = Progress(next_index=1, now=100.0)
    progress.heard(150.0, 160.0)
    progress.heard(120.0, 5000.0)
    assert progress.answered_at == 150.0
    assert progress.heard_at == 5000.0
    progress.heard(9e9, 6000.0)  # no honest node echoes the future
    assert progress.answered_at == 6000.0
