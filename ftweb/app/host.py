"""The host: runs the app's handlers while this node leads.

It exists from when the new leader has applied everything it holds until it leads no more, and it
keeps a *head*: the state and the sessions as they will be once every command it has handed out is
applied. Rules:

1. One request at a time, in the order in which :meth:`Host.handle` was called.
2. A handler runs on the head state, in place; a request that fails is undone there. No copy of
   the state is made but the one when the host begins.
3. The head sessions take exactly the steps that the replicas' will, with the same time stamps, so
   the head decides about a request what they will decide. That is why what :meth:`Host.handle`
   gives must be proposed at once and in order, and nothing else; if that fails, or the node leads
   no more, the host is thrown away.
4. Every request gets its answer through the log, errors too. No entry is needed, and None is
   given, for a request whose reply stands in the log: applying it releases the reply, and who has
   applied it already knows it (:meth:`ftweb.app.machine.Machine.reply_for`).
5. Once all commands are applied, head and committed state are equal
   (:meth:`Host.assert_in_step`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ftweb.app import commands, payload
from ftweb.app.effects import Replied, SessionOpened
from ftweb.app.machine import Machine
from ftweb.app.recorder import Recorded
from ftweb.app.server import Server, Source, handler_name
from ftweb.app.sessions import ACKNOWLEDGED, EXPIRED, Kept, Standing
from ftweb.app.transaction import CURRENT, Transaction
from ftweb.core.types import Index, Json, Record
from ftweb.errors import CODES, FtwebError, LimitError, Refusal
from ftweb.frames import Failure, Forward, Left
from ftweb.limits import COMMAND_BYTES, HANDLER_SECONDS, ID_CHARS, STATE_BYTES

_log = logging.getLogger(__name__)

ERROR_CHARS: Final = 300
"""Longest text of an exception that is sent to a client; the whole traceback is in the log."""

_OWN_CODES: Final = frozenset({"bad_reply", "bad_change"})
"""Codes that an error of ours keeps when a handler lets it through."""


class _Failed(Exception):  # noqa: N818 - carries a failure through this module
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code=code, message=message)


class _Pending(Record, frozen=True, kw_only=True):
    """A command that was handed out and not yet applied."""

    kind: str = "request"
    client_id: str | None
    placeholder: Index = 0
    """For an opening: the session's number in the head, negative, until the index is known."""
    session: Index = 0
    serial: int = 0


