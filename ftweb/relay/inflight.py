"""Requests on their way, and those that killed their host.

A handler that never returns, or that takes its whole tab down, must not do so to one host after
another. The bridge is the one who sees hosts die, so it keeps count:

1. A request is *in flight* from when it is forwarded until its reply is applied.
2. A tab's watchdog that had to end a stuck worker names the request. It is *poisonous* from then
   on: every later host is told to refuse it without running it.
3. When a host dies without a word, each request in flight there may have been the cause. After
   HOST_DEATHS_PER_REQUEST deaths a request is a *suspect*.
4. A suspect that was the only one at the host when it died is poisonous. Where there were
   several, most are innocent: from then on suspects go to the host one at a time, the others
   wait here. So the next death, if there is one, finds the culprit, and nobody else is refused.
   Turns are those of one (epoch, term): a host drops what is meant for another, so what waits for
   that is not sent any more, and who had its turn there holds nobody up. Clients that are still
   there repeat theirs for the new one.
5. Leaving with a word (``bye``, ``node_down`` without a request) is no death.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from ftweb.frames import Failure, Forward
from ftweb.limits import HANDLER_SECONDS, HOST_DEATHS_PER_REQUEST, REQUESTS_TRACKED

type Key = tuple[str, int, int]
"""Client id, session, serial."""

POISONOUS = Failure(
    code="handler_timeout",
    message=(
        f"The app's handler for this request did not finish within {HANDLER_SECONDS:g} s, or took"
        " its host down; nothing was changed and it will not be run again."
    ),
)


@dataclass(kw_only=True, slots=True)
class _Tracked:
    host: str | None = None
    """Where it was forwarded to; None while it is nowhere."""
    deaths: int = 0
    poisonous: bool = False
    reign: tuple[int, int] = (0, 0)
    """The epoch and term for which it was."""
    held: Forward | None = None
    """A suspect that waits for its turn."""

    @property
    def suspect(self) -> bool:
        return self.deaths >= HOST_DEATHS_PER_REQUEST and not self.poisonous


@dataclass(kw_only=True, slots=True)
class InFlight:
    """The bookkeeping of rules 1 to 5. Knows nothing of sockets."""

    _tracked: OrderedDict[Key, _Tracked] = field(default_factory=OrderedDict)
    _by_client: dict[str, set[Key]] = field(default_factory=dict)
    _suspects: dict[Key, None] = field(default_factory=dict)
    """In the order in which they became suspects."""
    _reign: tuple[int, int] = (0, 0)
    """Of what was forwarded last."""

    def __len__(self) -> int:
        return len(self._tracked)

    def pending(self, client_id: str) -> int:
        """How many requests of a client are unanswered."""
        return len(self._by_client.get(client_id, ()))

    def knows(self, key: Key) -> bool:
        """Whether a request was forwarded before and is unanswered."""
        return key in self._tracked

    def forward(self, key: Key, host: str, frame: Forward) -> Forward | None:
        """A client sent, or repeated, a request while ``host`` leads.

        Returns:
            What to send to the host; None for a suspect that has to wait (rule 4).
        """
        reign = self._reign = (frame.epoch, frame.term)
        tracked = self._tracked.get(key)
        if tracked is None:
            tracked = self._tracked[key] = _Tracked()
            self._by_client.setdefault(key[0], set()).add(key)
            if len(self._tracked) > REQUESTS_TRACKED:
                self._forget(next(iter(self._tracked)))
        if tracked.poisonous:
            tracked.host = host
            return msgspec.structs.replace(frame, refuse=POISONOUS)
        others = [self._tracked[other] for other in self._suspects if other != key]
        if tracked.suspect and any((o.host, o.reign) == (host, reign) for o in others):
            tracked.held = frame
            return None
        tracked.host, tracked.reign = host, reign
        tracked.held = None
        return frame

    def replied(self, key: Key) -> Forward | None:
        """The reply was applied: the request is over.

        Returns:
            A suspect whose turn it is now, to be sent to its host.
        """
        tracked = self._tracked.get(key)
        if tracked is None:
            return None
        host = tracked.host
        was_suspect = key in self._suspects
        self._forget(key)
        if not was_suspect:
            return None
        for other in self._suspects:
            waiting = self._tracked[other]
            frame = waiting.held
            if frame is not None and (frame.epoch, frame.term) == self._reign:
                waiting.held, waiting.host, waiting.reign = None, host, self._reign
                return frame
        return None

    def acknowledged(self, client_id: str, session: int, serial: int) -> None:
        """The client has the replies up to ``serial``, however it got them."""
        for key in list(self._by_client.get(client_id, ())):
            if key[1] != session or key[2] <= serial:
                self._forget(key)

    def stuck(self, key: Key, host: str) -> None:
        """The watchdog of ``host`` had to end the worker that ran this request (rule 2)."""
        tracked = self._tracked.get(key)
        if tracked is not None and tracked.host == host:
            tracked.poisonous = True
            tracked.host = None
            self._suspects.pop(key, None)

    def died(self, host: str) -> None:
        """A node's socket ended without a word (rules 3 and 4)."""
        suspects = []
        for key, tracked in self._tracked.items():
            if tracked.host == host:
                tracked.host = None
                tracked.deaths += 1
                if tracked.suspect:
                    suspects.append(key)
        if len(suspects) == 1:
            self._tracked[suspects[0]].poisonous = True
            self._suspects.pop(suspects[0], None)
        else:
            self._suspects.update(dict.fromkeys(suspects))
        for key in self._suspects:
            self._tracked[key].held = None  # its client repeats it for the next host

    def _forget(self, key: Key) -> None:
        del self._tracked[key]
        self._suspects.pop(key, None)
        keys = self._by_client[key[0]]
        keys.discard(key)
        if not keys:
            del self._by_client[key[0]]
