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
outcome               bridge → client    a provisional answer turned out otherwise
message               bridge → client    sent by a handler, after commit
state / change        bridge → client    whole state; then JSON Patches from index to index
resync                client → bridge    send the whole state again
status                bridge → client    who hosts, who succeeds, is there a quorum, head count
node_up / node_update client → bridge    a replica runs in this tab / changed
node_down             client → bridge    it ended; with the request that it was stuck in
directory             bridge → node      every node that is reachable now (for upkeep)
lost                  bridge → node      that node has just gone: a hint, never a verdict
enter                 bridge → node      which epoch is the present one here: leave a lower one
recall                bridge → node      what else did the epoch have that you have left?
recalled              node → bridge      the requests in it that the bridge does not have
forward               bridge → host      a request with its source, for (epoch, term) only
raft                  node → node        consensus, relayed without being looked into
signal                client → client    half of what opens a data channel between two tabs
link_hello            bridge → bridge    link up: who asks, and a nonce to be proved against
link_challenge        bridge → bridge    the other nonce, and the proof of the one asked
link_proof            bridge → bridge    the proof of the one who asked
link_welcome          bridge → bridge    linked: what a newcomer has to know of the server
link_state            bridge → bridges   which nodes and clients are behind that bridge
routed                bridge → bridge    a frame for a node or bridge further on
====================  =================  ====================================================
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from ftweb.limits import ID_CHARS, SIGNAL_CHARS
from ftweb.wire_types import DURATION_MOST as DURATION_MOST
from ftweb.wire_types import Count as Count
from ftweb.wire_types import Duration as Duration
from ftweb.wire_types import Failure as Failure
from ftweb.wire_types import Id as Id
from ftweb.wire_types import Left as Left
from ftweb.wire_types import LeftEpochs as LeftEpochs
from ftweb.wire_types import Proof, Url
from ftweb.wire_types import Secret as Secret
from ftweb.wire_types import Source as Source

PROTOCOL_VERSION: Final = 1


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of all frames: tagged by ``type``, fields left at their default are not sent."""


# --- joining ------------------------------------------------------------------------------
class Hello(_Frame, frozen=True, tag="hello"):
    version: Count
    client_key: Secret
    """32 hex digits, minted per page load, kept in memory only. The bridge derives the client
    id from it."""
    device_key: Secret
    """32 hex digits, kept by the browser. The bridge derives the device id."""
    token: Annotated[str, msgspec.Meta(max_length=ID_CHARS)]
    """The join token; the presenter token implies it."""
    client: Literal["page", "python"] = "page"
    epoch: Count = 0
    state_index: Count = 0
    """What the client already holds; 0 asks for the whole state."""
    message_index: Count = 0
    """Log index of the last ``message`` handled: newer ones are sent again after a reconnect."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds that a client must keep to (see :mod:`ftweb.limits`)."""

    frame_bytes: Count
    payload_bytes: Count
    json_depth: Count
    json_key_chars: Count
    pending_requests: Count
    ping_seconds: float
    handler_seconds: float


class Welcome(_Frame, frozen=True, tag="welcome"):
    version: Count
    client_id: Id
    device_id: Id
    presenter: bool
    bridge: Id
    """The bridge's node id."""
    name: str
    guid: Id
    bundle: str
    """SHA-256 of the app bundle: ``/ftweb/bundle/<bundle>.zip``."""
    runtime: str
    """Where the runtime's files are, ending in ``/``."""
    join_url: str
    """What a phone opens, token included: given to presenters, else empty."""
    local: bool
    """The socket comes from the bridge's own machine."""
    limits: Limits


class Error(_Frame, frozen=True, tag="error"):
    code: str
    message: str
    fatal: bool = True
    """The connection is closed after this frame; reconnecting will not help for ``bad_token``
    and ``version_mismatch``."""


class Ping(_Frame, frozen=True, tag="ping"):
    n: Count
    rtt: Duration = 0.0
    """The sender's last measured round trip in milliseconds."""


class Pong(_Frame, frozen=True, tag="pong"):
    n: Count


class Bye(_Frame, frozen=True, tag="bye"):
    """Nothing more will come: treat this client and its node as gone."""


# --- requests -----------------------------------------------------------------------------
class OpenSession(_Frame, frozen=True, tag="open_session"):
    """Sent once per client and repeated until ``session`` comes. Idempotent."""


class Session(_Frame, frozen=True, tag="session"):
    session: Count
    """The log index that opened it: never the same twice, so an evicted one cannot reopen."""


class Request(_Frame, frozen=True, tag="request"):
    session: Count
    serial: Count
    """From 1, monotonic per client. The same serial always gets the same reply."""
    acknowledged: Count
    """Every reply up to and including this serial has been received: they may be dropped."""
    payload: Any = None


class Reply(_Frame, frozen=True, tag="reply"):
    serial: Count
    payload: Any = None
    error: Failure | None = None
    provisional: bool = False
    """Given while others of the group could not be heard, who may have decided otherwise: it can
    still change (``outcome``)."""


