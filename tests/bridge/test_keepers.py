"""Who keeps files: counted by browsers, one more is asked, those on this machine last."""

from __future__ import annotations

from typing import Any

import pytest

from ftweb.bridge.keepers import GRACE_SECONDS, Answer, Keepers, Told
from ftweb.errors import FileError
from ftweb.files import Manifest, describe
from ftweb.limits import (
    CONNECTIONS,
    FILE_COPY_BYTES,
    FILE_COPY_SECONDS,
    FILES_COPIED_BYTES,
    FILES_KEPT,
    FILES_TOLD_LEASE_SECONDS,
    FILES_TOLD_SECONDS,
)

SLIDES = describe("slides.pdf", "application/pdf", [b"slides"], chunk_bytes=65536)
PHOTO = describe("photo.jpg", "image/jpeg", [b"photo"], chunk_bytes=65536)


class Room:
    """A bridge, and browsers named by a word; each has one tab unless another is named."""

    def __init__(self, *files: Manifest) -> None:
        self.now = 0.0
        self.files = {one.id: one for one in files}
        self.lacking: set[str] = set()
        self.keepers = Keepers(clock=lambda: self.now, lacks=lambda one: one.id in self.lacking)

    def tell(
        self,
        browser: str,
        *held: Manifest,
        tab: str = "",
        near: bool = False,
        most: int = FILE_COPY_BYTES,
        room: int = FILES_COPIED_BYTES,
    ) -> Answer:
        told = Told(browser, tab or browser, most, room, frozenset(one.id for one in held))
        return self.keepers.hear(told, self.files, near=near)

    def after_grace(self) -> None:
        """Everybody here so far tells again in the meantime."""
        self.now += GRACE_SECONDS

    def later(self, seconds: float, **held: tuple[Manifest, ...]) -> None:
        """Time passes, in which these browsers tell as often as they should."""
        end = self.now + seconds
        while self.now < end:
            for browser, files in held.items():
                self.tell(browser, *files)
            self.now = min(end, self.now + FILES_TOLD_SECONDS)


@pytest.fixture
def room() -> Room:
    return Room(SLIDES)


def test_one_more_browser_is_asked_and_no_third(room: Room) -> None:
    room.tell("ada", SLIDES)
    room.after_grace()
    assert room.tell("bob").copy == SLIDES.id
    assert room.tell("eve").copy is None, "bob is at it"
    assert room.tell("bob").copy == SLIDES.id, "still"
    assert room.tell("bob", SLIDES) == Answer(None, (), (SLIDES.id,))
    assert room.tell("eve").copy is None
    assert room.keepers.browsers(SLIDES.id) == 2


def test_nobody_is_asked_before_all_had_time_to_tell(room: Room) -> None:
    """A bridge that was started again: others keep it already."""
    assert room.tell("eve").copy is None
    room.tell("ada", SLIDES)
    room.now += GRACE_SECONDS - 1
    room.tell("bob", SLIDES)
    assert room.tell("eve").copy is None
    room.now += 1
    assert room.tell("eve").copy is None


def test_who_begins_to_be_told_anew_waits_again(room: Room) -> None:
    room.tell("ada", SLIDES)
    room.now += 100 * FILES_TOLD_LEASE_SECONDS
    assert room.tell("eve").copy is None
    room.after_grace()
    assert room.tell("eve").copy == SLIDES.id


@pytest.mark.parametrize("fetching", [True, False])
def test_one_that_leaves_is_replaced(room: Room, fetching: bool) -> None:
    room.tell("ada", SLIDES)
    room.after_grace()
    assert room.tell("bob").copy == SLIDES.id
    if not fetching:
        room.tell("bob", SLIDES)
    room.later(FILES_TOLD_LEASE_SECONDS - 1, ada=(SLIDES,))
    assert room.tell("eve").copy is None
    room.now += 1
    assert room.tell("eve").copy == SLIDES.id


def test_tabs_of_one_browser_count_as_one(room: Room) -> None:
    room.tell("ada", SLIDES)
    room.tell("ada", SLIDES, tab="another")
    room.after_grace()
    assert room.keepers.browsers(SLIDES.id) == 1
    assert room.tell("ada", tab="third").copy is None, "its browser has it"
    assert room.tell("bob", tab="one").copy == SLIDES.id
    assert room.tell("bob", tab="other").copy is None, "its other tab is at it"


