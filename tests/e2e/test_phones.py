"""Life on phones: hidden, frozen, locked, left and returned to, duplicated, out of memory.

What a system does to a page, done for real: other tabs in front, the browser's own lifecycle
command, SIGSTOP for the whole browser (a locked phone), the back/forward cache, a crashed renderer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Classroom, Tab
from tests.e2e.classroom import classroom as make_classroom
from tests.e2e.ledger import voting

pytestmark = pytest.mark.asyncio(loop_scope="module")

RIGHT_AGAIN = 2.0
"""Seconds within which a page that is looked at again must be right."""

HOURS_MS = 6 * 3600 * 1000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Classroom]:
    async with make_classroom(APPS / "ledger") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def classroom(shared: Classroom) -> AsyncIterator[Classroom]:
    """The class as it was in the beginning; afterwards no page may have complained."""
    await shared.restore()
    yield shared
    assert shared.problems() == []


async def _phone_hosts(classroom: Classroom) -> Tab:
    """The laptop's tab leaves; gives the phone that hosts then, and may be lost as well."""
    await classroom.close_tab(classroom.presenter)
    phone = await classroom.host_tab()
    await classroom.can_lose(1)
    return phone


@contextlib.contextmanager
def _locked(tab: Tab) -> Iterator[None]:
    """The phone is locked: its browser stands still, and nobody is told."""
    pids = tab.device.host.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def _right_again(tab: Tab, since: float, counted: int) -> None:
    """Connected, with a host, the present state, and able to vote, all in time."""
    await tab.until(
        "s.state === 'connected' && s.hostId && s.quorum && connection.state.counted.marker"
        " && connection.state.counted.marker[x] === 1",
        argument=str(counted),
    )
    await _mark(tab, -counted)
    took = time.monotonic() - since
    assert took < RIGHT_AGAIN, f"right again only after {took:.2f} s"


async def _mark(tab: Tab, number: int) -> None:
    """Something that everybody must know of afterwards."""
    sent = await tab.send({"type": "vote", "voter": "marker", "n": number})
    assert sent == {"accepted": True}


async def test_a_hosting_phone_that_is_hidden_hands_over_at_once(classroom: Classroom) -> None:
    hidden = await _phone_hosts(classroom)
    others = [tab for tab in classroom.phone_tabs if tab is not hidden]
    before = (await hidden.status())["nodeId"]
    async with voting(classroom, classroom.phone_tabs):
        # Timed in the pages, on one clock: from the event to the first status with another host.
        await hidden.page.evaluate(
            """() => document.addEventListener("visibilitychange", () => {
                globalThis.hiddenAt = performance.timeOrigin + performance.now();
            }, { once: true })"""
        )
        for tab in others:
            await tab.page.evaluate(
                """before => connection.onStatus(({ hostId }) => {
                    if (hostId !== null && hostId !== before)
                        globalThis.newHostAt ??= performance.timeOrigin + performance.now();
                })""",
                before,
            )
        in_front = await hidden.device.context.new_page()
        host = await classroom.host_tab(besides=[hidden])
        assert host in others
        await hidden.until("!s.hosting && s.hostId")
        hidden_at = await hidden.page.evaluate("hiddenAt")
        new_host_at = await others[0].until("globalThis.newHostAt")
        # Not by an election (1.5 s of silence), nor after a better host has settled (3 s).
        assert new_host_at - hidden_at < 1000
        # Its own votes go on while it is hidden: its workers are not throttled.
        had = await hidden.page.evaluate("votes.acknowledged.length")
        await hidden.until("votes.acknowledged.length > x", argument=had)
    await in_front.close()


async def test_a_frozen_phone_is_right_again_when_it_thaws(classroom: Classroom) -> None:
    frozen = await _phone_hosts(classroom)
    others = [tab for tab in classroom.phone_tabs if tab is not frozen]
    before = await frozen.status()
    await frozen.device.set_lifecycle(frozen.page, "frozen")
    assert await classroom.host_tab(besides=[frozen]) in others
    await _mark(others[0], 1)
    since = time.monotonic()
    await frozen.device.set_lifecycle(frozen.page, "active")
    await _right_again(frozen, since, 1)
    await frozen.until("s.ready && s.nodeId !== x", argument=before["nodeId"])
    assert (await frozen.status())["clientId"] == before["clientId"]


async def test_a_locked_phone_is_replaced_and_right_again_when_it_is_unlocked(
    classroom: Classroom,
) -> None:
    locked = await _phone_hosts(classroom)
    others = [tab for tab in classroom.phone_tabs if tab is not locked]
    everybody = (await others[0].status())["participants"]
    with _locked(locked):
        assert await classroom.host_tab(besides=[locked]) in others
        await _mark(others[0], 2)
        # The bridge has closed its socket: the longest a phone's socket can stay silent.
        await others[0].until("s.participants < x", argument=everybody)
        since = time.monotonic()
    await _right_again(locked, since, 2)


async def test_back_from_the_cache_after_hours_to_a_class_that_has_moved_on(
    classroom: Classroom,
) -> None:
    """The page left for the back/forward cache; hours pass by its clock, the bridge restarts."""
    phone, other = classroom.phone_tabs[:2]
    before = await phone.status()
    (net,) = [worker for worker in phone.page.workers if "net-worker" in worker.url]
    leap = """hours => {
        const real = Date.now.bind(Date), begin = real();
        Date.now = () => real() + (real() > begin + 500 ? hours : 0);
    }"""
    await net.evaluate(leap, HOURS_MS)
    await phone.page.evaluate(leap, HOURS_MS)
    await phone.page.evaluate("globalThis.here = 'still'")
    await phone.page.goto("about:blank")
    await classroom.bridge.stop()
    await classroom.bridge.start()
    await classroom.host_tab(timeout=60)
    await other.until("s.state === 'connected' && s.hostId")
    await _mark(other, 3)
    since = time.monotonic()
    await phone.page.go_back(wait_until="commit")
    await _right_again(phone, since, 3)
    assert await phone.page.evaluate("globalThis.here") == "still", "not from the cache"
    await phone.until("s.ready && s.nodeId !== x", argument=before["nodeId"])
    after = await phone.status()
    assert after["clientId"] == before["clientId"]


