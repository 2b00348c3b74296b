"""Files for a class: slides and handouts that everybody has, from whoever is left.

1. The state says which files there are. Their content is no state: bridges and tabs hold it in
   chunks (``docs/files.md``), and a *manifest* in the state says what the content must be.
2. Everybody sees a file as soon as it is added, also while it is still on its way to the bridge.
   ``complete`` tells when it has arrived there.
3. ``holders`` are the devices that keep all of a file, for people to see. That at least two do is
   ftweb's doing.
4. A file may be replaced: it keeps its place, gets another manifest, and downloads begin anew.
5. Whoever added a file may replace and remove it, and so may a presenter. A presenter decides
   whether only presenters add files.

=====================  ==================================================  ====================
message ``type``       further members                                     reply
=====================  ==================================================  ====================
``add``                ``manifest``                                        ``file``: its key
``replace``            ``file``, ``manifest``                              ``file``
``complete``           ``file``, ``sha256``: a bridge has all of it        ``file``
``hold``, ``let_go``   ``file``, ``sha256``: this device has all of it     ``holders``: how many
``remove``             ``file``                                            ``file``
``set_sharing`` ★      ``everybody``: true or false                        ``everybody``
=====================  ==================================================  ====================

★ presenters only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import ftweb
from ftweb import Refusal
from ftweb.app import Source
from ftweb.files import check_manifest

FILES: Final = 60
"""Files at a time. Manifests of the largest ones are 35 kB each: half of what a state may have."""
HOLDERS: Final = 40
"""Devices noted for one file: enough to be sure of it."""

server = ftweb.init_server(
    "classroom-files",
    state={"added": 0, "everybody": True, "files": {}},
    on_quorum_loss="continue",
)


@server.on_receive
def receive(message: Any, source: Source) -> Any:
    """Answer one message: see the table above."""
    if not isinstance(message, dict):
        raise Refusal("bad_message", "A message is an object with a type.")
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in HANDLERS:
        raise Refusal("unknown_type", "There is no message of that type.")
    return HANDLERS[kind](message, source)


def add(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Add a file at the end of the list."""
    manifest = check_manifest(message.get("manifest"))
    with server.change() as state:
        if not (state["everybody"] or source.presenter):
            raise Refusal("not_shared", "Only the presenter adds files at the moment.")
        if len(state["files"]) >= FILES:
            raise Refusal("too_many_files", f"There are {FILES} files already: remove old ones.")
        number = state["added"] + 1
        state["added"] = number
        state["files"][f"f{number}"] = {
            "manifest": manifest.to_dict(),
            "by": source.device_id,
            "by_presenter": source.presenter,
            "version": 1,
            "complete": False,
            "holders": {},
        }
    return {"file": f"f{number}"}


def replace(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Put another file in the place of one."""
    manifest = check_manifest(message.get("manifest"))
    with server.change() as state:
        key, file = find(state, message)
        check_owner(file, source)
        if file["manifest"] != manifest.to_dict():
            file["manifest"] = manifest.to_dict()
            file["version"] += 1
            file["complete"] = False
            file["holders"] = {}
    return {"file": key}


def complete(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Note that a bridge has all of a file."""
    with server.change() as state:
        key, file = find_same(state, message)
        check_owner(file, source)
        if not file["complete"]:
            file["complete"] = True
    return {"file": key}


def hold(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Note that a device keeps all of a file."""
    with server.change() as state:
        _, file = find_same(state, message)
        holders = file["holders"]
        if source.device_id not in holders and len(holders) < HOLDERS:
            holders[source.device_id] = True
        return {"holders": len(holders)}


def let_go(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Note that a device does not keep it any more."""
    with server.change() as state:
        _, file = find_same(state, message)
        file["holders"].pop(source.device_id, None)
        return {"holders": len(file["holders"])}


def remove(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Take a file off the list. Bridges and tabs then forget its content."""
    with server.change() as state:
        key, file = find(state, message)
        check_owner(file, source)
        del state["files"][key]
    return {"file": key}


def set_sharing(message: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Let everybody add files, or presenters only."""
    if not source.presenter:
        raise Refusal("not_presenter", "Only the presenter's page may do that.")
    everybody = message.get("everybody")
    if not isinstance(everybody, bool):
        raise Refusal("bad_message", "everybody is true or false.")
    with server.change() as state:
        state["everybody"] = everybody
    return {"everybody": everybody}


HANDLERS: Final[dict[str, Callable[[Mapping[str, Any], Source], dict[str, Any]]]] = {
    "add": add,
    "replace": replace,
    "complete": complete,
    "hold": hold,
    "let_go": let_go,
    "remove": remove,
    "set_sharing": set_sharing,
}


def find(state: Any, message: Mapping[str, Any]) -> tuple[str, Any]:
    """The file that a message is about."""
    key = message.get("file")
    if not isinstance(key, str) or key not in state["files"]:
        raise Refusal("unknown_file_key", "There is no such file; it may have been removed.")
    return key, state["files"][key]


def find_same(state: Any, message: Mapping[str, Any]) -> tuple[str, Any]:
    """The same, if its content is still what the sender speaks of."""
    key, file = find(state, message)
    if message.get("sha256") != file["manifest"]["sha256"]:
        raise Refusal("replaced", "That file has been replaced by another one.")
    return key, file


def check_owner(file: Any, source: Source) -> None:
    """Refuse those who neither added the file nor present."""
    if file["by"] != source.device_id and not source.presenter:
        raise Refusal("not_yours", "Only whoever added the file, or the presenter, may do that.")
