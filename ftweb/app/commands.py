"""The commands in log entries: how they are made, and how they are read.

====================  ======================================================================
kind                  when
====================  ======================================================================
``genesis``           first in every history: which app this is, and its initial state
``open``              a client asks for a session; the entry's index becomes its number
``request``           a request was handled, or is answered with an error
``bridges``           a bridge belongs to the history from now on, or was heard of again
====================  ======================================================================

A command is a JSON object. ``at`` is the leader's wall clock in milliseconds since 1970; replicas
use it through :class:`ftweb.app.sessions.Sessions`, which tolerates clocks that jump. Unknown
fields are refused: within one cluster everybody runs the same version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from ftweb.app import patch, payload
from ftweb.core.types import Json
from ftweb.errors import FrameError, LimitError
from ftweb.frames import Count, Failure, Id, Left
from ftweb.limits import COMMAND_BYTES, ID_CHARS

BriefId = Annotated[str, msgspec.Meta(max_length=ID_CHARS)]


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
    bridges: list[Id] = []
    """The bridge that begins the history."""


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
    device_id: BriefId = ""
    presenter: bool = False
    adopt: bool = False
    """The session's number was given in another epoch: the client is to have one by that number."""
    replay: bool = False
    """It was handled before, in an epoch that has been given up."""
    outcome: bool = False
    """There its client was told something else: tell it what holds now."""


class Bridges(_Command, frozen=True, kw_only=True, tag="bridges"):
    joined: list[Id] = []
    """Bridges that become part of this history: their replicas may be counted on from now on."""
    heard: list[Id] = []
    """Bridges that had not been heard when the epoch began, and have nothing more to add."""
    left: list[Left] = []
    """Voters of an epoch before that have left it: they take part in nothing there any more."""


type Command = Genesis | Open | Request | Bridges

_KINDS: Final[dict[object, type[Command]]] = {
    cls.__struct_config__.tag: cls for cls in (Genesis, Open, Request, Bridges)
}


def genesis(
    *, guid: str, name: str, bundle: str, state: Json, at: float, bridge: str = ""
) -> dict[str, Any]:
    """The first command of a history.

    Args:
        guid: the cluster's id, constant for its lifetime.
        name: the server's name.
        bundle: SHA-256 of the app bundle.
        state: the app's initial state.
        at: wall clock, milliseconds since 1970.
        bridge: the own id of the bridge that begins it.

    Raises:
        LimitError: the initial state is too large for one log entry.
        TypeError, ValueError: it is not JSON.
    """
    plain = payload.plain(state, what="The initial state")
    command = Genesis(
        guid=guid,
        name=name,
        bundle=bundle,
        state=plain,
        at=int(at),
        bridges=[bridge] if bridge else [],
    )
    return check_size(_build(command))


def open_session(*, client_id: str, at: float) -> dict[str, Any]:
    """A client asks for a session."""
    return _build(Open(client_id=client_id, at=int(at)))


def bridges(
    *, joined: Sequence[str], heard: Sequence[str], left: Sequence[Left] = (), at: float
) -> dict[str, Any]:
    """Bridges that become part of the history, or have been heard of again; voters likewise."""
    return _build(Bridges(joined=list(joined), heard=list(heard), left=list(left), at=int(at)))


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
    device_id: str = "",
    presenter: bool = False,
    adopt: bool = False,
    replay: bool = False,
    outcome: bool = False,
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
                device_id=device_id,
                presenter=presenter,
                adopt=adopt,
                replay=replay,
                outcome=outcome,
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
