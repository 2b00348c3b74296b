"""Drafts: a dict and a list that record what is done to them.

``with server.change() as state:`` gives a draft of the state. It is used like the dict or list it
stands for; each change is made in the state at once and written down by the
:class:`~ftweb.app.recorder.Recorder`. Where drafts differ from plain values, on purpose:

1. **Assigning copies.** ``state["a"] = value`` checks ``value`` and stores a copy. Changing
   ``value`` afterwards changes nothing; take ``state["a"]`` and change that.
   Assigning one part of a draft to another place copies too: the state is a tree.
2. **Taking out gives plain values.** ``pop``, ``popitem``, ``copy`` and ``+`` return plain copies,
   which are the caller's own.
3. **A part that was removed or replaced is detached.** A draft of it still reads as it was, but
   writing to it raises: it would be lost.
4. **Drafts end.** Writing is possible until the ``with`` block ends, reading until the handler
   does.
5. Writing what is already there is no change. ``1``, ``1.0`` and ``True`` are different values.
6. A draft is no ``dict`` or ``list`` for ``isinstance``; replies and messages may contain drafts,
   ``json.dumps`` needs ``.copy()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, SupportsIndex, cast, overload

from ftweb.app import payload
from ftweb.app.recorder import Container, Recorder
from ftweb.core.types import Json
from ftweb.errors import FtwebError

type Step = str | int


class Scope:
    """One ``with server.change()`` block; its drafts may write while it is open."""

    __slots__ = ("open", "recorder")

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.open = True

    def root(self) -> Any:
        """The draft of the whole state.

        Raises:
            FtwebError: the state is neither an object nor a list.
        """
        draft = wrap(self.recorder.root, self, None, "")
        if not isinstance(draft, DraftDict | DraftList):
            raise FtwebError(
                f"The state is {self.recorder.root!r}, which has no parts to change. "
                "Replace it with commit_state().",
                code="handler_failed",
            )
        return draft


class _Draft:
    """What both kinds share: where in the state they are."""

    __slots__ = ("_data", "_parent", "_scope", "_step")

    def __init__(self, data: Any, scope: Scope, parent: _Draft | None, step: Step) -> None:
        self._data = data
        self._scope = scope
        self._parent = parent
        self._step = step

    def _read(self) -> Any:
        self._scope.recorder.check_alive()
        return self._data

    def _place(self) -> tuple[str, int, bool]:
        """Path, depth, and whether an operation already holds this container.

        Raises:
            FtwebError: detached, or the block has ended.
        """
        scope = self._scope
        if not scope.open:
            raise FtwebError(
                "This draft's `with server.change()` block has ended: open another one to write.",
                code="handler_failed",
            )
        recorder = scope.recorder
        look = recorder.has_fresh
        fresh = False
        steps: list[str] = []
        node = self
        while True:
            if look and not fresh and recorder.is_fresh(node._data):
                fresh = True
            parent = node._parent
            if parent is None:
                if node._data is not recorder.root:
                    raise _detached()
                break
            steps.append(node._locate(parent))
            node = parent
        if not steps:
            return "", 0, fresh
        return "/" + "/".join(reversed(steps)), len(steps), fresh

    def _locate(self, parent: _Draft) -> str:
        """This container's step within its parent, found by identity: lists shift."""
        data = parent._data
        if isinstance(data, dict):
            if data.get(cast(str, self._step)) is not self._data:
                raise _detached()
            return escape(cast(str, self._step))
        step = cast(int, self._step)
        if not (step < len(data) and data[step] is self._data):
            for position, item in enumerate(data):
                if item is self._data:
                    self._step = step = position
                    break
            else:
                raise _detached()
        return str(step)

    def __ftweb_plain__(self) -> Json:
        return self._read()

    def _rewrite(self, content: Container) -> None:
        """Give the container this whole content, keeping its identity."""
        path, _, fresh = self._place()
        data = self._data
        if payload.same(data, content):
            return
        recorder = self._scope.recorder
        recorder.will_rewrite(data)
        if isinstance(data, dict):
            data.clear()
            data.update(cast(dict[str, Json], content))
        else:
            data[:] = cast(list[Json], content)
        if not fresh:
            recorder.note("replace", path, data)

    def __eq__(self, other: object) -> bool:
        return bool(self._read() == _view(other))

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._read())

    def __copy__(self) -> Any:
        return payload.clone(self._read())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return payload.clone(self._read())


