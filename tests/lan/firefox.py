"""Firefox on a host of the LAN, driven by WebDriver BiDi, which it speaks itself.

Playwright and Selenium would each bring a driver of their own to download (a patched Firefox,
geckodriver); the browser that a person has needs neither: a WebSocket, JSON, and the nine commands
below, from the W3C's WebDriver BiDi. The socket is made on the host, so nothing has to listen
outside of it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Playwright
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.lan.device import (
    CENTRE,
    BrowserGoneError,
    BrowserProcess,
    Known,
    PageError,
    call_text,
    poll,
)
from tests.lan.lan import Host, LanError

PREFERENCES = {
    # It must not look for the internet: there is none, and waiting for it costs seconds.
    "app.update.disabledForTesting": True,
    "browser.download.folderList": 2,  # into the folder that is given
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "captivedetect.canonicalURL": "",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "toolkit.telemetry.enabled": False,
    # A killed one must come back as it was, not in safe mode and not with a question.
    "browser.sessionstore.resume_from_crash": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "toolkit.startup.max_resumed_crashes": -1,
}

EXPECTED_LOG = (
    # The browser's own word on a connection that it could not make or that was cut.
    re.compile(r"^Firefox can.t establish a connection to the server at ws://"),
    re.compile(r"^The connection to ws://\S* was interrupted while"),
)
"""Errors that the browser writes, not the page."""


NO_WORKER_LISTENER = """(() => {
    let listener;
    try {
        listener = ChromeUtils.importESModule("chrome://remote/content/shared/" +
            "js-process-actors/WebDriverWorkerListenerActor.sys.mjs");
    } catch { return "there is none in this version"; }
    listener.unregisterWebDriverWorkerListenerActor();
    return "ended";
})()"""
"""Run in Firefox's own window. Each BiDi session listens for workers, and while anybody does, a
worker that starts a worker waits until that one is registered, on a condition on which the new one
waits, too, and of which one waiter is woken: now and then the wrong one, and both stand still for
good (``WorkerPrivate::SetIsDebuggerRegistered`` in dom/workers/WorkerPrivate.h). It took ten
reloads under load. Where nobody drives the browser nobody listens."""


def find_firefox() -> str:
    """Path of Firefox; :class:`LanError` says how to get one."""
    for name in ("firefox-esr", "firefox"):
        if path := shutil.which(name):
            return path
    raise LanError(
        "The tests of other browsers need Firefox "
        "(Debian: apt install firefox-esr; elsewhere the package is called firefox)."
    )


class Bidi:
    """One session: numbered commands, their answers, and events."""

    def __init__(self, socket: ClientConnection, on_event: Callable[[str, Any], None]) -> None:
        self._socket = socket
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: Any) -> Any:
        """Send a command; gives its result."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            command = {"id": number, "method": method, "params": parameters}
            await self._socket.send(json.dumps(command))
            if self._reader.done():  # nobody would ever answer
                raise BrowserGoneError(f"Firefox is gone: no answer to {method}.")
            said = await answer
        except ConnectionClosed as error:
            raise BrowserGoneError(f"Firefox is gone: {method} was not sent.") from error
        finally:
            del self._waiting[number]
        if said["type"] == "error":
            raise PageError(f"{method}: {said['error']}: {said['message']}")
        return said["result"]

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                said = json.loads(text)
                if said["type"] == "event":
                    self._on_event(said["method"], said["params"])
                elif (answer := self._waiting.get(said["id"])) and not answer.done():
                    answer.set_result(said)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BrowserGoneError("Firefox is gone."))

    async def close(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self._socket.close()


class FirefoxPage:
    """One tab of a :class:`FirefoxDevice`; see ``AnyPage``."""

    def __init__(self, bidi: Bidi, context: str) -> None:
        self._bidi = bidi
        self.context = context
        self._closed = False
        self._cover = ""

    async def evaluate(self, expression: str, arg: Any = None, /) -> Any:
        said = await self._bidi.call(
            "script.evaluate",
            expression=call_text(expression, arg),
            target={"context": self.context},
            awaitPromise=True,
        )
        if said["type"] == "exception":
            raise PageError(said["exceptionDetails"]["text"])
        return json.loads(said["result"]["value"])

    async def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float | None, polling: Any
    ) -> Known:
        return await poll(lambda: self.evaluate(expression, arg), timeout=timeout, polling=polling)

    async def click(self, selector: str, /) -> None:
        place = await poll(lambda: self.evaluate(CENTRE, selector), timeout=15_000, polling=25)
        x, y = await place.json_value()
        pointer = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        await self._bidi.call(
            "input.performActions",
            context=self.context,
            actions=[{"type": "pointer", "id": "hand", "actions": pointer}],
        )

    async def goto(self, url: str) -> None:
        await self._bidi.call(
            "browsingContext.navigate", context=self.context, url=url, wait="interactive"
        )

    async def go_back(self) -> None:
        """Does not wait: there is no load event when the page was kept."""
        await self._bidi.call("browsingContext.traverseHistory", context=self.context, delta=-1)

    async def hide(self) -> None:
        """By another tab before it."""
        made = await self._bidi.call("browsingContext.create", type="tab")
        self._cover = made["context"]

    async def show(self) -> None:
        await self._bidi.call("browsingContext.close", context=self._cover)
        await self._bidi.call("browsingContext.activate", context=self.context)

    async def reload(self) -> None:
        await self._bidi.call("browsingContext.reload", context=self.context, wait="interactive")

    async def close(self) -> None:
        self._closed = True
        await self._bidi.call("browsingContext.close", context=self.context)

    async def screenshot(self, *, path: Path) -> bytes:
        said = await self._bidi.call("browsingContext.captureScreenshot", context=self.context)
        picture = base64.b64decode(said["data"])
        await asyncio.to_thread(path.write_bytes, picture)
        return picture

    def is_closed(self) -> bool:
        return self._closed


