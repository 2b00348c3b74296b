"""Browsers on the LAN: insecure origins, kills, closed and frozen tabs, with a page of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from tests.lan.browsers import LAPTOP, PHONE, Device
from tests.lan.lan import Lan
from tests.lan.probe import Probe

pytestmark = [pytest.mark.lan, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def devices(lan: Lan) -> AsyncIterator[tuple[Device, Device]]:
    async with async_playwright() as playwright:
        laptop = Device(lan.host("laptop"), "laptop", LAPTOP)
        phone = Device(lan.host("phone1"), "phone1", PHONE)
        await asyncio.gather(laptop.start(playwright), phone.start(playwright))
        yield laptop, phone
        await asyncio.gather(laptop.stop(), phone.stop())


async def test_the_lan_address_is_an_insecure_origin_and_localhost_is_not(
    devices: tuple[Device, Device], probe: Probe
) -> None:
    laptop, phone = devices
    near = await laptop.open("http://localhost:8080/#near")
    far = await phone.open(f"http://{laptop.host.address}:8080/#far")
    assert await near.evaluate("[isSecureContext, typeof crypto.subtle]") == [True, "object"]
    assert await far.evaluate("[isSecureContext, typeof crypto.subtle]") == [False, "undefined"]
    assert await far.evaluate("innerWidth") == 360
    await probe.hears("near beat")
    await probe.hears("far beat")
    await near.close()
    await far.close()


async def test_a_closed_tab_says_bye(devices: tuple[Device, Device], probe: Probe) -> None:
    _, phone = devices
    page = await phone.open(f"http://{devices[0].host.address}:8080/#leaver")
    await probe.hears("leaver beat")
    await page.close()
    await probe.hears("leaver bye")
    await probe.hears("leaver closed")


async def test_a_frozen_tab_falls_silent_and_a_thawed_one_speaks_again(
    devices: tuple[Device, Device], probe: Probe
) -> None:
    laptop, _ = devices
    page = await laptop.open("http://localhost:8080/#ice")
    await probe.hears("ice beat")
    await laptop.set_lifecycle(page, "frozen")
    # Evaluating would thaw nothing but wait for ever: that it does not answer is the proof.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await page.evaluate("new Promise(done => setTimeout(done, 10))")
    await laptop.set_lifecycle(page, "active")
    await page.evaluate("new Promise(done => setTimeout(done, 10))")
    await page.close()
    # The browser logs that it closed the socket of the frozen page: the one message that tests of
    # the product allow, and only for the product's socket.
    (problem,) = laptop.problems
    assert "/socket?ice' failed: Page entered Back-Forward Cache" in problem
    laptop.problems.clear()


async def test_page_errors_are_recorded(devices: tuple[Device, Device], probe: Probe) -> None:
    laptop, _ = devices
    page = await laptop.open("http://localhost:8080/#bad")
    await page.evaluate("setTimeout(() => { throw new Error('planted'); }); console.error('also')")
    async with asyncio.timeout(5):
        while len(laptop.problems) < 2:
            await page.evaluate("0")  # a round trip; Playwright tells of errors as they come
    assert any("planted" in problem for problem in laptop.problems)
    assert any("also" in problem for problem in laptop.problems)
    laptop.problems.clear()
    await page.close()


async def test_errors_in_a_workers_worker_are_recorded_too(
    devices: tuple[Device, Device], probe: Probe
) -> None:
    _, phone = devices
    page = await phone.open(f"http://{devices[0].host.address}:8080/#nest")
    heard = await page.evaluate(
        """() => new Promise(resolve => {
            const outer = new Worker("/worker.js", { type: "module" });
            outer.onmessage = event => resolve(event.data);
        })"""
    )
    assert heard == "inner is up"
    async with asyncio.timeout(5):
        for words in ("planted in a worker", "said by a worker"):
            while not any(words in problem for problem in phone.problems):
                await page.evaluate("0")
    phone.problems.clear()
    await page.close()


async def test_a_killed_browser_closes_its_sockets_and_can_come_back_as_the_same_device(
    devices: tuple[Device, Device], probe: Probe
) -> None:
    _, phone = devices
    url = f"http://{devices[0].host.address}:8080/#victim"
    await phone.open(url)
    await probe.hears("victim beat")
    phone.kill()
    await probe.hears("victim closed", timeout=2.0)
    await phone.stop()
    async with async_playwright() as playwright:
        await phone.start(playwright)
        await phone.open(url)
        await probe.hears("victim beat")
        await phone.stop()