async def test_a_duplicated_tab_is_another_client_of_the_same_device(
    classroom: Classroom,
) -> None:
    phone = classroom.phone_tabs[0]
    # Who has come or gone is told a moment later, so that a class that joins is no storm.
    await phone.until("s.participants === x", argument=len(classroom.devices))
    first = await phone.status()
    # As "duplicate tab" does, this copies sessionStorage.
    await phone.page.evaluate("sessionStorage.setItem('copied', 'yes')")
    async with phone.page.expect_popup() as opening:
        await phone.page.evaluate("void window.open(location.href)")
    page = await opening.value
    twin = Tab(phone.device, page)
    await twin.until("s.ready && s.state === 'connected'")
    assert await page.evaluate("sessionStorage.getItem('copied')") == "yes"
    second = await twin.status()
    assert second["nodeId"] != first["nodeId"]
    assert second["clientId"] != first["clientId"]
    assert second["deviceId"] == first["deviceId"]
    assert second["participants"] == first["participants"], "one person"
    # The copied mark of the living tab is no sign of a crash.
    assert await page.evaluate("localStorage.getItem('ftweb.crashes')") is None

    assert await phone.send({"type": "ballot", "choice": "A"}) == {"accepted": True}
    assert await twin.send({"type": "ballot", "choice": "B"}) == {"accepted": True}
    ballots = (await classroom.script())["state"]["ballots"]
    assert ballots == {first["deviceId"]: "B"}, "one voter, one ballot"

    await page.close()
    await phone.until("document.visibilityState === 'visible'")
    after = await phone.status()
    assert (after["nodeId"], after["clientId"]) == (first["nodeId"], first["clientId"])
    assert await phone.send({"type": "ballot", "choice": "C"}) == {"accepted": True}


async def test_two_tabs_of_one_device_host_for_one_another(classroom: Classroom) -> None:
    """The address typed twice: one person, one ballot; who closes one goes on in the other."""
    first = await _phone_hosts(classroom)
    before = await first.status()
    second = Tab(first.device, await first.device.open(classroom.bridge.join_url))
    await second.until("s.ready && s.state === 'connected'")
    twin = await second.status()
    assert twin["deviceId"] == before["deviceId"]
    assert twin["participants"] == before["participants"], "one person"
    assert twin["clientId"] != before["clientId"]
    # The hosting one went to the background, and a phone's tab there may be frozen any moment.
    host = await classroom.host_tab(besides=[first])
    assert host is not first
    earlier = (await classroom.script())["state"]["ballots"]
    assert await first.send({"type": "ballot", "choice": "A"}) == {"accepted": True}
    await classroom.close_tab(first)
    assert await second.send({"type": "ballot", "choice": "B"}) == {"accepted": True}
    ballots = (await classroom.script())["state"]["ballots"]
    assert ballots == earlier | {before["deviceId"]: "B"}
    await second.page.close()


async def test_a_phone_reloaded_during_a_takeover(classroom: Classroom) -> None:
    phones = classroom.phone_tabs
    reloaded = phones[0]
    before = await reloaded.status()
    await classroom.can_lose(2)  # the laptop's tab and the reloaded one, at the same time
    async with voting(classroom, phones, interval=10) as outcome:
        # What this page was told before it went, and what it still had under way.
        await classroom.kill_browser(classroom.presenter)
        told = await reloaded.page.evaluate("votes.report()")
        await reloaded.page.reload(wait_until="domcontentloaded")
        await classroom.host_tab()
        await reloaded.until("s.state === 'connected' && s.hostId && globalThis.votes")
        await reloaded.page.evaluate("votes.start(10)")
        for tab in phones:
            await tab.until("votes.acknowledged.length > 20")
    outcome.demand_exactly_once()
    counted = (await classroom.script())["state"]["counted"]
    mine = counted[told["clientId"]]
    assert all(mine.get(str(number)) == 1 for number, *_ in told["acknowledged"])
    assert set(mine.values()) == {1}
    after = await reloaded.status()
    assert after["clientId"] != before["clientId"]
    assert after["deviceId"] == before["deviceId"]


async def test_a_phone_that_crashes_twice_votes_on_without_a_replica(
    classroom: Classroom,
) -> None:
    phone = classroom.phone_tabs[0]
    for crashes in (1, 2):
        await phone.until("s.ready")
        phone.handle = await phone.device.crash(phone.page)
        await phone.until("s.state === 'connected' && s.hostId")
        assert await phone.send({"type": "vote", "n": crashes}) == {"accepted": True}
    await phone.until("s.error?.code === 'node_failed'")
    await phone.page.reload()
    await phone.until("s.state === 'connected' && s.error?.code === 'node_failed'")
    status = await phone.status()
    assert status["ready"] is False
    assert status["nodeId"] is None
    assert await phone.send({"type": "vote", "n": 3}) == {"accepted": True}
    # An hour later it is tried again.
    await phone.page.evaluate("localStorage.removeItem('ftweb.crashes')")
    await phone.page.reload()
    await phone.until("s.ready")