class DraftDict(_Draft, MutableMapping[str, Any]):
    """A draft of a JSON object; use it like a dict."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        value = self._read()[key]
        if type(value) is dict or type(value) is list:
            return wrap(value, self._scope, self, key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        path, depth, fresh = self._place()
        key = payload.plain_key(key, what="The state")
        data = self._data
        exists = key in data
        if exists and isinstance(value, _Draft) and value._data is data[key]:
            return  # what `state["list"] += …` ends with
        copied = payload.plain(value, what=f"The state's {path}/{key}", depth=depth + 1)
        recorder = self._scope.recorder
        if exists:
            if payload.same(data[key], copied):
                return
            recorder.will_set(data, key)
        else:
            recorder.will_add(data, key)
        data[key] = copied
        if not fresh:
            recorder.note("replace" if exists else "add", f"{path}/{escape(key)}", copied)

    def __delitem__(self, key: str) -> None:
        path, _, fresh = self._place()
        data = self._data
        if key not in data:
            raise KeyError(key)
        recorder = self._scope.recorder
        recorder.will_delete(data, key)
        del data[key]
        if not fresh:
            recorder.note("remove", f"{path}/{escape(key)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __reversed__(self) -> Iterator[str]:
        return iter(list(reversed(self._read())))

    def __contains__(self, key: object) -> bool:
        return key in self._read()

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key and return its value as a plain copy."""
        if len(default) > 1:
            raise TypeError(f"pop takes a key and at most one default, not {1 + len(default)}")
        if key in self._read():
            value = payload.clone(self._data[key])
            del self[key]
            return value
        if default:
            return default[0]
        raise KeyError(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, after setting it if it is missing: a draft, unlike ``default``."""
        if key not in self._read():
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Any]:
        """Remove the key that was added last; returns it with a plain copy of its value."""
        for key in reversed(self._read()):
            return key, self.pop(key)
        raise KeyError("popitem(): the object is empty")

    def clear(self) -> None:
        """Remove everything, as one operation."""
        self._rewrite({})

    def copy(self) -> dict[str, Json]:
        """A plain copy of all of it."""
        return cast(dict[str, Json], payload.clone(self._read()))

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.copy() | dict(other)

    def __ror__(self, other: Any) -> Any:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(other) | self.copy()

    def __ior__(self, other: Any) -> DraftDict:
        self.update(other)
        return self

    def __repr__(self) -> str:
        return f"DraftDict({self._data!r})"


class DraftList(_Draft, MutableSequence[Any]):
    """A draft of a JSON list; use it like a list."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        data = self._read()
        if isinstance(index, slice):
            return [self._wrap(i) for i in range(*index.indices(len(data)))]
        return self._wrap(_position(index, len(data)))

    @overload
    def __setitem__(self, index: SupportsIndex, value: Any) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Any]) -> None: ...
    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        if isinstance(index, slice):
            self._set_slice(index, list(value))
            return
        path, depth, fresh = self._place()
        data = self._data
        position = _position(index, len(data))
        if isinstance(value, _Draft) and value._data is data[position]:
            return
        copied = payload.plain(value, what=f"The state's {path}/{position}", depth=depth + 1)
        if payload.same(data[position], copied):
            return
        recorder = self._scope.recorder
        recorder.will_set(data, position)
        data[position] = copied
        if not fresh:
            recorder.note("replace", f"{path}/{position}", copied)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        if isinstance(index, slice):
            removed = set(range(*index.indices(len(self._read()))))
            kept = [item for i, item in enumerate(self._data) if i not in removed]
            if len(removed) >= max(4, len(kept)):
                self._rewrite(kept)
            else:
                for position in sorted(removed, reverse=True):
                    del self[position]
            return
        path, _, fresh = self._place()
        data = self._data
        position = _position(index, len(data))
        recorder = self._scope.recorder
        recorder.will_delete(data, position)
        del data[position]
        if not fresh:
            recorder.note("remove", f"{path}/{position}")

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Insert before an index; one out of range means an end, as in a list."""
        path, depth, fresh = self._place()
        data = self._data
        position = slice(index, None).indices(len(data))[0]
        copied = payload.plain(value, what=f"The state's {path}/{position}", depth=depth + 1)
        recorder = self._scope.recorder
        recorder.will_insert(data, position)
        data.insert(position, copied)
        if not fresh:
            recorder.note("add", f"{path}/{position}", copied)

    def append(self, value: Any) -> None:
        """Add one item at the end."""
        self.insert(len(self._read()), value)

    def extend(self, values: Iterable[Any]) -> None:
        """Add items at the end; all of them or, if one is no JSON, none."""
        _, depth, _ = self._place()
        copied = payload.plain(list(values), what="The items added to the state", depth=depth)
        if len(copied) >= max(4, len(self._data)):
            self._rewrite(self._data + copied)
        else:
            for item in copied:
                self.append(item)

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Remove an item and return it as a plain copy."""
        data = self._read()
        if not data:
            raise IndexError("pop from an empty list")
        position = _position(index, len(data))
        value = payload.clone(data[position])
        del self[position]
        return value

    def remove(self, value: Any) -> None:
        """Remove the first item that equals a value."""
        del self[self.index(value)]

    def clear(self) -> None:
        """Remove everything, as one operation."""
        self._rewrite([])

    def reverse(self) -> None:
        """Turn the order around, as one operation."""
        self._rewrite(self._read()[::-1])

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort, as one operation; ``key`` is given what indexing would give."""
        data = self._read()
        order: list[int] = sorted(
            range(len(data)),
            key=(lambda i: data[i]) if key is None else (lambda i: key(self._wrap(i))),
            reverse=reverse,
        )
        self._rewrite([data[i] for i in order])

    def copy(self) -> list[Json]:
        """A plain copy of all of it."""
        return cast(list[Json], payload.clone(self._read()))

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Position of the first item that equals a value."""
        data = self._read()
        return cast(int, data.index(_view(value), start, len(data) if stop is None else stop))

    def count(self, value: Any) -> int:
        """How many items equal a value."""
        return cast(int, self._read().count(_view(value)))

    def __contains__(self, value: object) -> bool:
        return _view(value) in self._read()

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while position < len(self._read()):  # may grow or shrink meanwhile, as a list may
            yield self._wrap(position)
            position += 1

    def __reversed__(self) -> Iterator[Any]:
        for position in range(len(self._read()) - 1, -1, -1):
            if position < len(self._data):
                yield self._wrap(position)

    def __iadd__(self, values: Iterable[Any]) -> DraftList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, times: SupportsIndex) -> DraftList:
        self._rewrite(payload.clone(self._read() * times))
        return self

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, list | DraftList):
            return NotImplemented
        return self.copy() + list(other)

    def __radd__(self, other: Any) -> Any:
        return other + self.copy() if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> list[Json]:
        return cast(list[Json], payload.clone(self._read() * times))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"DraftList({self._data!r})"

    def _wrap(self, position: int) -> Any:
        return wrap(self._data[position], self._scope, self, position)

    def _set_slice(self, index: slice, values: list[Any]) -> None:
        _, depth, _ = self._place()
        data = self._data
        start, stop, step = index.indices(len(data))
        copied = payload.plain(values, what="The items assigned to the state", depth=depth)
        content = data.copy()
        content[index] = copied
        old = max(0, stop - start)
        if step != 1 or max(old, len(copied)) >= max(4, len(content)):
            self._rewrite(content)
            return
        common = min(old, len(copied))
        for offset in range(common):
            self[start + offset] = copied[offset]
        for position in range(start + old - 1, start + common - 1, -1):
            del self[position]
        for offset in range(common, len(copied)):
            self.insert(start + offset, copied[offset])


