"""Consensus: a sans-I/O Raft for groups of browser tabs and the bridges that serve them.

Nothing here does I/O, reads a clock, draws random numbers or waits. A :class:`Node` is told what
happens (``step``, ``tick``, ``propose``, ``peers``, ``lost``), each time with the present time,
and hands back a :class:`Ready`: what to save, then what to send, then what to apply. So the same
code runs under CPython, in a Pyodide worker and in a simulation, and cannot tell them apart.

Theory of operation
===================

Sections are those of Diego Ongaro's dissertation, "Consensus: Bridging Theory and Practice"
(Stanford, 2014). ``tests/core/test_dissertation.py`` goes through these rules in this order.

1.  *Terms* (3.3). A node's term never falls; it votes once per term and saves term and vote
    before it answers. A node that sees a higher term follows. A message of a lower term is
    answered with the higher one, so that its sender cannot go on unaware of it.
2.  *Elections* (3.4). A candidate needs the votes of a majority of the voters. A vote goes only
    to a log at least as up-to-date as the voter's own (3.6.1): the last term decides, then the
    length.
3.  *Replication* (3.5). Entries are accepted if their predecessor agrees; on conflict the
    follower's own are truncated. Refusals name the conflicting term, so the leader steps back a
    term at a time. Batches and pipelining as in 10.2.
4.  *Commitment* (3.6.2). A leader counts only entries of its own term; those before are
    committed with them. It appends an empty entry as soon as it leads (6.4).
5.  *Persistence* (3.8). What is in a ``Ready`` is saved before its messages are sent. A leader
    counts its own log only as far as it was handed out to be saved.
6.  *Hand-over* (3.10). The target is brought up to date, then told to campaign at once, past the
    leases of rule 9. One at a time, given up after one election timeout; writes pause, none is
    dropped.
7.  *Configurations* (4.1). One voter more or less at a time; in force from the moment it is
    appended, void again when truncated. None while another is pending, and none before the
    leader has committed an entry of its own term (the correction of 2015).
8.  *New members* (4.2.1) are learners until they are caught up. A leader that was removed steps
    down when that is committed (4.2.2). A node being removed may campaign until then; whoever
    is asked votes, also a node that does not know of being a voter.
9.  *Leases* (4.2.3, 9.6). Campaigns begin with a pre-vote, which changes no term. A node that
    heard a leader within the election timeout leaves votes unanswered, so a node that was cut
    off cannot disturb the rest when it returns.
10. *CheckQuorum* (6.2). A leader that a quorum has not answered for an election timeout is none
    any more. That is checked before anything else, whatever a node is told: a host that slept
    knows it before it can acknowledge anything. Pre-votes without this deadlock when a link works
    in one direction only.
11. *Snapshots* (5) travel in chunks, are checked by SHA-256 and installed whole or not at all;
    never over entries that are committed beyond them. Some entries are kept behind a snapshot,
    so that a peer a moment behind needs none.
12. *Identity*. A node id is never used again by a node that lost its log, or it might vote twice
    in a term. Whoever reloads is a new node.

Departures from Raft
====================

A. *A leader need not be a voter.* A learner may campaign, and a leader made a learner leads on.
   Votes and acknowledgements are counted over the voters alone, so every majority argument holds
   as before. Reason: with one laptop there are a bridge and its tab. {bridge, tab} as voters
   would be stuck when either dies; with {bridge} alone the tab may come and go, and still host.
B. *The number of voters is odd* (1, 3, 5): one more tolerates no further loss. Single changes
   pass through even numbers, for one round trip each; :mod:`ftweb.core.upkeep` says in which
   order, and a leader calls the roll before each of them. What remains: the second voter of a
   group of one that dies, unnoticed, in the round trip in which it is promoted leaves two voters
   of which one is dead. That is a loss of the quorum, to be treated as such.
C. *Successors.* The configuration lists who campaigns first. It decides order only: the i-th of
   those still there waits i staggers longer than the first. Whoever's log is behind is refused
   by the voters as ever, and the next one asks.
D. *Lost-hints.* A bridge sees a tab's socket close within milliseconds and says so to all. The
   hint ends the lease of rule 9 and lets the first successor ask at once. If it is wrong, there
   is an election for nothing, and the lost one is followed again as soon as it goes on sending;
   nothing unsafe happens, since hints never count as votes.
E. *The leader sets the election timeout*, ten times the measured round trip, in every
   AppendEntries; followers adopt it within bounds.
F. *Upkeep and failback are the leader's own work*: it refills the voters from the bridges'
   directory of nodes (:mod:`ftweb.core.upkeep`), drops the dead and the silent
   (:mod:`ftweb.core.presence`), and hands over to a better host (:mod:`ftweb.core.transfer`).
G. *A new commit index is sent at once* to every member, not with the next heartbeat: bridges
   release replies by it.

Modules, from the bottom: ``types``, ``messages``, ``settings``; ``configuration``, ``quorum``,
``log``, ``snapshot``, ``progress``; ``state``; ``presence``, ``upkeep``, ``transfer``;
``election``, ``follower``, ``replication``, ``leadership``; ``ready``, ``node``.
"""

from ftweb.core.node import Node
from ftweb.core.ready import Ready
from ftweb.core.settings import Settings
from ftweb.core.types import (
    Configuration,
    DeviceId,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    NodeKind,
    PeerInfo,
    Role,
    Snapshot,
)

__all__ = [
    "Configuration",
    "DeviceId",
    "Entry",
    "EntryKind",
    "HardState",
    "Node",
    "NodeId",
    "NodeKind",
    "PeerInfo",
    "Ready",
    "Role",
    "Settings",
    "Snapshot",
]