class Outcome(_Frame, frozen=True, tag="outcome"):
    """What became of a request whose provisional reply was another."""

    index: Count
    """Log index that released it: a client drops one that it has seen."""
    serial: Count
    payload: Any = None
    error: Failure | None = None


class Message(_Frame, frozen=True, tag="message"):
    index: Count
    """Log index that released it; with ``position`` a client drops what it has seen."""
    position: Count
    payload: Any = None


# --- state --------------------------------------------------------------------------------
class State(_Frame, frozen=True, tag="state"):
    epoch: Count
    index: Count
    value: Any = None


class Change(_Frame, frozen=True, tag="change"):
    epoch: Count
    after: Count
    """Applies to the state as of this index; otherwise the client asks for a resync."""
    index: Count
    patch: list[dict[str, Any]]
    """RFC 6902."""


class Resync(_Frame, frozen=True, tag="resync"):
    pass


class BridgeAddress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bridge that pages may connect to."""

    node_id: Id
    urls: list[Url]
    """Origins, ``http://ADDRESS:PORT``, best first."""
    clients: Count = 0
    """How many are connected to it: whoever must move chooses the one with fewest."""


class Status(_Frame, frozen=True, tag="status"):
    epoch: Count
    term: Count
    host: Id | None
    """Node id of the tab that hosts; None while there is none (also while a bridge leads)."""
    successors: list[Id]
    quorum: bool
    participants: Count
    """Devices online, at all bridges together."""
    bridges: list[BridgeAddress] = []
    """All bridges of the group that can be reached now, the telling one included."""
    provisional: bool = False
    """This epoch began while others could not be heard: replies may still change."""


