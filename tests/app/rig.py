"""An app on one replica, with the log between host and machine played by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftweb.app import Effect, Host, Machine, Replied, Server, SessionOpened, commands, init_server
from ftweb.app.sessions import Sessions
from ftweb.frames import Forward, Source

START = 1_790_000_000_000
"""Some instant, in milliseconds since 1970."""


def forward(client: str, *, presenter: bool = False, **fields: Any) -> Forward:
    """A request (or, without a serial, the opening of a session) of a client."""
    source = Source(client_id=client, device_id=f"device of {client}", presenter=presenter)
    return Forward(epoch=1, term=1, source=source, **fields)


def server_of(handler: Callable[..., Any], state: Any = None) -> Server:
    """A server with this handler."""
    server = init_server("test", state=state)
    server.on_receive(handler)
    return server


class Rig:
    """One node that leads: its machine, its host, and the log.

    Attributes:
        time: what the host's clock says.
        log: the commands applied, by index.
        waiting: commands that the host gave and that are not applied yet.
    """

    def __init__(
        self, server: Server, *, sessions: Callable[[], Sessions] = Sessions, **options: Any
    ) -> None:
        self.server = server
        self.time = float(START)
        self.log: dict[int, Any] = {}
        self.waiting: list[Any] = []
        self.effects: list[Effect] = []
        self._new_sessions = sessions
        self._options = options
        self.machine = self.new_machine()
        genesis = commands.genesis(
            guid="g", name=server.name, bundle="b", state=server.initial_state, at=self.time
        )
        self.log[1] = genesis
        self.machine.apply(1, genesis)
        self.host = self.new_host()

    def new_machine(self) -> Machine:
        """A replica that holds nothing yet."""
        return Machine(sessions=self._new_sessions())

    def new_host(self) -> Host:
        """A host on this machine."""
        return Host(self.server, self.machine, clock=lambda: self.time, **self._options)

    async def give(self, request: Forward) -> Any:
        """Let the host handle a request; its command waits to be committed."""
        command = await self.host.handle(request)
        if command is not None:
            self.waiting.append(command)
        return command

    def commit(self, count: int | None = None) -> list[Effect]:
        """Apply waiting commands: all, or the first few."""
        effects: list[Effect] = []
        for command in self.waiting[:count]:
            index = max(self.log) + 1
            self.log[index] = command
            effects += self.machine.apply(index, command)
            self.host.applied(index, command)
        del self.waiting[:count]
        self.effects += effects
        return effects

    async def open(self, client: str) -> int:
        """Open a session and give its number."""
        await self.give(forward(client))
        self.commit()
        opened = self.machine.session_of(client)
        assert isinstance(opened, SessionOpened)
        return opened.session

    async def ask(self, client: str, session: int, serial: int, payload: Any = None) -> Replied:
        """Send a request, commit it, and give its reply."""
        request = forward(
            client, session=session, serial=serial, acknowledged=serial - 1, payload=payload
        )
        await self.give(request)
        replies = [effect for effect in self.commit() if isinstance(effect, Replied)]
        if replies:
            return replies[-1]
        cached = self.host.cached(request)
        assert isinstance(cached, Replied)
        return cached

    def take_over(self, *, by_snapshot: bool = False) -> None:
        """Another node leads: it has what was committed, the rest is lost."""
        self.waiting.clear()
        machine = self.new_machine()
        if by_snapshot:
            machine.restore(self.machine.snapshot())
        else:
            for index, command in self.log.items():
                machine.apply(index, command)
        assert machine.digest() == self.machine.digest()
        self.machine = machine
        self.host = self.new_host()
