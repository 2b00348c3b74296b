"""What a replica hears of the nodes around it, and what of it belongs into the log.

1. The directory says which nodes are there. A bridge counts as one that may become a member only
   once a log entry says that it belongs to this history: who may have another epoch later must be
   known to everybody before it is given entries.
2. So the leader brings into the log which bridges have come, which of those that were missed are
   heard again, and which voters of the epochs before have left those (:mod:`ftweb.app.lineage`).
   It does so once for the same news.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ftweb import frames
from ftweb.app.lineage import Lineage
from ftweb.core.types import DeviceId, NodeId, NodeKind, PeerInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """For one log entry (rule 2)."""

    joined: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    left: list[frames.Left] = field(default_factory=list)


class Hearing:
    """See the rules above."""

    def __init__(self) -> None:
        self._nodes: list[frames.NodeInfo] = []
        self._leavers: list[frames.Left] = []
        self._bridges: dict[str, bool] = {}
        """The bridges in the directory, and whether they still replay."""
        self._told: tuple[int, int, News] | None = None

    def directory(self, frame: frames.Directory, *, epoch: int) -> None:
        """A new one has come; ``epoch`` is the replica's."""
        self._nodes, self._leavers = frame.nodes, frame.left
        if frame.epoch == epoch:  # else it tells who was there before
            self._bridges = {info.bridge: info.replaying for info in frame.nodes if info.bridge}

    def begin_anew(self) -> None:
        """The replica is in another epoch: whoever is there has yet to be told of."""
        self._bridges = {}

    def peers(self, lineage: Lineage) -> list[PeerInfo]:
        """Who may become a member (rule 1)."""
        known = lineage.bridges
        return [_peer(info) for info in self._nodes if not info.bridge or info.bridge in known]

    def news(self, lineage: Lineage, *, epoch: int, term: int) -> News | None:
        """What a leader has to propose, if there is anything that it has not."""
        here = self._bridges
        if not here:
            return None
        joined = [bridge for bridge in here if bridge not in lineage.bridges]
        heard = [b for b, replaying in here.items() if b in lineage.unheard and not replaying]
        left = [leaver for leaver in self._leavers if lineage.wants(leaver)]
        if not (joined or heard or left):
            return None  # as after nearly every turn
        news = News(joined=joined, heard=heard, left=left)
        return None if (epoch, term, news) == self._told else news

    def proposed(self, news: News, *, epoch: int, term: int) -> None:
        """It was."""
        self._told = (epoch, term, news)


def _peer(info: frames.NodeInfo) -> PeerInfo:
    return PeerInfo(
        node_id=NodeId(info.node_id),
        device_id=DeviceId(info.device_id),
        kind=NodeKind(info.kind),
        local=info.local,
        visible=info.visible,
        since=info.since,
        rtt=info.rtt,
    )
