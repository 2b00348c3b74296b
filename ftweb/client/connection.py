"""What a Python script holds: requests, messages, state and status of one server.

:mod:`ftweb.client.session` decides what is said, :mod:`ftweb.client.keeper` holds the socket;
this is what they look like from outside. Handlers given to a connection are plain functions,
called in the order of events; one that raises is logged and harms nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from ftweb import codec, frames
from ftweb.client import events
from ftweb.client.session import ClientSession
from ftweb.client.status import ConnectionStatus, status_of
from ftweb.errors import ConnectError, FrameError, LimitError, RequestError
from ftweb.limits import OUTBOX_REPLAY

_LOG = logging.getLogger("ftweb.client")


class Connection:
    """A connection to a server, made by :func:`ftweb.connect`.

    All methods belong to the event loop that opened it.
    """

    def __init__(self, *, token: str, device_key: str) -> None:
        self.session = ClientSession(
            client_key=secrets.token_hex(16), device_key=device_key, token=token
        )
        """For the keeper, not for scripts."""
        self._loop = asyncio.get_running_loop()
        self._send_frame: Callable[[frames.Frame], None] | None = None
        self._replies: dict[int, asyncio.Future[events.Replied]] = {}
        self._waiters: set[asyncio.Future[Any]] = set()
        self._inbox: deque[Any] = deque(maxlen=OUTBOX_REPLAY)
        self._arrived = asyncio.Event()
        self._on_message: list[Callable[[Any], object]] = []
        self._on_state: list[Callable[[Any], object]] = []
        self._on_status: list[Callable[[ConnectionStatus], object]] = []
        self._on_outcome: list[Callable[[events.Outcome], object]] = []
        self._closed = False
        self._error: ConnectError | None = None

    # --- who is talking -------------------------------------------------------------------

    @property
    def client_id(self) -> str:
        """This connection's id, as handlers see it in ``source.client_id``."""
        return self._welcome.client_id

    @property
    def device_id(self) -> str:
        """The id that connections with the same ``device_key`` share."""
        return self._welcome.device_id

    @property
    def presenter(self) -> bool:
        """Whether the presenter token was given."""
        return self._welcome.presenter

    @property
    def name(self) -> str:
        """The server's name."""
        return self._welcome.name

    @property
    def guid(self) -> str:
        """The server's id, the same for its lifetime."""
        return self._welcome.guid

    @property
    def join_url(self) -> str:
        """What a phone opens; empty unless we are a presenter."""
        return self._welcome.join_url

    # --- requests and messages ------------------------------------------------------------

    async def send(self, payload: Any, timeout: float | None = None) -> Any:
        """Send a request and return the handler's reply. It takes effect exactly once.

        It is repeated over reconnects and host changes until there is an answer. Giving up
        waiting, by ``timeout`` or by cancelling, does not take it back.

        Args:
            payload: any JSON value within the limits.
            timeout: seconds to wait; ``None``: as long as it takes.

        Raises:
            RequestError: the answer is an error; ``code`` says which. ``closed``: the connection
                was closed first, and nobody knows whether the request was carried out.
            TypeError: ``payload`` is not JSON.
            TimeoutError: no answer came in time.
            ConnectError: the connection has ended for good.
        """
        self._check_open()
        serial = self.session.request(_encode_payload(payload), self._loop.time())
        self.flush()
        future: asyncio.Future[events.Replied] = self._loop.create_future()
        self._replies[serial] = future
        try:
            async with asyncio.timeout(timeout):
                replied = await future
        finally:
            self._replies.pop(serial, None)
        if replied.error is not None:
            raise RequestError(replied.error.message, code=replied.error.code)
        return replied.payload

    def on_receive(self, handler: Callable[[Any], object]) -> Callable[[], None]:
        """Call ``handler(payload)`` for each message from now on, instead of keeping messages
        for iteration. Returns a function that ends it."""
        return _subscribe(self._on_message, handler)

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> Any:
        """The next message. While nobody iterates, the latest ``OUTBOX_REPLAY`` are kept."""
        while not self._inbox:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    # --- state and status -----------------------------------------------------------------

    @property
    def state(self) -> Any:
        """The app's state as last told; ``None`` before that. A new value each time it changes:
        read it, do not change it."""
        return self.session.state.value

    def on_state(self, handler: Callable[[Any], object]) -> Callable[[], None]:
        """Call ``handler(state)`` now, if there is a state, and at each change. Returns a
        function that ends it."""
        end = _subscribe(self._on_state, handler)
        if self.session.state.index:
            _call([handler], self.state)
        return end

    async def wait_for(self, predicate: Callable[[Any], Any], timeout: float | None = None) -> Any:
        """Wait until ``predicate(state)`` is true and return that state.

        Raises:
            TimeoutError: it did not become true in time.
            ConnectError: the connection has ended for good.
        """
        return await self._wait(self.on_state, predicate, timeout)

    @property
    def status(self) -> ConnectionStatus:
        """Where things stand now."""
        return status_of(self.session)

    def on_status(self, handler: Callable[[ConnectionStatus], object]) -> Callable[[], None]:
        """Call ``handler(status)`` now and at each change. Returns a function that ends it."""
        end = _subscribe(self._on_status, handler)
        _call([handler], self.status)
        return end

    async def wait_for_status(
        self, predicate: Callable[[ConnectionStatus], Any], timeout: float | None = None
    ) -> ConnectionStatus:
        """Wait until ``predicate(status)`` is true and return that status."""
        status: ConnectionStatus = await self._wait(self.on_status, predicate, timeout)
        return status

    def on_outcome(self, handler: Callable[[events.Outcome], object]) -> Callable[[], None]:
        """Call ``handler(outcome)`` when a request that was answered provisionally
        (``status.provisional``) turned out otherwise. Returns a function that ends it."""
        return _subscribe(self._on_outcome, handler)

    # --- for the keeper -------------------------------------------------------------------

    def attach(self, send_frame: Callable[[frames.Frame], None]) -> None:
        """A socket is there: send frames by it from now on."""
        self._send_frame = send_frame
        self.session.opened(self._loop.time())
        self.flush()

    def detach(self, reason: ConnectError | None) -> None:
        """The socket is gone, for this reason."""
        self._send_frame = None
        if reason is None:
            self.session.closed()
        else:
            self.session.closed(frames.Failure(code=reason.code, message=reason.message))
        self._act()
        self._tell_status()

    def flush(self) -> None:
        """Send what the session wants to say."""
        for frame in self.session.frames_to_send():
            if self._send_frame is not None:
                self._send_frame(frame)

    def take(self, frame: frames.Frame) -> events.Refused | None:
        """Act on a frame of the bridge. Returns why the bridge is about to close, if it is."""
        self.session.receive(frame, self._loop.time())
        self.flush()
        return self._act()

    def end(self, error: ConnectError | None) -> None:
        """No socket will come any more: tell everybody who waits, and why."""
        if self._closed:
            return
        self._closed, self._error = True, error
        message = "The connection was closed first; whether it was carried out is not known."
        failure = frames.Failure(code="closed", message=message)
        for serial, reply in self._replies.items():
            if not reply.done():
                reply.set_result(events.Replied(serial=serial, error=failure))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error or _closed_error())
        self._arrived.set()

    # --- inside ---------------------------------------------------------------------------

    def _act(self) -> events.Refused | None:
        refused = None
        for event in self.session.events():
            match event:
                case events.Replied():
                    future = self._replies.get(event.serial)
                    if future is not None and not future.done():
                        future.set_result(event)
                case events.Outcome():
                    _call(self._on_outcome, event)
                case events.StateChanged():
                    _call(self._on_state, event.value)
                case events.Received():
                    if self._on_message:
                        _call(self._on_message, event.payload)
                    else:
                        self._inbox.append(event.payload)
                        self._arrived.set()
                case events.StatusChanged() | events.Welcomed():
                    self._tell_status()
                case events.Refused():
                    refused = event
        return refused

    @property
    def _welcome(self) -> frames.Welcome:
        assert self.session.welcome is not None, "connections are handed out once welcomed"
        return self.session.welcome

    def _check_open(self) -> None:
        if self._closed:
            raise self._error or _closed_error()

    def _tell_status(self) -> None:
        if self._on_status:
            _call(self._on_status, self.status)

    async def _wait(
        self,
        subscribe: Callable[[Callable[[Any], object]], Callable[[], None]],
        predicate: Callable[[Any], Any],
        timeout: float | None,
    ) -> Any:
        self._check_open()
        future: asyncio.Future[Any] = self._loop.create_future()

        def check(value: Any) -> None:
            if future.done():
                return
            try:
                if predicate(value):
                    future.set_result(value)
            except Exception as error:
                future.set_exception(error)

        end = subscribe(check)
        self._waiters.add(future)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._waiters.discard(future)
            end()


def _closed_error() -> ConnectError:
    return ConnectError("The connection has been closed.", code="closed")


def _encode_payload(payload: Any) -> msgspec.Raw:
    """The payload as it is now: what is repeated later does not change with the caller's
    object."""
    try:
        codec.check_payload(payload)
    except LimitError as error:
        raise RequestError(error.message, code=error.code) from None
    except FrameError as error:
        raise TypeError(error.message) from None
    return msgspec.Raw(msgspec.json.encode(payload))


def _subscribe[T](
    handlers: list[Callable[[T], object]], handler: Callable[[T], object]
) -> Callable[[], None]:
    # A wrapper of its own, so that the same function may be given twice and ended once.
    def call(value: T) -> object:
        return handler(value)

    def end() -> None:
        if call in handlers:
            handlers.remove(call)

    handlers.append(call)
    return end


def _call[T](handlers: list[Callable[[T], object]], value: T) -> None:
    for handler in tuple(handlers):
        try:
            handler(value)
        except Exception:
            _LOG.exception("a handler given to the connection raised")
