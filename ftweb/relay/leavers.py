"""Who has left an epoch for good, as far as this relay was told.

An epoch that a bridge begins by itself is provisional while voters of the one before may be going
on without it (:mod:`ftweb.beginning`). What ends that are their own words: each node says where it
was in the log of the epoch that it has left, in ``node_up`` or ``node_update`` when it follows
another one by now, in ``node_down`` when it ends.

1. The words of the last LEAVERS nodes are kept: they may be wanted for an epoch that begins later.
2. Those that the present epoch still wants are told to its leader, with the directory, and to the
   other bridges, whose leader it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ftweb.app.lineage import Rest
from ftweb.frames import Left
from ftweb.limits import LEAVERS


class Leavers:
    """See the rules above.

    Args:
        wants: whether the present epoch, as this relay's own replica has it, wants a word.
        elsewhere: gives what other relays tell.
    """

    def __init__(
        self, *, wants: Callable[[Left], bool], elsewhere: Callable[[], Iterable[Left]] = tuple
    ) -> None:
        self._wants = wants
        self._elsewhere = elsewhere
        self._said: dict[tuple[str, int], Left] = {}

    def note(self, node_id: str, left: Iterable[Left]) -> bool:
        """A node has said where it was; gives whether that is wanted now. A word about another
        node counts for nothing."""
        own = [one for one in left if one.node == node_id]
        for one in own:
            self._keep(one)
        return any(self._wants(one) for one in own)

    def _keep(self, left: Left) -> None:
        key = (left.node, left.epoch)
        self._said.pop(key, None)
        self._said[key] = left
        while len(self._said) > LEAVERS:
            del self._said[next(iter(self._said))]

    def ended(self, nodes: Iterable[str], known: Rest) -> None:
        """Nodes that this bridge was before it was started, and what it had saved of their
        epoch."""
        for node_id in nodes:
            left = Left(
                node=node_id,
                epoch=known.epoch,
                term=known.term,
                index=known.index,
                voters=known.voters,
            )
            self._keep(left)

    @property
    def said(self) -> list[Left]:
        """All that is known, the oldest first."""
        return [*self._said.values(), *self._elsewhere()]

    def wanted(self) -> list[Left]:
        """What the leader has to know (rule 2)."""
        return [left for left in self.said if self._wants(left)]

    def told(self) -> list[Left]:
        """What other bridges are told: as above, but for what is theirs."""
        return [left for left in self._said.values() if self._wants(left)]
