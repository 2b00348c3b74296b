"""The files app's handlers: every message, every refusal, who may do what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftweb.files import describe, find_manifests
from ftweb.limits import FILE_CHUNKS, STATE_BYTES

from .conftest import Classroom, device_id

SLIDES = describe("slides.pdf", "application/pdf", [b"slides"], chunk_bytes=65536)
OTHER = describe("slides 2.pdf", "application/pdf", [b"other"], chunk_bytes=65536)


@pytest.fixture
def room() -> Classroom:
    return Classroom("files")


async def add(room: Classroom, *, who: str = "ada", presenter: bool = False) -> str:
    reply = await room.send(
        {"type": "add", "manifest": SLIDES.to_dict()}, who=who, presenter=presenter
    )
    key: str = reply["file"]
    return key


def about(kind: str, key: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "file": key, "sha256": SLIDES.sha256, **more}


async def test_what_is_added_is_there_for_everybody(room: Classroom) -> None:
    assert await add(room) == "f1"
    assert room.state["files"]["f1"] == {
        "manifest": SLIDES.to_dict(),
        "by": device_id("ada"),
        "by_presenter": False,
        "version": 1,
        "complete": False,
        "holders": {},
    }
    assert [one.id for one in find_manifests(room.state)] == [SLIDES.id]
    assert await add(room) == "f2"
    await room.send({"type": "remove", "file": "f2"})
    assert await add(room) == "f3", "keys are not used again"


async def test_who_holds_it(room: Classroom) -> None:
    key = await add(room)
    await room.send(about("complete", key))
    assert room.state["files"][key]["complete"]
    for number, who in enumerate(["ada", "bob", "bob"]):
        reply = await room.send(about("hold", key), who=who)
        assert reply == {"holders": min(number + 1, 2)}
    assert (await room.send(about("let_go", key), who="ada")) == {"holders": 1}
    assert (await room.send(about("let_go", key), who="ada")) == {"holders": 1}


async def test_only_so_many_holders_are_noted(room: Classroom) -> None:
    key = await add(room)
    for number in range(45):
        reply = await room.send(about("hold", key), who=f"phone {number}")
    assert reply == {"holders": 40}


async def test_a_replaced_file_is_another_one(room: Classroom) -> None:
    key = await add(room)
    await room.send(about("complete", key))
    await room.send(about("hold", key))
    same = {"type": "replace", "file": key, "manifest": SLIDES.to_dict()}
    await room.send(same)
    assert room.state["files"][key]["version"] == 1
    await room.send({**same, "manifest": OTHER.to_dict()})
    file = room.state["files"][key]
    assert (file["version"], file["complete"], file["holders"]) == (2, False, {})
    assert await room.refused(about("hold", key)) == "replaced"
    assert await room.refused(about("complete", key), presenter=True) == "replaced"


async def test_who_may_change_a_file(room: Classroom) -> None:
    key = await add(room)
    for message in (
        {"type": "remove", "file": key},
        {"type": "replace", "file": key, "manifest": OTHER.to_dict()},
        about("complete", key),
    ):
        with pytest.raises(Exception, match="Only whoever added"):
            await room.send(message, who="bob")
    await room.send({"type": "remove", "file": key}, who="teacher", presenter=True)
    assert room.state["files"] == {}


async def test_presenters_only(room: Classroom) -> None:
    closed = {"type": "set_sharing", "everybody": False}
    assert await room.refused(closed) == "not_presenter"
    await room.send(closed, who="teacher", presenter=True)
    add_it = {"type": "add", "manifest": SLIDES.to_dict()}
    assert await room.refused(add_it) == "not_shared"
    assert await add(room, who="teacher", presenter=True) == "f1"
    assert await room.refused({"type": "set_sharing", "everybody": 1}, presenter=True) == (
        "bad_message"
    )


@pytest.mark.parametrize("manifest", [None, {}, [], "x", {**SLIDES.to_dict(), "name": "a/b"}])
async def test_what_is_no_file(room: Classroom, manifest: Any) -> None:
    assert await room.refused({"type": "add", "manifest": manifest}) == "bad_file"


@pytest.mark.parametrize(
    "message", [None, 1, [], {}, {"type": 1}, {"type": "x"}, {"type": ["add"]}]
)
async def test_what_is_no_message(room: Classroom, message: Any) -> None:
    assert await room.refused(message) in ("bad_message", "unknown_type")


@pytest.mark.parametrize("kind", ["replace", "complete", "hold", "let_go", "remove"])
@pytest.mark.parametrize("key", [None, "f2", "", 1, ["f1"], "__proto__"])
async def test_there_is_no_such_file(room: Classroom, kind: str, key: Any) -> None:
    await add(room)
    message = {"type": kind, "file": key, "sha256": "x", "manifest": SLIDES.to_dict()}
    assert await room.refused(message) == "unknown_file_key"


async def test_as_many_of_the_largest_files_as_allowed(room: Classroom) -> None:
    largest = {
        **SLIDES.to_dict(),
        "name": "x" * 200,
        "size": FILE_CHUNKS * 2**22,
        "chunk_bytes": 2**22,
        "chunks": ["0" * 64] * FILE_CHUNKS,
    }
    for _ in range(60):
        await room.send({"type": "add", "manifest": largest})
    assert await room.refused({"type": "add", "manifest": largest}) == "too_many_files"
    assert len(json.dumps(room.state)) < STATE_BYTES * 3 // 4


PAGES = Path(__file__).resolve().parents[2] / "examples" / "files" / "pages"
FORBIDDEN = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://")


@pytest.mark.parametrize(
    "path", [one for one in sorted(PAGES.rglob("*")) if one.suffix in (".js", ".html", ".css")],
    ids=lambda path: path.name,
)  # fmt: skip
def test_pages_load_nothing_from_elsewhere_and_write_text_only(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [word for word in FORBIDDEN if word in text.replace("http://www.w3.org", "")]
    if path.suffix == ".html":
        assert "<script>" not in text
        assert " style=" not in text
        assert 'lang="en"' in text
