"""Who may link with whom, and that nothing said on one link is good for another."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
import pytest

from ftweb import frames
from ftweb.errors import CODES, FrameError
from ftweb.relay.handshake import Answering, Asking, Me

GUID = "f" * 32


def me(bridge: str, **changes: Any) -> Me:
    fields: dict[str, Any] = {
        "bridge": bridge,
        "start": 1,
        "nonce": secrets.token_hex(16),
        "presenter_token": "the presenter's token",
        "guid": GUID,
    }
    return Me(**(fields | changes))


def test_two_bridges_of_one_server_prove_themselves() -> None:
    asking, answering = Asking(me("b", guid="")), Answering(me("a", start=7))
    challenge = answering.asked(asking.hello)
    proof, there = asking.challenged(challenge)
    here = answering.proved(proof)
    assert (there.bridge, there.start, there.initiator) == ("a", 7, "b")
    assert (here.bridge, here.start, here.initiator) == ("b", 1, "b")


def refusal(asked: Me, answered: Me) -> str:
    asking, answering = Asking(asked), Answering(answered)

    def shake_hands() -> None:
        proof, _ = asking.challenged(answering.asked(asking.hello))
        answering.proved(proof)

    with pytest.raises(FrameError) as refused:
        shake_hands()
    assert refused.value.code in CODES
    return refused.value.code


def test_whoever_lacks_the_token_is_found_out_on_both_sides() -> None:
    assert refusal(me("b", presenter_token="another"), me("a")) == "bad_token"
    # The asked side finds out by itself, should the other not mind.
    asking, answering = Asking(me("b", presenter_token="another")), Answering(me("a"))
    answering.asked(asking.hello)
    with pytest.raises(FrameError, match="proof"):
        answering.proved(frames.LinkProof(proof="0" * 64))


def test_other_servers_and_copies_are_refused() -> None:
    assert refusal(me("b", guid="e" * 32), me("a")) == "other_server"
    assert refusal(me("a"), me("a")) == "same_bridge"


def test_other_versions_are_refused() -> None:
    asking, answering = Asking(me("b")), Answering(me("a"))
    with pytest.raises(FrameError) as refused:
        answering.asked(msgspec.structs.replace(asking.hello, version=99))
    assert refused.value.code == "version_mismatch"


def test_a_proof_is_good_for_one_link_only() -> None:
    asking, answering = Asking(me("b")), Answering(me("a"))
    proof, _ = asking.challenged(answering.asked(asking.hello))
    again = Answering(me("a"))
    again.asked(asking.hello)  # the same hello, recorded and sent again
    with pytest.raises(FrameError, match="proof"):
        again.proved(proof)


def test_a_bridge_cannot_be_made_to_prove_for_somebody_else() -> None:
    # Mallory asks with what the bridge that it wants to deceive said, and passes the proof on.
    victim = Asking(me("b"))
    bridge = Answering(me("a"))
    challenge = bridge.asked(victim.hello)
    assert victim.challenged(challenge)[1].bridge == "a", "the real one"
    for changed in ({"bridge": "m"}, {"start": 2}, {"nonce": "0" * 32}):
        with pytest.raises(FrameError) as refused:
            victim.challenged(msgspec.structs.replace(challenge, **changed))
        assert refused.value.code == "bad_token"
    # And what the answering side proved is no proof of an asking one.
    with pytest.raises(FrameError):
        bridge.proved(frames.LinkProof(proof=challenge.proof))
