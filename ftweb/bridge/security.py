"""Who may speak to this bridge at all: Host, Origin, tokens, ids.

1. **Host** (against DNS rebinding): a request must name this machine exactly as it is: an IP
   literal of one of its interfaces, ``localhost``, or one of its ``.local`` names, with the
   port. Anything else, malformed or missing, is answered 421 (``bad_host``).
2. **Origin** (against cross-site WebSockets and posts): on WebSockets and on every method but
   GET and HEAD an ``Origin``, if there is one, must be ``http://`` and an allowed host. A
   browser always sends one there; a Python client sends none, and still needs the token.
   On WebSockets and for files it may also be exactly an origin of another bridge of this
   server, one that a proven link told of: a page comes over when its own bridge is gone.
   Anything else is answered 403 (``bad_origin``).
3. Both are decided in a pure ASGI middleware in front of everything, on ``scope`` as the server
   parsed it, never on a URL rebuilt from it. So is the size of the head: at most
   HTTP_HEADER_BYTES, else 431 (``head_too_large``).
4. **Tokens** are compared in constant time. The presenter token implies the join token.
5. **Ids** are derived from keys that only their owner has: to know an id is not to be able to
   use it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ftweb.bridge.addresses import machine_addresses
from ftweb.bridge.config import Identity
from ftweb.limits import HTTP_HEADER_BYTES

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]

REREAD_SECONDS = 1.0
"""How often an unknown Host may make us read the interfaces again (a laptop that joined another
network); more often would let anybody make us work."""

HOST_CHARS = 255
"""Longest Host looked at: the longest DNS name."""


FORMER_ORIGINS = 32
"""Kept of addresses that the machine had before; a laptop has a few at a time."""


class AllowedHosts:
    """The exact names by which this bridge may be addressed.

    Args:
        port: the port it listens on.
        names: host names besides ``localhost`` and the machine's own ``.local`` name.
        read_ips: reads the machine's addresses; another one in tests.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self,
        *,
        port: int,
        names: Iterable[str] = (),
        read_ips: Callable[[], Iterable[str]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._names = {"localhost", _own_name(), *(name.lower() for name in names)}
        self._read_ips = read_ips or _machine_ips
        self._monotonic = monotonic
        self._ips = _canonical(self._read_ips())
        self._read_at = monotonic()
        self._linked: frozenset[bytes] = frozenset()
        self._former: deque[bytes] = deque(maxlen=FORMER_ORIGINS)

    def add_name(self, name: str) -> None:
        """Allow another host name: the one under which mDNS publishes this bridge."""
        self._names.add(name.lower().rstrip("."))

    def set_linked(self, origins: Iterable[str]) -> None:
        """The origins of the other bridges of this server, also of those that are gone."""
        self._linked = frozenset(origin.encode("ascii", "replace") for origin in origins)

    def keep_former(self, origins: Iterable[str]) -> None:
        """Pages that were loaded from here when the machine had other addresses may come back."""
        self._former.extend(origin.encode("ascii", "replace") for origin in origins)

    def allows_host(self, value: bytes | None) -> bool:
        """Whether the value of a Host header is one of ours. Never raises."""
        parsed = _split_host(value)
        if parsed is None:
            return False
        name, port = parsed
        if (80 if port is None else port) != self._port:
            return False
        if name in self._names:
            return True
        ip = _ip(name)
        return ip is not None and self.owns_ip(ip)

    def allows_origin(self, value: bytes) -> bool:
        """Whether an Origin header names a page that this bridge served."""
        scheme, found, rest = value.partition(b"://")
        return bool(found) and scheme == b"http" and self.allows_host(rest)

    def allows_page(self, value: bytes) -> bool:
        """Whether an Origin header names a page that this or a linked bridge served."""
        return value in self._linked or value in self._former or self.allows_origin(value)

    def owns_ip(self, ip: str) -> bool:
        """Whether an address is one of this machine's own, loopback included."""
        canonical = _ip(ip)
        if canonical is None:
            return False
        if canonical in self._ips:
            return True
        if ipaddress.ip_address(canonical).is_loopback:
            return True
        now = self._monotonic()
        if now - self._read_at < REREAD_SECONDS:
            return False
        self._read_at = now
        self._ips = _canonical(self._read_ips())
        return canonical in self._ips


class Guard:
    """The middleware of rules 1 to 3, and the headers that every response has.

    Args:
        app: what is guarded.
        hosts: the allow-list.
    """

    def __init__(self, app: App, hosts: AllowedHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_ALWAYS]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        if _head_bytes(scope) > HTTP_HEADER_BYTES:  # the parser sees only those that come in parts
            return 431, "head_too_large", "The request line and headers are too long."
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._hosts.allows_host(hosts[0]):
            return (
                421,
                "bad_host",
                "This address is not one of this bridge's. Use an address that it printed.",
            )
        if scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD"):
            origins = [value for name, value in scope["headers"] if name == b"origin"]
            shared = scope["type"] == "websocket" or scope["path"].startswith("/ftweb/files/")
            allows = self._hosts.allows_page if shared else self._hosts.allows_origin
            if len(origins) > 1 or not all(allows(origin) for origin in origins):
                return 403, "bad_origin", "Pages of other origins may not connect."
        return None


_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    # Not "no-referrer": with that a browser posts a form with ``Origin: null``, also to where the
    # page came from (Fetch, "append a request Origin header"), and rule 2 would refuse it.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def _head_bytes(scope: Scope) -> int:
    """What the request line and headers came to, but for a few bytes."""
    line = len(scope["raw_path"]) + len(scope["query_string"])
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


async def _refuse(scope: Scope, send: Send, status: int, code: str, text: str) -> None:
    prefix = "" if scope["type"] == "http" else "websocket."
    body = f"{code}: {text}\n".encode()
    await send(
        {
            "type": f"{prefix}http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
                (b"connection", b"close"),
                *_ALWAYS,
            ],
        }
    )
    await send({"type": f"{prefix}http.response.body", "body": body})


