"""Handing the lead over (section 3.10), on purpose: a planned leave, a failback.

Rules:

1. One hand-over at a time; it ends when this node leads no more, or after one election timeout.
   Meanwhile the driver holds requests back (``Node.transferring``); none is dropped.
2. TimeoutNow is only sent to a target whose log equals the leader's, entry for entry. It is
   repeated with every answer until the term changes, since it may be lost.
3. Failback: the lead goes to a member of a strictly better class of rank that is caught up, may
   host, and has been there for ``settle``; at once if the leader is a bridge (it runs no
   handlers) or a hidden phone (about to be frozen). Equal classes never take it from each
   other: each hand-over costs a pause.
4. A target that did not take the lead is not tried again for ``transfer_retry``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ftweb.core.presence import BRIDGE, REMOTE_HIDDEN, Presence, rank_class
from ftweb.core.settings import Settings
from ftweb.core.types import Milliseconds, NodeId


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """A hand-over under way."""

    target: NodeId
    deadline: Milliseconds


def better_host(
    *,
    leader: NodeId,
    members: Iterable[NodeId],
    presence: Presence,
    caught_up: Callable[[NodeId], bool],
    tried: Mapping[NodeId, Milliseconds],
    settings: Settings,
    now: Milliseconds,
) -> NodeId | None:
    """Rules 3 and 4: who should lead instead; None if nobody, or if the leader's own class is
    not known."""
    own = presence.infos.get(leader)
    if own is None:
        return None
    own_class = rank_class(own)
    settle = 0.0 if own_class in (BRIDGE, REMOTE_HIDDEN) else settings.settle
    fit = []
    for node in members:
        info = presence.infos.get(node)
        if info is None or not info.ready or node == leader:
            continue
        found = rank_class(info)
        failed_at = tried.get(node)
        if (
            found < min(own_class, BRIDGE)
            and presence.settled_for(node, now) >= settle
            and (failed_at is None or now - failed_at >= settings.transfer_retry)
            and caught_up(node)
        ):
            fit.append((found, info.since, info.rtt, node))
    return min(fit)[3] if fit else None
