"""A class on the LAN: a laptop with a bridge and the presenter's tab, and phones.

The laptop's tab is loaded from ``http://localhost``, the phones from the LAN address, which is an
insecure origin for them, as in a real class. Every device is a browser process of its own:
Chromium, but for those given as ``others``.

Tests break things; :meth:`Classroom.restore` brings back the beginning: the laptop's tab hosts,
every phone is connected and able to take over. Each test starts from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from playwright.async_api import Locator, Page, Playwright, async_playwright

from tests.lan.browsers import LAPTOP, PHONE, Device
from tests.lan.device import AnyDevice, AnyPage
from tests.lan.lan import Host, Lan

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"
VOTING = ROOT / "examples" / "voting"

type MakeDevice = Callable[[Host, str, tuple[int, int]], AnyDevice]

PATIENCE = 30.0
"""Seconds to wait for what must come; generous, since several suites may share two cores."""

POLL_MS = 25
"""How often a page is asked. Playwright's default asks on each animation frame, and a hidden
page has none."""


async def until(
    condition: Callable[[], Awaitable[Any]], timeout: float = PATIENCE, pause: float = 0.1
) -> None:
    """Ask until it is so. For what tells nobody when it changes: files, other programs' views."""
    async with asyncio.timeout(timeout):
        while not await condition():  # noqa: ASYNC110 (there is no event, see above)
            await asyncio.sleep(pause)


def ftweb_command() -> list[str]:
    """The installed ``ftweb``."""
    script = Path(sys.executable).with_name("ftweb")
    return [str(script)] if script.exists() else [sys.executable, "-m", "ftweb"]


class Bridge:
    """``ftweb run`` on a host, as a user starts it."""

    def __init__(self, host: Host, app: Path, *, port: int = 8765, options: Sequence[str] = ()):
        self.host = host
        self.app = app
        self.port = port
        self.options = tuple(options)
        self.directory = Path(tempfile.mkdtemp(prefix="bridge-", dir=host.lan.directory))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.process: subprocess.Popen[str] | None = None
        self.info: dict[str, Any] = {}

    def command(self) -> list[str | Path]:
        """What is run on the host."""
        return ["run", self.app, "--no-browser"]

    async def start(self) -> None:
        """Start it (again, on the same data) and read the line of ``--json``."""
        out = self.directory / "out"
        with out.open("w") as stdout, self.log.open("a") as stderr:
            self.process = self.host.popen(
                *ftweb_command(),
                *(*self.command(), "--json", "--data", self.data),
                *("--port", str(self.port), *self.options),
                stdout=stdout.fileno(),
                stderr=stderr.fileno(),
                env={"BROWSER": "none"},
                cwd=self.directory,
            )
        async with asyncio.timeout(PATIENCE):
            while "\n" not in (text := await asyncio.to_thread(out.read_text)):
                if self.process.poll() is not None:
                    said = await asyncio.to_thread(self.log.read_text)
                    raise RuntimeError(f"ftweb ended with {self.process.returncode}: {said}")
                await asyncio.sleep(0.02)  # a file is read: there is no event to wait for
        self.info = json.loads(text.splitlines()[0])

    @property
    def join_url(self) -> str:
        """What a phone opens: by LAN address, with the token in the fragment."""
        home = "" if (self.app / "pages" / "index.html").is_file() else "ftweb/host"
        return f"http://{self.host.address}:{self.port}/{home}#join={self.info['join_token']}"

    @property
    def presenter_url(self) -> str:
        """What the laptop opens."""
        url = str(self.info["presenter_url"])
        assert url.startswith(f"http://localhost:{self.port}/"), url
        return url

    async def healthz(self) -> dict[str, Any]:
        """``GET /healthz``, asked on the host itself."""

        def ask() -> dict[str, Any]:
            with self.host.connect("127.0.0.1", self.port) as connection:
                connection.sendall(
                    f"GET /healthz HTTP/1.1\r\nHost: localhost:{self.port}\r\n"
                    "Connection: close\r\n\r\n".encode()
                )
                said = b""
                while more := connection.recv(65536):
                    said += more
            got: dict[str, Any] = json.loads(said.partition(b"\r\n\r\n")[2])
            return got

        return await asyncio.to_thread(ask)

    async def stop(self, number: int = signal.SIGTERM, timeout: float = 10.0) -> int:
        """Signal it and wait; gives its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        try:
            return await asyncio.to_thread(self.process.wait, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def kill(self) -> None:
        """SIGKILL, as by a power cut."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class FurtherBridge(Bridge):
    """``ftweb bridge`` on another laptop, with the command that the first one printed."""

    def __init__(self, host: Host, first: Bridge) -> None:
        super().__init__(host, first.app, port=first.port)
        self.first = first

    def command(self) -> list[str | Path]:
        """See :meth:`Bridge.command`."""
        if self.info:
            return ["bridge"]  # it has been here before: --data says it all
        return ["bridge", str(self.first.info["bridge_command"]).split("'")[1]]

    async def takes_part(self) -> None:
        """Wait until its replica has joined the history of the first."""

        async def joined() -> bool:
            mine, its = await self.healthz(), await self.first.healthz()
            return bool(mine["epoch"] == its["epoch"] and mine["host"] == its["host"])

        await until(joined)


