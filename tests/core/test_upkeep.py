"""Upkeep as a function, and as a process that must converge whatever it starts from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftweb.core import quorum
from ftweb.core.configuration import may_follow, problem
from ftweb.core.settings import Settings
from ftweb.core.types import Configuration, DeviceId, NodeId, NodeKind, PeerInfo
from ftweb.core.upkeep import Situation, next_configuration


def peer(text: str, since: float) -> PeerInfo:
    """``name@device`` with flags: ``!`` bridge, ``*`` local, ``~`` hidden, ``?`` not ready."""
    name, _, device = text.rstrip("!*~?").partition("@")
    return PeerInfo(
        node_id=NodeId(name),
        device_id=DeviceId(device or name),
        kind=NodeKind.BRIDGE if "!" in text else NodeKind.TAB,
        local="*" in text or "!" in text,
        visible="~" not in text,
        since=since,
        ready="?" not in text,
    )


def situation(
    peers: str,
    voters: str,
    learners: str = "",
    *,
    leader: str | None = None,
    dead: str = "",
    shunned: str = "",
    behind: str = "",
    **overrides: Any,
) -> Situation:
    infos = [peer(text, float(place)) for place, text in enumerate(peers.split())]
    members = voters.split() + learners.split()
    gone = set(dead.split())
    values: dict[str, Any] = {
        "configuration": Configuration(
            voters=tuple(map(NodeId, voters.split())),
            learners=tuple(map(NodeId, learners.split())),
            successors=tuple(map(NodeId, members)),
        ),
        "leader": NodeId(leader or members[0]),
        "infos": {info.node_id: info for info in infos},
        "dead": frozenset(map(NodeId, gone)),
        "shunned": frozenset(map(NodeId, shunned.split())),
        "caught_up": frozenset(NodeId(m) for m in members if m not in gone | set(behind.split())),
        "alive": frozenset(NodeId(m) for m in members if m not in gone),
        "settings": Settings(),
    }
    return Situation(**(values | overrides))


def run(start: Situation) -> tuple[Configuration, list[Configuration]]:
    """Applies changes until there is none; every new member catches up."""
    path: list[Configuration] = []
    for _ in range(60):
        new = next_configuration(start)
        if new is None:
            return start.configuration, path
        assert problem(new) is None
        assert may_follow(start.configuration, new)
        assert len(new.voters) <= start.settings.max_voters
        assert start.leader in new.members
        assert new != start.configuration
        path.append(new)
        members = frozenset(new.members) - start.dead
        start = msgspec.structs.replace(start, configuration=new, caught_up=members, alive=members)
    raise AssertionError(f"never done: {path[-3:]}")


def voters(peers: str, start: str = "", **options: Any) -> set[str]:
    first = start or peers.split()[0].rstrip("!*~?").partition("@")[0]
    return set(run(situation(peers, first, **options))[0].voters)


@pytest.mark.parametrize(
    "peers, wanted",
    [
        ("b@L!", "b"),
        ("b@L! t@L*", "b"),  # both would be stuck when either dies
        ("b@L! t@L* u@L*", "b"),  # one device: they die together
        ("b@L! t@L* p", "b t p"),
        ("b@L! p", "b"),
        ("b@L! t@L* p q", "t p q"),  # one per device
        ("b@L! p q", "b p q"),
        ("b@L! t@L* p q r", "b t p q r"),
        ("b@L! t@L* p q r s", "b t p q r"),  # at most five
        ("b@L! t@L* p p2@p", "b t p"),  # never two tabs of a device
        ("b@L! p p2@p", "b"),  # the phone would hold a majority
        ("b@L! t@L* c@M! u@M* p", "b t c u p"),  # two laptops, two voters each
        ("b@L! t@L* c@M! p q r", "t c p q r"),  # its laptop lost, one more may be missing
        ("b@L! t@L* c@M! p q", "b t c p q"),  # no fifth device
        ("b@L! c@M! p q r s", "p b c q r"),
        ("b@L! t@L* c@M! u@M*", "b t u"),
        ("t@L* p q", "t p q"),  # no bridge left
        ("t@L* p", "t"),
        ("b@L! t@L*~ p~ q", "b t q"),  # a hidden phone is no voter while there are others
        ("b@L! t@L* p~ q~ r~", "b"),
        ("p~ q~ r~", "p q r"),  # there is nobody else
        ("b@L! t@L* p?", "b"),  # not ready: not yet a member
    ],
)
def test_wanted_voters(peers: str, wanted: str) -> None:
    assert voters(peers) == set(wanted.split())


def test_bridges_are_always_members_and_tabs_at_most_five() -> None:
    peers = "b@L! t@L* u@L* p1 p2 p3 p4 p5 p6~ c@M! d@N!"
    final, _ = run(situation(peers, "b"))
    assert {"b", "c", "d"} <= set(final.members)
    assert {node for node in final.members if node not in "bcd"} == {"t", "p1", "p2", "p3", "p4"}


def test_distinct_devices_are_members_before_further_tabs_of_one() -> None:
    final, _ = run(situation("b@L! t@L* u@L* v@L* p q r~", "b"))
    assert {"t", "p", "q", "r", "u"} <= set(final.members)
    assert "v" not in final.members


def test_successors_by_class_then_longest_up_bridges_last() -> None:
    final, _ = run(situation("b@L! p q~ r t@L*~ u@L*", "b"))
    assert final.successors == ("u", "t", "p", "r", "q", "b")


def test_a_member_that_is_behind_is_no_successor_and_no_voter_yet() -> None:
    new = next_configuration(situation("b@L! t@L* p q", "b", "t", leader="t", behind=""))
    assert new is not None
    assert set(new.learners) == {"t", "p", "q"}
    assert new.successors == ("t", "b")
    assert new.voters == ("b",)


class TestOrder:
    def test_from_an_even_number_the_dead_leave_first(self) -> None:
        new = next_configuration(
            situation("b@L! t@L* p q r", "b t p x", "q r", leader="t", dead="x")
        )
        assert new is not None
        assert set(new.voters) == {"b", "t", "p"}

    def test_from_an_odd_number_the_replacement_comes_first(self) -> None:
        start = situation("b@L! t@L* p q r", "t p x", "b q r", leader="t", dead="x")
        new = next_configuration(start)
        assert new is not None
        assert len(new.voters) == 4
        assert "x" in new.voters
        final, path = run(start)
        assert [len(c.voters) for c in path[:2]] == [4, 3]
        assert "x" not in final.members

    def test_a_full_set_loses_the_dead_first(self) -> None:
        new = next_configuration(
            situation("b@L! t@L* p q r", "b t p q x", "r", leader="t", dead="x")
        )
        assert new is not None
        assert set(new.voters) == {"b", "t", "p", "q"}

    def test_nobody_is_removed_if_the_rest_would_have_no_majority(self) -> None:
        start = situation("b@L! t@L* p q r", "b t p x y", leader="t", dead="x y")
        alive = frozenset(map(NodeId, ("b", "t")))
        new = next_configuration(msgspec.structs.replace(start, alive=alive))
        assert new is not None  # learners may come all the same
        assert new.voters == start.configuration.voters

    def test_down_to_the_bridge_alone(self) -> None:
        final, _ = run(situation("b@L!", "b t p", leader="b", dead="t"))
        assert final.voters == ("b", "p")  # p is only missing: it may come back
        final, _ = run(situation("b@L! p", "b t p", leader="p", dead="t"))
        assert final.voters == ("b",)
        assert final.learners == ("p",)
        final, _ = run(situation("b@L!", "b", "p", leader="b", dead="p"))
        assert final.members == ("b",)

    def test_the_leader_becomes_a_voter_last(self) -> None:
        _, path = run(situation("b@L! t@L* p", "b", "t p", leader="t"))
        assert [c.voters for c in path] == [("b", "p"), ("b", "p", "t")]

    def test_nobody_leaves_while_one_that_stays_does_not_answer(self) -> None:
        start = situation("b@L! t@L* p q~ r", "b t p q r", leader="t")
        new = next_configuration(start)
        assert new is not None
        assert set(new.voters) == {"b", "t", "p", "r"}
        alive = start.alive - {NodeId("p")}
        held = next_configuration(msgspec.structs.replace(start, alive=alive))
        assert held is None or set(held.voters) == set("btpqr")

    def test_does_not_shrink_while_somebody_is_catching_up(self) -> None:
        start = situation("b@L! t@L* p q~ r s", "b t p q r", "s", leader="t", behind="s")
        new = next_configuration(start)
        assert new is None or set(new.voters) == set("btpqr")
        final, _ = run(situation("b@L! t@L* p q~ r s", "b t p q r", "s", leader="t"))
        assert set(final.voters) == {"b", "t", "p", "r", "s"}

    def test_waits_for_a_voter_that_is_missing_but_not_dead(self) -> None:
        assert next_configuration(situation("b@L! t@L* p q r", "b t p x y", leader="t")) is not None
        new = next_configuration(situation("b@L! t@L* p q r", "b t p x y", "q r", leader="t"))
        assert new is None or set(new.voters) == set("btpxy")

    def test_the_frozen_are_not_taken_back(self) -> None:
        final, _ = run(situation("b@L! t@L* p", "b", "t", leader="t", shunned="p"))
        assert "p" not in final.members

    def test_nothing_to_do_is_nothing(self) -> None:
        final, _ = run(situation("b@L! t@L* p q r", "b"))
        start = situation("b@L! t@L* p q r", "b t p q r", leader="t")
        assert next_configuration(msgspec.structs.replace(start, configuration=final)) is None

    def test_incumbents_stay_among_equals(self) -> None:
        final, path = run(situation("o b@L! t@L* p q r", "b t p q r", leader="t"))
        assert set(final.voters) == {"b", "t", "p", "q", "r"}
        assert "o" in final.learners
        assert all(len(c.voters) == 5 for c in path)


PEERS = st.lists(
    st.tuples(
        st.sampled_from(["L", "M", "p", "q", "r", "s", "u", "v"]),
        st.sampled_from(["!", "*", "*~", "", "", "~", "?"]),
    ),
    min_size=1,
    max_size=12,
)


def names(count: int) -> Iterable[str]:
    return (f"n{number}" for number in range(count))


@settings(max_examples=300, deadline=None)
@given(PEERS, st.data())
def test_always_converges_to_an_odd_living_spread_set(
    shape: list[tuple[str, str]], data: st.DataObject
) -> None:
    peers = " ".join(
        f"{name}@{device}{flags}"
        for name, (device, flags) in zip(names(len(shape)), shape, strict=True)
    )
    infos = {info.node_id: info for info in (peer(text, 0.0) for text in peers.split())}
    ready = [name for name, info in infos.items() if info.ready]
    if not ready:
        return
    old = data.draw(st.lists(st.sampled_from(ready), min_size=1, max_size=4, unique=True))
    dead = ["dead"] if len(old) > 1 and data.draw(st.booleans()) else []
    final, _ = run(situation(peers, " ".join(old + dead), leader=old[0], dead=" ".join(dead)))
    chosen = [infos[node] for node in final.voters]
    assert len(chosen) % 2 == 1
    assert quorum.holds(final.voters, frozenset(final.members))
    tabs = [info.device_id for info in chosen if info.kind is NodeKind.TAB]
    assert len(tabs) == len(set(tabs))
    devices = {info.device_id for info in chosen}
    if len(devices) >= 3:
        for device in devices:
            elsewhere = sum(info.device_id != device for info in chosen)
            assert elsewhere >= quorum.majority(len(chosen))
    bridges = {node for node, info in infos.items() if info.kind is NodeKind.BRIDGE}
    assert bridges <= set(final.members)
    assert len(set(final.members) - bridges) <= 5
    assert set(final.successors) == set(final.members)