class Host:
    """The app at work on the leader.

    Args:
        server: the app, with a handler.
        machine: this node's replica, with everything applied that its log holds.
        clock: wall clock, milliseconds since 1970.
        on_begin, on_end: called around each run of the handler, so that somebody outside this
            thread can end a run that never ends.
        seconds: after which an asynchronous handler is cut off. A synchronous one can only be
            ended from outside.
        state_bytes: the largest state; tests give a small one.
    """

    def __init__(
        self,
        server: Server,
        machine: Machine,
        *,
        clock: Callable[[], float],
        on_begin: Callable[[Forward], None] | None = None,
        on_end: Callable[[], None] | None = None,
        seconds: float = HANDLER_SECONDS,
        state_bytes: int = STATE_BYTES,
    ) -> None:
        self._server = server
        self._machine = machine
        self._clock = clock
        self._on_begin = on_begin
        self._on_end = on_end
        self._seconds = seconds
        self._state_bytes = state_bytes
        self._state: Json = payload.clone(machine.state)
        self._bytes = payload.size(self._state)
        """Upper bound of the head state's size; measured anew when it reaches the limit."""
        self._sessions = machine.sessions.copy()
        self._pending: deque[_Pending] = deque()
        self._placeholder: Index = 0
        self._lock = asyncio.Lock()
        server.follow(lambda: machine.state)

    @property
    def pending(self) -> int:
        """Commands handed out and not yet applied."""
        return len(self._pending)

    async def handle(self, forward: Forward) -> dict[str, Any] | None:
        """Handle a request, or the opening of a session (``serial`` 0).

        Returns:
            The command to propose, at once; None if the log holds it already.
        """
        async with self._lock:
            if forward.serial == 0:
                return self._open(forward.source.client_id)
            return await self._request(forward)

    def cached(self, forward: Forward) -> Replied | SessionOpened | None:
        """What this node's replica knows to be the answer."""
        client_id = forward.source.client_id
        if forward.serial == 0:
            return self._machine.session_of(client_id)
        return self._machine.reply_for(client_id, forward.session, forward.serial)

    def applied(self, index: Index, data: Json) -> None:
        """A command was applied to the replica: call it for each, after ``Machine.apply``.

        Raises:
            FtwebError: it is not the next one that this host gave: somebody else appended to the
                log while this host was at work, so it must be thrown away.
        """
        done = self._pending.popleft() if self._pending else None
        if done is None or (done.kind, done.client_id) != (data["kind"], data.get("client_id")):
            raise FtwebError(
                f"Entry {index} ({data['kind']}) is not what this host handed out next ({done}).",
                code="not_leader",
            )
        client_id = done.client_id
        if (
            client_id is not None
            and done.placeholder
            and self._sessions.number_of(client_id) == done.placeholder
        ):
            self._sessions.renumber(client_id, index)

    def assert_in_step(self) -> None:
        """With nothing pending, head and committed copy must be equal. For tests: it is slow.

        Raises:
            AssertionError: they are not.
        """
        assert not self._pending, f"{len(self._pending)} commands are pending"
        committed = payload.encode(self._machine.state)
        assert payload.encode(self._state) == committed, "head state differs"
        assert self._sessions.to_json() == self._machine.sessions.to_json(), "sessions differ"
        assert self._bytes >= len(committed), "the bound of the state's size is too low"

    def bridges(
        self, *, joined: Sequence[str], heard: Sequence[str], left: Sequence[Left] = ()
    ) -> dict[str, Any]:
        """The command by which bridges enter the history, or are heard of again, as voters are;
        propose it at once."""
        at = self._stamp()
        self._sessions.advance(at)
        self._pending.append(_Pending(kind="bridges", client_id=None))
        return commands.bridges(joined=joined, heard=heard, left=left, at=at)

    # --- sessions -----------------------------------------------------------------------------

    def _open(self, client_id: str) -> dict[str, Any] | None:
        if client_id in self._sessions:
            return None
        at = self._stamp()
        command = commands.open_session(client_id=client_id, at=at)
        self._placeholder -= 1
        self._sessions.advance(at)
        self._sessions.open(client_id, self._placeholder)
        self._pending.append(
            _Pending(kind="open", client_id=client_id, placeholder=self._placeholder)
        )
        return command

    def _stamp(self) -> int:
        return max(int(self._clock()), self._sessions.clock)

    # --- requests -----------------------------------------------------------------------------

    async def _request(self, forward: Forward) -> dict[str, Any] | None:
        client_id, session, serial = forward.source.client_id, forward.session, forward.serial
        number = self._sessions.number_of(client_id)
        if number is not None and number < 0 and session > self._machine.applied_index:
            return None  # nobody can know the coming number yet, so this is a guess
        adopt = not self._sessions.knows(client_id, session) and self._machine.lineage.is_foreign(
            session, self._machine.applied_index
        )
        replay = forward.replay is not None
        looked = self._sessions.look(client_id, session, serial, adopt=adopt, replay=replay)
        if looked is Standing.REPLIED and not (adopt or self._was_told_otherwise(forward)):
            return None
        at = self._stamp()
        standing = self._sessions.look(
            client_id, session, serial, at=at, adopt=adopt, replay=replay
        )
        if standing is not Standing.NEW:
            if _Pending(client_id=client_id, session=session, serial=serial) in self._pending:
                return None  # refused before, and on its way
            error = EXPIRED if standing is Standing.EXPIRED else ACKNOWLEDGED
            command = commands.request(**_of(forward), at=at, error=error)
            return self._hand_out(forward, at, command, adopt=adopt, standing=standing)
        transaction = Transaction(self._state)
        try:
            command = await self._run(forward, at, transaction)
        except _Failed as failed:
            transaction.abandon()
            self._state = transaction.recorder.root
            command = _refuse(forward, at, failed.failure)
        except BaseException:
            transaction.abandon()
            self._state = transaction.recorder.root
            raise
        return self._hand_out(forward, at, command, adopt=adopt, standing=standing)

    def _was_told_otherwise(self, forward: Forward) -> bool:
        """Whether the answer that stands here is not the one that its client was given."""
        kept = self._sessions.kept(forward.source.client_id, forward.serial)
        return _differs(forward, kept)

    def _hand_out(
        self,
        forward: Forward,
        at: int,
        command: dict[str, Any],
        *,
        adopt: bool,
        standing: Standing,
    ) -> dict[str, Any]:
        """Take in the head the steps that applying the command will take."""
        error = command.get("error")
        replay = forward.replay is not None
        if adopt:
            command["adopt"] = True
        if replay:
            command["replay"] = True
        answer = self._sessions.answer(
            client_id=forward.source.client_id,
            session=forward.session,
            serial=forward.serial,
            acknowledged=forward.acknowledged,
            at=at,
            kept=Kept(
                payload=command.get("reply"), error=Failure(**error) if error is not None else None
            ),
            adopt=adopt,
            replay=replay,
        )
        if standing is not Standing.ACKNOWLEDGED and _differs(forward, answer):
            command["outcome"] = True
        self._pending.append(
            _Pending(
                client_id=forward.source.client_id, session=forward.session, serial=forward.serial
            )
        )
        return command

    async def _run(self, forward: Forward, at: int, transaction: Transaction) -> dict[str, Any]:
        """Run the handler and make the command of what it did.

        Raises:
            _Failed: the request is answered with an error; the caller undoes the rest.
        """
        if forward.refuse is not None:
            raise _Failed(
                forward.refuse.code[:ID_CHARS], _unicode(forward.refuse.message[:ERROR_CHARS])
            )
        handler = self._server.handler_for(forward.source.client_id)
        if handler is None:
            raise _Failed("no_handler", f"The app {self._server.name!r} has no handler.")
        try:
            message = payload.check(forward.payload, what="The request")
        except LimitError as error:
            raise _Failed(error.code, error.message) from None
        except (TypeError, ValueError) as error:
            raise _Failed("bad_frame", str(error)) from None
        name = handler_name(handler)
        result = await self._call(forward, message, transaction, name)
        try:
            reply = payload.check(result, what=f"The reply of handler {name}")
        except (TypeError, ValueError, LimitError) as error:
            raise _Failed("bad_reply", str(error)) from None
        try:
            recorded = transaction.finish()
            command = commands.request(
                **_of(forward),
                at=at,
                request=forward.payload,
                change=recorded.operations,
                outbox=transaction.outbox,
                reply=reply,
            )
        except FtwebError as error:
            raise _Failed(error.code, f"Handler {name}: {error.message}") from None
        self._check_growth(transaction, recorded, name)
        transaction.close()
        self._state = transaction.recorder.root
        return command

    async def _call(
        self, forward: Forward, message: Json, transaction: Transaction, name: str
    ) -> Any:
        source = Source(
            client_id=forward.source.client_id,
            device_id=forward.source.device_id,
            presenter=forward.source.presenter,
        )
        token = CURRENT.set((self._server, transaction))
        started = time.monotonic()
        if self._on_begin is not None:
            self._on_begin(forward)
        try:
            result = self._server.call(message, source, forward.serial)
            if inspect.isawaitable(result):
                limit = asyncio.timeout(self._seconds)
                try:
                    async with limit:
                        result = await result
                except TimeoutError:
                    if not limit.expired():
                        raise
                    raise _Failed(
                        "handler_timeout",
                        f"Handler {name} took longer than {self._seconds:g} s. Nothing was "
                        "changed.",
                    ) from None
            return result
        except Refusal as refusal:
            raise self._refused(refusal, name) from None
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, _Failed) or _is_cancelled(error):
                raise
            _log.exception("Handler %s failed on a request of %s.", name, source.client_id)
            code = "handler_failed"
            if isinstance(error, FtwebError) and error.code in _OWN_CODES:
                code = error.code
            raise _Failed(
                code,
                f"Handler {name} raised {_say(error)}. Nothing was changed.",
            ) from None
        finally:
            CURRENT.reset(token)
            if self._on_end is not None:
                self._on_end()
            took = time.monotonic() - started
            if took > self._seconds:
                _log.warning("Handler %s took %.1f s; others wait meanwhile.", name, took)

    def _refused(self, refusal: Refusal, name: str) -> _Failed:
        code: object = refusal.code
        if not isinstance(code, str) or not 0 < len(code) <= ID_CHARS or not code.isprintable():
            return _Failed(
                "handler_failed",
                f"Handler {name} raised a Refusal whose code is not a short text. Nothing was "
                "changed.",
            )
        if code in CODES:
            # A client told "session_expired" by the app would give up its session.
            return _Failed(
                "handler_failed",
                f"Handler {name} raised a Refusal with ftweb's own code {code!r}; choose another. "
                "Nothing was changed.",
            )
        return _Failed(_unicode(code), _text(refusal))

    def _check_growth(self, transaction: Transaction, recorded: Recorded, name: str) -> None:
        """Keep the state within its limit; measures it only when it may have reached that."""
        bound = self._bytes + recorded.size
        if bound > self._state_bytes:
            bound = payload.size(transaction.recorder.root)
            if bound > self._state_bytes:
                raise _Failed(
                    "state_too_large",
                    f"Handler {name} would make the state {bound} bytes large; at most "
                    f"{self._state_bytes} are allowed. Nothing was changed.",
                )
        self._bytes = bound


