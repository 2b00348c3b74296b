"""Keeps a connection connected: one socket at a time, opened again for as long as needed.

1. ``async with`` is entered once a bridge has said welcome, or raises :class:`ConnectError`.
   Until then nothing is tried twice, so that a wrong address is told at once.
2. After that a lost socket is replaced, with full jitter so that a lecture hall coming back
   spreads over seconds; requests wait meanwhile (:mod:`ftweb.client.session`). Of several bridges
   the one that was used is tried first, unless it was silent or asked us to move; the next ones
   follow after NEXT_SECONDS each, beside it, and the first that answers is taken. A server given
   by name is looked up again when all stay silent: another bridge may have its name.
3. An error that no reconnect can heal ends the connection: it cancels the body of the
   ``async with``, as a task group would, and comes out of it as :class:`ConnectError`.
4. Leaving the block says bye, closes the socket, ends what still waits with ``closed``, and
   leaves no task behind.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from types import TracebackType

from websockets.exceptions import InvalidStatus

from ftweb.client.address import Target, origin_of, socket_url
from ftweb.client.connection import Connection
from ftweb.client.session import FATAL_CODES
from ftweb.errors import CODES, ConnectError, FrameError
from ftweb.limits import PING_SECONDS
from ftweb.transports.base import LinkClosedError
from ftweb.transports.websocket import WebSocketLink

_LOG = logging.getLogger("ftweb.client")

RECONNECT_FIRST = 0.25
RECONNECT_MOST = 4.0
"""Seconds: the n-th attempt waits a random part of FIRST * 2**n, at most MOST, so that everybody
is back within five seconds of a bridge's return."""

NEXT_SECONDS = 0.15
"""Ten round trips of a LAN: who has not answered by then may be gone with its network."""

BUSY = 1.0
"""Least wait after a bridge has said that it has too much to do."""

LOOK_UP_AGAIN = 3
"""Failed attempts at an address before its name is looked up again."""

MOVE = 4002
"""The close code of a bridge that asks us to go to another one."""

_CLOSE_CODES = {
    4400: "bad_frame",
    4401: "bad_token",
    4408: "hello_timeout",
    4409: "version_mismatch",
    4429: "rate_limited",
    4503: "too_many_connections",
    1009: "too_large",
    1013: "slow_reader",
}
_BUSY_CODES = frozenset({"rate_limited", "too_many_connections", "slow_reader"})
_HTTP_CODES = {403: "bad_origin", 421: "bad_host", 503: "too_many_connections"}


