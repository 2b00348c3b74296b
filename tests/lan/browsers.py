"""Chromium on a host of the LAN: one process, one profile, one device.

Playwright attaches to a browser that we start ourselves, over the DevTools protocol and without
its default overrides. Three things depend on that:

- we know the browser's process group, so "killed" means SIGKILL, as when the system runs out of
  memory or the laptop's power goes;
- tabs are hidden and shown as for a user: Playwright's focus emulation keeps every page visible
  and makes ``Page.setWebLifecycleState`` do nothing at all;
- timers are throttled as for a user, because the flags that forbid it are not given.

The DevTools port is on the loopback of the host's namespace; a relay on our own loopback, one per
browser, carries Playwright's one connection there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

from tests.lan.device import LAPTOP, PHONE, BrowserProcess
from tests.lan.lan import Host, LanError

__all__ = ["LAPTOP", "PHONE", "Device", "find_chromium"]

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-search-engine-choice-screen",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
    "--password-store=basic",
    "--use-mock-keychain",
    "--mute-audio",
    "--hide-scrollbars",
)

EXPECTED_CONSOLE = (
    # The browser itself logs each connection that it could not make (no bridge there) or that it
    # cut (page frozen); a page cannot prevent it.
    re.compile(r"^WebSocket connection to 'ws://[^']*/ftweb/socket[^']*' failed"),
    # The same for fetches, only where the network is down.
    re.compile(r"^Failed to load resource: net::ERR_(CONNECTION|INTERNET|ADDRESS|NETWORK|TIMED)"),
)
"""Console errors that the browser writes, not the page."""


def find_chromium() -> str:
    """Path of Chromium; :class:`LanError` says how to get one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise LanError("The browser tests need Chromium (Debian and Ubuntu: apt install chromium).")


class Device(BrowserProcess):
    """A browser on a host: what a person holds in their hands."""

    def __init__(self, host: Host, name: str, size: tuple[int, int]) -> None:
        super().__init__(host, name, size)
        self._relay: asyncio.Server | None = None
        self._relay_port = 0
        self._pumps: set[asyncio.Task[None]] = set()
        self._browser: Browser | None = None
        self._playwright: Playwright | None = None

    async def start(self, playwright: Playwright) -> None:
        """Start the browser (again, with the same profile: the same device)."""
        self._playwright = playwright
        port_file = self.profile / "DevToolsActivePort"
        port_file.unlink(missing_ok=True)
        for lock in self.profile.glob("Singleton*"):  # left behind by a killed browser
            lock.unlink(missing_ok=True)
        width, height = self.size
        self.process = self.host.popen(
            find_chromium(),
            *FLAGS,
            f"--user-data-dir={self.profile}",
            "--remote-debugging-port=0",
            f"--window-size={width},{height}",
            "about:blank",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running = True
        port = await self._debugging_port(port_file)
        relay, relay_port = await self._start_relay(port)
        self._relay, self._relay_port = relay, relay_port
        await self._attach(playwright)

    async def _attach(self, playwright: Playwright) -> None:
        self._browser = await playwright.chromium.connect_over_cdp(
            f"http://127.0.0.1:{self._relay_port}", no_defaults=True, is_local=True
        )
        for page in self.context.pages:
            self.watch(page)
        self.context.on("page", self.watch)

    async def _debugging_port(self, port_file: Path) -> int:
        async with asyncio.timeout(30):
            while True:
                assert self.process is not None
                if self.process.poll() is not None:
                    raise LanError(f"Chromium on {self.host.name} ended at once.")
                with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
                    return int((await asyncio.to_thread(port_file.read_text)).splitlines()[0])
                await asyncio.sleep(0.02)  # the file appears; there is no event for it

    async def _start_relay(self, port: int) -> tuple[asyncio.Server, int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                made = await asyncio.to_thread(self.host.connect, "127.0.0.1", port)
            except OSError:
                writer.close()
                return
            made.setblocking(False)
            far_reader, far_writer = await asyncio.open_connection(sock=made)
            for pump in (_pump(reader, far_writer), _pump(far_reader, writer)):
                task = asyncio.create_task(pump)
                self._pumps.add(task)
                task.add_done_callback(self._pumps.discard)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, family=socket.AF_INET)
        return server, server.sockets[0].getsockname()[1]

    @property
    def context(self) -> BrowserContext:
        """The browser's own context: a normal profile, not a private window."""
        assert self._browser is not None, "start() first"
        return self._browser.contexts[0]

    @property
    def browser(self) -> Browser:
        """Playwright's handle, for further contexts (private windows)."""
        assert self._browser is not None, "start() first"
        return self._browser

    # --- tabs -------------------------------------------------------------------------

    async def open(self, url: str) -> Page:
        """A new tab in the foreground, at ``url``."""
        page = await self.context.new_page()
        await page.set_viewport_size({"width": self.size[0], "height": self.size[1]})
        await page.goto(url, wait_until="domcontentloaded")
        return page

    def watch(self, page: Page) -> None:
        """Record what goes wrong in a page."""

        def on_console(message: ConsoleMessage) -> None:
            self.log.append(f"{message.type}: {message.text}")
            if message.type == "error" and not any(
                p.search(message.text) for p in EXPECTED_CONSOLE
            ):
                self.problems.append(f"{self.name}: console: {message.text}")

        page.on("console", on_console)
        page.on(
            "pageerror",
            lambda error: self.problems.append(
                f"{self.name}: {error.message}\n{error.stack or ''}"
            ),
        )
        page.on("crash", lambda _: self.problems.append(f"{self.name}: the page crashed"))

    async def set_lifecycle(self, page: Page, state: str) -> None:
        """``"frozen"`` or ``"active"``: what a system does to tabs in the background."""
        session = await self.context.new_cdp_session(page)
        await session.send("Page.setWebLifecycleState", {"state": state})
        await session.detach()

    async def crash(self, page: Page) -> Page:
        """The tab's process dies, as when a phone runs out of memory, and it is loaded again.

        Playwright gives a crashed page up for good, so this attaches anew: every page of this
        device that was known is to be found anew, too. Gives the tab's.
        """
        assert self._playwright is not None, "start() first"
        url = page.url
        session = await self.context.new_cdp_session(page)
        async with page.expect_event("crash"):
            dying = asyncio.create_task(session.send("Page.crash"))
        self.problems = [one for one in self.problems if "the page crashed" not in one]
        await session.send("Page.reload")
        dying.cancel()
        before = self._browser
        await self._attach(self._playwright)
        if before is not None:
            await before.close()
        (again,) = [page for page in self.context.pages if page.url == url]
        return again

    # --- the end ----------------------------------------------------------------------

    async def stop(self) -> None:
        """End it for good, whatever its state, and forget the connection."""
        await self.killed()
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        for task in list(self._pumps):
            task.cancel()
        if self._browser is not None:
            with contextlib.suppress(Exception):
                await self._browser.close()
            self._browser = None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until either end closes."""
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
