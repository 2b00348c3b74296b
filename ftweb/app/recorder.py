"""Records what is done to a state, so that it can be replayed elsewhere and undone here.

Drafts (:mod:`ftweb.app.draft`) change the state *in place* and tell the recorder two things for
every change: the JSON Patch operation, and how to take it back. So a request costs what it
changes, never what the state holds: no copy is made and no two states are compared.

Rules:

1. ``operations`` holds only ``add``, ``remove`` and ``replace``. Applied in order to a state equal
   to the original they give one equal to the changed one, key order included.
2. A container that an operation brought in is *fresh*: the operation's value is that very object.
   Later changes within it show in the operation by themselves and are not recorded again. So
   operations must be taken by :meth:`Recorder.finish`, which copies them, before anything else
   changes the state.
3. :meth:`rollback` to a mark restores everything that came later, key order included.
4. Consecutive replacements of one place become one operation, but not across a mark.
"""

from __future__ import annotations

from typing import Any

from ftweb.app import payload
from ftweb.core.types import Json, Record
from ftweb.errors import FtwebError, LimitError
from ftweb.limits import CHANGE_BYTES

type Container = dict[str, Json] | list[Json]


class Mark(Record, frozen=True, kw_only=True):
    """A point to roll back to."""

    operations: int
    undo: int
    fresh: int


class Recorded(Record, frozen=True, kw_only=True):
    """What one request did to the state."""

    operations: list[dict[str, Json]]
    size: int
    """Bytes of the operations as JSON: an upper bound of how much the state has grown."""


class Recorder:
    """The changes of one request to ``root``.

    Args:
        root: the state; changed in place. It may be replaced as a whole, so read it again from
            :attr:`root` afterwards.
    """

    def __init__(self, root: Json) -> None:
        self.root = root
        self.alive = True
        """Whether drafts may still be read. Cleared when the request is done: by then others
        change the state."""
        self.operations: list[dict[str, Json]] = []
        self._undo: list[tuple[Any, ...]] = []
        self._fresh: dict[int, Container] = {}
        self._ordered: set[int] = set()
        self._floor = 0

    # --- what drafts call -------------------------------------------------------------------

    def is_fresh(self, container: Container) -> bool:
        """Whether an operation's value is this very object."""
        return id(container) in self._fresh

    @property
    def has_fresh(self) -> bool:
        """Whether there is any fresh container: most requests have none, and need not look."""
        return bool(self._fresh)

    def note(self, op: str, path: str, value: Json = None) -> None:
        """Record one operation, already done."""
        if isinstance(value, (dict, list)):
            self._fresh[id(value)] = value
        operations = self.operations
        if op == "remove":
            operations.append({"op": op, "path": path})
            return
        if op == "replace" and len(operations) > self._floor:
            last = operations[-1]
            if last["path"] == path and last["op"] != "remove":
                last["value"] = value
                return
        operations.append({"op": op, "path": path, "value": value})

    def will_set(self, container: Container, key: Any) -> None:
        """Before ``container[key] = …`` on a key or index that exists."""
        self._undo.append((_undo_set, container, key, container[key]))

    def will_add(self, container: dict[str, Json], key: str) -> None:
        """Before ``container[key] = …`` on a key that does not exist."""
        self._undo.append((_undo_add, container, key))

    def will_insert(self, container: list[Json], position: int) -> None:
        """Before ``container.insert(position, …)``."""
        self._undo.append((_undo_add, container, position))

    def will_delete(self, container: Container, key: Any) -> None:
        """Before ``del container[key]``."""
        if isinstance(container, list):
            self._undo.append((_undo_list_delete, container, key, container[key]))
            return
        # Undoing puts the key at the end; the order is written down once for each dict and mark.
        if id(container) not in self._ordered and next(reversed(container)) != key:
            self._ordered.add(id(container))
            self._undo.append((_undo_order, container, list(container)))
        self._undo.append((_undo_set, container, key, container[key]))

    def will_rewrite(self, container: Container) -> None:
        """Before anything is done to the whole content."""
        self._undo.append((_undo_rewrite, container, container.copy()))

    def replace_root(self, value: Json) -> None:
        """Replace the whole state by a plain value that nobody else holds."""
        if payload.same(self.root, value):
            return
        self._undo.append((_undo_root, self, self.root))
        self.root = value
        del self.operations[self._floor :]  # they no longer show
        self.note("replace", "", value)

    # --- marks ------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """Remember this point."""
        self._ordered.clear()
        self._floor = len(self.operations)
        return Mark(operations=len(self.operations), undo=len(self._undo), fresh=len(self._fresh))

    def rollback(self, mark: Mark | None = None) -> None:
        """Undo what came after the mark, or everything."""
        target = mark or Mark(operations=0, undo=0, fresh=0)
        while len(self._undo) > target.undo:
            step = self._undo.pop()
            step[0](*step[1:])
        del self.operations[target.operations :]
        while len(self._fresh) > target.fresh:
            self._fresh.popitem()
        self.mark()

    def finish(self) -> Recorded:
        """The operations, as copies that later changes of the state cannot reach.

        Raises:
            LimitError: ``too_large``; the caller rolls back.
        """
        if not self.operations:
            return Recorded(operations=[], size=0)
        data = payload.encode(self.operations)
        if len(data) > CHANGE_BYTES:
            raise LimitError(
                f"The change has {len(data)} bytes; at most {CHANGE_BYTES} may travel at once. "
                "Change less of the state in one request."
            )
        return Recorded(operations=payload.decode(data), size=len(data))

    def check_alive(self) -> None:
        """Drafts call this before they read.

        Raises:
            FtwebError: the request is done.
        """
        if not self.alive:
            raise FtwebError(
                "This draft is of a request that is done. Take what you need out of it within "
                "the handler, with copy().",
                code="handler_failed",
            )


def _undo_set(container: Any, key: Any, old: Json) -> None:
    container[key] = old


def _undo_add(container: Any, key: Any) -> None:
    del container[key]


def _undo_list_delete(container: list[Json], position: int, old: Json) -> None:
    container.insert(position, old)


def _undo_order(container: dict[str, Json], keys: list[str]) -> None:
    items = {key: container[key] for key in keys}
    container.clear()
    container.update(items)


def _undo_rewrite(container: Any, old: Any) -> None:
    container.clear()
    if isinstance(container, dict):
        container.update(old)
    else:
        container.extend(old)


def _undo_root(recorder: Recorder, old: Json) -> None:
    recorder.root = old
