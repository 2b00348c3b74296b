"""Firefox and WebKitGTK on the LAN do what the tests of the product ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.lan.device import PHONE
from tests.lan.firefox import FirefoxDevice, find_firefox
from tests.lan.lan import Lan, LanError
from tests.lan.probe import Probe
from tests.lan.webkit import WebKitDevice, find_webkit

pytestmark = [pytest.mark.lan, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

type Other = FirefoxDevice | WebKitDevice


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=[FirefoxDevice, WebKitDevice])
async def phone(lan: Lan, request: pytest.FixtureRequest) -> AsyncIterator[Other]:
    name = {FirefoxDevice: "fox", WebKitDevice: "kit"}[request.param]
    made: Other = request.param(lan.host(name), name, PHONE)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def url(lan: Lan, probe: Probe) -> str:
    """By the laptop's address, as phones load it."""
    return f"http://{lan.host('laptop').address}:8080/"


async def _noted(phone: Other, page: object, count: int) -> list[str]:
    """The problems, once there are so many; forgotten with the asking."""
    assert hasattr(page, "evaluate")
    async with asyncio.timeout(5):
        while len(phone.problems) < count:
            await page.evaluate("0")  # WebKit tells with its answers, Firefox as they come
    found = list(phone.problems)
    phone.problems.clear()
    return found


async def test_pages_are_phone_sized_insecure_origins(
    phone: Other, probe: Probe, url: str, tmp_path: Path
) -> None:
    page = await phone.open(f"{url}#{phone.name}")
    await probe.hears(f"{phone.name} beat")
    seen = await page.evaluate("[isSecureContext, typeof crypto.subtle, innerWidth, innerHeight]")
    assert seen == [False, "undefined", *PHONE]
    assert len(await page.screenshot(path=tmp_path / "page.png")) > 500
    await page.close()
    assert page.is_closed()


async def test_values_functions_promises_and_errors(phone: Other, url: str) -> None:
    page = await phone.open(url)
    assert await page.evaluate("({ a: [1, null], b: undefined })") == {"a": [1, None]}
    assert await page.evaluate("undefined") is None
    assert await page.evaluate("x => x.y + 1", {"y": "'\n</script>"}) == "'\n</script>1"
    assert await page.evaluate("new Promise(done => setTimeout(done, 10, 'late'))") == "late"
    with pytest.raises(RuntimeError, match="planted"):
        await page.evaluate("(() => { throw new Error('planted'); })()")
    await page.evaluate("setTimeout(() => { globalThis.soon = [7]; }, 200)")
    handle = await page.wait_for_function("x => soon.includes(x) && soon", arg=7, **_WAIT)
    assert await handle.json_value() == [7]
    with pytest.raises(TimeoutError):
        await page.wait_for_function("false", timeout=100, polling=10)
    await page.close()


_WAIT = {"timeout": 5000, "polling": 10}


async def test_a_click_waits_until_it_can_be_done(phone: Other, url: str) -> None:
    page = await phone.open(url)
    await page.evaluate("setTimeout(() => document.querySelector('button').disabled = false, 300)")
    await page.click("button")
    assert await page.evaluate("globalThis.pressed") == 1
    await page.close()


async def test_a_closed_tab_says_bye_and_a_reloaded_one_is_heard_to_go(
    phone: Other, probe: Probe, url: str
) -> None:
    page = await phone.open(f"{url}#{phone.name}-leaver")
    await probe.hears(f"{phone.name}-leaver beat")
    await page.evaluate("localStorage.setItem('kept', 1), globalThis.lost = 1")
    await page.reload()
    await probe.hears(f"{phone.name}-leaver closed")  # Firefox closes sockets before "pagehide"
    await probe.hears(f"{phone.name}-leaver beat")
    assert await page.evaluate("[localStorage.getItem('kept'), typeof lost]") == ["1", "undefined"]
    await page.close()
    await probe.hears(f"{phone.name}-leaver bye")
    await probe.hears(f"{phone.name}-leaver closed")


async def test_two_tabs_are_told_apart_and_share_what_is_stored(phone: Other, url: str) -> None:
    one = await phone.open(f"{url}#one")
    two = await phone.open(f"{url}#two")
    await one.evaluate("localStorage.setItem('from', location.hash)")
    assert await two.evaluate("[location.hash, localStorage.getItem('from')]") == ["#two", "#one"]
    assert await one.evaluate("location.hash") == "#one"
    await one.close()
    await two.close()


async def test_going_elsewhere_and_back(phone: Other, probe: Probe, url: str) -> None:
    page = await phone.open(f"{url}#{phone.name}-traveller")
    await probe.hears(f"{phone.name}-traveller beat")
    await page.goto("about:blank")
    await probe.hears(f"{phone.name}-traveller closed")
    assert await page.evaluate("location.href") == "about:blank"
    await page.go_back()
    await page.wait_for_function("location.hash.endsWith('traveller')", **_WAIT)
    await page.close()


async def test_a_hidden_page_knows_it(phone: Other, url: str) -> None:
    page = await phone.open(url)
    assert await page.evaluate("document.visibilityState") == "visible"
    await page.hide()
    await page.wait_for_function("document.visibilityState === 'hidden'", **_WAIT)
    await page.show()
    await page.wait_for_function("document.visibilityState === 'visible'", **_WAIT)
    assert await page.evaluate("innerWidth") in (PHONE[0], 447)
    await page.close()


async def test_page_errors_are_recorded(phone: Other, url: str) -> None:
    page = await phone.open(url)
    await page.evaluate(
        "void setTimeout(() => { throw new Error('planted'); }), console.error('said')"
        ", void Promise.reject(new Error('rejected'))"
    )
    found = await _noted(phone, page, 3)
    for word in ("planted", "said", "rejected"):
        assert any(word in problem for problem in found), found
    await page.close()


async def test_workers_in_workers_run_and_firefox_tells_of_their_errors(
    phone: Other, url: str
) -> None:
    page = await phone.open(url)
    heard = await page.evaluate(
        """() => new Promise(resolve => {
            const outer = new Worker("/worker.js", { type: "module" });
            outer.onmessage = event => resolve(event.data);
        })"""
    )
    assert heard == "inner is up"
    if isinstance(phone, FirefoxDevice):
        found = await _noted(phone, page, 2)
        assert any("planted in a worker" in problem for problem in found)
        assert any("said by a worker" in problem for problem in found)
    await page.close()


async def test_a_killed_browser_closes_its_sockets_and_can_come_back(
    phone: Other, probe: Probe, url: str
) -> None:
    page = await phone.open(f"{url}#{phone.name}-victim")
    await probe.hears(f"{phone.name}-victim beat")
    await page.evaluate("localStorage.setItem('kept', 1)")
    phone.kill()
    await probe.hears(f"{phone.name}-victim closed", timeout=2.0)
    with pytest.raises(RuntimeError, match="is gone"):
        await page.evaluate("0")
    await phone.stop()
    await phone.start()
    await phone.open(f"{url}#{phone.name}-victim")
    await probe.hears(f"{phone.name}-victim beat")


@pytest.mark.parametrize(
    "find, package", [(find_firefox, "firefox"), (find_webkit, "webkit2gtk-driver xvfb")]
)
async def test_without_them_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, find: object, package: str
) -> None:
    assert callable(find)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LanError, match=package):
        find()
