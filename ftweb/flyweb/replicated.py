"""Requests that may change the replicated state: each is one request of the host's.

An ASGI middleware around the app. Rules:

1. POST, PUT, PATCH and DELETE to an app that was mounted on a server with a state, and every
   request with an ``Idempotency-Key``, go through the host if their body has at most
   HTTP_WRITE_BYTES. All others go straight to the app, which can read the state but not change it.
2. There the app runs as a handler does: one at a time, on the head state, within HANDLER_SECONDS.
   Its response is kept until the change is committed, and only then leaves.
3. A response of 400 or more commits no change and no message: as if the handler had raised.
4. With a key the response is the reply in the log; another request with the same key gets it again.
   With another body it gets 422.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from typing import Any, Final

from ftweb.app import Server, payload
from ftweb.app.transaction import CURRENT
from ftweb.core.types import Json
from ftweb.errors import LimitError
from ftweb.flyweb.exchange import ASGI, App, Elsewhere, Message, Receive, Scope, Send
from ftweb.flyweb.submitting import GaveUp, Submitter, TooManyKeys
from ftweb.frames import Failure
from ftweb.limits import HTTP_REPLY_BYTES, HTTP_STREAMS, HTTP_WRITE_BYTES

_log = logging.getLogger(__name__)

CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Methods whose requests may change something (RFC 9110, section 9.2.1)."""

FAILURES: Final = {"handler_timeout": 504, "too_large": 413, "state_too_large": 507}
"""Error code of the host → status; 500 for others."""


class Replicated:
    """The middleware.

    Args:
        server: whose app it is.
        submitter: the way to the host.
    """

    def __init__(self, server: Server, submitter: Submitter) -> None:
        self._server = server
        self._app: App = server.web
        self._submitter = submitter
        self._responses: dict[int, dict[str, Any]] = {}
        """Serial → response, of requests without a key that the host has run."""
        server.http_handler = self._handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        key = _key(scope)
        changing = self._server.replicates_http and scope.get("method") in CHANGING
        if scope["type"] != "http" or not (changing or key):
            await self._app(scope, receive, send)
            return
        body, ended = await _read(receive)
        if body is None:
            return  # the client is gone
        short = ended and len(body) <= HTTP_WRITE_BYTES
        request = _request(scope, body) if short else None
        if request is None or not _fits(request):
            if key:
                await _answer(send, _plain(413, "With an Idempotency-Key that is too large."))
            else:
                await self._app(scope, _again(body, ended, receive), send)
            return
        response = await (self._once(scope, key, request) if key else self._now(request))
        await _answer(send, response)

    async def _now(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            serial, replied = await self._submitter.submit(request)
        except GaveUp:
            return _plain(503, "The host has changed; nobody can tell whether this was done.")
        response = self._responses.pop(serial, None)
        if replied.error is not None or response is None:
            return _failed(replied.error)
        return response

    async def _once(self, scope: Scope, key: bytes, request: dict[str, Any]) -> dict[str, Any]:
        named = b"\0".join((scope["method"].encode(), scope["path"].encode(), key))
        try:
            replied = await self._submitter.submit_once(_digest(named), request)
        except GaveUp:
            raise Elsewhere from None
        except TooManyKeys:
            return _plain(429, "Too many different keys; try again later.")
        if replied.error is not None:
            return _failed(replied.error)
        reply: Any = replied.payload
        if reply["request"] != _digest(request["body"].encode()):
            return _plain(422, "This Idempotency-Key was used with another body.")
        response: dict[str, Any] = reply["response"]
        return response

    # --- in the host --------------------------------------------------------------------------

    async def _handle(self, request: Any, source: Any, serial: int = 0) -> Json:
        """The handler of HTTP requests: runs the app, within the host's transaction."""
        current = CURRENT.get()
        assert current is not None
        transaction = current[1]
        mark = transaction.recorder.mark()
        response = await _run(self._app, request)
        keyed = any(name == "idempotency-key" and value for name, value in request["headers"])
        if keyed and payload.size(response) > HTTP_REPLY_BYTES:
            response = _plain(500, "The response is too large to be kept with its key.")
        if response["status"] >= 400:
            transaction.recorder.rollback(mark)
            transaction.outbox.clear()
        if keyed:
            return {"request": _digest(request["body"].encode()), "response": response}
        self._responses[serial] = response
        if len(self._responses) > HTTP_STREAMS:  # of requests that were given up meanwhile
            del self._responses[next(iter(self._responses))]
        return None


async def _run(app: App, request: dict[str, Any]) -> dict[str, Any]:
    """Run the app on a request and collect its response."""
    response: dict[str, Any] = {}
    body = bytearray()
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": base64.b64decode(request["body"])}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response["status"] = int(message["status"])
            response["headers"] = [
                [bytes(name).decode("latin-1"), bytes(value).decode("latin-1")]
                for name, value in message.get("headers", ())
            ]
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    try:
        await app(_scope(request), receive, send)
    except Exception:
        _log.exception("The app failed on %s %s.", request["method"], request["path"])
        if not response:
            return _plain(500, "Internal Server Error")
    if not response:
        return _plain(500, "Internal Server Error")
    response["body"] = base64.b64encode(body).decode()
    return response


# --- requests and responses as JSON -------------------------------------------------------------


def _request(scope: Scope, body: bytes) -> dict[str, Any]:
    return {
        "method": scope["method"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "http_version": scope["http_version"],
        "scheme": scope["scheme"],
        "client": list(scope["client"]) if scope["client"] else None,
        "server": list(scope["server"]) if scope["server"] else None,
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in scope["headers"]],
        "body": base64.b64encode(body).decode(),
    }


def _scope(request: dict[str, Any]) -> Scope:
    return {
        "type": "http",
        "asgi": dict(ASGI),
        "http_version": request["http_version"],
        "server": tuple(request["server"]) if request["server"] else None,
        "client": tuple(request["client"]) if request["client"] else None,
        "scheme": request["scheme"],
        "method": request["method"],
        "root_path": "",
        "path": request["path"],
        "raw_path": request["raw_path"].encode("latin-1"),
        "query_string": request["query"].encode("latin-1"),
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in request["headers"]],
        "state": {},
    }