class Tab:
    """One page, with what tests ask of it.

    What every browser has stands under ``holder`` and ``handle``; ``device`` and ``page`` are the
    same with all that only Chromium has.
    """

    def __init__(self, holder: AnyDevice, handle: AnyPage) -> None:
        self.holder = holder
        self.handle = handle

    @property
    def device(self) -> Device:
        assert isinstance(self.holder, Device), f"{self.holder.name} is no Chromium"
        return self.holder

    @property
    def page(self) -> Page:
        assert isinstance(self.handle, Page), f"{self.holder.name} is no Chromium"
        return self.handle

    async def evaluate(self, expression: str, argument: Any = None) -> Any:
        """The value of a JavaScript expression, or of its call if it is a function."""
        return await self.handle.evaluate(expression, argument)

    async def status(self) -> dict[str, Any]:
        """``ftweb.status()``; ``{}`` until the runtime is there."""
        got: dict[str, Any] = await self.evaluate("globalThis.ftweb?.status ? ftweb.status() : {}")
        return got

    async def until(self, condition: str, timeout: float = PATIENCE, argument: Any = None) -> Any:
        """Wait for a JavaScript expression in which ``s`` is the status and ``x`` the argument."""
        script = f"x => {{ const s = globalThis.ftweb?.status?.(); return s && ({condition}); }}"
        try:
            handle = await self.handle.wait_for_function(
                script, arg=argument, timeout=timeout * 1000, polling=POLL_MS
            )
        except Exception as error:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2):
                    error.add_note(f"{self.holder.name} waited for {condition!r}")
                    error.add_note(f"its status: {await self.status()}")
                    error.add_note("its log: " + "\n  ".join(self.holder.log[-30:]))
            raise
        return await handle.json_value()

    async def is_hidden(self) -> bool:
        """It is there, and nobody sees it."""
        if self.handle.is_closed() or not self.holder.running:
            return False
        return bool(await self.evaluate("document.visibilityState === 'hidden'"))

    def get(self, test_id: str) -> Locator:
        """The element with that ``data-testid``."""
        return self.page.get_by_test_id(test_id)

    def option(self, option_id: str) -> Locator:
        return self.page.locator(f'[data-testid="option"][data-option-id="{option_id}"]')

    def tally(self, option_id: str, votes: int | None = None) -> Locator:
        wanted = "" if votes is None else f'[data-votes="{votes}"]'
        return self.page.locator(f'[data-testid="tally"][data-option-id="{option_id}"]{wanted}')

    async def send(self, message: Any) -> Any:
        """Send by a page that keeps its connection in ``globalThis.connection``.

        Gives the reply, or ``{"error": code, "message": …}``.
        """
        return await self.evaluate(
            """async message => {
                try { return await connection.send(message); }
                catch (error) { return { error: error.code, message: error.message }; }
            }""",
            message,
        )


