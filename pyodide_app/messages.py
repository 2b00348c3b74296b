"""What passes between the net worker (TypeScript, the one with the socket) and this one.

One JSON text each, an object tagged by ``kind``, names in camelCase as TypeScript has them. The
net worker is not trusted more than needed: what comes in is checked like any other input.
Unknown fields are ignored, so that either side may say more than the other knows.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from ftweb import frames


class _Message(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", rename="camel", gc=False
):
    """Base of all messages: tagged by ``kind``."""


# --- from the net worker --------------------------------------------------------------------


class FrameIn(_Message, frozen=True, tag="frame"):
    """A frame of the wire protocol for this node."""

    text: str


class Visible(_Message, frozen=True, tag="visible"):
    """The page was shown or hidden. The bridge hears it from the net worker and the host from
    the bridge's directory, so that one place decides who hosts; here it changes nothing."""

    visible: bool


class Stop(_Message, frozen=True, tag="stop"):
    """The page is leaving: give the lead away, if this node has it, while there is time."""


class Over(_Message, frozen=True, tag="over"):
    """The node's epoch has been replaced: it ends, and hands in what only it may know."""


class Http(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a node needs to answer HTTP through its bridge."""

    url: str
    """The WebSocket for it."""
    client_key: str
    """Of the client behind whose socket this node runs."""
    token: str


class Bridge(_Message, frozen=True, tag="bridge"):
    """The main socket has been opened, perhaps to another bridge."""

    http_url: str


class Linked(_Message, frozen=True, tag="linked"):
    """Whether the net worker has a link to a bridge now."""

    bridge: bool


class WireOpen(_Message, frozen=True, tag="wire_open"):
    """A tab wants to join here, over its data channel (:mod:`pyodide_app.relay`)."""

    link: str
    client_id: frames.Id
    device_id: frames.Id
    presenter: bool


class WireIn(_Message, frozen=True, tag="wire_in"):
    """A frame of its."""

    link: str
    text: str


class WireClosed(_Message, frozen=True, tag="wire_closed"):
    """It is gone, or (``lost`` false) has gone elsewhere."""

    link: str
    lost: bool


class Bridges(_Message, frozen=True, tag="bridges"):
    """Bridges that have been found: those who joined here are sent there."""

    bridges: list[frames.BridgeAddress]


type Incoming = (
    FrameIn | Visible | Stop | Over | Bridge | Linked | WireOpen | WireIn | WireClosed | Bridges
)


class Options(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the net worker says at the start."""

    bundle_url: str
    """Where the app bundle is, absolute or relative to the worker's own address."""
    bundle: str
    """Its SHA-256 in hex digits: what was downloaded must be what the cluster runs."""
    welcome: frames.Welcome
    """What the bridge told: of the server, should this tab have to stand in for a bridge."""
    http: Http | None = None


# --- to the net worker ----------------------------------------------------------------------


class Up(_Message, frozen=True, tag="up"):
    """The app is imported and the node can take part, under the id that it has minted."""

    node_id: str


class FrameOut(_Message, frozen=True, tag="frame"):
    """A frame of the wire protocol, for the socket."""

    text: str


class Status(_Message, frozen=True, tag="status"):
    """The node's view of the cluster has changed."""

    role: Literal["observer", "learner", "follower", "candidate", "leader"]
    epoch: int
    term: int
    leader_id: str | None
    successors: list[str]
    hosting: bool
    quorum: bool
    left: list[frames.Left] = []
    """Where the node left the epochs in which it was before, the latest last."""
    history: Any = None
    """Of a leader: the summary of its lineage, for a bridge that was away."""


class Position(_Message, frozen=True, tag="position"):
    """The end of this node's log (:class:`ftweb.frames.Left`, should the node end). Told before
    others hear that it has got so far: so whoever knows the last one told knows all that this node
    has accepted."""

    left: frames.Left


class Begin(_Message, frozen=True, tag="begin"):
    """A handler starts to run. Posted before it does, and delivered even if it never returns."""

    client_id: str
    session: int
    serial: int


class End(_Message, frozen=True, tag="end"):
    """The handler has come back."""


class Failed(_Message, frozen=True, tag="failed"):
    """This worker is of no more use."""

    stage: Literal["bundle", "app", "node"]
    """Downloading the bundle; importing the app; driving the node."""
    message: str


class WireOut(_Message, frozen=True, tag="wire_out"):
    """A frame for tabs that joined here."""

    links: list[str]
    text: str


class WireClose(_Message, frozen=True, tag="wire_close"):
    """End what a tab has here."""

    link: str
    code: int


class HandedIn(_Message, frozen=True, tag="handed_in"):
    """The node has ended (:class:`Over`), and what it had to hand in was in the frames before."""


type Outgoing = (
    WireOut | WireClose | Up | FrameOut | Status | Position | Begin | End | Failed | HandedIn
)

_ENCODER: Final = msgspec.json.Encoder()
_INCOMING: Final[msgspec.json.Decoder[Incoming]] = msgspec.json.Decoder(Incoming.__value__)
_OPTIONS: Final = msgspec.json.Decoder(Options)


def encode(message: Outgoing) -> str:
    """The text to post."""
    return _ENCODER.encode(message).decode()


def decode(text: str) -> Incoming:
    """What the net worker said.

    Raises:
        msgspec.ValidationError: it is none of :data:`Incoming`: page and worker are not of the
            same build, which the build id in their address is there to prevent.
    """
    return _INCOMING.decode(text)


def decode_options(text: str) -> Options:
    """The options of the start, see :func:`decode`."""
    return _OPTIONS.decode(text)