def _plain(status: int, text: str) -> dict[str, Any]:
    headers = [["content-type", "text/plain; charset=utf-8"]]
    if status in (429, 503):
        headers.append(["retry-after", "1"])
    body = base64.b64encode(text.encode()).decode()
    return {"status": status, "headers": headers, "body": body}


def _failed(failure: Failure | None) -> dict[str, Any]:
    if failure is None:
        return _plain(500, "Internal Server Error")
    return _plain(FAILURES.get(failure.code, 500), f"{failure.code}: {failure.message}")


async def _answer(send: Send, response: dict[str, Any]) -> None:
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in response["headers"]]
    start = {"type": "http.response.start", "status": response["status"], "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": base64.b64decode(response["body"])})


async def _read(receive: Receive) -> tuple[bytes | None, bool]:
    """The body, or what was read of one that is too long, and whether that is all of it.

    None if the client is gone.
    """
    body = bytearray()
    while len(body) <= HTTP_WRITE_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None, False
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body), True
    return bytes(body), False


def _again(body: bytes, ended: bool, receive: Receive) -> Receive:
    """``receive`` with what was read put back."""
    waiting = [body]

    async def first() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": not ended}
        return await receive()

    return first


def _fits(request: dict[str, Any]) -> bool:
    """Whether a request can travel as one of the host's: its headers count too."""
    try:
        payload.check(request)
    except LimitError:
        return False
    return True


def _key(scope: Scope) -> bytes:
    for name, value in scope.get("headers", ()):
        if name == b"idempotency-key" and value:  # an empty one is none
            return bytes(value)
    return b""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
