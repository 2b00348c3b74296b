"""Virtual time and chance: one heap of events, one seeded generator, no wall clock.

Rules:

1. Whatever happens is an event on the heap; events of the same instant happen in the order in
   which they were planned. Nothing else moves the time.
2. All chance comes from :attr:`World.random`, so a seed is a whole story. Code under simulation
   that depended on hash order, on the wall clock or on ``secrets`` would break that; the trace
   digest is there to notice (:meth:`World.trace`).
3. A :class:`Process` is what dies, is frozen and has clocks of its own: a page, or the bridge.
   Its events wait while it is frozen and never happen once it is dead.
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

EPOCH_MS: Final = 1_790_000_000_000
"""Where every wall clock starts, in milliseconds since 1970."""

MOST_EVENTS: Final = 150_000
"""Of one schedule: thirty times the usual. More means that something goes round in circles."""

LOOK: Final = 5.0
"""Milliseconds between two looks at whether it is enough."""


class Crashed(BaseException):
    """The process ends here and now. Not an Exception, so that no code under simulation can
    survive it by catching errors."""


class EndlessError(Exception):
    """Too much happens: a storm of messages, or a timer that sets itself anew at once."""


class Timer:
    """An event of a process, as asyncio's handles: it can be cancelled."""

    __slots__ = ("arguments", "at", "callback", "process")

    def __init__(
        self, process: Process, at: float, callback: Callable[..., object], arguments: Any
    ) -> None:
        self.process = process
        self.at = at
        """Milliseconds of the world's time."""
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        """Do nothing when the time comes."""
        self.callback = None

    def when(self) -> float:
        """Seconds of its process's clock, as asyncio's handles have it."""
        return (self.at - self.process.lag) / 1000

    def ring(self) -> None:
        """The time has come."""
        if self.callback is not None:
            self.process.do(self.callback, *self.arguments)


class World:
    """Time, chance, and the trace of what happened.

    Args:
        seed: of the one generator.
        narrate: takes the lines of a readable transcript; None for none.
    """

    def __init__(self, seed: int, *, narrate: Callable[[str], None] | None = None) -> None:
        self.now = 0.0
        """Milliseconds since the beginning."""
        self.random = random.Random(seed)
        self.narrate = narrate
        self.events = 0
        self.mute: Callable[[Any], bool] | None = None
        """Whether what a node wants to send is lost: asked while leaders' reigns are cut short."""
        self.counts: Counter[str] = Counter()
        """What happened how often, faults above all."""
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = 0
        self._times = array("d")
        self._texts: list[str] = []

    # --- time -----------------------------------------------------------------------------

    def at(self, when: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Plan an event; one that lies in the past happens next."""
        if when < self.now:
            when = self.now
        self._order = order = self._order + 1
        heappush(self._heap, (when, order, callback, arguments))

    def after(self, delay: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Plan an event ``delay`` milliseconds from now; none is negative."""
        self._order = order = self._order + 1
        heappush(self._heap, (self.now + delay, order, callback, arguments))

    def run(self, until: float, *, enough: Callable[[], bool] | None = None) -> bool:
        """Let happen what is planned up to a time.

        Args:
            until: the time; it is the present when this returns, unless ``enough`` ended it.
            enough: looked at every ``LOOK`` milliseconds; ends the run when it is true.

        Returns:
            Whether ``enough`` was true.
        """
        heap = self._heap
        look = self.now if enough is not None else math.inf
        while heap and heap[0][0] <= until:
            if self.now >= look and enough is not None:
                if enough():
                    return True
                look = self.now + LOOK
            when, _, callback, arguments = heappop(heap)
            self.now = when
            self.events += 1
            if self.events > MOST_EVENTS:
                raise EndlessError(f"{MOST_EVENTS} events within {self.now:.0f} ms")
            callback(*arguments)
        self.now = max(self.now, until)
        return enough is not None and enough()

    # --- what happened --------------------------------------------------------------------

    def trace(self, what: str) -> None:
        """Note something, with the time, for the digest."""
        self._times.append(self.now)
        self._texts.append(what)

    def say(self, line: str) -> None:
        """A line of the transcript. Where it costs to make the line, ask for ``narrate`` first."""
        if self.narrate is not None:
            self.narrate(f"{self.now:10.1f}  {line}")

    def digest(self) -> str:
        """Of all that was noted."""
        times = array("d", self._times)
        if sys.byteorder == "big":
            times.byteswap()
        digest = hashlib.blake2b(times.tobytes(), digest_size=16)
        digest.update("\n".join(self._texts).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


class Process:
    """What dies, is frozen and has its own clocks.

    Args:
        world: where.
        name: for the transcript.
        on_crash: called when the process ends by a crash of its own (see :meth:`reach`).
    """

    def __init__(self, world: World, name: str, on_crash: Callable[[], None]) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.frozen = False
        self.lag = 0.0
        """How far its monotonic clock is behind: time that it slept through."""
        self.wall_offset = 0.0
        self._on_crash = on_crash
        self._waiting: list[tuple[Callable[..., object], Any]] = []
        self._doom: tuple[str, int] | None = None

    # --- clocks ---------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Its own milliseconds; they never go back, and may stand still during sleep."""
        return self.world.now - self.lag

    def wall(self) -> float:
        """Its own idea of milliseconds since 1970, which may leap."""
        return EPOCH_MS + self.world.now + self.wall_offset

    def time(self) -> float:
        """For code that wants asyncio's loop: seconds."""
        return (self.world.now - self.lag) / 1000

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Timer:
        """As asyncio's loop has it."""
        return self.call_later(0.0, callback, *arguments)

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """As asyncio's loop has it."""
        world = self.world
        timer = Timer(self, world.now + delay * 1000, callback, arguments)
        world.at(timer.at, timer.ring)
        return timer

    # --- life -----------------------------------------------------------------------------

    def do(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Let something happen in this process: now, when it thaws, or never."""
        if not self.alive:
            return
        if self.frozen:
            self._waiting.append((callback, arguments))
            return
        try:
            callback(*arguments)
        except Crashed:
            self._on_crash()

    def freeze(self) -> None:
        """Stand still until :meth:`thaw`. What comes meanwhile waits."""
        self.frozen = True

    def thaw(self, *, slept: float = 0.0) -> None:
        """Go on, with all that has come meanwhile.

        Args:
            slept: for so long the monotonic clock stood still too.
        """
        if not self.frozen:
            return
        self.frozen = False
        self.lag += slept
        waiting, self._waiting = self._waiting, []
        for callback, arguments in waiting:
            self.do(callback, *arguments)

    def end(self) -> None:
        """It is gone."""
        self.alive = False
        self._waiting.clear()

    # --- crashes in the middle ------------------------------------------------------------

    def doom(self, point: str, count: int) -> None:
        """Crash when ``point`` is reached for the ``count``-th time from now on."""
        self._doom = (point, count)

    def spare(self) -> None:
        """What :meth:`doom` planned does not happen."""
        self._doom = None

    def reach(self, point: str) -> None:
        """Code under simulation has come to a point at which a crash matters.

        Raises:
            Crashed: this is where it ends.
        """
        if self._doom is None or self._doom[0] != point:
            return
        count = self._doom[1] - 1
        if count > 0:
            self._doom = (point, count)
            return
        self._doom = None
        self.world.counts[f"crash at {point}"] += 1
        self.world.say(f"{self.name} crashes at {point!r}")
        raise Crashed
