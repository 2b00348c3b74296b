"""A network that passes no multicast on: pages hide their addresses, and nobody finds them by name.

Browsers write ``<uuid>.local`` where the address of a data channel's end should stand, which only
mDNS resolves. The bridge fills the address in, so channels open all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from tests.e2e.classroom import APPS, Classroom
from tests.e2e.ledger import voting
from tests.lan.lan import Lan

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made() -> AsyncIterator[Classroom]:
    with Lan() as lan:
        for name in ("laptop", "phone1", "phone2", "phone3"):
            lan.host(name).block_multicast()  # before any page can have asked for a name
        async with (
            async_playwright() as playwright,
            Classroom(lan, playwright, APPS / "ledger") as made,
        ):
            yield made


DESCRIBE = """async remote => {
    const mine = (globalThis.byHand ??= new RTCPeerConnection());
    if (remote === null) mine.createDataChannel("by hand");
    else await mine.setRemoteDescription(remote);
    await mine.setLocalDescription();
    while (mine.iceGatheringState !== "complete")
        await new Promise(done =>
            mine.addEventListener("icegatheringstatechange", done, { once: true }));
    return mine.localDescription.toJSON();
}"""
"""The description of a peer connection of the test's own, with all its candidates."""

FILL_IN = """async ([address, description]) => {
    for (const line of description.sdp.split("\\r\\n").filter(l => l.startsWith("a=candidate:"))) {
        const candidate = line.slice(2).replace(/[^ ]+\\.local/, address);
        await byHand.addIceCandidate({ candidate, sdpMLineIndex: 0 });
    }
}"""
"""What the bridge does for its pages."""


def _candidates(description: dict[str, Any]) -> list[str]:
    """The addresses that a description offers."""
    lines = description["sdp"].splitlines()
    return [line.split(" ")[4] for line in lines if line.startswith("a=candidate:")]


async def test_channels_open_where_no_name_can_be_resolved_and_carry_votes_without_a_bridge(
    made: Classroom,
) -> None:
    """Two pages connected by the test, by the very names that they offer, tell of the network."""
    one, other, _ = made.phone_tabs
    offer = await one.evaluate(DESCRIBE, None)
    answer = await other.evaluate(DESCRIBE, offer)
    for description in (offer, answer):
        assert _candidates(description)
        assert all(name.endswith(".local") for name in _candidates(description))
    await one.evaluate("answer => byHand.setRemoteDescription(answer)", answer)

    await asyncio.gather(*(tab.until("s.channels === 3") for tab in made.tabs.values()))
    async with voting(made, made.phone_tabs, interval=100, reader=one) as outcome:
        for tab in made.phone_tabs:
            await tab.until("votes.acknowledged.length >= 10")
        made.bridge.kill()
        gone = await made.kill_browser(made.presenter)
        for tab in made.phone_tabs:
            await tab.until("s.state === 'no-bridge' && s.quorum && s.participants === 3")
            await tab.until("votes.acknowledged.some(([, sent]) => sent > x)", argument=gone + 2000)
    outcome.demand_exactly_once()

    assert await one.evaluate("byHand.iceConnectionState") in ("new", "checking")
    # Its names were all that it lacked.
    await one.evaluate(FILL_IN, [other.holder.host.address, answer])
    await one.until("byHand.iceConnectionState === 'connected'")
    assert made.problems() == []