# --- nodes --------------------------------------------------------------------------------
class Leads(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node's own word that it leads."""

    epoch: Count
    term: Count
    history: Any = None
    """A summary of its lineage (the meeting of two epochs)."""


class NodeUp(_Frame, frozen=True, tag="node_up"):
    node_id: Id
    visible: bool
    epoch: Count = 0
    """In which it is; 0 for none yet."""
    leads: Leads | None = None
    """A bridge that does not take part (yet) hears nothing of a leader, and the leader nothing of
    the bridge: so this is said, and the leader gets the directory."""
    left: LeftEpochs = []
    """Where it was before, the latest last."""


class NodeUpdate(_Frame, frozen=True, tag="node_update"):
    node_id: Id
    visible: bool
    epoch: Count = 0
    leads: Leads | None = None
    left: LeftEpochs = []


class RequestId(msgspec.Struct, frozen=True, kw_only=True):
    client_id: Id
    session: Count
    serial: Count


class NodeDown(_Frame, frozen=True, tag="node_down"):
    node_id: Id
    reason: Literal["leaving", "stuck", "crashed"]
    request: RequestId | None = None
    """What its handler was running: never to be run again."""
    left: LeftEpochs = []


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reachable node, as its bridge describes it (``ftweb.core.PeerInfo`` on the wire)."""

    node_id: Id
    device_id: Id
    kind: Literal["tab", "bridge"]
    local: bool
    visible: bool
    since: Duration
    rtt: Duration
    bridge: Annotated[str, msgspec.Meta(max_length=ID_CHARS)] = ""
    """Of a bridge's node: the bridge's own id, which stays the same over restarts."""
    client: Annotated[str, msgspec.Meta(max_length=ID_CHARS)] = ""
    """Of a tab's: the client behind whose socket it runs. Only that one may take it elsewhere."""
    replaying: bool = False
    """That bridge still repeats requests of an epoch that it has given up."""


class Directory(_Frame, frozen=True, tag="directory"):
    nodes: list[NodeInfo]
    epoch: Count = 0
    """Of the bridge that tells it: in another one, other bridges are there."""
    left: list[Left] = []
    """Nodes that were not heard of when the epoch began, as far as they have been since."""


class Lost(_Frame, frozen=True, tag="lost"):
    node_id: Id


class Enter(_Frame, frozen=True, tag="enter"):
    """Which epoch is the present one at this bridge. A node of a lower one leaves that for good and
    says so (``left``); what the leader sends it comes later, or never if it is not needed."""

    epoch: Count


class Recall(_Frame, frozen=True, tag="recall"):
    """To a node that has left an epoch later than the telling bridge did: what else was there?"""

    epoch: Count
    term: Count
    index: Count
    """The last entry of that epoch's log that the bridge has; 0: the epoch is none of its
    ancestors, and all that it has had since it left those is missing."""


class Recalled(_Frame, frozen=True, tag="recalled"):
    """The answer, in pieces; or, unasked, what a node hands in when it ends (``left``)."""

    epoch: Count
    items: list[Any]
    """Requests of later entries, in the log's order (:class:`ftweb.app.lineage.Replayable`)."""
    last: bool
    """There is no further piece."""
    whole: bool = False
    """Nothing is missing: whoever came later had a snapshot instead of the entries before."""
    left: Left | None = None
    """In the first piece of what is handed in: where the node was in the epoch that it ends in."""


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client was told in an epoch that was given up."""

    payload: Any = None
    error: Failure | None = None


class Forward(_Frame, frozen=True, tag="forward"):
    """A request on its way to the host, or (``serial`` 0) the opening of a session."""

    epoch: Count
    term: Count
    """The bridge's view; a host of another term drops the frame, and the client repeats it."""
    source: Source
    session: Count = 0
    serial: Count = 0
    acknowledged: Count = 0
    payload: Any = None
    refuse: Failure | None = None
    """Do not run the handler: commit this error as the reply (see ``handler_timeout``)."""
    replay: Told | None = None
    """A request of another epoch, repeated here since that one ended: with what was answered."""


class Raft(_Frame, frozen=True, tag="raft"):
    epoch: Count
    sender: Id
    to: Id
    kind: Annotated[str, msgspec.Meta(max_length=32)]
    """Which of ``ftweb.core.messages``, in snake case."""
    body: msgspec.Raw
    """The message; only its addressee decodes it."""


class Signal(_Frame, frozen=True, tag="signal"):
    """One half of opening a data channel between two tabs, passed on by the relay.

    The relay vouches for who sent it, and adds the addresses from which it sees the sender to the
    candidates in the description: browsers hide them behind names that only multicast resolves.
    """

    to: Id
    """A node id in an offer; in its answer the client id of who offered."""
    link: Id
    """Names the attempt; minted by who offers."""
    kind: Literal["offer", "answer", "refuse"]
    sdp: Annotated[str, msgspec.Meta(max_length=SIGNAL_CHARS)] = ""
    """The session description with all its candidates."""
    source: Source | None = None
    """Who sent it. Filled in by the relay, whatever the sender says."""
    node_id: Id | None = None
    """The node in the sender's tab; filled in by the relay."""


# --- links between bridges ----------------------------------------------------------------
class LinkHello(_Frame, frozen=True, tag="link_hello"):
    """The first frame on ``/ftweb/link``, of the bridge that opened it."""

    version: Count
    bridge: Id
    """The bridge's own id: random, kept in its data directory, the same after a restart."""
    start: Count
    """When its process began, in milliseconds since 1970: a later start replaces an earlier one."""
    nonce: Secret
    guid: str
    """The server that it belongs to; empty for a newcomer that knows the presenter token only."""


class LinkChallenge(_Frame, frozen=True, tag="link_challenge"):
    """The answer to ``link_hello``: the bridge that was asked proves itself first."""

    version: Count
    bridge: Id
    start: Count
    nonce: Secret
    proof: Proof


class LinkProof(_Frame, frozen=True, tag="link_proof"):
    """The bridge that asked proves itself. The presenter token itself is never sent."""

    proof: Proof


class LinkWelcome(_Frame, frozen=True, tag="link_welcome"):
    """The link is up; both go on with their ``link_state``."""

    guid: Id
    name: str
    join_token: str
    bundle: str
    """SHA-256 of the app bundle, to be fetched over HTTP from the same address."""
    presenter_page: str
    """Where the presenter's page is: ``/presenter.html`` or ``/``."""
    on_quorum_loss: Literal["wait", "continue"] = "wait"
    serves_http: bool = False
    """The app answers HTTP, not only messages."""
    epoch: Count = 0


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge that is linked directly."""

    bridge: Id
    rtt: Duration


class LinkState(_Frame, frozen=True, tag="link_state"):
    """What one bridge tells all others; passed on by each, once. The latest counts."""

    bridge: Id
    start: Count
    seq: Count
    """Of this start; higher is later."""
    node_id: Id
    """Of the bridge's own node, now."""
    epoch: Count
    now: Duration
    """The teller's clock, to which the ``since`` of its nodes refers."""
    neighbours: list[Neighbour]
    nodes: list[NodeInfo]
    """Its own node first, then the best of those behind its sockets."""
    urls: list[Url]
    """Origins at which pages reach it, best first."""
    clients: Count = 0
    devices: list[Annotated[str, msgspec.Meta(max_length=16)]] = []
    """The beginnings of the ids of the devices at it: to count each once."""
    history: Any = None
    """A summary of its lineage (the meeting of two epochs)."""
    left: list[Left] = []
    """See ``directory``."""


class Routed(_Frame, frozen=True, tag="routed"):
    to: Id
    """A node, or a bridge by its own id."""
    hops: Count
    """Links that it has passed."""
    frame: msgspec.Raw
    """The frame itself; only the last bridge decodes it."""


type Frame = (
    Hello | Welcome | Error | Ping | Pong | Bye
    | OpenSession | Session | Request | Reply | Outcome | Message
    | State | Change | Resync | Status
    | NodeUp | NodeUpdate | NodeDown | Directory | Lost | Enter | Recall | Recalled
    | Forward | Raft | Signal
    | LinkHello | LinkChallenge | LinkProof | LinkWelcome | LinkState | Routed
)  # fmt: skip