def _of(forward: Forward) -> dict[str, Any]:
    return {
        "client_id": forward.source.client_id,
        "session": forward.session,
        "serial": forward.serial,
        "acknowledged": forward.acknowledged,
        "device_id": forward.source.device_id,
        "presenter": forward.source.presenter,
    }


def _differs(forward: Forward, kept: Kept) -> bool:
    told = forward.replay
    return told is not None and (told.payload, told.error) != (kept.payload, kept.error)


def _refuse(forward: Forward, at: int, failure: Failure) -> dict[str, Any]:
    """An error command; the request itself is left out if it is what is too large."""
    try:
        payload.check(forward.payload, limit=COMMAND_BYTES // 2)
        return commands.request(**_of(forward), at=at, request=forward.payload, error=failure)
    except (TypeError, ValueError, LimitError):
        return commands.request(**_of(forward), at=at, error=failure)


def _is_cancelled(error: BaseException) -> bool:
    """Whether it is our task that is being cancelled, and not the handler's own affair."""
    if not isinstance(error, asyncio.CancelledError):
        return False  # first, since the simulator has no event loop that could be asked
    task = asyncio.current_task()
    return bool(task and task.cancelling())


def _text(error: BaseException) -> str:
    """What an exception says, fit to be sent."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return _unicode(text[:ERROR_CHARS])


def _say(error: BaseException) -> str:
    text = _text(error).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _unicode(text: str) -> str:
    return text.encode(errors="replace").decode()
