"""How two bridges prove to one another that they belong to the same server.

::

    asking bridge                                answering bridge
      link_hello (its id, nonce) ───────────────▶
                 ◀─────────────── link_challenge (its id, nonce, proof)
      link_proof (proof) ───────────────────────▶
                 ◀─────────────── link_welcome (name, guid, join token, bundle)

Rules:

1. A proof is an HMAC under the presenter token over everything that both have said: ids, starts,
   nonces, the role of who proves. The token itself is never sent, no proof is good for another
   link, and none can be sent back to its maker.
2. Who is asked proves first: a bridge tells nothing to whoever merely claims its peer's address,
   and gets no further with a false one than a nonce.
3. A bridge does not link with itself, nor with another that has its id (a copied data directory),
   nor with one of another server or another version of the protocol.

Sans-I/O: frames in, frames out; :class:`~ftweb.errors.FrameError` where it ends.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from ftweb import frames
from ftweb.errors import FrameError


@dataclass(frozen=True, kw_only=True, slots=True)
class Me:
    """What a bridge says of itself to another."""

    bridge: str
    """Its own id."""
    start: int
    """When it started, in milliseconds since 1970."""
    nonce: str
    """32 fresh random hex digits for this link."""
    presenter_token: str = field(repr=False)
    guid: str = ""
    """Of its server; empty for a newcomer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """The bridge at the other end, proven."""

    bridge: str
    start: int
    initiator: str
    """Id of the bridge that opened the link."""


class Asking:
    """The side that opened the link."""

    def __init__(self, me: Me) -> None:
        self._me = me
        self.hello = frames.LinkHello(
            version=frames.PROTOCOL_VERSION,
            bridge=me.bridge,
            start=me.start,
            nonce=me.nonce,
            guid=me.guid,
        )

    def challenged(self, challenge: frames.LinkChallenge) -> tuple[frames.LinkProof, Peer]:
        """The other one has answered.

        Raises:
            FrameError: ``bad_token``, ``version_mismatch`` or ``same_bridge``.
        """
        _check(self._me, challenge.version, challenge.bridge)
        token = self._me.presenter_token
        expected = _proof(token, "answers", self.hello, challenge)
        if not hmac.compare_digest(expected, challenge.proof):
            raise FrameError(
                "The bridge there does not know this presenter token: it belongs to another"
                " server, or the token was mistyped. Copy the command that the first bridge"
                " printed.",
                code="bad_token",
            )
        peer = Peer(bridge=challenge.bridge, start=challenge.start, initiator=self._me.bridge)
        return frames.LinkProof(proof=_proof(token, "asks", self.hello, challenge)), peer


class Answering:
    """The side that was asked."""

    def __init__(self, me: Me) -> None:
        self._me = me
        self._hello: frames.LinkHello | None = None
        self._challenge: frames.LinkChallenge | None = None

    def asked(self, hello: frames.LinkHello) -> frames.LinkChallenge:
        """The first frame has come.

        Raises:
            FrameError: ``version_mismatch``, ``same_bridge``, ``other_server``.
        """
        me = self._me
        _check(me, hello.version, hello.bridge)
        if hello.guid and hello.guid != me.guid:
            raise FrameError(
                "This bridge belongs to another server. Give the other bridge a data directory"
                " of its own (--data) to let it join this one.",
                code="other_server",
            )
        unproven = frames.LinkChallenge(
            version=frames.PROTOCOL_VERSION,
            bridge=me.bridge,
            start=me.start,
            nonce=me.nonce,
            proof="0" * 64,
        )
        self._hello = hello
        self._challenge = frames.LinkChallenge(
            version=frames.PROTOCOL_VERSION,
            bridge=me.bridge,
            start=me.start,
            nonce=me.nonce,
            proof=_proof(me.presenter_token, "answers", hello, unproven),
        )
        return self._challenge

    def proved(self, proof: frames.LinkProof) -> Peer:
        """The other one has proved itself, or not.

        Raises:
            FrameError: ``bad_token``.
        """
        hello, challenge = self._hello, self._challenge
        assert hello is not None, "a challenge was sent"
        assert challenge is not None
        expected = _proof(self._me.presenter_token, "asks", hello, challenge)
        if not hmac.compare_digest(expected, proof.proof):
            raise FrameError("The proof of the presenter token is wrong.", code="bad_token")
        return Peer(bridge=hello.bridge, start=hello.start, initiator=hello.bridge)


def _check(me: Me, version: int, bridge: str) -> None:
    if version != frames.PROTOCOL_VERSION:
        raise FrameError(
            f"The two bridges speak different versions of the protocol ({version} and"
            f" {frames.PROTOCOL_VERSION}): use the same release of ftweb on both laptops.",
            code="version_mismatch",
        )
    if bridge == me.bridge:
        raise FrameError(
            "That is this bridge itself, or one with a copy of its data directory. Give each"
            " bridge a data directory of its own (--data).",
            code="same_bridge",
        )


def _proof(token: str, role: str, hello: frames.LinkHello, challenge: frames.LinkChallenge) -> str:
    said = (
        "ftweb link",
        role,
        hello.bridge,
        str(hello.start),
        hello.nonce,
        hello.guid,
        challenge.bridge,
        str(challenge.start),
        challenge.nonce,
    )
    return hmac.new(token.encode(), "\0".join(said).encode(), hashlib.sha256).hexdigest()