class Keeper:
    """The context manager that :func:`ftweb.connect` returns; good for one use.

    Args:
        target: where to, and with which token.
        device_key: 32 hex digits.
        open_timeout: seconds for entering the block.
        find: looks up a server's name, gives its socket's URL or raises :class:`ConnectError`.
    """

    def __init__(
        self,
        target: Target,
        *,
        device_key: str,
        open_timeout: float,
        find: Callable[[str], Awaitable[str]],
    ) -> None:
        self._target = target
        self._device_key = device_key
        self._open_timeout = open_timeout
        self._find = find
        self._url = target.url
        self._present_last = False
        """The bridge that was used is silent, or asked us to move."""

    async def __aenter__(self) -> Connection:
        self._connection = Connection(token=self._target.token, device_key=self._device_key)
        parent = asyncio.current_task()
        assert parent is not None
        self._parent = parent
        self._inside = False
        self._interrupted = False
        self._cancels = parent.cancelling()
        self._welcomed = asyncio.Event()
        self._link: WebSocketLink | None = None
        self._task = asyncio.create_task(self._run(), name="ftweb client")
        self._task.add_done_callback(self._ended)
        welcomed = asyncio.create_task(self._welcomed.wait())
        try:
            async with asyncio.timeout(self._open_timeout):
                await asyncio.wait({welcomed, self._task}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self._stop()
            raise ConnectError(
                f"{self._target.url or self._target.name} did not answer within "
                f"{self._open_timeout:g} s. Is this device on the same network?"
            ) from None
        except BaseException:
            await self._stop()
            raise
        finally:
            welcomed.cancel()
        if self._task.done():
            raise self._task.exception() or ConnectError("The connection was closed.")
        self._inside = True
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside = False
        failure = None if not self._task.done() else self._task.exception()
        if self._interrupted:
            still_cancelled = self._parent.uncancel() > self._cancels
            if not still_cancelled and (kind is None or issubclass(kind, asyncio.CancelledError)):
                assert failure is not None
                raise failure from error
        await self._stop()

    async def _stop(self) -> None:
        """Say bye and end the task, whatever it is doing."""
        self._connection.end(None)
        self._connection.session.leave()
        self._connection.flush()
        await asyncio.sleep(0)  # lets the link's writer take the bye
        self._task.cancel()
        await asyncio.wait({self._task})

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is over: without our wish only after an error that cannot be healed."""
        failure = None if task.cancelled() else task.exception()
        self._connection.end(failure if isinstance(failure, ConnectError) else None)
        if failure is not None and self._inside:
            self._interrupted = True
            self._parent.cancel()

    async def _run(self) -> None:
        """Hold a socket open until cancelled.

        Raises:
            ConnectError: the first attempt failed, or something no reconnect can heal.
        """
        failures = 0
        while True:
            try:
                if self._url is None or (self._target.name and failures >= LOOK_UP_AGAIN):
                    assert self._target.name is not None
                    self._url = await self._find(self._target.name)
                self._url, link = await _open_one(self._candidates(self._url))
                try:
                    self._connection.session.origin = origin_of(self._url)
                    error = await self._serve(link)
                finally:
                    await link.close()
            except ConnectError as refused:
                error = _explain(refused)
            if self._connection.session.welcome is None or error.code in FATAL_CODES:
                raise error
            if self._welcomed.is_set():
                self._welcomed.clear()
                failures = 0
            _LOG.info("connection lost (%s), trying again", error.message)
            await asyncio.sleep(
                random.uniform(0, min(RECONNECT_MOST, RECONNECT_FIRST * 2**failures))
            )
            failures = min(failures + 1, 16)

    def _candidates(self, present: str) -> list[str]:
        """Where to connect to, in order (rule 2)."""
        bridges = self._connection.session.elsewhere
        others = [socket_url(origin) for bridge in bridges for origin in bridge.urls]
        others = [url for url in dict.fromkeys(others) if url != present]
        if others:
            # Everybody who lost the same bridge chooses in this moment, by the same counts.
            first = random.choice(others[: max(1, len(bridges))])
            others.remove(first)
            others.insert(0, first)
        last, self._present_last = self._present_last, False
        return [*others, present] if last else [present, *others]

    async def _serve(self, link: WebSocketLink) -> ConnectError:
        """Exchange frames until the socket is closed; returns why it was."""
        connection = self._connection
        error: ConnectError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                connection.attach(link.send)
                ticking = group.create_task(self._tick(link))
                try:
                    error = await self._read(link)
                finally:
                    ticking.cancel()
        finally:
            connection.detach(error)
        return error

    async def _read(self, link: WebSocketLink) -> ConnectError:
        refused = None
        try:
            while True:
                refused = self._connection.take(await link.receive()) or refused
                if self._connection.session.connected:
                    self._welcomed.set()
        except LinkClosedError as closed:
            self._present_last = self._present_last or closed.close_code == MOVE
            if refused is not None:
                return ConnectError(refused.message, code=refused.code)
            return ConnectError(
                closed.message, code=_CLOSE_CODES.get(closed.close_code, "connect_failed")
            )
        except FrameError as bad:
            return ConnectError(f"What answers there does not speak our protocol: {bad.message}")

    async def _tick(self, link: WebSocketLink) -> None:
        """Ping regularly; close the link when nobody answers."""
        session = self._connection.session
        # Connections opened at the same moment do not ping at the same moment.
        wait = random.uniform(0, PING_SECONDS)
        while True:
            await asyncio.sleep(wait)
            wait = session.ping_seconds
            if not session.tick(asyncio.get_running_loop().time()):
                self._present_last = True
                await link.close()
                return
            self._connection.flush()


async def _open_one(urls: list[str]) -> tuple[str, WebSocketLink]:
    """Open a socket at the first of several addresses that answers (rule 2).

    Raises:
        ConnectError: none does; what the first one said.
    """
    attempts: dict[asyncio.Task[WebSocketLink], str] = {}
    failures: list[ConnectError] = []
    waiting = list(urls)
    try:
        while waiting or attempts:
            if waiting:
                url = waiting.pop(0)
                attempts[asyncio.create_task(_open(url))] = url
            done, _ = await asyncio.wait(
                attempts,
                timeout=NEXT_SECONDS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                url = attempts.pop(task)
                error = task.exception()
                if error is None:
                    return url, task.result()
                if not isinstance(error, ConnectError):
                    raise error
                failures.append(error)
        raise failures[0]
    finally:
        for task in attempts:
            task.cancel()
        for left in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(left, WebSocketLink):  # it opened in the same moment
                await left.close()


async def _open(url: str) -> WebSocketLink:
    link = WebSocketLink(url)
    await link.__aenter__()
    return link


def _explain(error: ConnectError) -> ConnectError:
    """Gives the refusal of a handshake the code that its HTTP status stands for."""
    cause = error.__cause__
    if isinstance(cause, InvalidStatus):
        code = _HTTP_CODES.get(cause.response.status_code)
        if code is not None:
            return ConnectError(f"{error.message} {CODES[code]}", code=code)
    return error
