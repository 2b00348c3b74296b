"""The voting app's pages in Firefox and WebKitGTK: what people there see and press."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.classroom import VOTING, Classroom, MakeDevice, Tab
from tests.e2e.classroom import classroom as make_classroom
from tests.lan.device import PHONE
from tests.lan.firefox import FirefoxDevice
from tests.lan.webkit import WebKitDevice

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def classroom() -> AsyncIterator[Classroom]:
    others: dict[str, MakeDevice] = {"firefox": FirefoxDevice, "webkit": WebKitDevice}
    async with make_classroom(VOTING, phones=0, others=others) as made:
        yield made
        for tab in made.tabs.values():
            await tab.evaluate("0")  # WebKit tells what went wrong only when it is asked something
        assert made.problems() == []


def option(option_id: str) -> str:
    return f'[data-testid="option"][data-option-id="{option_id}"]'


async def shows(tab: Tab, test_id: str, words: str) -> None:
    """That element is there, with these words in it."""
    script = """([id, words]) =>
        document.querySelector(`[data-testid="${id}"]`)?.textContent.includes(words)"""
    await tab.handle.wait_for_function(script, arg=[test_id, words], timeout=15_000, polling=25)


async def fits(tab: Tab, picture: Path) -> None:
    """Nothing scrolls sideways or sticks out; the picture is for whoever wants to look."""
    wide, width, out = await tab.evaluate(
        """async () => {
            const ending = one => Number.isFinite(one.effect.getComputedTiming().endTime);
            await Promise.all(document.getAnimations().filter(ending).map(one => one.finished));
            const { scrollWidth, clientWidth } = document.documentElement;
            const out = [...document.querySelectorAll("body *")].filter(one => {
                const box = one.getBoundingClientRect();
                return box.width > 1 && (box.left < -1 || box.right > clientWidth + 1);
            });
            return [scrollWidth - clientWidth, innerWidth, out.map(one => one.outerHTML)];
        }"""
    )
    assert (wide, width, out) == (0, PHONE[0], [])
    assert len(await tab.handle.screenshot(path=picture)) > 5_000


async def test_voting_by_touch_across_a_takeover_and_a_reload(
    classroom: Classroom, tmp_path: Path
) -> None:
    presenter = classroom.presenter
    phones = [classroom.tabs[device.name] for device in classroom.others]
    for tab in phones:
        await fits(tab, tmp_path / f"{tab.holder.name}-waiting.png")

    long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen"
    await presenter.get("new-question").fill(f"Which planet has the most moons? {long}")
    await presenter.page.locator('[data-testid="kind"][data-kind="single"]').click()
    for number, words in enumerate(["Mars", "Saturn", long]):
        await presenter.get("new-option").nth(number).fill(words)
    await presenter.get("create-poll").click()

    firefox, webkit = phones
    await firefox.handle.click(option("1"))
    await webkit.handle.click(option("0"))
    await shows(firefox, "my-vote", "Saturn")
    await shows(webkit, "my-vote", "Mars")
    for tab in phones:
        await fits(tab, tmp_path / f"{tab.holder.name}-voted.png")
    await presenter.get("show-results").click()
    await expect(presenter.tally("1", 1)).to_be_visible()
    for tab in phones:
        await shows(tab, "tally", "1")
        await fits(tab, tmp_path / f"{tab.holder.name}-results.png")

    await classroom.kill_browser(presenter)
    await webkit.handle.click(option("1"))  # sent into the gap
    await shows(webkit, "my-vote", "Saturn")
    host = await classroom.host_tab()
    (other,) = (tab for tab in phones if tab is not host)

    await host.handle.reload()  # now the host leaves, and comes back as somebody else
    await other.handle.click(option("2"))
    await shows(other, "my-vote", long)
    await shows(host, "my-vote", "Saturn")
    (poll,) = (await classroom.script())["state"]["polls"].values()
    devices = [(await tab.status())["deviceId"] for tab in (host, other)]
    assert poll["ballots"] == dict(zip(devices, ["1", "2"], strict=True))
