"""What tabs remember of an epoch that this branch of the history left before they did.

A bridge that begins an epoch has the log of the one before up to some entry. Tabs that it could not
reach may have committed more there, and acknowledged it. While somebody leads them, that epoch
stays, and the bridge comes over (:mod:`ftweb.relay.meeting`). But if they have lost their quorum as
well, they follow the bridge's epoch one by one; then what they alone have must come along:

1. A node that has left an epoch says how far its log went (``left``). If that is further than this
   branch has it, the node is asked for the requests beyond (``recall``), and sends them in the
   log's order (``recalled``). They are run again like those of a journal.
2. Some of them may never have been accepted by a quorum. They are what their clients asked for all
   the same, and are run at most once like any other.
3. Of all logs that were left the longest, by (term, index), holds everything that was acknowledged
   in that epoch, as far as anybody still has it: Raft's elections rely on the same. So who has no
   more than was brought along already is not asked. A log that began with a snapshot lacks what was
   before, and does not count as the whole.
4. If the epoch is no ancestor of this branch, all that it has had since it left the common ones
   is missing here, and asked for (``recall`` with index 0). A node that cannot come from there,
   because this epoch is the earlier one, ends and hands the same in, unasked (``left``). Such are
   tabs whose bridge was killed in an epoch of its own, when they meet it in another one.
5. What a node sends is bounded like a journal. Only an answer counts for what others need not be
   asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import msgspec

from ftweb import frames
from ftweb.app.lineage import Replayable
from ftweb.codec import check_payload
from ftweb.epochs import Fork
from ftweb.errors import FrameError
from ftweb.limits import JOURNAL_CHARS, JOURNAL_REQUESTS
from ftweb.relay.connection import Connection


@dataclass(slots=True)
class _Asked:
    left: frames.Left
    unasked: bool = False
    """It is handed in (rule 4)."""
    items: list[Replayable] = field(default_factory=list)
    weight: int = 0


class Recalling:
    """See the rules above.

    Args:
        forks: where the present branch left its ancestors, as this bridge's own replica has it;
            None as long as it does not know, and in a tab, which cannot run anything again.
        take: what was recalled is to be run again. Returns whether it is kept; else somebody has
            to be asked again.
    """

    def __init__(
        self,
        *,
        forks: Callable[[], Sequence[Fork] | None],
        take: Callable[[Sequence[Replayable]], bool],
    ) -> None:
        self._forks = forks
        self._take = take
        self._asked: WeakKeyDictionary[Connection, _Asked] = WeakKeyDictionary()
        self._have: dict[int, tuple[int, int]] = {}
        """Epoch → (term, index) up to which it was brought along."""

    def note(self, connection: Connection, told: Sequence[frames.Left]) -> None:
        """A node here has said where it left its epochs, the latest last (rule 1)."""
        left = told[-1] if told else None  # what was before that it has forgotten
        if left is None or connection.node is None or connection.node.node_id != left.node:
            return
        had = self._had(left)
        if had is None or (left.term, left.index) <= had or self._is_known(left):
            return
        term, index = had
        asked = self._asked.get(connection)
        if asked is not None and asked.left == left:
            return  # it is on its way
        self._asked[connection] = _Asked(left)
        connection.send(frames.Recall(epoch=left.epoch, term=term, index=index))

    def _had(self, left: frames.Left) -> tuple[int, int] | None:
        """How far this branch has that epoch; (0, 0) if it is no ancestor, None if that is not
        known now: then it is asked again (:meth:`ftweb.relay.nodes.Nodes.recall`)."""
        forks = self._forks()
        if forks is None:
            return None
        here = (fork for fork in forks if fork.epoch == left.epoch)
        return next(((fork.term, fork.index) for fork in here), (0, 0))

    def _is_known(self, left: frames.Left) -> bool:
        """Rule 3."""
        return (left.term, left.index) <= self._have.get(left.epoch, (0, 0))

    def recalled(self, connection: Connection, frame: frames.Recalled) -> None:
        """A piece of an answer, or of what a node hands in. One that nobody waits for is dropped:
        it may be the answer to what was asked over the socket before.

        Raises:
            FrameError: it is none, or too much.
        """
        asked = self._asked.pop(connection, None)
        if frame.left is not None:
            asked = _Asked(frame.left, unasked=True)
        if asked is None or asked.left.epoch != frame.epoch:
            return
        try:
            items = msgspec.convert(frame.items, list[Replayable])
        except msgspec.ValidationError as error:
            raise FrameError(f"A recalled request is none: {error}.") from None
        for item in items:
            check_payload(item.request)
            check_payload(item.reply)
        asked.items += items
        asked.weight += sum(item.weight for item in items)
        if len(asked.items) > JOURNAL_REQUESTS or asked.weight > JOURNAL_CHARS:
            raise FrameError("A node remembers more than a journal may hold.", code="too_large")
        if not frame.last:
            self._asked[connection] = asked
        elif self._is_known(asked.left) or (asked.left.term, asked.left.index) <= (
            self._had(asked.left) or (0, 0)
        ):
            pass  # somebody else has brought it along meanwhile
        elif self._take(asked.items) and frame.whole and not asked.unasked:
            # What was handed in may be any node's word for any epoch: who was asked for the same
            # later is heard all the same. Requests that come twice are run once.
            self._have[frame.epoch] = max(
                (asked.left.term, asked.left.index), self._have.get(frame.epoch, (0, 0))
            )
