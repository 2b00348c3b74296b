from __future__ import annotations

import pytest

from ftweb.core.presence import (
    BRIDGE,
    LOCAL_HIDDEN,
    LOCAL_VISIBLE,
    REMEMBERED_LOSSES,
    REMOTE_HIDDEN,
    REMOTE_VISIBLE,
    Presence,
    rank_class,
)
from ftweb.core.settings import Settings
from ftweb.core.types import DeviceId, NodeId, NodeKind, PeerInfo

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
SETTINGS = Settings()


def info(
    node: NodeId,
    *,
    kind: NodeKind = NodeKind.TAB,
    local: bool = False,
    visible: bool = True,
    since: float = 0.0,
) -> PeerInfo:
    return PeerInfo(
        node_id=node,
        device_id=DeviceId("d"),
        kind=kind,
        local=local,
        visible=visible,
        since=since,
    )


def dead(presence: Presence, now: float, *silent: NodeId) -> set[NodeId]:
    return presence.dead([A, B, C], silent=lambda node: node in silent, now=now)


@pytest.mark.parametrize(
    "peer, expected",
    [
        (info(A, local=True), LOCAL_VISIBLE),
        (info(A, local=True, visible=False), LOCAL_HIDDEN),
        (info(A), REMOTE_VISIBLE),
        (info(A, visible=False), REMOTE_HIDDEN),
        (info(A, kind=NodeKind.BRIDGE, local=True), BRIDGE),
    ],
)
def test_classes_of_rank(peer: PeerInfo, expected: int) -> None:
    assert rank_class(peer) == expected


def test_without_a_directory_only_the_lost_are_dead() -> None:
    presence = Presence(SETTINGS)
    presence.lost(A, 0.0)
    assert dead(presence, SETTINGS.lost_grace - 1) == set()
    assert dead(presence, SETTINGS.lost_grace) == {A}


def test_who_is_missing_in_the_directory_is_dead_after_the_grace() -> None:
    presence = Presence(SETTINGS)
    presence.update([info(A), info(B)], 0.0)
    assert dead(presence, 100.0) == set()
    assert dead(presence, 100.0 + SETTINGS.lost_grace) == {C}


def test_who_comes_back_is_not() -> None:
    presence = Presence(SETTINGS)
    presence.lost(A, 0.0)
    presence.update([info(A, since=50.0), info(B), info(C)], 100.0)
    assert dead(presence, 5000.0) == set()


def test_a_message_proves_life_unless_it_was_under_way() -> None:
    presence = Presence(SETTINGS)
    for node in (A, B):
        presence.lost(node, 0.0)
    presence.heard(A, 10.0)
    presence.heard(B, SETTINGS.lost_grace / 2)
    assert dead(presence, SETTINGS.lost_grace) == {A}


def test_a_second_hint_does_not_prolong_the_grace() -> None:
    presence = Presence(SETTINGS)
    presence.lost(A, 0.0)
    presence.lost(A, 500.0)
    assert dead(presence, SETTINGS.lost_grace) == {A}


def test_the_silent_are_shunned_until_they_show_life() -> None:
    presence = Presence(SETTINGS)
    presence.update([info(A), info(B), info(C)], 0.0)
    assert dead(presence, 1.0, A, B, C) == {A, B, C}
    assert set(presence.shunned) == {A, B, C}
    presence.update([info(A), info(B), info(C)], 2.0)
    assert set(presence.shunned) == {A, B, C}  # being listed is no sign of life
    presence.update([info(A, since=3.0), info(B, visible=False), info(C)], 3.0)
    assert set(presence.shunned) == {C}
    presence.heard(C, 4.0)
    assert set(presence.shunned) == set()


def test_settles_from_when_it_came_into_its_class() -> None:
    presence = Presence(SETTINGS)
    assert presence.settled_for(A, 50.0) == 0.0
    presence.update([info(A)], 100.0)
    presence.update([info(A)], 200.0)
    assert presence.settled_for(A, 300.0) == 200.0
    presence.update([info(A, visible=False)], 300.0)
    assert presence.settled_for(A, 350.0) == 50.0
    presence.lost(A, 400.0)
    assert presence.settled_for(A, 450.0) == 0.0


def test_hints_are_bounded() -> None:
    presence = Presence(SETTINGS)
    for number in range(10 * REMEMBERED_LOSSES):
        presence.lost(NodeId(str(number)), float(number))
    assert len(presence.lost_at) == REMEMBERED_LOSSES
    assert NodeId(str(10 * REMEMBERED_LOSSES - 1)) in presence.lost_at


def test_a_hint_leaves_the_directory_that_others_hold() -> None:
    presence = Presence(SETTINGS)
    presence.update([info(A), info(B)], 0.0)
    held = presence.infos
    presence.lost(A, 1.0)
    assert set(held) == {A, B}
    assert set(presence.infos) == {B}


def test_a_hint_that_a_message_belies_is_forgotten_at_once() -> None:
    presence = Presence(SETTINGS)
    presence.update([info(A), info(B)], 0.0)
    presence.lost(A, 10.0)
    assert set(presence.infos) == {B}
    presence.heard(A, 10.0 + SETTINGS.lost_grace)
    assert set(presence.infos) == {A, B}
    assert presence.lost_at == {}
    assert presence.settled_for(A, 20.0 + SETTINGS.lost_grace) == 10.0, "it settles anew"


def test_a_hint_that_the_directory_does_not_bear_out_was_wrong() -> None:
    presence = Presence(SETTINGS)
    presence.update([info(A), info(B)], 0.0)
    presence.lost(A, 10.0)
    presence.review(9.0 + SETTINGS.silence)
    assert set(presence.infos) == {B}
    presence.review(10.0 + SETTINGS.silence)
    assert set(presence.infos) == {A, B}


def test_a_hint_that_the_directory_bears_out_stands() -> None:
    presence = Presence(SETTINGS)
    presence.update([info(A), info(B)], 0.0)
    presence.lost(A, 10.0)
    presence.update([info(B)], 20.0)
    presence.review(10.0 + 10 * SETTINGS.silence)
    assert set(presence.infos) == {B}
    assert A in dead(presence, 10.0 + 10 * SETTINGS.silence)
