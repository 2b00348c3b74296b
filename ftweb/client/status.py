"""How things stand, in the words of a script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ftweb.client.session import ClientSession

type State = Literal["connected", "provisional", "taking-over", "offline", "no-quorum"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionStatus:
    """Is it me or the host? The same facts as ``ftweb.status()`` in a page."""

    state: State
    """``offline``: no bridge reached; ``no-quorum``: too few replicas are there to acknowledge
    anything; ``taking-over``: there is no host right now; ``provisional``: part of the group
    cannot be heard, so replies may still change."""
    client_id: str
    bridge: str
    """Origin of the bridge that we are, or were last, connected to."""
    epoch: int = 0
    term: int = 0
    host_id: str | None = None
    successors: tuple[str, ...] = ()
    quorum: bool = False
    provisional: bool = False
    participants: int = 0
    pending: int = 0
    """Requests of ours without a reply."""


def status_of(session: ClientSession) -> ConnectionStatus:
    """What a session knows of its bridge and its server."""
    welcome, status = session.welcome, session.status
    state: State = "connected"
    if not session.connected:
        state = "offline"
    elif status is None:
        state = "taking-over"  # welcomed, but not told yet who hosts
    elif not status.quorum:
        state = "no-quorum"
    elif status.host is None:
        state = "taking-over"
    elif status.provisional:
        state = "provisional"
    return ConnectionStatus(
        state=state,
        client_id=welcome.client_id if welcome else "",
        bridge=session.origin if welcome else "",
        epoch=status.epoch if status else 0,
        term=status.term if status else 0,
        host_id=status.host if status else None,
        successors=tuple(status.successors) if status else (),
        quorum=status.quorum if status else False,
        provisional=status.provisional if status else False,
        participants=status.participants if status else 0,
        pending=session.pending,
    )
