"""Bugs of elections, commitment and membership to be planted, as :mod:`.bugs`: the famous ones.

They need sequences of several leaders, so most are aimed
(:func:`ftweb.simulation.plan.short_reigns`); what is caught is a broken promise, hardly ever the
broken rule itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from ftweb import codec, frames
from ftweb.app import Replied
from ftweb.core import Node, quorum
from ftweb.core.follower import Follower
from ftweb.core.leadership import Leadership
from ftweb.core.log import Log
from ftweb.core.messages import AppendEntriesResponse
from ftweb.core.replication import Replication
from ftweb.relay.relay import Relay
from ftweb.relay.wire import Prepared
from ftweb.simulation.plan import Plan, short_reigns
from tests.simulation.planted.bugs import BUGS, Patch, bug, torn

__all__ = ["BUGS"]

UNSAFE = ("leader completeness", "state machine safety", "election safety", "exactly once")
"""What two histories lead to, one way or the other."""


# --- commitment -----------------------------------------------------------------------------


@bug(*UNSAFE, aim=short_reigns)
def entries_of_earlier_terms_counted(patch: Patch) -> None:
    """Figure 3.7 (figure 8 of the paper): a majority has an old entry, so it is committed."""

    def advance_commit(self: Replication) -> None:
        state = self._state
        index = quorum.reached(
            state.log.saved_index if voter == state.node_id else self.peers[voter].match_index
            for voter in state.configuration.voters
        )
        state.commit_index = max(state.commit_index, index)

    patch.setattr(Replication, "advance_commit", advance_commit)


@bug(*UNSAFE, "no exception", "commit needs a quorum", "convergence", aim=short_reigns)
def acknowledges_more_than_matches(patch: Patch) -> None:
    """A follower acknowledges all that it has, whatever of it the leader has shown to match."""
    original = Follower.append

    def append(self: Follower, message: Any) -> None:
        before = len(self._state.outbox)
        original(self, message)
        outbox, last = self._state.outbox, self._state.log.last_index
        outbox[before:] = [
            msgspec.structs.replace(answer, match_index=last)
            if isinstance(answer, AppendEntriesResponse) and answer.success
            else answer
            for answer in outbox[before:]
        ]

    patch.setattr(Follower, "append", append)


@bug(*UNSAFE, "commit needs a quorum", aim=torn)
def leader_that_no_longer_is_one_acknowledges(patch: Patch) -> None:
    """Those who do not answer are not counted: cut off, a leader commits by itself."""

    def advance_commit(self: Replication) -> None:
        state = self._state
        present = [voter for voter in state.configuration.voters if self.is_answering(voter)]
        index = quorum.reached(
            state.log.saved_index if voter == state.node_id else self.peers[voter].match_index
            for voter in present
        )
        if index > state.commit_index and state.log.term(index) == state.term:
            state.commit_index = index

    patch.setattr(Replication, "advance_commit", advance_commit)


# --- membership -----------------------------------------------------------------------------


@bug(*UNSAFE, aim=short_reigns)
def change_before_an_entry_of_the_own_term(patch: Patch) -> None:
    """The bug of 2015: a new leader changes the voters before it has committed anything."""

    def may_change(self: Leadership) -> bool:
        state = self._state
        return self.transfer is None and state.commit_index >= state.log.configuration_index

    patch.setattr(Leadership, "may_change", may_change)


@bug(*UNSAFE, aim=short_reigns)
def configuration_survives_truncation(patch: Patch) -> None:
    """The entry is gone, the configuration in it stays in force."""

    def truncate(self: Log, first: int) -> None:
        del self._entries[first - self.offset - 1 :]
        del self._sizes[first - self.offset - 1 :]
        self._unsaved = min(self._unsaved, first)

    patch.setattr(Log, "_truncate", truncate)


@bug("convergence", aim=short_reigns)
def voter_that_does_not_know_it_refuses(patch: Patch) -> None:
    """Who is no voter as far as it knows leaves votes unanswered; the candidate knows better."""
    original = Node._on_request_vote

    def on_request_vote(self: Node, message: Any) -> None:
        if self.id in self.configuration.voters:
            original(self, message)

    patch.setattr(Node, "_on_request_vote", on_request_vote)


# --- leases ---------------------------------------------------------------------------------


def _deaf(plan: Plan) -> Plan:
    return replace(plan, deaf=True)


@bug("convergence", aim=_deaf)
def pre_vote_without_check_quorum(patch: Patch) -> None:
    """A leader that hears nobody leads on, and its heartbeats keep the others from electing."""
    patch.setattr(Replication, "has_quorum", lambda self: True)


# --- what is told ---------------------------------------------------------------------------


@bug("acknowledged too early")
def reply_before_commit(patch: Patch) -> None:
    """The bridge answers as soon as a request stands in an entry on its way to its own replica."""
    original = Relay._to_own_node

    def to_own_node(self: Relay, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Raft) and frame.kind == "append_entries":
            for entry in codec.decode_message(frame).entries:  # type: ignore[union-attr]
                if entry.data is not None and entry.data.get("kind") == "request":
                    error = entry.data.get("error")
                    self._stream.reply(
                        Replied(
                            client_id=entry.data["client_id"],
                            session=entry.data["session"],
                            serial=entry.data["serial"],
                            payload=entry.data.get("reply"),
                            error=frames.Failure(**error) if error else None,
                        )
                    )
        original(self, frame)

    patch.setattr(Relay, "_to_own_node", to_own_node)


@bug("message once")
def outbox_released_again_with_a_new_host(patch: Patch) -> None:
    """Nobody knows what the old host had sent, so all of it is sent again."""
    original = Relay.status

    def status(self: Relay, status: Any) -> None:
        before = self._leader
        original(self, status)
        if self._leader == before or self._leader[2] is None:
            return
        for position, (_, _, prepared, _) in enumerate(self._stream._messages):
            message = codec.decode(prepared.text)
            assert isinstance(message, frames.Message)
            again = msgspec.structs.replace(
                message, index=self._driver.machine.applied_index, position=1_000 + position
            )
            for connection in self._registry:
                connection.send_prepared(Prepared(codec.encode(again)))

    patch.setattr(Relay, "status", status)
