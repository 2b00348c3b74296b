"""What a node wants done: the only way out of the core.

The driver takes it, does the steps in the order of the fields, and comes back until there is
none. Taking it is promising to do it: if saving fails, the driver stops the node for good.
"""

from __future__ import annotations

from ftweb.core.messages import Message
from ftweb.core.types import Entry, HardState, Record, Snapshot


class Ready(Record, frozen=True, kw_only=True):
    """One batch of work, in order of its fields."""

    hard_state: HardState | None
    """Save, before anything of this batch is sent: a vote that is forgotten can be cast twice."""

    snapshot: Snapshot | None
    """Came from the leader. Save it and restore the state machine from it, in one transaction,
    before the entries. It replaces the whole log: every entry saved earlier is void."""

    entries: tuple[Entry, ...]
    """Save, before anything of this batch is sent. If there are any, ``entries[0].index``
    truncates what was saved from it on: those entries lost against another leader's."""

    messages: tuple[Message, ...]
    """Send after saving: an acknowledgement is a promise."""

    committed: tuple[Entry, ...]
    """Apply after saving, in order, each exactly once. Never before: they may be among
    ``entries``."""

    changed: bool
    """Role, term, leader, configuration or a hand-over's state differs from the last time."""
