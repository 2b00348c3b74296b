"""What a leader knows of one peer's log, and what it may send next.

::

              refused                      too far behind
    REPLICATE ───────▶ PROBE ─────────────────────────────▶ SNAPSHOT
        ▲                │ ▲                                   │
        └────────────────┘ └───────────────────────────────────┘
             accepted                 snapshot complete

Rules:

1. PROBE: one message at a time, to find where the logs agree. REPLICATE: ``next_index`` runs
   ahead of ``match_index`` (pipelining, section 10.2.1), up to a window of messages and bytes.
   SNAPSHOT: chunks, and heartbeats that nobody can refuse.
2. ``match_index`` never falls: answers may come late, twice and in any order.
3. A refusal of something sent before the last time we stepped back is old and says nothing.
4. ``answered_at`` is when the latest *answered* message was sent, by the leader's clock: at that
   moment the peer still followed. A quorum of these is the leader's licence (section 6.2).
"""

from __future__ import annotations

import enum
from collections import deque

from ftweb.core.snapshot import Sending
from ftweb.core.types import Index, Milliseconds, Snapshot


class Mode(enum.Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """See the rules above."""

    __slots__ = (
        "_inflight",
        "_inflight_bytes",
        "_stepped_back_at",
        "answered_at",
        "commit_sent",
        "heard_at",
        "match_index",
        "mode",
        "next_index",
        "rtt",
        "rtt_variation",
        "sending",
        "waiting",
    )

    def __init__(self, *, next_index: Index, now: Milliseconds) -> None:
        self.mode = Mode.PROBE
        self.match_index: Index = 0
        self.next_index = next_index
        self.waiting = False
        """PROBE: a message is under way."""
        self.commit_sent: Index = 0
        """The commit index the peer was last told."""
        self.answered_at = now
        """Rule 4. Starts as if answered: the votes, or the joining, are as fresh."""
        self.heard_at = now
        """When anything last came from it: what silence is measured by."""
        self.rtt: Milliseconds = 0.0
        self.rtt_variation: Milliseconds = 0.0
        self.sending: Sending | None = None
        self._inflight: deque[tuple[Index, int]] = deque()
        self._inflight_bytes = 0
        self._stepped_back_at: Milliseconds = now

    # --- sending --------------------------------------------------------------------------

    def sent(self, last: Index, size: int) -> None:
        """Entries up to ``last`` went out."""
        if self.mode is Mode.REPLICATE:
            self.next_index = last + 1
            self._inflight.append((last, size))
            self._inflight_bytes += size
        else:
            self.waiting = True

    def has_room(self, messages: int, size: int) -> bool:
        return len(self._inflight) < messages and self._inflight_bytes < size

    # --- answers --------------------------------------------------------------------------

    def heard(self, sent_at: Milliseconds, now: Milliseconds) -> None:
        """An answer came to what was sent at ``sent_at``."""
        self.heard_at = now
        if sent_at <= self.answered_at:
            return
        self.answered_at = min(sent_at, now)
        sample = now - self.answered_at
        # RFC 6298's smoothing, but the first sample counts no more than others. An election timeout
        # that grew sixfold because a laptop slept during the first round trip would stay so for as
        # long as nobody answers, which is when it matters.
        self.rtt_variation += (abs(sample - self.rtt) - self.rtt_variation) / 4
        self.rtt += (sample - self.rtt) / 8

    def accepted(self, match_index: Index, offset: Index) -> bool:
        """The peer's log agrees up to ``match_index``; the leader's is compacted up to
        ``offset``. Returns whether that is news."""
        news = match_index > self.match_index
        if news:
            self.match_index = match_index
        self.next_index = max(self.next_index, self.match_index + 1)
        if self.mode is Mode.REPLICATE:
            while self._inflight and self._inflight[0][0] <= match_index:
                self._inflight_bytes -= self._inflight.popleft()[1]
        elif self.mode is Mode.PROBE or self.match_index >= offset:
            self._enter(Mode.REPLICATE)
            self.next_index = self.match_index + 1
        return news

    def refused(self, next_index: Index, sent_at: Milliseconds, now: Milliseconds) -> bool:
        """The peer lacks what preceded the message; go on from ``next_index``. Returns False
        for old news (rules 2, 3)."""
        if self.mode is Mode.SNAPSHOT or sent_at < self._stepped_back_at:
            return False
        self._enter(Mode.PROBE)
        self._stepped_back_at = now
        self.next_index = max(next_index, self.match_index + 1)
        return True

    def went_silent(self) -> None:
        """No answer for long: stop sending entries ahead, ask first when it is back."""
        if self.mode is Mode.REPLICATE:
            self._enter(Mode.PROBE)
            self.next_index = self.match_index + 1

    def send_snapshot(self, snapshot: Snapshot) -> None:
        self._enter(Mode.SNAPSHOT)
        self.sending = Sending(snapshot)

    def _enter(self, mode: Mode) -> None:
        self.mode = mode
        self.waiting = False
        self.sending = None
        self._inflight.clear()
        self._inflight_bytes = 0
