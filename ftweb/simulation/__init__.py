"""A deterministic simulator of a whole class: thousands of fault schedules, each from a seed.

Theory of operation
===================

Nothing of the product is imitated here: the real core, state machine, sessions, hosts, codec,
relay and client session run, on a virtual clock and network. A seed draws a *plan* (who is there,
how bad the network is, which faults happen when); the *room* lets it happen; the *checks* watch
every save, every applied entry and every answer. When everything has been healed, the group
must be well within ten election timeouts.

::

    seed ──▶ plan ──▶ room: bridge, pages, network, faults ──▶ result: digest, violation, counts
                        └─ checks: invariants, history, linearizability

==================================  =============================================================
module                              concept
==================================  =============================================================
:mod:`~.simulation.world`           virtual time, chance, processes that die, freeze and sleep
:mod:`~.simulation.network`         sockets, loss, repetition, cuts, clogs
:mod:`~.simulation.disk`            storage that tells what it saved, fails, is damaged
:mod:`~.simulation.sqlite_disk`     the same over the bridge's real storage
:mod:`~.simulation.nodes`           one real replica in virtual time
:mod:`~.simulation.bridge`          the real relay and its bookkeeping, through restarts
:mod:`~.simulation.pages`           the real client session, with or without a replica
:mod:`~.simulation.workload`        what is asked, and how its result is judged
:mod:`~.simulation.plan`            a schedule as data
:mod:`~.simulation.faults`          what can go wrong
:mod:`~.simulation.reigns`          … with those who lead
:mod:`~.simulation.history`         what clients asked and were told
:mod:`~.simulation.invariants`      what must hold
:mod:`~.simulation.linearizability` judging a history of registers
:mod:`~.simulation.room`            a schedule at work
:mod:`~.simulation.schedule`        from a plan to its result
==================================  =============================================================

What is taken over from outside: sockets do not exist (the seam is
:class:`ftweb.relay.wire.Wire`), nor do tokens and rates; a page's part is played by the Python
client session, whose TypeScript twin has tests of its own.
"""

from __future__ import annotations
