"""Makes docs/images/states: the voting pages in each state that a person can see.

    python -m tests.e2e.screenshots [STATE ...]

Every state is brought about for real, on the namespace LAN: nothing is faked in the page. Phone and
projector, each in the light and the dark scheme.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from tests.e2e.classroom import ROOT, Classroom, FurtherBridge, Tab, classroom

SIZES = {"phone": (390, 844), "projector": (1920, 1080)}
"""What most phones of today have, and what projectors show."""

IMAGES = ROOT / "docs" / "images" / "states"

QUESTION = "Why does a heavier pendulum swing no faster?"
PHONES = ("phone1", "phone2", "phone3")
SEEN = ("laptop", "phone1")
OPTIONS = ["Air holds it back", "Weight cancels out", "The string stretches"]


async def shoot(state: str, *tabs: Tab) -> None:
    """Each tab in both schemes, at once: some states last for two seconds only."""

    async def one(tab: Tab) -> None:
        kind = "projector" if tab.holder.name == "laptop" else "phone"
        width, height = SIZES[kind]
        await tab.page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            path = IMAGES / f"{state}-{kind}-{scheme}.png"
            await tab.page.screenshot(path=path, animations="disabled")
        seen = (await tab.status())["state"]
        assert seen == state, f"{kind}: {seen} after the pictures, not {state}"

    await asyncio.gather(*(one(tab) for tab in tabs))


async def begin(made: Classroom) -> None:
    """A question with three votes."""
    presenter = made.presenter
    if await presenter.get("poll-question").count():
        return
    await presenter.get("new-question").fill(QUESTION)
    for number, option in enumerate(OPTIONS):
        if number >= await presenter.get("new-option").count():
            await presenter.get("add-option").click()
        await presenter.get("new-option").nth(number).fill(option)
    await presenter.get("create-poll").click()
    for tab, choice in zip(made.phone_tabs, ("1", "1", "0"), strict=True):
        await tab.option(choice).click()
        await tab.get("my-vote").wait_for()
    await presenter.get("show-results").click()


async def connected(made: Classroom) -> None:
    """All is well."""
    await shoot("connected", made.presenter, made.phone_tabs[0])


async def no_quorum(made: Classroom) -> None:
    """Three of five voters are killed in one moment; after five seconds the app goes on."""
    for name in SEEN:
        stays = made.tabs[name]
        for tab in [tab for tab in made.tabs.values() if tab is not stays]:
            await made.kill_browser(tab)
        await stays.until("s.state === 'no-quorum'")
        await shoot("no-quorum", stays)
        await made.restore()


async def taking_over(made: Classroom) -> None:
    """The host leaves, and nobody who is left may host: devices that crashed twice."""
    for name in SEEN:
        stays = made.tabs[name]
        await stays.page.evaluate(
            "localStorage.setItem('ftweb.crashes', `${Date.now()} ${Date.now()}`)"
        )
        await stays.page.reload()
        await stays.until("s.state === 'connected' && !s.ready")
        for tab in [tab for tab in made.tabs.values() if tab is not stays]:
            await made.close_tab(tab)
        await stays.until("s.state === 'taking-over'")
        await shoot("taking-over", stays)
        await stays.page.evaluate("localStorage.removeItem('ftweb.crashes')")
        await stays.page.reload()
        await made.restore()


async def offline(made: Classroom) -> None:
    """A phone's network is down; then the laptop's, and its bridge with it."""
    for tab in (made.phone_tabs[0], made.presenter):
        if tab is made.presenter:
            made.bridge.kill()
        tab.holder.host.link_down()
        await tab.until("s.state === 'offline'")
        await shoot("offline", tab)
        tab.holder.host.link_up()
        await made.restore()


async def no_bridge(made: Classroom) -> None:
    """The bridge is gone, and the tabs go on among themselves."""
    for tab in made.tabs.values():
        await tab.until("s.channels === 3", 60)
    made.bridge.kill()
    seen = (made.presenter, made.phone_tabs[0])
    for tab in seen:
        await tab.until("s.state === 'no-bridge'")
    await shoot("no-bridge", *seen)
    await made.restore()


async def provisional(made: Classroom) -> None:
    """A second laptop has joined, and the network is cut: where most voters are not, an epoch of
    its own begins. First two phones are there, with the second laptop; then the first laptop."""
    second = FurtherBridge(made.lan.host("laptop2"), made.bridge)
    await second.start()
    try:
        for away in ("phone2", "laptop"):
            for tab in made.tabs.values():
                await tab.until("s.bridges.length === 2 && !s.provisional", 60)
                await tab.until("s.bridges.every(bridge => s.successors.includes(bridge))", 60)
            hosts = {name: made.lan.host(name) for name in ("laptop", "laptop2", *PHONES)}
            part = {"laptop"} if away == "laptop" else {"laptop2", "phone2"}
            made.lan.partition(
                [host for name, host in hosts.items() if name in part],
                [host for name, host in hosts.items() if name not in part],
            )
            await made.tabs[away].until("s.state === 'provisional'", 60)
            await shoot("provisional", made.tabs[away])
            made.lan.heal()
            for tab in made.tabs.values():
                await tab.until("s.state === 'connected'", 60)
    finally:
        second.kill()


STATES: dict[str, Callable[[Classroom], Awaitable[None]]] = {
    "connected": connected,
    "taking-over": taking_over,
    "no-quorum": no_quorum,
    "offline": offline,
    "provisional": provisional,
    "no-bridge": no_bridge,
}


async def main(states: Sequence[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with classroom() as made:
        await begin(made)
        for state in states or STATES:
            await STATES[state](made)
            print(state)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
