"""What app authors use: a server, its handler, its state.

::

    import ftweb

    server = ftweb.init_server("classroom-vote", state={"ballots": {}})

    @server.on_receive
    def receive(message, source):
        with server.change() as state:
            state["ballots"][source.client_id] = message["choice"]
        return {"accepted": True}

The handler runs once for each request, in whichever tab hosts. What it changes and sends takes
effect when a quorum has it, all together; if it raises, nothing does. Keep nothing in module
variables that must outlive the host: only the state does.
"""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal

from ftweb.app import payload
from ftweb.app.transaction import CURRENT, Transaction
from ftweb.core.types import Json
from ftweb.errors import FtwebError
from ftweb.limits import CHANGE_BYTES

NAME_BYTES: Final = 63
"""A DNS label: the name is a DNS-SD service instance name (RFC 6763, section 4.1.1)."""

HTTP_CLIENT: Final = "http-"
"""Begin of the client ids under which a host sends HTTP requests to itself. Those of clients are
hex digits, so nobody else can have such a one."""

type Handler = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Who sent a request, as the bridge vouches for it.

    Attributes:
        client_id: one page load, or one script run.
        device_id: one browser profile: the same after a reload, and in another tab.
        presenter: whether it came with the presenter's token.
    """

    client_id: str
    device_id: str
    presenter: bool = False


class Server:
    """One app's server. Made by :func:`init_server`, once, when its module is imported.

    Attributes:
        name: of the server.
        on_quorum_loss, replication, ack: as given to :func:`init_server`.
        handler: the function that answers requests; None until :meth:`on_receive` is used.
        web: the ASGI application that answers HTTP; None until :meth:`mount` is used.
        replicates_http: whether requests to it go through the log when they may change something.
        http_handler: runs those; set by the tab (:mod:`ftweb.flyweb.replicated`).
    """

    def __init__(
        self,
        name: str,
        *,
        state: Any = None,
        on_quorum_loss: Literal["wait", "continue"] = "wait",
        replication: Literal["passive"] = "passive",
        ack: Literal["quorum"] = "quorum",
    ) -> None:
        self.name = check_name(name)
        self.on_quorum_loss = _choice("on_quorum_loss", on_quorum_loss, ("wait", "continue"))
        self.replication = _choice("replication", replication, ("passive",))
        self.ack = _choice("ack", ack, ("quorum",))
        self.handler: Handler | None = None
        self.web: Any = None
        self.replicates_http = True
        self.http_handler: Handler | None = None
        self._takes_source = False
        self._initial = payload.check(
            {} if state is None else state, what="The initial state", limit=CHANGE_BYTES
        )
        self._committed: Callable[[], Json] = lambda: self._initial

    # --- for the app ----------------------------------------------------------------------

    def on_receive[F: Handler](self, handler: F) -> F:
        """Decorator: this function answers requests.

        It is called with ``(message)`` or ``(message, source)``, may be ``async``, and returns the
        reply, any JSON value. It says no by raising :class:`ftweb.Refusal`.

        Raises:
            TypeError: it cannot be called like that.
            ValueError: there is a handler already.
        """
        if self.handler is not None:
            raise ValueError(
                f"Server {self.name!r} has a handler already, {handler_name(self.handler)}: one "
                "function answers all messages; look at what the message says it is."
            )
        self._takes_source = _takes_source(handler)
        self.handler = handler
        return handler

    def mount(self, app: Any) -> None:
        """Answer HTTP and WebSockets by an ASGI application, such as one of Starlette's.

        It gets every request of this server's address that is for no page file. All its routes
        can read the state (:meth:`get_state`); those of POST, PUT, PATCH and DELETE can change it
        (:meth:`change`) and send messages, as :meth:`on_receive`'s handler can: the response
        leaves when that is committed, and one of 400 or more commits nothing. See
        ``docs/flyweb.md``.

        Raises:
            TypeError: it cannot be called.
            ValueError: there is one already.
        """
        if not callable(app):
            raise TypeError(f"mount() needs an ASGI application, not {app!r}.")
        if self.web is not None:
            raise ValueError(f"Server {self.name!r} has an application for HTTP already.")
        self.web = app

    def change(self) -> AbstractContextManager[Any]:
        """``with server.change() as state:`` gives a draft of the state to change.

        See :mod:`ftweb.app.draft`. If the block raises, it has changed nothing.

        Raises:
            FtwebError: no handler is running.
        """
        return self._transaction("change()").change()

    def commit_change(self, patch: Any) -> None:
        """Change the state by a JSON Patch (RFC 6902): a list of operations.

        Raises:
            FtwebError: ``bad_change``: it does not apply, and has changed nothing. Or no handler
                is running.
        """
        self._transaction("commit_change()").commit_change(patch)

    def commit_state(self, value: Any) -> None:
        """Replace the whole state; for small ones, since all of it travels.

        Raises:
            TypeError, ValueError, LimitError: the value is no JSON, or too large.
            FtwebError: no handler is running.
        """
        self._transaction("commit_state()").commit_state(value)

    def get_state(self) -> Any:
        """A plain copy of the state, with what this request has changed so far.

        The whole state is copied; to look at a part of a large one use :meth:`change` and change
        nothing. Outside a handler: the state last committed here, or the initial one.
        """
        transaction = self._current()
        root = self._committed() if transaction is None else transaction.recorder.root
        return payload.clone(root)

    def send(self, client_id: str | Iterable[str], message: Any) -> None:
        """Send a message to one client, or several, if this request commits.

        Args:
            client_id: ``source.client_id`` of the receiver, or several of them.
            message: any JSON value; it is copied.

        Raises:
            FtwebError: ``bad_reply``: it is no JSON or too large. Or no handler is running.
        """
        if client_id is None:
            raise TypeError("send() needs a client id; broadcast() sends to everybody.")
        self._transaction("send()").send(client_id, message)

    def broadcast(self, message: Any) -> None:
        """Send a message to every client, if this request commits.

        Raises:
            FtwebError: as for :meth:`send`.
        """
        self._transaction("broadcast()").send(None, message)

    # --- for the runtime ------------------------------------------------------------------

    @property
    def initial_state(self) -> Json:
        """The state that the first host starts from; a copy."""
        return payload.clone(self._initial)

    def follow(self, committed: Callable[[], Json]) -> None:
        """Say where :meth:`get_state` finds the committed state outside handlers."""
        self._committed = committed

    def handler_for(self, client_id: str) -> Handler | None:
        """Which handler answers a client's requests: the app's, or that of HTTP."""
        return self.http_handler if client_id.startswith(HTTP_CLIENT) else self.handler

    def call(self, message: Any, source: Source, serial: int = 0) -> Any:
        """Call the handler, within a context where :data:`CURRENT` is this server's.

        Returns:
            What it returned: a reply, or something to await.
        """
        if self.http_handler is not None and source.client_id.startswith(HTTP_CLIENT):
            return self.http_handler(message, source, serial)
        assert self.handler is not None
        return self.handler(message, source) if self._takes_source else self.handler(message)

    def _current(self) -> Transaction | None:
        current = CURRENT.get()
        if current is None or current[0] is not self or not current[1].running:
            return None
        return current[1]

    def _transaction(self, what: str) -> Transaction:
        transaction = self._current()
        if transaction is None:
            raise FtwebError(
                f"{what} works only while the handler of server {self.name!r} is running: a "
                "request's changes and messages take effect together. Tasks that a handler "
                "leaves behind cannot write.",
                code="handler_failed",
            )
        return transaction


def init_server(
    name: str,
    *,
    state: Any = None,
    on_quorum_loss: Literal["wait", "continue"] = "wait",
    replication: Literal["passive"] = "passive",
    ack: Literal["quorum"] = "quorum",
) -> Server:
    """Make the server of an app.

    Args:
        name: under which it is found on the network: 1 to 63 bytes, no control characters.
        state: the initial state, any JSON value; an empty object if left out.
        on_quorum_loss: what to do when too few replicas are left to acknowledge anything:
            ``"wait"`` for them, or ``"continue"`` with those that are there.
        replication: ``"passive"``: the host computes, changes travel.
        ack: ``"quorum"``: a request is acknowledged when a majority has it.

    Raises:
        ValueError: a name that cannot be published, or an option that is not supported.
        TypeError: the state is not JSON.
        LimitError: the state is too large to start with.
    """
    return Server(
        name, state=state, on_quorum_loss=on_quorum_loss, replication=replication, ack=ack
    )


def check_name(name: object) -> str:
    """A server's name, normalised.

    Raises:
        TypeError: it is no text.
        ValueError: it cannot be a DNS-SD service instance name.
    """
    if not isinstance(name, str):
        raise TypeError(f"A server's name is a text, not {type(name).__name__}.")
    name = unicodedata.normalize("NFC", name)
    if not name.strip() or name != name.strip():
        raise ValueError(f"The server's name {name!r} is empty or begins or ends with a space.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise ValueError(f"The server's name {name!r} has control characters in it.")
    length = len(name.encode())
    if length > NAME_BYTES:
        raise ValueError(
            f"The server's name {name!r} has {length} bytes; at most {NAME_BYTES} can be "
            "published on the network."
        )
    return name


def handler_name(handler: Handler) -> str:
    """How to name a handler to its author."""
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return str(name)


def _choice[T: str](option: str, value: T, supported: tuple[str, ...]) -> T:
    if value not in supported:
        choices = " or ".join(repr(choice) for choice in supported)
        raise ValueError(f"{option}={value!r} is not supported; it can be {choices}.")
    return value


def _takes_source(handler: Handler) -> bool:
    if not callable(handler):
        raise TypeError(
            f"on_receive decorates a function, not {handler!r}: write @server.on_receive, "
            "without brackets."
        )
    signature = inspect.signature(handler)
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 2
    raise TypeError(
        f"The handler {handler_name(handler)}{signature} must take (message) or (message, source)."
    )
