"""The simulated sockets keep TCP's promise, whatever is cut, clogged and mended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftweb.simulation.network import Link, Network, Weather
from ftweb.simulation.world import World

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.7, 4.0, 12.0]),
        st.sampled_from(["send", "send", "cut", "clog", "release"]),
    ),
    max_size=60,
)


@given(seed=st.integers(0, 10_000), loss=st.sampled_from([0.0, 0.3]), steps=STEPS)
def test_ordered_frames_arrive_once_and_in_order(
    seed: int, loss: float, steps: list[tuple[float, str]]
) -> None:
    world = World(seed)
    network = Network(world, Weather(low=1.0, high=10.0, loss=loss))
    link = Link(network, "phone", local=False)
    way = link.up
    arrived: list[int] = []
    sent = 0
    for wait, step in steps:
        world.run(world.now + wait)
        match step:
            case "send":
                network.in_order(link, way, arrived.append, sent)
                sent += 1
            case "cut":
                way.cut = True
            case "clog":
                way.clogged = True
            case _:
                network.release(way)
    link.repair()
    world.run(world.now + 1000.0)
    assert arrived == list(range(sent))
