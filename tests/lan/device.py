"""What every browser on the LAN has in common, whichever it is and however it is driven.

Chromium is driven by Playwright (``browsers.py``), Firefox by WebDriver BiDi (``firefox.py``),
WebKitGTK by classic WebDriver (``webkit.py``). :class:`AnyPage` is the part of Playwright's
``Page`` that all three offer, under Playwright's names and with its meaning, so that a test reads
the same whatever the phone holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from playwright.async_api import Playwright

from tests.lan.lan import Host

PHONE = (360, 740)
LAPTOP = (1280, 800)


class PageError(RuntimeError):
    """A page or its browser refused what was asked of it."""


class BrowserGoneError(PageError):
    """The browser ended, or was killed, before it answered."""


class Value(Protocol):
    """What a page's function gave."""

    async def json_value(self) -> Any: ...


class AnyPage(Protocol):
    """One tab."""

    async def evaluate(self, expression: str, arg: Any = None, /) -> Any:
        """The value of an expression; of its call with ``arg`` if it is a function."""

    async def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float | None, polling: Any
    ) -> Value:
        """Ask every ``polling`` ms until it is truthy, for at most ``timeout`` ms."""

    async def click(self, selector: str, /) -> None:
        """As by a person: once the element is there, enabled, and nothing covers it."""

    async def reload(self) -> Any: ...

    async def close(self) -> None: ...

    async def screenshot(self, *, path: Path) -> bytes: ...

    def is_closed(self) -> bool: ...


class AnyDevice(Protocol):
    """One browser with one profile on one host."""

    host: Host
    name: str
    problems: list[str]
    log: list[str]
    running: bool

    async def start(self, playwright: Playwright, /) -> None: ...

    async def open(self, url: str, /) -> AnyPage: ...

    def kill(self) -> None: ...

    async def stop(self) -> None: ...


class BrowserProcess:
    """The browser as a process group of its own on its host."""

    def __init__(self, host: Host, name: str, size: tuple[int, int]) -> None:
        self.host = host
        self.name = name
        self.size = size
        self.problems: list[str] = []
        """Page errors and unexpected console errors, of all its tabs. Tests demand none."""
        self.log: list[str] = []
        """Everything its pages wrote to the console, for a failure's report."""
        self.profile = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=host.lan.directory))
        self.process: subprocess.Popen[str] | None = None
        self.running = False
        """Not merely "its process exists": a killed one takes a moment to be gone."""

    def kill(self) -> None:
        """SIGKILL for the whole browser. Its profile stays: it can be started again."""
        self.running = False
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    async def killed(self) -> None:
        """Kill it and wait for its end."""
        self.kill()
        if self.process is not None:
            await asyncio.to_thread(self.process.wait)
            self.process = None


# --- for drivers that only take expressions ----------------------------------------------


def call_text(expression: str, argument: Any) -> str:
    """JavaScript: a promise of the value as JSON. As Playwright does, it calls a function."""
    return (
        f"(async argument => {{ const value = ({expression});"
        ' const got = await (typeof value === "function" ? value(argument) : value);'
        f' return JSON.stringify(got) ?? "null"; }})({json.dumps(argument)})'
    )


class Known:
    """A value that is here already, behind Playwright's way of asking for one."""

    def __init__(self, value: Any) -> None:
        self._value = value

    async def json_value(self) -> Any:
        return self._value


async def poll(
    evaluate: Callable[[], Awaitable[Any]], *, timeout: float | None, polling: float
) -> Known:
    """Ask until it is truthy (ms). What fails is asked again: the page may be loading anew."""
    deadline = time.monotonic() + (30_000 if timeout is None else timeout) / 1000
    while True:
        failure: PageError | None = None
        try:
            if value := await evaluate():
                return Known(value)
        except BrowserGoneError:
            raise
        except PageError as error:
            failure = error
        if time.monotonic() > deadline:
            raise TimeoutError("It did not become so in time.") from failure
        await asyncio.sleep(polling / 1000)


CENTRE = """selector => {
    const found = document.querySelector(selector);
    if (found === null || found.disabled) return null;
    found.scrollIntoView({ block: "center", behavior: "instant" });
    const box = found.getBoundingClientRect();
    const x = Math.round(box.x + box.width / 2), y = Math.round(box.y + box.height / 2);
    const hit = document.elementFromPoint(x, y);
    return hit !== null && (found.contains(hit) || hit.contains(found)) ? [x, y] : null;
}"""
"""Where to press for an element; nothing while it is not there, disabled or covered."""