class Classroom:
    """The bridge, the laptop's browser and the phones' browsers."""

    def __init__(
        self,
        lan: Lan,
        playwright: Playwright,
        app: Path = VOTING,
        *,
        phones: int = 3,
        options: Sequence[str] = (),
        others: Mapping[str, MakeDevice] = MappingProxyType({}),
    ) -> None:
        self.lan = lan
        self.playwright = playwright
        self.bridge = Bridge(lan.host("laptop"), app, options=options)
        self.laptop = Device(lan.host("laptop"), "laptop", LAPTOP)
        names = [f"phone{number}" for number in range(1, phones + 1)]
        self.phones = [Device(lan.host(name), name, PHONE) for name in names]
        self.others = [make(lan.host(name), name, PHONE) for name, make in others.items()]
        """Phones that are no Chromium."""
        self.tabs: dict[str, Tab] = {}

    @property
    def devices(self) -> list[AnyDevice]:
        return [self.laptop, *self.phones, *self.others]

    @property
    def presenter(self) -> Tab:
        return self.tabs["laptop"]

    @property
    def phone_tabs(self) -> list[Tab]:
        return [self.tabs[phone.name] for phone in self.phones]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(
                self.bridge.start(), *(device.start(self.playwright) for device in self.devices)
            )
            await self.restore()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(*(device.stop() for device in self.devices))
        if self.bridge.process is not None and self.bridge.process.poll() is None:
            await self.bridge.stop()

    # --- tabs -------------------------------------------------------------------------

    def url_for(self, device: AnyDevice) -> str:
        return self.bridge.presenter_url if device is self.laptop else self.bridge.join_url

    async def open(self, device: AnyDevice) -> Tab:
        """The device's tab, opened now. Does not wait for anything but the page itself."""
        if not device.running:
            await device.stop()
            await device.start(self.playwright)
        tab = Tab(device, await device.open(self.url_for(device)))
        self.tabs[device.name] = tab
        return tab

    async def restore(self) -> None:
        """Bridge up, every tab open, in front and able to take over, the laptop's tab hosting."""
        if self.bridge.process is None or self.bridge.process.poll() is not None:
            await self.bridge.start()

        async def back(device: AnyDevice) -> None:
            tab = self.tabs.get(device.name)
            if tab is not None and await tab.is_hidden():
                await self.close_tab(tab)  # the freeze command leaves a page hidden for good
                tab = None
            if tab is None or tab.handle.is_closed() or not device.running:
                tab = await self.open(device)
            await tab.until("s.ready && s.hostId", 60)

        await asyncio.gather(*(back(device) for device in self.devices))
        await self.settled()

    async def settled(self, timeout: float = 60.0) -> None:
        """The laptop's tab hosts, and every tab that can be is a member and knows so."""
        await self.presenter.until("s.hosting && s.quorum", timeout)
        statuses = await asyncio.gather(*(tab.status() for tab in self.tabs.values()))
        mine = (await self.presenter.status())["nodeId"]
        nodes = [status["nodeId"] for status in statuses]
        condition = "s.ready && s.hostId === x[0] && x[1].every(n => s.successors.includes(n))"
        await asyncio.gather(
            *(tab.until(condition, timeout, [mine, nodes]) for tab in self.tabs.values())
        )

    async def can_lose(self, voters: int) -> None:
        """Upkeep has got so far that so many voters may leave in one moment, and all goes on."""

        async def spare() -> bool:
            return int((await self.bridge.healthz())["spare"]) >= voters

        try:
            await until(spare)
        except TimeoutError as error:
            error.add_note(f"{await self.bridge.healthz()}")
            for tab in self.tabs.values():
                seen = await tab.evaluate("document.visibilityState")
                error.add_note(f"{tab.holder.name}, {seen}: {await tab.status()}")
            raise

    # --- who hosts --------------------------------------------------------------------

    async def host_tab(self, *, besides: Sequence[Tab] = (), timeout: float = PATIENCE) -> Tab:
        """The tab that hosts now. Waits until one does that is not among ``besides``."""
        tabs = [tab for tab in self.tabs.values() if tab not in besides]
        waiting = {asyncio.create_task(tab.until("s.hosting", timeout)): tab for tab in tabs}
        try:
            missed: BaseException | None = None
            pending = set(waiting)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    missed = task.exception()  # one may have been killed; others may yet host
                    if missed is None:
                        return waiting[task]
            raise TimeoutError("No tab hosts.") from missed
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def kill_browser(self, tab: Tab) -> float:
        """SIGKILL for the tab's whole browser. Gives the clock (ms) just before."""
        before = time.time() * 1000
        tab.holder.kill()
        del self.tabs[tab.holder.name]
        return before

    async def close_tab(self, tab: Tab) -> float:
        """Close the tab as a user does. Gives the clock (ms) just before."""
        del self.tabs[tab.holder.name]
        before = time.time() * 1000
        await tab.handle.close()
        return before

    # --- checks -----------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What went wrong in any page so far; forgotten with the asking."""
        found = [problem for device in self.devices for problem in device.problems]
        for device in self.devices:
            device.problems.clear()
        return found

    async def script(self, *messages: Any, presenter: bool = False) -> dict[str, Any]:
        """Join anew from a Python script: ``{"state": …, "replies": […]}``.

        It runs on a host that holds nothing yet; a presenter's runs on the laptop.
        """
        host = self.bridge.host if presenter else self.lan.host("latecomer")
        url = self.bridge.presenter_url if presenter else self.bridge.join_url
        path = Path(__file__).with_name("script.py")
        said = await asyncio.to_thread(host.run, sys.executable, path, url, json.dumps(messages))
        got: dict[str, Any] = json.loads(said)
        return got


@contextlib.asynccontextmanager
async def classroom(
    app: Path = VOTING,
    *,
    phones: int = 3,
    options: Sequence[str] = (),
    others: Mapping[str, MakeDevice] = MappingProxyType({}),
) -> AsyncIterator[Classroom]:
    """A LAN, a bridge and browsers, all gone at the end."""
    with Lan() as lan:
        async with (
            async_playwright() as playwright,
            Classroom(lan, playwright, app, phones=phones, options=options, others=others) as made,
        ):
            yield made


@contextlib.asynccontextmanager
async def two_laptops(
    app: Path = VOTING, *, phones: int = 3
) -> AsyncIterator[tuple[Classroom, FurtherBridge]]:
    """A class at the first laptop's bridge; a second laptop has joined, and everybody knows."""
    async with classroom(app, phones=phones) as made:
        first = made.bridge
        second = FurtherBridge(made.lan.host("laptop2"), first)
        try:
            await second.start()
            for tab in made.tabs.values():
                await tab.until("s.bridges.length === 2")
                await tab.until("s.bridges.every(bridge => s.successors.includes(bridge))", 60)
            yield made, second
        finally:
            for bridge in (second, first):
                if bridge.process is not None:
                    bridge.kill()
