from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftweb.core.presence import Presence
from ftweb.core.settings import Settings
from ftweb.core.transfer import better_host
from ftweb.core.types import DeviceId, NodeId, NodeKind, PeerInfo

SETTINGS = Settings()
NOW = 100_000.0

LOCAL: dict[str, Any] = {"local": True}
LOCAL_HIDDEN: dict[str, Any] = {"local": True, "visible": False}
PHONE: dict[str, Any] = {}
PHONE_HIDDEN: dict[str, Any] = {"visible": False}
BRIDGE: dict[str, Any] = {"kind": NodeKind.BRIDGE, "local": True}


def info(node: str, since: float = 0.0, **fields: Any) -> PeerInfo:
    values: dict[str, Any] = {"kind": NodeKind.TAB, "local": False, "visible": True} | fields
    return PeerInfo(node_id=NodeId(node), device_id=DeviceId("d"), since=since, **values)


def choose(
    *infos: PeerInfo,
    settled: float = SETTINGS.settle,
    leader: str = "leader",
    caught_up: Callable[[NodeId], bool] = lambda node: True,
    tried: dict[NodeId, float] | None = None,
) -> NodeId | None:
    presence = Presence(SETTINGS)
    presence.update(infos, NOW - settled)
    return better_host(
        leader=NodeId(leader),
        members=[i.node_id for i in infos if i.node_id != "stranger"],
        presence=presence,
        caught_up=caught_up,
        tried=tried or {},
        settings=SETTINGS,
        now=NOW,
    )


@pytest.mark.parametrize(
    "leader, other, taken",
    [
        (PHONE, LOCAL, True),
        (PHONE, LOCAL_HIDDEN, True),
        (LOCAL_HIDDEN, LOCAL, True),
        (PHONE_HIDDEN, PHONE, True),
        (BRIDGE, PHONE_HIDDEN, True),
        (LOCAL, LOCAL, False),
        (PHONE, PHONE, False),
        (LOCAL, PHONE, False),
        (PHONE_HIDDEN, BRIDGE, False),
        (BRIDGE, BRIDGE, False),
        (LOCAL_HIDDEN, PHONE, False),
    ],
)
def test_only_a_strictly_better_class_takes_the_lead(
    leader: dict[str, Any], other: dict[str, Any], *, taken: bool
) -> None:
    found = choose(info("leader", since=50.0, **leader), info("other", since=1.0, **other))
    assert (found == "other") is taken


@pytest.mark.parametrize(
    "leader, waits", [(PHONE, True), (LOCAL_HIDDEN, True), (PHONE_HIDDEN, False), (BRIDGE, False)]
)
def test_settling_is_not_waited_for_when_the_leader_cannot_go_on(
    leader: dict[str, Any], *, waits: bool
) -> None:
    found = choose(info("leader", **leader), info("other", **LOCAL), settled=0.0)
    assert (found is None) is waits


def test_the_best_class_then_the_longest_up() -> None:
    infos = [
        info("leader", **BRIDGE),
        info("phone", since=1.0),
        info("younger", since=9.0, **LOCAL),
        info("older", since=5.0, **LOCAL),
    ]
    assert choose(*infos) == "older"


def test_who_is_not_ready_or_behind_or_no_member_is_passed_over() -> None:
    infos = [
        info("leader", **BRIDGE),
        info("booting", ready=False, **LOCAL),
        info("behind", **LOCAL),
        info("stranger", **LOCAL),
        info("phone"),
    ]
    assert choose(*infos, caught_up=lambda node: node != "behind") == "phone"


def test_a_target_that_did_not_take_it_is_left_alone_for_a_while() -> None:
    infos = [info("leader"), info("other", **LOCAL)]
    other = NodeId("other")
    assert choose(*infos, tried={other: NOW - SETTINGS.transfer_retry + 1}) is None
    assert choose(*infos, tried={other: NOW - SETTINGS.transfer_retry}) == "other"


def test_without_knowing_the_leaders_class_nothing_happens() -> None:
    assert choose(info("other", **LOCAL)) is None
