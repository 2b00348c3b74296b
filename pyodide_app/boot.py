"""Starts a node in a tab. With :mod:`pyodide_app.websocket` all Python that touches JavaScript.

Order matters:

1. Randomness is seeded from the browser before anything draws from it. A restored interpreter
   image would otherwise repeat its numbers in every tab, ids and election jitter included.
2. The bundle is downloaded and must have the hash that the cluster goes by: two tabs that ran
   different code would compute different states from one log.
3. Packages that the app imports and that the runtime has but does not need itself (Starlette) are
   loaded. Apps without them boot without them.
4. The app is imported. What fails up to here is the app's or the network's fault, and is told
   as such (``failed``, with its stage); the page goes on as a client without a node.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import random
import secrets
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import js
import pyodide_js
from pyodide.code import find_imports
from pyodide.ffi import to_js

from ftweb.app import load_app
from ftweb.core import NodeId
from ftweb.driver import Clock
from ftweb.errors import AppLoadError
from pyodide_app import messages
from pyodide_app.node import TabNode
from pyodide_app.websocket import SendBytes, open_socket

APP_DIR = Path("/app")
"""Where the bundle is unpacked, in the worker's own memory file system."""

EXTRAS: Final = frozenset({"anyio", "starlette"})
"""Packages that are loaded for apps that import them."""


async def start(
    options: str, post: Callable[[str], None], send_bytes: SendBytes
) -> Callable[[str], None] | None:
    """Boot the app and the node.

    Args:
        options: JSON text of :class:`pyodide_app.messages.Options`.
        post: takes each message for the net worker, as JSON text.
        send_bytes: see :data:`pyodide_app.websocket.SendBytes`.

    Returns:
        What takes each message of the net worker, as JSON text; None if the start failed, in
        which case ``failed`` has been posted.
    """
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    seed()
    chosen = messages.decode_options(options)
    try:
        bundle = await download(chosen.bundle_url)
        unpack(bundle, chosen.bundle)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        post(messages.encode(messages.Failed(stage="bundle", message=str(error))))
        return None
    try:
        await load_packages()
        server = load_app(APP_DIR)
    except AppLoadError as error:
        post(messages.encode(messages.Failed(stage="app", message=error.message)))
        return None
    clock = Clock(
        monotonic=lambda: time.monotonic() * 1000,
        wall=lambda: time.time() * 1000,
        jitter=random.random,
    )
    node = TabNode(
        node_id=NodeId(secrets.token_hex(16)),
        server=server,
        clock=clock,
        welcome=chosen.welcome,
        post=post,
        http=chosen.http,
        open_socket=partial(open_socket, send_bytes),
    )
    node.start()
    return node.receive


async def load_packages() -> None:
    """Load what the app's modules import and the runtime's lock has (step 3)."""
    missing = sorted(name for name in imported() & EXTRAS if name not in sys.modules)
    if not missing:
        return
    await pyodide_js.loadPackage(to_js(missing))
    run_in_place()


def imported() -> set[str]:
    """Top-level names that the app's modules import."""
    names: set[str] = set()
    for path in APP_DIR.rglob("*.py"):
        # What is no Python is told by the import, if it comes to that, with its place.
        with contextlib.suppress(SyntaxError, UnicodeDecodeError):
            names.update(find_imports(path.read_text(encoding="utf-8")))
    return names


def run_in_place() -> None:
    """Make anyio run synchronous functions where they are called: a tab has no threads."""
    from anyio._backends import _asyncio

    async def call(func: Callable[..., Any], args: tuple[Any, ...], **_: Any) -> Any:
        return func(*args)

    backend: Any = _asyncio.AsyncIOBackend
    backend.run_sync_in_worker_thread = staticmethod(call)


def seed() -> None:
    """Seed ``random`` with 256 bits from the browser; ``secrets`` asks the browser each time."""
    numbers = js.crypto.getRandomValues(js.Uint8Array.new(32))
    random.seed(numbers.to_bytes())


async def download(url: str) -> bytes:
    """Fetch the bundle.

    Raises:
        OSError: it cannot be had.
    """
    try:
        response = await js.fetch(url)
    except Exception as error:  # a JavaScript TypeError: no connection
        raise OSError(f"The app could not be downloaded from {url}: {error}") from error
    if not response.ok:
        raise OSError(f"The app could not be downloaded: {url} answered {response.status}.")
    content: bytes = (await response.arrayBuffer()).to_bytes()
    return content


def unpack(bundle: bytes, sha256: str) -> None:
    """Check the bundle and lay it out in :data:`APP_DIR`.

    Raises:
        ValueError: it is not the bundle that was asked for.
    """
    actual = hashlib.sha256(bundle).hexdigest()
    if actual != sha256:
        raise ValueError(f"The app that was downloaded has the hash {actual}, not {sha256}.")
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        archive.extractall(APP_DIR)
