"""The app layer: what app authors import, and what makes an app survive its host.

Theory of operation
===================

An app is a function from a request to a change, a reply and messages, over a JSON state. The host
runs it; everybody else only carries out what came of it (passive replication).

::

    Forward ──▶ Host ──▶ command ──▶ log ──▶ Machine.apply ──▶ effects ──▶ clients
                 │ handler on a draft          every replica: state, sessions, replies

============================  ==============================================================
module                        concept
============================  ==============================================================
:mod:`~ftweb.app.server`      ``init_server``, ``Server``: the app author's view
:mod:`~ftweb.app.draft`       the state as a dict or list that records its changes
:mod:`~ftweb.app.recorder`    those changes as JSON Patch, and how to undo them
:mod:`~ftweb.app.patch`       hand-written patches, and patches from the log
:mod:`~ftweb.app.payload`     which values may travel
:mod:`~ftweb.app.transaction` one request in the making
:mod:`~ftweb.app.commands`    log entries of the app layer
:mod:`~ftweb.app.sessions`    exactly once
:mod:`~ftweb.app.effects`     what an applied entry releases
:mod:`~ftweb.app.machine`     the replicated state machine
:mod:`~ftweb.app.host`        running handlers on the leader
:mod:`~ftweb.app.loader`      importing an app's directory
============================  ==============================================================
"""

from __future__ import annotations

from ftweb.app import commands
from ftweb.app.effects import Changed, Effect, Outcome, Replied, Sent, SessionOpened
from ftweb.app.host import Host
from ftweb.app.loader import load_app
from ftweb.app.machine import Machine
from ftweb.app.server import Server, Source, init_server

__all__ = [
    "Changed",
    "Effect",
    "Host",
    "Machine",
    "Outcome",
    "Replied",
    "Sent",
    "Server",
    "SessionOpened",
    "Source",
    "commands",
    "init_server",
    "load_app",
]
