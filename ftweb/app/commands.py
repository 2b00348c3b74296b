"""The commands in log entries: how they are made, and how they are read.

====================  ======================================================================
kind                  when
====================  ======================================================================
``genesis``           first in every history: which app this is, and its initial state
``open``              a client asks for a session; the entry's index becomes its number
``request``           a request was handled, or is answered with an error
====================  ======================================================================

A command is a JSON object. ``at`` is the leader's wall clock in milliseconds since 1970; replicas
use it through :class:`ftweb.app.sessions.Sessions`, which tolerates clocks that jump. Unknown
fields are refused: within one cluster everybody runs the same version.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ftweb.app import patch, payload
from ftweb.core.types import Json
from ftweb.errors import FrameError, LimitError
from ftweb.frames import Count, Failure, Id
from ftweb.limits import COMMAND_BYTES


class _Command(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    at: Count


class Genesis(_Command, frozen=True, kw_only=True, tag="genesis"):
    guid: Id
    name: Id
    bundle: Id
    state: Any


class Open(_Command, frozen=True, kw_only=True, tag="open"):
    client_id: Id


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    to: list[Id] | None
    payload: Any


class Request(_Command, frozen=True, kw_only=True, tag="request"):
    client_id: Id
    session: Count
    serial: Count
    acknowledged: Count
    request: Any = None
    """What was asked: kept for replaying it when two epochs meet."""
    change: list[dict[str, Any]] = []
    outbox: list[Outgoing] = []
    reply: Any = None
    error: Failure | None = None


type Command = Genesis | Open | Request

_KINDS: Final[dict[object, type[Command]]] = {
    cls.__struct_config__.tag: cls for cls in (Genesis, Open, Request)
}


def genesis(*, guid: str, name: str, bundle: str, state: Json, at: float) -> dict[str, Any]:
    """The first command of a history.

    Args:
        guid: the cluster's id, constant for its lifetime.
        name: the server's name.
        bundle: SHA-256 of the app bundle.
        state: the app's initial state.
        at: wall clock, milliseconds since 1970.

    Raises:
        LimitError: the initial state is too large for one log entry.
        TypeError, ValueError: it is not JSON.
    """
    plain = payload.plain(state, what="The initial state")
    return check_size(_build(Genesis(guid=guid, name=name, bundle=bundle, state=plain, at=int(at))))


def open_session(*, client_id: str, at: float) -> dict[str, Any]:
    """A client asks for a session."""
    return _build(Open(client_id=client_id, at=int(at)))


def request(
    *,
    client_id: str,
    session: int,
    serial: int,
    acknowledged: int,
    at: float,
    request: Json = None,
    change: list[dict[str, Json]] | None = None,
    outbox: list[Outgoing] | None = None,
    reply: Json = None,
    error: Failure | None = None,
) -> dict[str, Any]:
    """A request with what came of it.

    Raises:
        LimitError: ``too_large``: everything together does not fit in a log entry.
    """
    return check_size(
        _build(
            Request(
                client_id=client_id,
                session=session,
                serial=serial,
                acknowledged=acknowledged,
                at=int(at),
                request=request,
                change=change or [],
                outbox=outbox or [],
                reply=reply,
                error=error,
            )
        )
    )


def parse(data: Json) -> Command:
    """Read a command from a log entry.

    Raises:
        FrameError: ``bad_frame``: it is none; whoever appended it is defective or hostile.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    try:
        # By its class: msgspec takes a union apart anew at each call, which is ten times as dear.
        command: Command = msgspec.convert(data, type=_KINDS.get(str(kind), Open))
    except msgspec.ValidationError as error:
        raise FrameError(f"A log entry holds no command: {error}.") from None
    if isinstance(command, Request):
        for operation in command.change:
            if operation.get("op") not in patch.RECORDED:
                raise FrameError(
                    f"A log entry holds an operation {operation.get('op')!r}; only "
                    f"{', '.join(sorted(patch.RECORDED))} stand in the log."
                )
        if command.serial < 1:
            raise FrameError("A log entry holds a request without a serial.")
    return command


def check_size(command: dict[str, Any]) -> dict[str, Any]:
    """Refuse a command that does not fit in a log entry.

    Raises:
        LimitError: ``too_large``.
    """
    length = payload.size(command)
    if length > COMMAND_BYTES:
        raise LimitError(
            f"The log entry would have {length} bytes; at most {COMMAND_BYTES} fit (request, "
            "change, messages and reply together). Send or change less at once."
        )
    return command


def _build(command: Command) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(command)
    return built
