"""The replicated state machine: the app's state, and the client sessions.

Every replica applies the same commands in the same order and is then in the same state; nothing
here depends on time, chance, hash order or the place where it runs. A command that cannot be
applied is not refused but raised: who appended it is defective, and a replica that skipped it would
differ from those that did not.

It runs no handlers. What a request did was computed by the host and stands in the command.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ftweb.app import commands, patch, payload
from ftweb.app.effects import Changed, Effect, Outcome, Replied, Sent, SessionOpened
from ftweb.app.lineage import Lineage
from ftweb.app.sessions import ACKNOWLEDGED, EXPIRED, Kept, Sessions, Standing
from ftweb.core.types import Index, Json
from ftweb.errors import FrameError, StorageError

_VERSION = 2
_READ = (1, 2)
"""Version 1 had no lineage, and sessions with one number and no holes."""


class Machine:
    """One replica's copy.

    Args:
        sessions: an empty table; tests give one with small limits, the same on all replicas.
        lineage: an empty one; likewise.

    Attributes:
        state: the app's committed state. Not to be changed by anybody else.
        guid, name, bundle: which app; empty before the first command.
        applied_index: of the last command applied.
        sessions: the client sessions.
        lineage: where this history comes from, and who may have another one.
    """

    def __init__(self, *, sessions: Sessions | None = None, lineage: Lineage | None = None) -> None:
        self.state: Json = None
        self.guid = ""
        self.name = ""
        self.bundle = ""
        self.applied_index: Index = 0
        self.sessions = Sessions() if sessions is None else sessions
        self.lineage = Lineage() if lineage is None else lineage

    @property
    def clock(self) -> int:
        """Milliseconds since 1970, as stamped by leaders; never goes back."""
        return self.sessions.clock

    # --- applying -----------------------------------------------------------------------------

    def apply(self, index: Index, data: Json) -> list[Effect]:
        """Apply the command of a committed log entry.

        Args:
            index: the entry's; indexes rise.
            data: the entry's data; not changed, and not to be changed afterwards.

        Returns:
            What it releases.

        Raises:
            FrameError: it is not a command, or cannot be applied here; nothing has changed.
        """
        if index <= self.applied_index:
            raise FrameError(f"Entry {index} was applied before (up to {self.applied_index}).")
        command = commands.parse(data)
        if (type(command) is commands.Genesis) == bool(self.guid):
            raise FrameError(
                f"Entry {index} is a second genesis."
                if self.guid
                else f"Entry {index} comes before the genesis."
            )
        match command:
            case commands.Request():  # first, since nearly all are
                effects = self._request(index, command)
            case commands.Genesis():
                effects = self._begin(index, command)
            case commands.Open():
                self.sessions.advance(command.at)
                number = self.sessions.open(command.client_id, index)
                effects = [SessionOpened(client_id=command.client_id, session=number)]
            case commands.Bridges():
                self.sessions.advance(command.at)
                self.lineage.heard(command.joined, command.heard, command.left)
                effects = []
        self.applied_index = index
        return effects

    def _begin(self, index: Index, command: commands.Genesis) -> list[Effect]:
        self.guid, self.name, self.bundle = command.guid, command.name, command.bundle
        self.state = payload.clone(command.state)
        self.sessions.advance(command.at)
        self.lineage.heard(command.bridges, [])
        whole = {"op": "replace", "path": "", "value": command.state}
        return [Changed(index=index, patch=[whole])]

    def _request(self, index: Index, command: commands.Request) -> list[Effect]:
        effects: list[Effect] = []
        standing = self.sessions.look(
            command.client_id,
            command.session,
            command.serial,
            at=command.at,
            adopt=command.adopt,
            replay=command.replay,
        )
        if standing is Standing.NEW:
            # First, since it is all that can fail.
            self.state = patch.apply(self.state, command.change)
            if command.change:
                effects.append(Changed(index=index, patch=command.change))
            for position, message in enumerate(command.outbox):
                to = None if message.to is None else tuple(message.to)
                effects.append(Sent(index=index, position=position, to=to, payload=message.payload))
        answer = self.sessions.answer(
            client_id=command.client_id,
            session=command.session,
            serial=command.serial,
            acknowledged=command.acknowledged,
            at=command.at,
            kept=Kept(payload=command.reply, error=command.error),
            adopt=command.adopt,
            replay=command.replay,
        )
        if standing is Standing.NEW:
            self.lineage.record(command)
        if command.outcome:
            effects.append(
                Outcome(
                    index=index,
                    client_id=command.client_id,
                    serial=command.serial,
                    payload=answer.payload,
                    error=answer.error,
                )
            )
        effects.append(_replied(command.client_id, command.session, command.serial, answer))
        return effects

    # --- reading ------------------------------------------------------------------------------

    def reply_for(self, client_id: str, session: Index, serial: int) -> Replied | None:
        """The answer to a request, if this replica knows it for good.

        That is the cached reply, or the error for one that can never be run any more. None means
        that the request is new as far as this replica knows: a host has to see it.
        """
        standing = self.sessions.look(client_id, session, serial)
        if standing is Standing.NEW:
            return None
        if standing is Standing.EXPIRED:
            if session > self.applied_index or self.lineage.is_foreign(session, self.applied_index):
                return None  # opened in another epoch, or by an entry that has not come here yet
            kept = Kept(error=EXPIRED)
        elif standing is Standing.ACKNOWLEDGED:
            kept = Kept(error=ACKNOWLEDGED)
        else:
            kept = self.sessions.kept(client_id, serial)
        return _replied(client_id, session, serial, kept)

    def settled(self, client_id: str, session: Index, serial: int) -> Kept | None:
        """What came of a request of another epoch here: None while it has yet to be run.

        Whatever keeps it from ever being run counts as settled too.
        """
        foreign = self.lineage.is_foreign(session, self.applied_index)
        standing = self.sessions.look(client_id, session, serial, adopt=foreign, replay=True)
        if standing is Standing.NEW:
            return None
        if standing is Standing.REPLIED:
            return self.sessions.kept(client_id, serial)
        return Kept(error=EXPIRED if standing is Standing.EXPIRED else ACKNOWLEDGED)

    def session_of(self, client_id: str) -> SessionOpened | None:
        """The client's session, if it has one: what the repeated opening of it is answered."""
        number = self.sessions.number_of(client_id)
        return None if number is None else SessionOpened(client_id=client_id, session=number)

    # --- the whole ----------------------------------------------------------------------------

    def snapshot(self) -> str:
        """Everything, as text for :meth:`restore`."""
        content = {"version": _VERSION, "applied_index": self.applied_index, **self._content()}
        return payload.encode(content).decode()

    def restore(self, text: str) -> None:
        """Become what a snapshot holds, as a whole or not at all.

        Raises:
            StorageError: ``storage_untrusted``: the text is no snapshot of this version.
        """
        try:
            content: Any = payload.decode(text)
            if content["version"] not in _READ:
                raise ValueError(f"version {content['version']!r}, expected {_VERSION}")
            sessions = self.sessions.empty()
            sessions.load(content["sessions"])
            lineage = self.lineage.empty()
            if content["version"] > 1:
                lineage.load(content["lineage"])
            state: Json = content["state"]
            index = int(content["applied_index"])
            guid, name, bundle = (str(content[key]) for key in ("guid", "name", "bundle"))
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise StorageError(
                f"The snapshot cannot be read: {type(error).__name__}: {error}.",
                code="storage_untrusted",
            ) from error
        self.guid, self.name, self.bundle = guid, name, bundle
        self.state, self.sessions, self.applied_index = state, sessions, index
        self.lineage = lineage

    def digest(self) -> str:
        """SHA-256 over all content: equal on all replicas that applied the same commands."""
        return payload.digest(self._content())

    def _content(self) -> dict[str, Json]:
        return {
            "guid": self.guid,
            "name": self.name,
            "bundle": self.bundle,
            "state": self.state,
            "sessions": self.sessions.to_json(),
            "lineage": self.lineage.to_json(),
        }


def _replied(client_id: str, session: Index, serial: int, kept: Kept) -> Replied:
    return Replied(
        client_id=client_id,
        session=session,
        serial=serial,
        payload=kept.payload,
        error=kept.error,
    )
