"""The frames of the wire protocol, version 1: what a socket carries, one JSON object each.

Four parties exchange them: a *client* (page runtime or Python script), a *bridge*, and the
*nodes* (in tabs, behind the same socket as their client; in bridges). ``docs/protocol.md`` gives
the same tables with examples; :mod:`ftweb.codec` encodes, decodes and checks.

====================  =================  ====================================================
frame                 who → whom         what for
====================  =================  ====================================================
hello                 client → bridge    join: keys, token, what it already holds
welcome               bridge → client    accepted: ids, limits, where the runtime is
error                 bridge → client    refused or about to be closed, with a code
ping / pong           both ways          alive? also measures the round trip
bye                   client → bridge    leaving on purpose: do not wait for the socket
open_session          client → bridge    ask for a client session (goes through the log)
session               bridge → client    its number
request               client → bridge    an app message to be handled exactly once
reply                 bridge → client    its one answer, after commit
message               bridge → client    sent by a handler, after commit
state / change        bridge → client    whole state; then JSON Patches from index to index
resync                client → bridge    send the whole state again
status                bridge → client    who hosts, who succeeds, is there a quorum, head count
node_up / node_update client → bridge    a replica runs in this tab / changed
node_down             client → bridge    it ended; with the request that it was stuck in
directory             bridge → node      every node that is reachable now (for upkeep)
lost                  bridge → node      that node has just gone: a hint, never a verdict
forward               bridge → host      a request with its source, for (epoch, term) only
raft                  node → node        consensus, relayed without being looked into
====================  =================  ====================================================
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

PROTOCOL_VERSION = 1


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of all frames: tagged by ``type``, fields left at their default are not sent."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels: a documented code (or the app's own) and a sentence."""

    code: str
    message: str


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sent a request, as its bridge vouches for it.

    ``client_id`` is one page load, ``device_id`` one browser profile; both are derived from
    secrets that only the sender has, so knowing an id does not let anybody act as it.
    """

    client_id: str
    device_id: str
    presenter: bool = False


# --- joining ------------------------------------------------------------------------------


class Hello(_Frame, tag="hello"):
    version: int
    client_key: str
    """32 hex digits, minted per page load, kept in memory only. The bridge derives the client
    id from it."""
    device_key: str
    """32 hex digits, kept by the browser. The bridge derives the device id."""
    token: str
    """The join token; the presenter token implies it."""
    client: Literal["page", "python"] = "page"
    epoch: int = 0
    state_index: int = 0
    """What the client already holds; 0 asks for the whole state."""
    message_index: int = 0
    """Log index of the last ``message`` handled: newer ones are sent again after a reconnect."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds that a client must keep to (see :mod:`ftweb.limits`)."""

    frame_bytes: int
    payload_bytes: int
    json_depth: int
    json_key_chars: int
    pending_requests: int
    ping_seconds: float
    handler_seconds: float


class Welcome(_Frame, tag="welcome"):
    version: int
    client_id: str
    device_id: str
    presenter: bool
    bridge: str
    """The bridge's node id."""
    name: str
    guid: str
    bundle: str
    """SHA-256 of the app bundle: ``/ftweb/bundle/<bundle>.zip``."""
    runtime: str
    """Where the runtime's files are, ending in ``/``."""
    join_url: str
    """What a phone opens, token included: given to presenters, else empty."""
    local: bool
    """The socket comes from the bridge's own machine."""
    limits: Limits


class Error(_Frame, tag="error"):
    code: str
    message: str
    fatal: bool = True
    """The connection is closed after this frame; reconnecting will not help for ``bad_token``
    and ``version_mismatch``."""


class Ping(_Frame, tag="ping"):
    n: int
    rtt: float = 0.0
    """The sender's last measured round trip in milliseconds."""


class Pong(_Frame, tag="pong"):
    n: int


class Bye(_Frame, tag="bye"):
    """Nothing more will come: treat this client and its node as gone."""


# --- requests -----------------------------------------------------------------------------


class OpenSession(_Frame, tag="open_session"):
    """Sent once per client and repeated until ``session`` comes. Idempotent."""


class Session(_Frame, tag="session"):
    session: int
    """The log index that opened it: never the same twice, so an evicted one cannot reopen."""


class Request(_Frame, tag="request"):
    session: int
    serial: int
    """From 1, monotonic per session. The same serial always gets the same reply."""
    acknowledged: int
    """Every reply up to and including this serial has been received: they may be dropped."""
    payload: Any = None


class Reply(_Frame, tag="reply"):
    serial: int
    payload: Any = None
    error: Failure | None = None


class Message(_Frame, tag="message"):
    index: int
    """Log index that released it; with ``position`` a client drops what it has seen."""
    position: int
    payload: Any = None


# --- state --------------------------------------------------------------------------------


class State(_Frame, tag="state"):
    epoch: int
    index: int
    value: Any = None


class Change(_Frame, tag="change"):
    epoch: int
    after: int
    """Applies to the state as of this index; otherwise the client asks for a resync."""
    index: int
    patch: list[dict[str, Any]]
    """RFC 6902."""


class Resync(_Frame, tag="resync"):
    pass


class Status(_Frame, tag="status"):
    epoch: int
    term: int
    host: str | None
    """Node id of the tab that hosts; None while there is none (also while a bridge leads)."""
    successors: list[str]
    quorum: bool
    participants: int
    """Devices online."""


# --- nodes --------------------------------------------------------------------------------


class NodeUp(_Frame, tag="node_up"):
    node_id: str
    visible: bool


class NodeUpdate(_Frame, tag="node_update"):
    node_id: str
    visible: bool


class RequestId(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str
    session: int
    serial: int


class NodeDown(_Frame, tag="node_down"):
    node_id: str
    reason: Literal["leaving", "stuck", "crashed"]
    request: RequestId | None = None
    """What its handler was running: never to be run again."""


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A reachable node, as its bridge describes it (``ftweb.core.PeerInfo`` on the wire)."""

    node_id: str
    device_id: str
    kind: Literal["tab", "bridge"]
    local: bool
    visible: bool
    since: float
    rtt: float


class Directory(_Frame, tag="directory"):
    nodes: list[NodeInfo]


class Lost(_Frame, tag="lost"):
    node_id: str


class Forward(_Frame, tag="forward"):
    """A request on its way to the host, or (``serial`` 0) the opening of a session."""

    epoch: int
    term: int
    """The bridge's view; a host of another term drops the frame, and the client repeats it."""
    source: Source
    session: int = 0
    serial: int = 0
    acknowledged: int = 0
    payload: Any = None
    refuse: Failure | None = None
    """Do not run the handler: commit this error as the reply (see ``handler_timeout``)."""


class Raft(_Frame, tag="raft"):
    epoch: int
    sender: str
    to: str
    kind: str
    """Which of ``ftweb.core.messages``, in snake case."""
    body: msgspec.Raw
    """The message; only its addressee decodes it."""


type Frame = (
    Hello | Welcome | Error | Ping | Pong | Bye
    | OpenSession | Session | Request | Reply | Message
    | State | Change | Resync | Status
    | NodeUp | NodeUpdate | NodeDown | Directory | Lost | Forward | Raft
)  # fmt: skip