def test_it_is_kept_while_one_tab_of_a_browser_is_there(room: Room) -> None:
    for tab in ("one", "two"):
        room.tell("ada", SLIDES, tab=tab)
    room.now += FILES_TOLD_LEASE_SECONDS - 1
    room.tell("ada", SLIDES, tab="two")
    room.now += 1
    assert room.keepers.browsers(SLIDES.id) == 1
    room.now += FILES_TOLD_LEASE_SECONDS
    assert room.keepers.browsers(SLIDES.id) == 0


@pytest.mark.parametrize(
    "most, space",
    [(SLIDES.size - 1, SLIDES.size), (SLIDES.size, SLIDES.size - 1), (0, SLIDES.size)],
)
def test_who_has_no_room_is_not_asked(room: Room, most: int, space: int) -> None:
    room.tell("ada", SLIDES)
    room.after_grace()
    assert room.tell("bob", most=most, room=space).copy is None
    assert room.tell("eve", most=SLIDES.size, room=SLIDES.size).copy == SLIDES.id


def test_nobody_is_asked_for_two_at_a_time() -> None:
    room = Room(SLIDES, PHOTO)
    room.tell("ada", SLIDES, PHOTO)
    room.after_grace()
    first = room.tell("bob").copy
    assert room.tell("bob").copy == first
    second = room.tell("eve").copy
    assert {first, second} == {SLIDES.id, PHOTO.id}


def test_a_browser_on_this_machine_is_asked_only_if_no_other_can_be(room: Room) -> None:
    room.tell("ada", SLIDES)
    room.tell("bob", most=0)
    room.after_grace()
    room.tell("eve")
    assert room.tell("laptop", near=True).copy is None, "eve can"
    room.now += FILES_TOLD_LEASE_SECONDS
    room.tell("ada", SLIDES)
    room.tell("bob", most=0)
    room.now += GRACE_SECONDS
    assert room.tell("laptop", near=True).copy == SLIDES.id, "eve has left"


def test_who_takes_too_long_is_followed_by_another(room: Room) -> None:
    room.tell("ada", SLIDES)
    room.after_grace()
    assert room.tell("bob").copy == SLIDES.id
    room.later(FILE_COPY_SECONDS, ada=(SLIDES,), bob=())
    assert room.tell("bob").copy is None
    assert room.tell("eve").copy == SLIDES.id


def test_who_could_not_save_it_is_followed_by_another_at_once(room: Room) -> None:
    room.tell("ada", SLIDES)
    room.after_grace()
    assert room.tell("bob").copy == SLIDES.id
    assert room.tell("bob", most=0, room=0).copy is None
    assert room.tell("bob").copy is None, "it is let alone for a while"
    assert room.tell("eve").copy == SLIDES.id


def test_what_this_bridge_lacks_is_asked_of_one_tab_at_a_time_and_not_copied(room: Room) -> None:
    room.lacking.add(SLIDES.id)
    assert room.tell("ada", SLIDES).give == (SLIDES.id,)
    assert room.tell("bob", SLIDES).give == ()
    assert room.tell("ada", SLIDES).give == (SLIDES.id,)
    room.after_grace()
    assert room.tell("eve").copy is None
    room.now += FILES_TOLD_LEASE_SECONDS
    assert room.tell("bob", SLIDES).give == (SLIDES.id,), "ada has left"
    room.lacking.clear()
    assert room.tell("bob", SLIDES).give == ()


def test_what_the_state_does_not_name_is_nobody_s(room: Room) -> None:
    assert room.tell("ada", PHOTO, SLIDES).named == (SLIDES.id,)
    assert room.keepers.browsers(PHOTO.id) == 0
    room.after_grace()
    assert room.tell("bob").copy == SLIDES.id
    room.files.clear()
    assert room.tell("bob") == Answer()


def test_there_is_a_bound_on_tabs(room: Room) -> None:
    for number in range(CONNECTIONS):
        room.tell(f"phone {number}")
    assert room.tell("one more", SLIDES) == Answer()
    assert room.keepers.browsers(SLIDES.id) == 0
    assert room.tell("phone 0", SLIDES).named == (SLIDES.id,)


GOOD: dict[str, Any] = {"browser": "0" * 32, "tab": "f" * 32, "most": 0, "room": 1, "files": []}


@pytest.mark.parametrize(
    "change",
    [
        {"browser": "x"},
        {"tab": None},
        {"most": -1},
        {"room": True},
        {"room": 1.5},
        {"files": None},
        {"files": ["x"]},
        {"files": [["0" * 64]]},
        {"files": ["0" * 64] * (FILES_KEPT + 1)},
    ],
)
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    assert Told.parse(GOOD).room == 1
    with pytest.raises(FileError) as refused:
        Told.parse({**GOOD, **change})
    assert refused.value.code == "bad_manifest"
