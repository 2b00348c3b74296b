"""WebKitGTK on a host of the LAN: the engine of Safari, driven by classic W3C WebDriver.

Its driver is a small HTTP server that starts the browser; it listens on the loopback of the host's
namespace, and each command is one request over a socket made there. A client library (Selenium)
would need a way into the namespace all the same, and bring ten packages for eleven commands.

What differs from the other browsers, all of it the driver's doing:

- The browser draws on a display, so each device has an ``Xvfb`` of its own. It outlives the
  browser, as a screen does.
- An automated browser keeps nothing on disk: a killed one comes back as another device.
- There is no console. Each page gets a recorder with the first question after it was loaded, and
  every answer brings what was recorded; errors of workers that the page does not hear of stay
  unknown.
- A command means the current window, so commands wait for one another.
- It waits for a load event even of a page that comes back from the back/forward cache, which has
  none, and for the answer of a script whose page went into it. So it is told not to wait for
  loading, and this module asks instead, by scripts that answer at once.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from playwright.async_api import Playwright

from tests.lan.device import BrowserGoneError, BrowserProcess, Known, PageError, call_text, poll
from tests.lan.lan import Host, LanError

PORT = 4444
"""Each host has a loopback of its own: there is nobody to share the port with."""

ASK = """
const done = arguments[arguments.length - 1];
if (!globalThis.recorded) {
    const recorded = globalThis.recorded = { problems: [], log: [] };
    addEventListener("error", event => recorded.problems.push(
        `${event.message}\\n${event.error?.stack ?? ""}`));
    addEventListener("unhandledrejection", event => recorded.problems.push(
        `${event.reason}\\n${event.reason?.stack ?? ""}`));
    for (const level of ["log", "warn", "error"]) {
        const original = console[level];
        console[level] = (...words) => {
            const text = words.map(String).join(" ");
            recorded.log.push(`${level}: ${text}`);
            if (level === "error") recorded.problems.push(`console: ${text}`);
            original.apply(console, words);
        };
    }
}
const told = () => {
    const { problems, log } = globalThis.recorded;
    return { problems: problems.splice(0), log: log.splice(0) };
};
CALL.then(value => done({ value, ...told() }),
          error => done({ error: `${error}`, ...told() }));
