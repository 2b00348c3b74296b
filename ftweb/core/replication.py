"""Log replication, the leader's side (section 3.5; the follower's is in ``follower.py``).

Rules:

1. A leader commits by counting only entries of its own term (section 3.6.2, figure 3.7), over
   the voters of the configuration in force; its own log counts if it is a voter, and only what
   was handed out to be saved.
2. Entries leave when the driver asks for work, so that all that was proposed in between goes
   in one batch; a new commit index goes to every member at once, because bridges release
   replies by it.
3. A leader that a quorum of voters has not answered for an election timeout, by messages sent
   within it, is none any more (CheckQuorum, section 6.2).
4. The election timeout is ten smoothed round trips and four variations, of the quorum; a
   slower peer is told its own, longer one.
5. Who was removed is told when that is committed, not before: until then its vote may be
   needed, and a log that ends with its own removal would be longer than the others'.
"""

from __future__ import annotations

from collections.abc import Iterable

from ftweb.core import quorum
from ftweb.core.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshotResponse,
)
from ftweb.core.progress import Mode, Progress
from ftweb.core.snapshot import Sending
from ftweb.core.state import State
from ftweb.core.types import Entry, EntryKind, Index, Json, Milliseconds, NodeId


class Replication:
    """Exists as long as this node leads in this term."""

    __slots__ = ("_leaving", "_quorum_deadline", "_state", "heartbeat_at", "peers", "term_start")

    def __init__(self, state: State) -> None:
        self._state = state
        self.peers: dict[NodeId, Progress] = {}
        """Every other member."""
        self._leaving: dict[NodeId, Progress] = {}
        """Removed by a change that is not committed yet."""
        self.heartbeat_at = state.now + state.settings.heartbeat
        self._quorum_deadline = state.now
        """Not before then can the quorum have gone (rule 3); recomputed when it is reached."""
        self.configure()
        self.term_start = self.append(EntryKind.NOOP, None)
        """Committing it commits all before it, and permits configuration changes (4.1)."""

    # --- proposing ------------------------------------------------------------------------

    def append(self, kind: EntryKind, data: Json, size: int = 0) -> Index:
        state = self._state
        index = state.log.last_index + 1
        state.log.append(Entry(index=index, term=state.term, kind=kind, data=data), size)
        return index

    def configure(self) -> None:
        """Follows the configuration in force."""
        state = self._state
        members = state.configuration.members
        for node in list(self.peers):
            if node not in members:
                self._leaving[node] = self.peers.pop(node)
        for node in members:
            if node != state.node_id and node not in self.peers:
                next_index = state.log.last_index + 1
                self.peers[node] = Progress(next_index=next_index, now=state.now)
        self._quorum_deadline = state.now

    def say_goodbye(self) -> None:
        """The configuration in force is committed: who left is sent what it lacks (rule 5)."""
        for node, progress in self._leaving.items():
            if node not in self.peers and progress.mode is Mode.REPLICATE:
                self._send_entries(node, progress)
        self._leaving.clear()

    # --- sending --------------------------------------------------------------------------

    def flush(self) -> None:
        """Sends what there is to send (rule 2). Mostly there is nothing."""
        last, commit = self._state.log.last_index, self._state.commit_index
        sending: list[tuple[NodeId, Sending]] = []
        for node, progress in self.peers.items():
            if progress.mode is Mode.REPLICATE:
                next_index, told = progress.next_index, progress.commit_sent
                if next_index <= last or (told < commit and told < next_index - 1):
                    self._replicate(node, progress)
            elif progress.mode is Mode.PROBE and not progress.waiting:
                self._send_entries(node, progress)
            if progress.sending is not None:
                sending.append((node, progress.sending))
        for node, snapshot in sending:
            if not snapshot.waiting:
                self._send_chunk(node, snapshot)

    def _replicate(self, node: NodeId, progress: Progress) -> None:
        """All entries that the window has room for; or else the commit index, if it is news."""
        state, settings = self._state, self._state.settings
        last = state.log.last_index
        while progress.next_index <= last and progress.has_room(
            settings.inflight_messages, settings.inflight_bytes
        ):
            if not self._send_entries(node, progress):
                return
        news = min(state.commit_index, progress.next_index - 1)
        if progress.commit_sent < news:
            self._send(node, news, (), progress, reply=False)

    def heartbeat(self) -> None:
        """Tells every member that its leader lives, and asks for an answer."""
        state = self._state
        state.election_timeout = self._measured_timeout()
        self.heartbeat_at = state.now + state.settings.heartbeat
        for node, progress in self.peers.items():
            if state.now - progress.heard_at > state.election_timeout:
                progress.went_silent()
            if progress.mode is Mode.SNAPSHOT:
                self._send(node, 0, (), progress)
                sending = progress.sending
                patience = max(2 * state.settings.heartbeat, 4 * progress.rtt)
                if sending and state.now - sending.sent_at >= patience:
                    sending.waiting = False
            else:
                previous = progress.next_index - 1
                if state.log.term(previous) is None:
                    self._fall_back_to_snapshot(progress)
                    previous = 0
                self._send(node, previous, (), progress)

    def probe(self, nodes: Iterable[NodeId]) -> None:
        """Asks nodes outside the configuration for a sign of life; nobody can refuse this."""
        for node in nodes:
            if node not in self.peers:
                self._send(node, 0, (), Progress(next_index=1, now=self._state.now))

    def _send_entries(self, node: NodeId, progress: Progress) -> bool:
        """One batch from ``next_index`` on, empty if there is none; False if only a snapshot
        can help."""
        log = self._state.log
        previous = progress.next_index - 1
        if log.term(previous) is None:
            self._fall_back_to_snapshot(progress)
            return False
        entries, size = log.batch(progress.next_index, self._state.settings.batch_bytes)
        self._send(node, previous, entries, progress)
        progress.sent(previous + len(entries), size)
        return True

    def _fall_back_to_snapshot(self, progress: Progress) -> None:
        snapshot = self._state.snapshot
        if snapshot is None:
            raise AssertionError("the log is compacted, yet there is no snapshot")
        progress.send_snapshot(snapshot)

    def _send_chunk(self, node: NodeId, sending: Sending) -> None:
        state = self._state
        size = state.settings.snapshot_chunk_chars
        state.outbox.append(
            sending.chunk(sender=state.node_id, to=node, term=state.term, size=size, now=state.now)
        )

    def _send(
        self,
        node: NodeId,
        previous: Index,
        entries: tuple[Entry, ...],
        progress: Progress,
        *,
        reply: bool = True,
    ) -> None:
        state = self._state
        term = state.log.term(previous) if previous else 0
        if term is None:
            raise AssertionError(f"entry {previous} is compacted away")
        end = previous + len(entries)
        progress.commit_sent = max(progress.commit_sent, min(state.commit_index, end))
        base = state.settings.election_timeout
        state.outbox.append(
            AppendEntries(
                sender=state.node_id,
                to=node,
                term=state.term,
                prev_log_index=previous,
                prev_log_term=term,
                entries=entries,
                commit_index=state.commit_index,
                sent_at=state.now,
                election_timeout=min(max(state.election_timeout, _timeout(progress)), 10 * base),
                reply=reply,
            )
        )

    # --- answers --------------------------------------------------------------------------

    def appended(self, message: AppendEntriesResponse) -> None:
        progress = self.peers.get(message.sender)
        if progress is None:
            return
        state, log = self._state, self._state.log
        progress.heard(message.sent_at, state.now)
        if message.success:
            if message.match_index > log.last_index:
                raise AssertionError(f"{message.sender} acknowledged what was never sent")
            if progress.accepted(message.match_index, log.offset):
                self._advance_if_counted(message.sender)
            return
        next_index = message.conflict_index
        if message.conflict_term:
            known = log.last_index_of(message.conflict_term)
            if known is not None:
                next_index = known + 1
        next_index = min(max(next_index, 1), log.last_index + 1)
        progress.refused(next_index, message.sent_at, state.now)

    def snapshot_answered(self, message: InstallSnapshotResponse) -> None:
        progress = self.peers.get(message.sender)
        if progress is None:
            return
        progress.heard(message.sent_at, self._state.now)
        sending = progress.sending
        if sending is None or message.last_index != sending.snapshot.last_index:
            return
        if sending.answered(message.offset):
            progress.accepted(message.last_index, 0)
            self._advance_if_counted(message.sender)

    # --- committing -----------------------------------------------------------------------

    def _advance_if_counted(self, node: NodeId) -> None:
        if node in self._state.configuration.voters:
            self.advance_commit()

    def advance_commit(self) -> None:
        """Rule 1."""
        state = self._state
        peers, node_id = self.peers, state.node_id
        index = quorum.reached(
            [
                state.log.saved_index if voter == node_id else peers[voter].match_index
                for voter in state.configuration.voters
            ]
        )
        if index > state.commit_index and state.log.term(index) == state.term:
            state.commit_index = index

    # --- the licence to lead --------------------------------------------------------------

    def has_quorum(self) -> bool:
        """Rule 3, as of now. Cheap: the answer is only worked out anew when it can change."""
        state = self._state
        if state.now <= self._quorum_deadline:
            return True
        since = quorum.reached(
            state.now if voter == state.node_id else self.peers[voter].answered_at
            for voter in state.configuration.voters
        )
        self._quorum_deadline = since + state.election_timeout
        return state.now <= self._quorum_deadline

    def _measured_timeout(self) -> Milliseconds:
        """Rule 4: what the quorum's slowest needs."""
        state = self._state
        base = state.settings.election_timeout
        needed = -quorum.reached(
            0.0 if voter == state.node_id else -_timeout(self.peers[voter])
            for voter in state.configuration.voters
        )
        return min(max(base, needed), 10 * base)

    def is_caught_up(self, node: NodeId) -> bool:
        """Close enough that it would not hold a quorum up, and answering."""
        state = self._state
        progress = self.peers.get(node)
        return (
            progress is not None
            and progress.mode is Mode.REPLICATE
            and progress.match_index >= state.log.last_index - state.settings.promotion_lag
            and progress.match_index >= self.term_start
            and self.is_answering(node)
        )

    def is_answering(self, node: NodeId) -> bool:
        """Answered one of the last two heartbeats: much fresher than the quorum's licence,
        because a change of voters stakes the cluster on those it keeps."""
        state = self._state
        if node == state.node_id:
            return True
        progress = self.peers.get(node)
        if progress is None:
            return False
        return state.now - progress.heard_at <= 2 * state.settings.heartbeat + progress.rtt


def _timeout(progress: Progress) -> Milliseconds:
    return 10 * progress.rtt + 4 * progress.rtt_variation
