"""Where a server is, from what a person or a script has: a URL, an address or a name.

1. ``http://host:port/#join=TOKEN`` is what the QR code holds: the fragment carries the token
   (``#presenter=TOKEN`` for the presenter's). ``ws://``, ``wss://``, ``https://`` and a bare
   ``host:port`` do too.
2. Everything else is the name of a server, to be looked up by mDNS.
3. The socket is always at ``/ftweb/socket`` of that origin.
4. A presenter token wins over a join token, an argument over the fragment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from ftweb.errors import ConnectError

SOCKET_PATH = "/ftweb/socket"

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_BARE = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}(?:[/#].*)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What to connect to. Exactly one of ``url`` and ``name`` is set."""

    token: str
    url: str | None = None
    """The WebSocket's URL."""
    name: str | None = None
    """A server name to look up."""


def parse_target(name_or_url: str, *, token: str = "", presenter_token: str = "") -> Target:
    """Understand what was given to :func:`ftweb.connect`.

    Raises:
        ConnectError: ``connect_failed``: no URL of ours; ``bad_token``: there is no token.
    """
    given = name_or_url.strip()
    if _BARE.fullmatch(given):
        given = f"http://{given}"
    if "://" not in given:
        if not given:
            raise ConnectError("No server is named. Give its name or the URL of its join page.")
        return Target(name=given, token=_checked(presenter_token or token, given))
    parts = urlsplit(given)
    scheme = _SCHEMES.get(parts.scheme.lower())
    try:
        port = parts.port
    except ValueError:
        port, scheme = None, None
    if scheme is None or not parts.hostname:
        raise ConnectError(
            f"{name_or_url!r} is no address of a server. Give one like "
            "http://192.0.2.7:8765/#join=TOKEN, as the bridge prints it."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host if port is None else f"{host}:{port}"
    fragment = parse_qs(parts.fragment)
    found = (
        presenter_token
        or token
        or fragment.get("presenter", [""])[0]
        or fragment.get("join", [""])[0]
    )
    return Target(url=f"{scheme}://{authority}{SOCKET_PATH}", token=_checked(found, name_or_url))


def origin_of(url: str) -> str:
    """The origin whose socket has this URL."""
    return url.removesuffix(SOCKET_PATH).replace("ws", "http", 1)


def socket_url(origin: str) -> str:
    """The URL of the socket of an origin."""
    return origin.replace("http", "ws", 1) + SOCKET_PATH


def _checked(token: str, server: str) -> str:
    if not token:
        raise ConnectError(
            f"There is no token for {server!r}. Pass token=… or the whole join URL with its "
            "#join=… part.",
            code="bad_token",
        )
    return token
