"""A class without browsers: an example's handlers, driven by the real host and state machine."""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ftweb import frames
from ftweb.app import commands
from ftweb.app.effects import Replied, SessionOpened
from ftweb.app.host import Host
from ftweb.app.loader import load_app
from ftweb.app.machine import Machine
from ftweb.errors import RequestError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Classroom:
    """One host and one other replica, which must stay equal to it."""

    def __init__(self, example: str) -> None:
        self.server = load_app(EXAMPLES / example)
        self.machine = Machine()
        self.replica = Machine()
        self._index = count(1)
        self._sessions: dict[str, list[int]] = {}
        genesis = commands.genesis(
            guid="0" * 32,
            name=self.server.name,
            bundle="0" * 64,
            state=self.server.initial_state,
            at=0,
        )
        self._apply(genesis)
        self.host = Host(self.server, self.machine, clock=lambda: 1_800_000_000_000.0)

    def _apply(self, command: dict[str, Any]) -> tuple[int, list[Any]]:
        index = next(self._index)
        effects = self.machine.apply(index, command)
        self.replica.apply(index, command)
        return index, effects

    async def send(
        self, message: Any, *, who: str = "ada", device: str = "", presenter: bool = False
    ) -> Any:
        """A message of the page ``who`` and its reply; each page has a device of its own unless
        one is given.

        Raises:
            RequestError: it was refused. The state is then as it was before.
        """
        source = frames.Source(
            client_id=who, device_id=device_id(device or who), presenter=presenter
        )
        if who not in self._sessions:
            command = await self.host.handle(frames.Forward(epoch=1, term=1, source=source))
            assert command is not None
            index, effects = self._apply(command)
            self.host.applied(index, command)
            (opened,) = effects
            assert isinstance(opened, SessionOpened)
            self._sessions[who] = [opened.session, 0]
        session = self._sessions[who]
        session[1] += 1
        before = self.machine.state
        command = await self.host.handle(
            frames.Forward(
                epoch=1,
                term=1,
                source=source,
                session=session[0],
                serial=session[1],
                acknowledged=session[1] - 1,
                payload=message,
            )
        )
        assert command is not None
        index, effects = self._apply(command)
        self.host.applied(index, command)
        self.host.assert_in_step()
        assert self.replica.digest() == self.machine.digest()
        reply = effects[-1]
        assert isinstance(reply, Replied)
        if reply.error is not None:
            assert self.machine.state == before
            raise RequestError(reply.error.message, code=reply.error.code)
        return reply.payload

    async def refused(self, message: Any, *, presenter: bool = False) -> str:
        """The code with which a message is refused, in words that a person can read."""
        with pytest.raises(RequestError) as caught:
            await self.send(message, presenter=presenter)
        assert caught.value.message.endswith(".")
        return caught.value.code

    @property
    def state(self) -> Any:
        """The committed state."""
        return self.machine.state


def device_id(who: str) -> str:
    """A device id like those that bridges make."""
    return hashlib.sha256(who.encode()).hexdigest()[:32]


@pytest.fixture
def voting() -> Classroom:
    """The voting app."""
    return Classroom("voting")
