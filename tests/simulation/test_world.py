"""Time, chance, and processes that die, freeze and sleep."""

from __future__ import annotations

import pytest

from ftweb.simulation import world as worlds
from ftweb.simulation.world import Crashed, EndlessError, Process, World


def test_events_happen_in_order_and_move_the_time() -> None:
    world = World(1)
    seen: list[tuple[float, str]] = []
    for delay, name in ((5.0, "b"), (1.0, "a"), (5.0, "c")):
        world.after(delay, lambda name=name: seen.append((world.now, name)))
    world.run(10.0)
    assert seen == [(1.0, "a"), (5.0, "b"), (5.0, "c")]
    assert world.now == 10.0


def test_a_run_ends_when_it_is_enough() -> None:
    world = World(1)
    seen: list[int] = []
    for number in range(5):
        world.after(2 * worlds.LOOK * number, seen.append, number)
    assert world.run(1_000.0, enough=lambda: len(seen) == 2)
    assert world.now == 2 * worlds.LOOK


def test_a_cancelled_timer_does_nothing() -> None:
    world = World(1)
    seen: list[int] = []
    Process(world, "page", lambda: None).call_later(0.001, seen.append, 1).cancel()
    world.run(2.0)
    assert seen == []


def test_what_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "MOST_EVENTS", 100)
    world = World(1)

    def again() -> None:
        world.after(0.0, again)

    again()
    with pytest.raises(EndlessError):
        world.run(1.0)


def process(world: World) -> tuple[Process, list[str]]:
    seen: list[str] = []
    return Process(world, "it", lambda: seen.append("crashed")), seen


def test_a_frozen_process_does_it_all_when_it_thaws() -> None:
    world = World(1)
    one, seen = process(world)
    one.call_later(0.001, seen.append, "timer")
    one.freeze()
    world.run(50.0)
    assert seen == []
    one.thaw()
    assert seen == ["timer"]
    assert one.monotonic() == 50.0


def test_a_clock_may_stand_still_during_sleep() -> None:
    world = World(1)
    one, _ = process(world)
    one.freeze()
    world.run(50.0)
    one.thaw(slept=50.0)
    assert one.monotonic() == 0.0
    world.run(60.0)
    assert one.monotonic() == 10.0


def test_a_dead_process_does_nothing_more() -> None:
    world = World(1)
    one, seen = process(world)
    one.call_later(0.001, seen.append, "timer")
    one.end()
    world.run(50.0)
    assert seen == []


def test_a_process_crashes_at_the_point_and_time_it_was_told() -> None:
    world = World(1)
    one, seen = process(world)
    one.doom("save", 2)
    one.reach("save")
    one.reach("send")
    with pytest.raises(Crashed):
        one.reach("save")
    one.reach("save")
    one.doom("save", 1)
    one.do(one.reach, "save")
    assert seen == ["crashed"]
    assert world.counts["crash at save"] == 2


def test_the_digest_is_of_what_and_when() -> None:
    def digest(at: float, what: str) -> str:
        world = World(1)
        world.run(at)
        world.trace(what)
        return world.digest()

    assert digest(1.0, "a") == digest(1.0, "a")
    assert len({digest(1.0, "a"), digest(2.0, "a"), digest(1.0, "b")}) == 3
