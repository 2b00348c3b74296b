"""A client's copy of the app's state, kept true by the change stream.

1. A whole ``state`` replaces the copy unless it is older than what is held (a bridge whose
   replica lags may send one after a reconnect).
2. A ``change`` applies only to exactly the index it names. An older one has been seen; any
   other gap, or a patch that does not apply, is healed by asking for the whole state.
3. Within an epoch the index grows. Another epoch is another history, whatever its number: it
   begins with its whole state, and positions in the one before mean nothing in it.
4. A value once handed out never changes: patches copy the path they touch and share the rest
   (:func:`apply_patch`), so a change costs its path, not the state.
"""

from __future__ import annotations

from typing import Any

from ftweb import frames


class PatchError(Exception):
    """A JSON Patch that does not apply to this document."""


class StateCopy:
    """The latest state known to a client.

    Attributes:
        value: the state; ``None`` before the first.
        epoch: the epoch of ``value``.
        index: the log index that ``value`` is as of; 0 before the first.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.epoch = 0
        self.index = 0

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, index)."""
        return (self.epoch, self.index)

    def replace(self, frame: frames.State) -> bool:
        """Take a whole state. Returns whether the copy changed."""
        if frame.epoch == self.epoch and frame.index < self.index:
            return False
        changed = (frame.epoch, frame.index) != self.position or self.index == 0
        self.value, self.epoch, self.index = frame.value, frame.epoch, frame.index
        return changed

    def change(self, frame: frames.Change) -> bool | None:
        """Take a change. Returns whether the copy changed; ``None``: a resync is needed."""
        if frame.epoch == self.epoch and frame.index <= self.index:
            return False
        if (frame.epoch, frame.after) != self.position:
            return None
        try:
            value = apply_patch(self.value, frame.patch)
        except PatchError:
            return None
        self.value, self.index = value, frame.index
        return True


def apply_patch(document: Any, patch: list[dict[str, Any]]) -> Any:
    """Apply an RFC 6902 patch without changing ``document``.

    Args:
        document: a JSON value.
        patch: the operations.

    Returns:
        The new value; what the patch did not touch is shared with ``document``.

    Raises:
        PatchError: an operation is malformed, or names what is not there.
    """
    own = _Own()
    for operation in patch:
        document = _apply(document, operation, own)
    return document


class _Own:
    """The containers that this patch has copied already: no second copy is needed. They are
    kept here, so that no other container can get the identity of one that was removed."""

    def __init__(self) -> None:
        self._copies: dict[int, Any] = {}

    def changeable(self, container: Any) -> Any:
        """A container that may be changed: itself, if it is such a copy, or else one."""
        if not isinstance(container, (dict, list)):
            raise PatchError("the path leads into a value that has no members")
        if id(container) in self._copies:
            return container
        copied: Any = container.copy()
        self._copies[id(copied)] = copied
        return copied

    def forget(self) -> None:
        """What was copied so far may now be in two places."""
        self._copies = {}


def _apply(document: Any, operation: dict[str, Any], own: _Own) -> Any:
    try:
        op, path = operation["op"], _parse(operation["path"])
        if op in ("add", "replace", "test"):
            value = operation["value"]
        elif op in ("copy", "move"):
            source = _parse(operation["from"])
            value = _get(document, source)
            if op == "copy":
                own.forget()
            elif path[: len(source)] == source and len(path) > len(source):
                raise PatchError("cannot move a value into itself")
            else:
                document = _edit(document, source, "remove", None, own)
        elif op == "remove":
            value = None
        else:
            raise PatchError(f"unknown operation {op!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise PatchError(f"malformed operation: {error}") from None
    if op == "test":
        if not _same(_get(document, path), value):
            raise PatchError("a tested value differs")
        return document
    return _edit(document, path, op if op in ("remove", "replace") else "add", value, own)


def _edit(document: Any, path: list[str], op: str, value: Any, own: _Own) -> Any:
    """``document`` with one place added, replaced or removed; copies only along ``path``."""
    if not path:
        return value
    root = parent = own.changeable(document)
    for key in path[:-1]:
        place = _place(parent, key)
        parent[place] = child = own.changeable(parent[place])
        parent = child
    key = path[-1]
    if op != "add":
        place = _place(parent, key)
        if op == "remove":
            del parent[place]
        else:
            parent[place] = value
    elif isinstance(parent, dict):
        parent[key] = value
    else:
        length = len(parent)
        parent.insert(length if key == "-" else _index(key, length, True), value)
    return root


def _place(parent: Any, key: str) -> Any:
    """The key or index of a member that is there."""
    if isinstance(parent, list):
        return _index(key, len(parent), False)
    if key not in parent:
        raise PatchError(f"no member {key!r}")
    return key


def _get(document: Any, path: list[str]) -> Any:
    for key in path:
        if not isinstance(document, dict | list):
            raise PatchError("the path leads into a value that has no members")
        document = document[_place(document, key)]
    return document


def _parse(pointer: str) -> list[str]:
    """RFC 6901."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise PatchError("a path starts with '/'")
    parts = pointer[1:].split("/")
    if "~" not in pointer:
        return parts
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _index(key: str, length: int, appends: bool) -> int:
    if not (key.isascii() and key.isdigit()) or (key[0] == "0" and key != "0"):
        raise PatchError(f"{key!r} is no index")
    index = int(key)
    if index > length or (index == length and not appends):
        raise PatchError(f"index {index} is outside the list")
    return index


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