class FirefoxDevice(BrowserProcess):
    """Firefox on a host, with a profile and a home directory of its own."""

    def __init__(self, host: Host, name: str, size: tuple[int, int]) -> None:
        super().__init__(host, name, size)
        self._bidi: Bidi | None = None
        self.downloads = self.profile / "downloads"

    async def start(self, playwright: Playwright | None = None, /) -> None:
        """Start the browser (again, with the same profile: the same device)."""
        preferences = {**PREFERENCES, "browser.download.dir": str(self.downloads)}
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in preferences.items()]
        (self.profile / "user.js").write_text("\n".join(lines))
        port_file = self.profile / "WebDriverBiDiServer.json"
        port_file.unlink(missing_ok=True)
        self.process = self.host.popen(
            find_firefox(),
            *("--headless", "--no-remote", "--profile", self.profile),
            *("--remote-debugging-port=0", "--remote-allow-system-access", "about:blank"),
            env={"HOME": str(self.profile)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running = True
        port = await self._port(port_file)
        socket = await asyncio.to_thread(self.host.connect, "127.0.0.1", port)
        socket.setblocking(False)
        made = await connect(
            f"ws://127.0.0.1:{port}/session", sock=socket, max_size=None, ping_interval=None
        )
        self._bidi = Bidi(made, self._event)
        await self._bidi.call("session.new", capabilities={})
        await self._bidi.call("session.subscribe", events=["log.entryAdded"])
        await self._end_worker_listener(self._bidi)

    async def _end_worker_listener(self, bidi: Bidi) -> None:
        tree = await bidi.call("browsingContext.getTree", **{"moz:scope": "chrome"})
        said = await bidi.call(
            "script.evaluate",
            expression=NO_WORKER_LISTENER,
            target={"context": tree["contexts"][0]["context"]},
            awaitPromise=False,
        )
        if said["type"] == "exception":
            raise PageError(said["exceptionDetails"]["text"])

    async def _port(self, port_file: Path) -> int:
        async with asyncio.timeout(60):
            while True:
                assert self.process is not None
                if self.process.poll() is not None:
                    raise LanError(f"Firefox on {self.host.name} ended at once.")
                with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                    text = await asyncio.to_thread(port_file.read_text)
                    return int(json.loads(text)["ws_port"])
                await asyncio.sleep(0.02)  # the file appears; there is no event for it

    def _event(self, method: str, said: Any) -> None:
        if method != "log.entryAdded":
            return
        text = said["text"] or ""
        self.log.append(f"{said['level']}: {text}")
        if said["level"] == "error" and not any(p.search(text) for p in EXPECTED_LOG):
            frames = (said.get("stackTrace") or {}).get("callFrames", [])
            where = "".join(
                f"\n  {one['functionName']} {one['url']}:{one['lineNumber']}" for one in frames
            )
            self.problems.append(f"{self.name}: {said['type']}: {text}{where}")

    async def open(self, url: str, /) -> FirefoxPage:
        """A new tab in the foreground, at ``url``."""
        assert self._bidi is not None, "start() first"
        made = await self._bidi.call("browsingContext.create", type="tab")
        page = FirefoxPage(self._bidi, made["context"])
        width, height = self.size
        await self._bidi.call(
            "browsingContext.setViewport",
            context=page.context,
            viewport={"width": width, "height": height},
        )
        await page.goto(url)
        return page

    async def stop(self) -> None:
        """End it for good, whatever its state, and forget the connection."""
        await self.killed()
        if self._bidi is not None:
            await self._bidi.close()
            self._bidi = None
