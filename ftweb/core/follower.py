"""The follower's side: taking over the leader's entries and snapshots (sections 3.5, 5.3).

Rules:

1. Entries are accepted only if the log agrees on what precedes them. What is committed here
   agrees with every later leader's log (Leader Completeness, section 3.6.3), so the compacted
   beginning needs no check, and the commit index is always part of the match.
2. A refusal names where to go on: past the end of a short log, or at the beginning of the
   conflicting term (section 3.5, last paragraph), never below what is committed here.
3. The commit index never goes beyond what the message itself has shown to match.
4. A message of an older term is answered with the newer one, never just dropped: a leader that
   is not told would go on for ever, and so would the node it cannot reach.
5. A snapshot never goes back over what is committed here. If the log holds its last entry, the
   log stays and only the commit index moves.
"""

from __future__ import annotations

from ftweb.core.messages import (
    AppendEntries,
    AppendEntriesResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
)
from ftweb.core.snapshot import Assembly
from ftweb.core.state import State


class Follower:
    """Changes the log and the commit index as a leader says, and answers it."""

    __slots__ = ("_assembly", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._assembly = Assembly()

    def append(self, message: AppendEntries) -> None:
        """Of the present term, from its leader."""
        state, log = self._state, self._state.log
        previous, entries = message.prev_log_index, message.entries
        if previous < log.offset:
            entries = entries[log.offset - previous :]
            previous = log.offset
        elif not log.matches(previous, message.prev_log_term):
            self._refuse(message)
            return
        log.merge(entries, state.commit_index)
        match = max(previous + len(entries), state.commit_index)
        state.commit_index = max(state.commit_index, min(message.commit_index, match))
        if message.reply:
            state.outbox.append(
                AppendEntriesResponse(
                    sender=state.node_id,
                    to=message.sender,
                    term=state.term,
                    success=True,
                    match_index=match,
                    sent_at=message.sent_at,
                )
            )

    def _refuse(self, message: AppendEntries) -> None:
        """Rule 2."""
        state, log = self._state, self._state.log
        term = log.term(message.prev_log_index)
        if term is None:
            conflict_index = log.last_index + 1
        else:
            conflict_index = max(log.first_index_of(term), state.commit_index + 1)
        state.outbox.append(
            AppendEntriesResponse(
                sender=state.node_id,
                to=message.sender,
                term=state.term,
                success=False,
                match_index=0,
                conflict_index=conflict_index,
                conflict_term=term or 0,
                sent_at=message.sent_at,
            )
        )

    def install(self, message: InstallSnapshot) -> None:
        """Of the present term, from its leader (rule 5)."""
        state = self._state
        wanted = message.total
        if message.last_index > state.commit_index:
            if state.log.matches(message.last_index, message.last_term):
                state.commit_index = message.last_index
            else:
                wanted, snapshot = self._assembly.add(message)
                if snapshot is not None:
                    state.log.restore(snapshot)
                    state.snapshot = state.received_snapshot = snapshot
                    state.commit_index = state.applied_index = snapshot.last_index
        self._answer_chunk(message, wanted)

    def _answer_chunk(self, message: InstallSnapshot, wanted: int) -> None:
        self._state.outbox.append(
            InstallSnapshotResponse(
                sender=self._state.node_id,
                to=message.sender,
                term=self._state.term,
                last_index=message.last_index,
                offset=wanted,
                sent_at=message.sent_at,
            )
        )

    def refuse_old_term(self, message: Message) -> None:
        """Rule 4. Answers and TimeoutNow of old terms need none."""
        state = self._state
        if isinstance(message, AppendEntries):
            state.outbox.append(
                AppendEntriesResponse(
                    sender=state.node_id,
                    to=message.sender,
                    term=state.term,
                    success=False,
                    match_index=0,
                    sent_at=message.sent_at,
                )
            )
        elif isinstance(message, InstallSnapshot):
            self._answer_chunk(message, 0)
