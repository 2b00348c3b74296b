"""HTTP requests as requests of the host: through the log, like everybody's.

The tab that hosts is itself the client: it opens sessions and sends itself ``forward`` frames, so
the app's head state, the log and the replies are used in the one way there is.

1. Requests without a key share one session, which this node opens when it first needs it: their
   replies need not outlive this host.
2. A request with an ``Idempotency-Key`` has a session of its own, named by the key, and its reply
   stays in the log: whichever host is asked again finds it there.
3. When this node hosts no more, what was not applied is given up (:class:`GaveUp`): it may still
   happen. With a key the next host can be asked; without one, nobody can know.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from ftweb.app import Effect, Replied, SessionOpened
from ftweb.app.server import HTTP_CLIENT
from ftweb.core.types import Json
from ftweb.driver import Driver
from ftweb.frames import Forward, Source
from ftweb.limits import HTTP_KEYS_PER_HOUR

_SHARED_DEVICE: Final = "http"


class GaveUp(Exception):  # noqa: N818 - says what happened to the request
    """This node hosts no more; the request may or may not have been carried out."""


class TooManyKeys(Exception):  # noqa: N818 - says what there is too much of
    """More new keys in an hour than sessions can be spared for."""


class Submitter:
    """Sends requests to the host that runs in this very tab.

    Args:
        driver: of this tab's replica.
        clock: seconds that never go back.
    """

    def __init__(self, driver: Driver, *, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._clock = clock
        self._shared = f"{HTTP_CLIENT}{driver.node_id}"
        self._serial = 0
        self._done = 0
        """All serials up to it are answered."""
        self._answered: set[int] = set()
        self._openings: dict[str, list[asyncio.Future[int]]] = {}
        self._requests: dict[tuple[str, int], list[asyncio.Future[Replied]]] = {}
        self._keys: deque[float] = deque()

    # --- what the driver tells ----------------------------------------------------------------

    def applied(self, effects: Iterable[Effect]) -> None:
        """An entry was applied: release who waits for it."""
        for effect in effects:
            if isinstance(effect, Replied):
                for reply in self._requests.pop((effect.client_id, effect.serial), ()):
                    if not reply.done():
                        reply.set_result(effect)
            elif isinstance(effect, SessionOpened):
                for opening in self._openings.pop(effect.client_id, ()):
                    if not opening.done():
                        opening.set_result(effect.session)

    def hosting(self, hosting: bool) -> None:
        """Whether this node hosts now (rule 3)."""
        if hosting:
            return
        waiting: list[asyncio.Future[Any]] = []
        for openings in self._openings.values():
            waiting += openings
        for requests in self._requests.values():
            waiting += requests
        self._openings.clear()
        self._requests.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(GaveUp())

    # --- submitting ---------------------------------------------------------------------------

    async def submit(self, payload: Json) -> tuple[int, Replied]:
        """Have the host handle a request without a key, and wait until that is committed.

        Returns:
            The serial that it had, and the reply.

        Raises:
            GaveUp: see rule 3.
        """
        session = await self._session(self._shared)
        self._serial += 1
        serial = self._serial
        try:
            return serial, await self._send(self._shared, session, serial, payload)
        finally:
            self._answered.add(serial)
            while self._done + 1 in self._answered:
                self._done += 1
                self._answered.discard(self._done)

    async def submit_once(self, key: str, payload: Json) -> Replied:
        """Have the host handle a request with a key, or find its reply.

        Args:
            key: 32 hex digits that stand for the key.
            payload: the request.

        Raises:
            GaveUp: see rule 3.
            TooManyKeys: no session can be spared for it.
        """
        client_id = f"{HTTP_CLIENT}key-{key}"
        opened = self._driver.machine.session_of(client_id)
        if opened is None:
            self._count_key()
            session = await self._session(client_id)
        else:
            session = opened.session
        known = self._driver.machine.reply_for(client_id, session, 1)
        if known is not None:
            return known
        return await self._send(client_id, session, 1, payload)

    def _count_key(self) -> None:
        now = self._clock()
        while self._keys and self._keys[0] < now - 3600:
            self._keys.popleft()
        if len(self._keys) >= HTTP_KEYS_PER_HOUR:
            raise TooManyKeys
        self._keys.append(now)

    async def _session(self, client_id: str) -> int:
        opened = self._driver.machine.session_of(client_id)
        if opened is not None:
            return opened.session
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._openings.setdefault(client_id, []).append(future)
        self._forward(client_id)
        return await future

    async def _send(self, client_id: str, session: int, serial: int, payload: Json) -> Replied:
        future: asyncio.Future[Replied] = asyncio.get_running_loop().create_future()
        waiting = self._requests.setdefault((client_id, serial), [])
        waiting.append(future)
        if len(waiting) == 1:
            self._forward(
                client_id,
                session=session,
                serial=serial,
                acknowledged=self._done if client_id == self._shared else 0,
                payload=payload,
            )
        return await future

    def _forward(self, client_id: str, **fields: Any) -> None:
        status = self._driver.status
        if not status.hosting:
            self.hosting(False)
            return
        source = Source(client_id=client_id, device_id=_SHARED_DEVICE)
        self._driver.receive(Forward(epoch=status.epoch, term=status.term, source=source, **fields))
