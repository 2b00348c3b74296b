"""What the bridge itself answers when the app cannot: short texts with a code each."""

from __future__ import annotations

from typing import Any, Final

from ftweb.bridge.security import Receive, Scope, Send

REFUSALS: Final[dict[int, tuple[str, str]]] = {
    408: ("upload_stalled", "The body of the request did not come in time."),
    413: ("too_large", "The body of the request is too large."),
    429: ("too_many_pending", "Too many requests at once come from this address."),
    502: ("host_failed", "The tab that hosts broke off before it answered."),
    503: ("no_host", "No tab hosts this app at the moment, or the one that did has gone."),
    504: ("host_silent", "The tab that hosts did not answer in time."),
}
"""Status → code and sentence."""

RETRY_SECONDS: Final = 1
"""``Retry-After`` of 429 and 503: a takeover takes about a second."""


async def refuse(scope: Scope, receive: Receive, send: Send, status: int) -> None:
    """Answer with one of :data:`REFUSALS`; a WebSocket too, before it is accepted."""
    code, text = REFUSALS[status]
    body = f"{code}: {text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status in (429, 503):
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    if status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not wanted
    prefix = "" if scope["type"] == "http" else "websocket."
    start: dict[str, Any] = {
        "type": f"{prefix}http.response.start",
        "status": status,
        "headers": headers,
    }
    await send(start)
    shown = b"" if scope.get("method") == "HEAD" else body
    await send({"type": f"{prefix}http.response.body", "body": shown})


async def redirect(send: Send, location: bytes) -> None:
    """Send a request to another bridge, as it is (307)."""
    headers = [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    start: dict[str, Any] = {"type": "http.response.start", "status": 307, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b""})
