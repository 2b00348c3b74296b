"""What one request does while its handler runs: changes, outgoing messages.

All of it takes effect together, in one log entry, or not at all. Changes are made on the host's
head state at once, so later ``change()`` blocks of the same handler see earlier ones, and undone
if the request fails.

A ``change()`` block that raises is undone by itself; a handler may catch that and go on. Messages
sent within it stay, since ``send`` and ``broadcast`` are not part of the block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from ftweb.app import patch, payload
from ftweb.app.commands import Outgoing
from ftweb.app.draft import Scope
from ftweb.app.recorder import Recorded, Recorder
from ftweb.core.types import Json
from ftweb.errors import FtwebError, LimitError
from ftweb.limits import CHANGE_BYTES, COMMAND_BYTES, ID_CHARS, OUTBOX_MESSAGES


class Transaction:
    """One request in the making.

    Args:
        root: the head state; changed in place.
    """

    def __init__(self, root: Json) -> None:
        self.recorder = Recorder(root)
        self.outbox: list[Outgoing] = []
        self._outbox_bytes = 0
        self._open = False

    @property
    def running(self) -> bool:
        """Whether the handler has not ended yet."""
        return self.recorder.alive

    @contextmanager
    def change(self) -> Iterator[Any]:
        """One block of changes; gives a draft of the state.

        Raises:
            FtwebError: another block is open.
        """
        scope = self._scope("change()")
        mark = self.recorder.mark()
        self._open = True
        try:
            yield scope.root()
        except BaseException:
            if self.running:  # else all of it has been undone already
                self.recorder.rollback(mark)
            raise
        finally:
            scope.open = False
            self._open = False

    def commit_change(self, operations: Any) -> None:
        """Carry out a JSON Patch.

        Raises:
            FtwebError: ``bad_change``; nothing was changed by it.
        """
        scope = self._scope("commit_change()")
        try:
            checked = patch.check(operations)
        except (TypeError, ValueError) as error:
            raise FtwebError(str(error), code="bad_change") from error
        try:
            patch.perform(checked, scope)
        finally:
            scope.open = False

    def commit_state(self, value: Any) -> None:
        """Replace the whole state.

        Raises:
            TypeError, ValueError, LimitError: the value is no JSON, or too large for one request.
        """
        self._scope("commit_state()")
        copied = payload.check(value, what="The new state", limit=CHANGE_BYTES)
        self.recorder.replace_root(copied)

    def send(self, to: str | Iterable[str] | None, message: Any) -> None:
        """Add a message to the outbox.

        Args:
            to: a client id, or several; None for everybody.
            message: JSON, copied.

        Raises:
            FtwebError: ``bad_reply``: the message is no JSON, too large, or one too many.
        """
        try:
            clients = None if to is None else _clients(to)
            copied = payload.check(message, what="The message")
        except (TypeError, ValueError, LimitError) as error:
            raise FtwebError(str(error), code="bad_reply") from error
        self._outbox_bytes += payload.size(copied)
        if len(self.outbox) >= OUTBOX_MESSAGES or self._outbox_bytes > COMMAND_BYTES:
            raise FtwebError(
                f"One request may send {OUTBOX_MESSAGES} messages of {COMMAND_BYTES} bytes "
                "altogether. Send one message to several clients, or to everybody.",
                code="bad_reply",
            )
        self.outbox.append(Outgoing(to=clients, payload=copied))

    def finish(self) -> Recorded:
        """What was changed, once the handler has returned; :meth:`close` or :meth:`abandon` next.

        Raises:
            FtwebError: a change block was left open.
            LimitError: ``too_large``: the change does not fit in a log entry.
        """
        if self._open:
            raise FtwebError("A change() block was left open.", code="handler_failed")
        return self.recorder.finish()

    def close(self) -> None:
        """Let what was done stand; nobody can read or write through this transaction any more."""
        self.recorder.alive = False

    def abandon(self) -> None:
        """Undo everything: the head state is as it was before."""
        if self.recorder.alive:
            self.recorder.rollback()
            self.recorder.alive = False
        self.outbox.clear()

    def _scope(self, what: str) -> Scope:
        if self._open:
            raise FtwebError(
                f"{what} was called within a change() block: finish the block first.",
                code="handler_failed",
            )
        return Scope(self.recorder)


CURRENT: Final[ContextVar[tuple[object, Transaction] | None]] = ContextVar("CURRENT", default=None)
"""The server whose handler runs in this context, and its transaction. A context variable, not an
attribute: a task that a handler leaves behind must not write into the next request."""


def _clients(to: str | Iterable[str]) -> list[str]:
    clients: list[Any] = [to] if isinstance(to, str) else list(to)
    for client in clients:
        if not (isinstance(client, str) and 0 < len(client) <= ID_CHARS and client.isprintable()):
            raise TypeError(f"{client!r} is no client id; take source.client_id")
    return [str.__str__(client) for client in clients]