def wrap(value: Json, scope: Scope, parent: _Draft | None, step: Step) -> Any:
    """A draft of a container, or the value itself."""
    if type(value) is dict:
        return DraftDict(value, scope, parent, step)
    if type(value) is list:
        return DraftList(value, scope, parent, step)
    return value


def draft_to_plain(value: Any) -> Json:
    """A plain copy of a value that is, or contains, drafts.

    Raises:
        TypeError, ValueError, LimitError: it is not JSON (:func:`ftweb.app.payload.plain`).
    """
    return payload.plain(value)


def _view(value: Any) -> Any:
    """What a value compares as: the draft's data itself; drafts within plain lists compare by
    their own equality."""
    return value._read() if isinstance(value, _Draft) else value


def escape(step: str) -> str:
    """A key as a step of a JSON Pointer (RFC 6901, section 3)."""
    if "~" in step or "/" in step:
        return step.replace("~", "~0").replace("/", "~1")
    return step


def _position(index: SupportsIndex, length: int) -> int:
    """An index as a position in a list of this length."""
    position = index.__index__()
    if position < 0:
        position += length
    if not 0 <= position < length:
        raise IndexError("list index out of range")
    return position


def _detached() -> FtwebError:
    return FtwebError(
        "This part of the state has been removed or replaced since it was taken; what is written "
        "to it would be lost. Take it from the draft again.",
        code="handler_failed",
    )
