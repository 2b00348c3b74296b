"""What a node knows of the others from outside of Raft: the directory and the lost-hints.

Rules:

1. The directory is the bridges' list of every node that is reachable now, the asking one
   included; a new one replaces the old. A lost-hint is faster and about one node. Both are
   hints: they decide who is asked, added or dropped, never what is committed.
2. A member reported lost, or missing from the directory, is dead once ``lost_grace`` has passed
   without its return or a message from it.
3. A member that answered nothing for ``silence`` is dead even if it is listed (frozen tabs keep
   their sockets). It is *shunned* then: not taken back until it shows life, which is a message
   from it, a new connection (``since``) or a change of visibility.
4. A hint was wrong if a message from the node comes after it, or if the directory has not borne it
   out for ``silence``. The node is listed again then; no new directory would say so, since for
   whoever keeps that nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from ftweb.core.settings import Settings
from ftweb.core.types import Milliseconds, NodeId, NodeKind, PeerInfo

LOCAL_VISIBLE, LOCAL_HIDDEN, REMOTE_VISIBLE, REMOTE_HIDDEN, BRIDGE = range(5)
"""Classes of rank, best first: who should host."""


REMEMBERED_LOSSES = 64
"""Hints kept, the latest ones: several times the members, and ids never return."""


def rank_class(info: PeerInfo) -> int:
    """A bridge runs no handlers, so it comes last; a hidden phone is about to be frozen."""
    if info.kind is NodeKind.BRIDGE:
        return BRIDGE
    if info.local:
        return LOCAL_VISIBLE if info.visible else LOCAL_HIDDEN
    return REMOTE_VISIBLE if info.visible else REMOTE_HIDDEN


def _life(info: PeerInfo) -> tuple[Milliseconds, bool]:
    return info.since, info.visible


class Presence:
    """See the rules above."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.infos: dict[NodeId, PeerInfo] = {}
        """The directory, less those lost since."""
        self.known = False
        """Whether there ever was a directory."""
        self.lost_at: dict[NodeId, Milliseconds] = {}
        self._listed: dict[NodeId, PeerInfo] = {}
        """The directory as it came."""
        self._class_since: dict[NodeId, tuple[int, Milliseconds]] = {}
        self._shunned: dict[NodeId, tuple[Milliseconds, bool] | None] = {}

    def update(self, infos: Sequence[PeerInfo], now: Milliseconds) -> None:
        """A new directory."""
        self.known = True
        self.infos = self._listed = {info.node_id: info for info in infos}
        before, self._class_since = self._class_since, {}
        for node, info in self.infos.items():
            found = rank_class(info)
            earlier = before.get(node)
            same = earlier is not None and earlier[0] == found
            self._class_since[node] = earlier if earlier and same else (found, now)
            self.lost_at.pop(node, None)
        for node, life in list(self._shunned.items()):
            there = self.infos.get(node)
            if there is None or _life(there) != life:
                del self._shunned[node]

    def lost(self, node: NodeId, now: Milliseconds) -> None:
        """That node has just gone, somebody says."""
        self.lost_at.setdefault(node, now)
        while len(self.lost_at) > REMEMBERED_LOSSES:
            del self.lost_at[next(iter(self.lost_at))]
        if node in self.infos:  # a new dict: others may hold the old one
            self.infos = {known: info for known, info in self.infos.items() if known != node}
        self._class_since.pop(node, None)

    def heard(self, node: NodeId, now: Milliseconds) -> None:
        """A message from it came: it lives, unless it was under way when the loss was told."""
        lost_at = self.lost_at.get(node)
        if lost_at is not None and now - lost_at >= self._settings.lost_grace / 2:
            self._lives(node, now)
        if node in self._shunned:
            del self._shunned[node]

    def review(self, now: Milliseconds) -> None:
        """Let go of hints that the directory did not bear out (rule 4)."""
        for node, lost_at in list(self.lost_at.items()):
            if node in self._listed and now - lost_at >= self._settings.silence:
                self._lives(node, now)

    def _lives(self, node: NodeId, now: Milliseconds) -> None:
        del self.lost_at[node]
        info = self._listed.get(node)
        if info is not None and node not in self.infos:
            self.infos = {**self.infos, node: info}
            self._class_since[node] = rank_class(info), now

    def dead(
        self,
        members: Iterable[NodeId],
        *,
        silent: Callable[[NodeId], bool],
        now: Milliseconds,
    ) -> set[NodeId]:
        """Which members to drop (rules 2, 3). Notes those missing and shuns those silent."""
        found = set()
        for node in members:
            if self.known and node not in self.infos:
                self.lost_at.setdefault(node, now)
            lost_at = self.lost_at.get(node)
            if lost_at is not None and now - lost_at >= self._settings.lost_grace:
                found.add(node)
            elif silent(node):
                found.add(node)
                info = self.infos.get(node)
                self._shunned.setdefault(node, _life(info) if info else None)
        return found

    @property
    def shunned(self) -> AbstractSet[NodeId]:
        return self._shunned.keys()

    def settled_for(self, node: NodeId, now: Milliseconds) -> Milliseconds:
        """How long it has been there in its present class."""
        found = self._class_since.get(node)
        return now - found[1] if found else 0.0