# --- tokens and ids -------------------------------------------------------------------------


def check_token(token: str, identity: Identity) -> tuple[bool, bool]:
    """Compare a token in constant time.

    Returns:
        Whether it may join, and whether as a presenter.
    """
    given = token.encode("utf-8", "surrogatepass")
    presenter = hmac.compare_digest(given, identity.presenter_token.encode())
    joins = hmac.compare_digest(given, identity.join_token.encode())
    return presenter or joins, presenter


def client_id(client_key: str) -> str:
    """The id of the client that holds this key."""
    return _derive("client", client_key)


def device_id(device_key: str) -> str:
    """The id of the device that holds this key."""
    return _derive("device", device_key)


def _derive(kind: str, key: str) -> str:
    return hashlib.sha256(f"ftweb {kind}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


# --- parsing --------------------------------------------------------------------------------


def _split_host(value: bytes | None) -> tuple[str, int | None] | None:
    """Name and port of a Host header, or None if it is not exactly one of each."""
    if not value or len(value) > HOST_CHARS:
        return None
    try:
        text = value.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        name, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return None
        port = port[1:] if port else ""
        has_port = text.endswith("]") is False
    else:
        name, colon, port = text.partition(":")
        has_port = bool(colon)
    if not has_port:
        return (name, None) if name else None
    if not name or not port.isdigit() or len(port) > 5:
        return None
    return name, int(port)


def _ip(text: str) -> str | None:
    """An IP literal in its one canonical form; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.scope_id is not None:
            return None
    return str(address)


def _canonical(ips: Iterable[str]) -> frozenset[str]:
    return frozenset(ip for text in ips if (ip := _ip(text.partition("%")[0])) is not None)


def _machine_ips() -> list[str]:
    return [address.ip for address in machine_addresses()]


def _own_name() -> str:
    return socket.gethostname().partition(".")[0].lower() + ".local"