"""
"""A script that records from now on, asks, and answers with what has been recorded."""


def find_webkit() -> tuple[str, str]:
    """The driver and the browser; :class:`LanError` says how to get them."""
    driver = shutil.which("WebKitWebDriver")
    browsers = [*Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser")]
    if driver and browsers and shutil.which("Xvfb"):
        return driver, str(browsers[0])
    raise LanError(
        "The tests of other browsers need WebKitGTK with its driver, and a display without a "
        "screen (Debian and Ubuntu: apt install webkit2gtk-driver xvfb)."
    )


class WebKitPage:
    """One window of a :class:`WebKitDevice`; see ``AnyPage``."""

    def __init__(self, device: WebKitDevice, handle: str) -> None:
        self._device = device
        self._handle = handle
        self._closed = False

    async def _command(self, verb: str, path: str, body: Any = None) -> Any:
        return await self._device.command(verb, path, body, window=self._handle)

    async def evaluate(self, expression: str, arg: Any = None, /) -> Any:
        script = ASK.replace("CALL", call_text(expression, arg))
        said = await self._command("POST", "/execute/async", {"script": script, "args": []})
        self._device.log += said["log"]
        self._device.problems += [f"{self._device.name}: {text}" for text in said["problems"]]
        if "error" in said:
            raise PageError(said["error"])
        return json.loads(said["value"])

    async def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float | None, polling: Any
    ) -> Known:
        return await poll(lambda: self.evaluate(expression, arg), timeout=timeout, polling=polling)

    async def click(self, selector: str, /) -> None:
        async def press() -> bool:
            wanted = {"using": "css selector", "value": selector}
            (element,) = (await self._command("POST", "/element", wanted)).values()
            if not await self._command("GET", f"/element/{element}/enabled"):
                return False
            await self._command("POST", f"/element/{element}/click")
            return True

        await poll(press, timeout=15_000, polling=25)

    async def goto(self, url: str) -> None:
        await self._leave("/url", {"url": url})

    async def reload(self) -> None:
        await self._leave("/refresh")

    async def _leave(self, path: str, body: Any = None) -> None:
        """Until another document is there: what this one is marked with is gone."""
        await self._now("globalThis.leaving = true")
        await self._command("POST", path, body)
        await self._until("!globalThis.leaving && document.readyState !== 'loading'")

    async def go_back(self) -> None:
        here = await self._now("location.href")
        await self._command("POST", "/back")
        await self._until(f"location.href !== {json.dumps(here)}")

    async def _now(self, expression: str) -> Any:
        script = {"script": f"return {expression}", "args": []}
        return await self._command("POST", "/execute/sync", script)

    async def _until(self, expression: str) -> None:
        await poll(lambda: self._now(expression), timeout=30_000, polling=10)

    async def hide(self) -> None:
        """By minimizing its window."""
        await self._command("POST", "/window/minimize")

    async def show(self) -> None:
        """Restored to the device's size.

        Windows after the first have a toolbar, which lets none be narrower than 447 pixels.
        """
        width, height = self._device.size
        place = {"x": 0, "y": 0, "width": width, "height": height}
        await self._command("POST", "/window/rect", place)

    async def close(self) -> None:
        self._closed = True
        await self._device.close_window(self._handle)

    async def screenshot(self, *, path: Path) -> bytes:
        picture = base64.b64decode(await self._command("GET", "/screenshot"))
        await asyncio.to_thread(path.write_bytes, picture)
        return picture

    def is_closed(self) -> bool:
        return self._closed


class WebKitDevice(BrowserProcess):
    """WebKitGTK's MiniBrowser on a host, with its driver and a display of its own."""

    def __init__(self, host: Host, name: str, size: tuple[int, int]) -> None:
        super().__init__(host, name, size)
        self._display: subprocess.Popen[str] | None = None
        self._display_name = ""
        self._session = ""
        self._windows: list[str] = []
        self._spare = ""
        self._turn = asyncio.Lock()

    async def start(self, playwright: Playwright | None = None, /) -> None:
        """Start the browser (again: as another device, see above)."""
        driver, browser = find_webkit()
        await self._switch_on()
        self.process = self.host.popen(
            driver,
            *(f"--port={PORT}", "--host=127.0.0.1"),
            env={
                "HOME": str(self.profile),
                "DISPLAY": self._display_name,
                "GDK_BACKEND": "x11",
                "NO_AT_BRIDGE": "1",
                # Its sandbox needs user namespaces, which containers do not give to root.
                "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running = True
        await self._listening()
        wanted = {
            "pageLoadStrategy": "none",
            "timeouts": {"script": 60_000},
            "webkitgtk:browserOptions": {
                "binary": browser,
                # Without its toolbar a window may be as narrow as a phone.
                "args": ["--automation", "--full-screen"],
            },
        }
        self._session = ""
        made = await self.command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"
        self._spare = await self.command("GET", "/window")
        self._windows = [self._spare]

    async def _switch_on(self) -> None:
        """The display, which has the size of the device: full screen is all of it."""
        if self._display is not None:
            return
        width, height = self.size
        self._display = self.host.popen(
            *("Xvfb", "-displayfd", "1", "-nolisten", "tcp"),
            *("-screen", "0", f"{width}x{height}x24"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._display.stdout is not None
        number = (await asyncio.to_thread(self._display.stdout.readline)).strip()
        if not number:
            raise LanError(f"Xvfb on {self.host.name} ended at once.")
        self._display_name = f":{number}"

    async def _listening(self) -> None:
        async with asyncio.timeout(30):
            while True:
                assert self.process is not None
                if self.process.poll() is not None:
                    raise LanError(f"WebKitWebDriver on {self.host.name} ended at once.")
                try:
                    (await asyncio.to_thread(self.host.connect, "127.0.0.1", PORT)).close()
                    return
                except OSError:
                    await asyncio.sleep(0.02)

    async def command(self, verb: str, path: str, body: Any = None, *, window: str = "") -> Any:
        """One command of the session, in that window if it means one."""
        async with self._turn:
            if window:
                await self._ask("POST", f"{self._session}/window", {"handle": window})
            return await self._ask(verb, self._session + path, body)

    async def _ask(self, verb: str, path: str, body: Any) -> Any:
        asking = asyncio.ensure_future(asyncio.to_thread(self._request, verb, path, body))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The driver must have answered before it is asked again.
            await asyncio.gather(asking, return_exceptions=True)
            raise

    def _request(self, verb: str, path: str, body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        try:
            connection.sock = self.host.connect("127.0.0.1", PORT)
            connection.sock.settimeout(150)
            text = json.dumps(body or {}) if verb == "POST" else None
            connection.request(verb, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        except (OSError, http.client.HTTPException) as error:
            raise BrowserGoneError(f"WebKit is gone: no answer to {path}.") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise PageError(f"{path}: {value['error']}: {value['message']}")
        return value

    async def open(self, url: str, /) -> WebKitPage:
        """A window at ``url``."""
        handle = self._spare or await self._new_window()
        self._spare = ""
        page = WebKitPage(self, handle)
        await page.show()
        await page.goto(url)
        return page

    async def _new_window(self) -> str:
        # Asked of a window that is there: the current one may have been closed.
        made = await self.command(
            "POST", "/window/new", {"type": "window"}, window=self._windows[-1]
        )
        self._windows.append(made["handle"])
        return str(made["handle"])

    async def close_window(self, handle: str) -> None:
        """Close one; with its last window the browser itself would end."""
        if len(self._windows) == 1:
            self._spare = await self._new_window()
        await self.command("DELETE", "/window", window=handle)
        self._windows.remove(handle)

    async def stop(self) -> None:
        """End it for good, whatever its state, and its display."""
        await self.killed()
        if self._display is not None:
            self._display.terminate()  # it removes its lock and its socket
            try:
                await asyncio.to_thread(self._display.wait, 3)
            except subprocess.TimeoutExpired:
                self._display.kill()
                await asyncio.to_thread(self._display.wait)
            assert self._display.stdout is not None
            self._display.stdout.close()
            self._display = None
