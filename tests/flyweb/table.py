"""The comparison table: requests as bytes, and what came back as something to compare.

Everything goes over plain sockets, so that a request can be as odd as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import h11

LINES_ETAG: Final = '"lines"'

type Case = tuple[str, str, bytes]
"""Name, method of the (first) request, and its bytes; ``%HOST%`` stands for the address."""


@dataclass(kw_only=True)
class Answer:
    """One response, without what must differ."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool
    """It came to its end; else the connection did before."""


@dataclass(kw_only=True)
class Outcome:
    """What one case brought."""

    informational: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    closed: bool = False
    """The server ended the connection after that."""


def request(
    method: str, target: str, *headers: str, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request that is not odd but where it says so."""
    lines = [f"{method} {target} HTTP/{version}", "Host: %HOST%", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(target: str, *headers: str) -> bytes:
    """A GET that closes."""
    return request("GET", target, *headers, "Connection: close")


def raw(text: str) -> bytes:
    """Exactly that."""
    return text.encode("latin-1")


def post(target: str, body: bytes, *headers: str) -> bytes:
    """A POST that closes."""
    length = f"Content-Length: {len(body)}"
    return request("POST", target, length, "Connection: close", *headers, body=body)


def chunked(target: str, body: bytes, *headers: str) -> bytes:
    """A POST whose body is as given, in chunks."""
    coding = "Transfer-Encoding: chunked"
    return request("POST", target, coding, "Connection: close", *headers, body=body)


def handshake(
    target: str, *, key: str | None = "dGhlIHNhbXBsZSBub25jZQ==", version: int = 13
) -> bytes:
    """A WebSocket's first request."""
    keys = [] if key is None else [f"Sec-WebSocket-Key: {key}"]
    wanted = f"Sec-WebSocket-Version: {version}"
    return request("GET", target, "Upgrade: websocket", "Connection: Upgrade", *keys, wanted)


CASES: Final[list[Case]] = [
    # plain
    ("page", "GET", get("/")),
    ("head", "HEAD", request("HEAD", "/", "Connection: close")),
    ("scope", "GET", get("/scope?a=1&b=2", "X-Two: 1", "X-Two: 2", "Accept: */*")),
    ("sync handler", "GET", get("/sync?name=x")),
    ("not found", "GET", get("/nothing/here")),
    ("method not allowed", "POST", post("/sync", b"")),
    ("options", "OPTIONS", request("OPTIONS", "/scope", "Connection: close")),
    ("options of all", "OPTIONS", request("OPTIONS", "*", "Connection: close")),
    ("trace", "TRACE", request("TRACE", "/scope", "Connection: close")),
    ("delete", "DELETE", request("DELETE", "/scope", "Connection: close")),
    ("an unusual method", "PURGE", request("PURGE", "/scope", "Connection: close")),
    ("a method in lower case", "get", request("get", "/scope", "Connection: close")),
    ("redirect", "GET", get("/redirect")),
    ("a missing slash", "GET", get("/slash")),
    ("cookies", "GET", get("/cookies", "Cookie: x=y; z=w")),
    ("authorization", "GET", get("/scope", "Authorization: Basic dTpw")),
    ("refused by the app", "GET", get("/refuse")),
    ("background task", "GET", get("/later")),
    # targets
    ("an encoded slash", "GET", get("/scope/a%2Fb")),
    ("encoded dots", "GET", get("/scope/%2e%2e/%2e%2e/etc/passwd")),
    ("dots", "GET", get("/scope/../../etc/passwd")),
    ("double slashes", "GET", get("//scope//x")),
    ("umlauts", "GET", get("/scope/%C3%BC?q=%C3%BC")),
    ("no UTF-8", "GET", get("/scope/%FF%FE?q=%FF")),
    ("bad escapes", "GET", get("/scope/%zz%2?q=%")),
    ("a zero byte", "GET", get("/scope/%00")),
    ("line ends in the path", "GET", get("/scope/%0d%0aX:%20y")),
    ("raw bytes above 127", "GET", raw("GET /scope/\xfc HTTP/1.1\r\nHost: %HOST%\r\n\r\n")),
    ("a long query", "GET", get("/scope?" + "x" * 8000)),
    ("a fragment", "GET", get("/scope#part")),
    ("the whole address as target", "GET", get("http://%HOST%/scope?x=1")),
    ("a space in the target", "GET", raw("GET /a b HTTP/1.1\r\nHost: %HOST%\r\n\r\n")),
    ("no slash", "GET", get("scope")),
    # bodies
    ("form", "POST", post("/form", b"text=hello", "Content-Type: text/plain")),
    (
        "json put",
        "PUT",
        request("PUT", "/body", "Content-Length: 2", "Connection: close", body=b"{}"),
    ),
    ("empty body", "POST", post("/body", b"")),
    ("no length at all", "POST", request("POST", "/body", "Connection: close")),
    ("a body on GET", "GET", get("/body", "Content-Length: 3") + b"abc"),
    ("a megabyte", "POST", post("/body", b"0123456789abcdef" * 65_536)),
    ("chunks", "POST", chunked("/body", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")),
    ("chunk extensions", "POST", chunked("/body", b"3;a=b\r\nabc\r\n0;x\r\n\r\n")),
    ("trailers", "POST", chunked("/body", b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")),
    ("a bad chunk size", "POST", chunked("/body", b"zz\r\nabc\r\n0\r\n\r\n")),
    ("a huge chunk size", "POST", chunked("/body", b"fffffffffffffffffffffffff\r\n")),
    ("length and chunks", "POST", chunked("/body", b"3\r\nabc\r\n0\r\n\r\n", "Content-Length: 9")),
    ("two equal lengths", "POST", post("/body", b"abc", "Content-Length: 3")),
    ("two different lengths", "POST", post("/body", b"abc", "Content-Length: 4")),
    ("a negative length", "POST", request("POST", "/body", "Content-Length: -1")),
    ("a length that is none", "POST", request("POST", "/body", "Content-Length: three")),
    (
        "gzip coding",
        "POST",
        request("POST", "/body", "Transfer-Encoding: gzip", "Connection: close"),
    ),
    ("asked first", "POST", post("/body", b"abc", "Expect: 100-continue")),
    (
        "asked first, not wanted",
        "POST",
        request("POST", "/too-much", "Content-Length: 9", "Expect: 100-continue"),
    ),
    ("not read by the app", "POST", post("/too-much", b"x" * 100)),
    # heads
    ("no host", "GET", raw("GET /scope HTTP/1.1\r\nConnection: close\r\n\r\n")),
    ("two hosts", "GET", get("/scope", "Host: other")),
    ("version 1.0", "GET", request("GET", "/scope", version="1.0")),
    ("version 1.0, kept", "GET", request("GET", "/sync", "Connection: keep-alive", version="1.0")),
    ("version 1.0, of no length", "GET", request("GET", "/stream", version="1.0")),
    ("version 2.0", "GET", request("GET", "/scope", version="2.0")),
    ("the preface of HTTP/2", "PRI", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    ("TLS", "GET", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)),
    ("garbage", "GET", raw("\r\n\r\nhello there\r\n\r\n")),
    ("a bad header name", "GET", get("/scope", "X Y: z")),
    ("a space before the colon", "GET", get("/scope", "X-Y : z")),
    ("a folded header", "GET", get("/scope", "X-Long: one", "  two")),
    ("bytes in a header", "GET", get("/scope", "X-Name: Zo\xeb")),
    ("a zero in a header", "GET", get("/scope", "X-Name: a\x00b")),
    ("a lone line feed", "GET", raw("GET /scope HTTP/1.1\nHost: %HOST%\nConnection: close\n\n")),
    (
        "a head that is too long",
        "GET",
        raw("GET /scope HTTP/1.1\r\nHost: %HOST%\r\nX: " + "x" * 20_000),
    ),
    ("a host that is not ours", "GET", raw("GET /sync HTTP/1.1\r\nHost: evil.example\r\n\r\n")),
    ("a post from another site", "POST", post("/body", b"abc", "Origin: http://evil.example")),
    ("sixty headers", "GET", get("/scope", *(f"X-{n}: {n}" for n in range(60)))),
    ("upgrade to what is not there", "GET", get("/scope", "Upgrade: h2c")),
    (
        "hop-by-hop",
        "GET",
        get("/scope", "TE: trailers", "Keep-Alive: timeout=5", "Proxy-Connection: x"),
    ),
    ("two in a row", "GET", request("GET", "/sync?name=1") + get("/sync?name=2")),
    (
        "post, then get",
        "POST",
        request("POST", "/body", "Content-Length: 3", body=b"abc") + get("/sync"),
    ),
    # responses
    ("stream", "GET", get("/stream")),
    ("events", "GET", get("/events", "Accept: text/event-stream")),
    ("events resumed", "GET", get("/events", "Last-Event-ID: 3")),
    ("two megabytes", "GET", get("/big")),
    ("head of a stream", "HEAD", request("HEAD", "/big", "Connection: close")),
    ("no content", "GET", get("/status/204")),
    ("not modified", "GET", get("/status/304")),
    ("teapot", "GET", get("/status/418")),
    ("compressed", "GET", get("/packed/", "Accept-Encoding: gzip")),
    ("a static file", "GET", get("/static/lines.txt")),
    ("a static file, out of its folder", "GET", get("/static/../odd.py")),
    ("a static file, out of it encoded", "GET", get("/static/%2e%2e/odd.py")),
    ("a file", "GET", get("/file")),
    ("head of a file", "HEAD", request("HEAD", "/file", "Connection: close")),
    ("a range", "GET", get("/file", "Range: bytes=10-19")),
    ("the rest", "GET", get("/file", "Range: bytes=4990-")),
    ("the end", "GET", get("/file", "Range: bytes=-5")),
    ("a range that is none", "GET", get("/file", "Range: bytes=9000-")),
    ("a range in other units", "GET", get("/file", "Range: lines=1-2")),
    ("a malformed range", "GET", get("/file", "Range: bytes=abc")),
    ("the rest of the same", "GET", get("/file", "Range: bytes=10-19", f"If-Range: {LINES_ETAG}")),
    ("the rest of another", "GET", get("/file", "Range: bytes=10-19", 'If-Range: "other"')),
    # apps that err
    ("raises in Starlette", "GET", get("/broken")),
    ("raises in Starlette, kept", "GET", request("GET", "/broken")),
    ("raises", "GET", get("/raw/raises/")),
    ("raises, kept", "GET", request("GET", "/raw/raises/")),
    ("no response", "GET", get("/raw/silent/")),
    ("breaks off", "GET", get("/raw/breaks-off/")),
    ("stops within", "GET", get("/raw/stops/")),
    ("wrong order", "GET", get("/raw/wrong-order/")),
    ("body longer than said", "GET", get("/raw/long/")),
    ("body shorter than said", "GET", get("/raw/short/")),
    ("line ends in a header", "GET", get("/raw/bad-header/")),
    ("a space in a header's name", "GET", get("/raw/bad-name/")),
    ("a body on 204", "GET", get("/raw/body-of-204/")),
    ("a 304 of the app's", "GET", get("/raw/body-of-304/")),
    # apps that are unusual
    ("no headers", "GET", get("/raw/plain/")),
    ("no body", "GET", get("/raw/empty/")),
    ("empty pieces", "GET", get("/raw/pieces/")),
    ("an unknown status", "GET", get("/raw/odd-status/")),
    ("latin-1 in a header", "GET", get("/raw/latin/")),
    ("a header twice", "GET", get("/raw/many/")),
    ("server and date of its own", "GET", get("/raw/own/")),
    ("closed by the app", "GET", request("GET", "/raw/close/")),
    ("chunked by the app", "GET", get("/raw/chunked/")),
    ("reads on", "GET", get("/raw/twice/")),
    # handshakes
    ("websocket without a key", "GET", handshake("/talk", key=None)),
    ("websocket of an old version", "GET", handshake("/talk", version=8)),
    ("websocket with a bad key", "GET", handshake("/talk", key="x")),
    ("websocket refused", "GET", handshake("/no")),
    ("websocket denied", "GET", handshake("/deny")),
    ("websocket that fails", "GET", handshake("/fails")),
    ("websocket where there is none", "GET", handshake("/nothing")),
]


GUARDED: Final = frozenset(
    {"x-content-type-options", "referrer-policy", "cross-origin-resource-policy"}
)
"""Headers that every response of a bridge has (docs/security.md)."""

DIFFERENT: Final[dict[str, tuple[list[int], list[int], str]]] = {
    "the preface of HTTP/2": ([404], [421], "A bridge answers to its own names only."),
    "a host that is not ours": ([200], [421], "A bridge answers to its own names only."),
    "a post from another site": ([200], [403], "Other sites' pages may not post."),
    "a head that is too long": ([400], [431], "RFC 6585 has a status for it."),
    "raises, kept": ([500], [500], "The connection stays open: the response was complete."),
    "raises in Starlette, kept": ([500], [500], "The same."),
}
"""Case → statuses under uvicorn and through the tab, and why. They stand in docs/flyweb.md."""


type Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def ask(
    host: str, port: int, case: Case, *, seconds: float = 15.0, connect: Connect | None = None
) -> Outcome:
    """Send a case's bytes and read all that comes, to the end or until nothing more is expected.

    Args:
        host: the server's address.
        port: its port.
        case: see :data:`Case`.
        seconds: longest time for it.
        connect: opens a connection from elsewhere.
    """
    _, method, data = case
    wanted = 2 if data.count(b"HTTP/1.1\r\n") == 2 else 1
    data = data.replace(b"%HOST%", f"{host}:{port}".encode())
    outcome = Outcome()
    opening = connect() if connect else asyncio.open_connection(host, port)
    reader, writer = await opening
    try:
        async with asyncio.timeout(seconds):
            writer.write(data)
            rest = b""
            for number in range(wanted):
                rest = await _answer(reader, "GET" if number else method, rest, outcome)
            if outcome.answers and not outcome.answers[-1].whole:
                outcome.closed = True
                return outcome
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    outcome.closed = not await reader.read(1)
    except ConnectionError:
        outcome.closed = True
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return outcome


async def _answer(
    reader: asyncio.StreamReader, method: str, rest: bytes, outcome: Outcome
) -> bytes:
    client = h11.Connection(h11.CLIENT)
    asked = method.upper() if method.upper() == "HEAD" else "GET"
    client.send(h11.Request(method=asked, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    if rest:
        client.receive_data(rest)
    answer: Answer | None = None
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError:
            return b""  # it ended early; what came is in the answer
        if event is h11.NEED_DATA:
            client.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.InformationalResponse):
            outcome.informational.append(event.status_code)
        elif isinstance(event, h11.Response):
            answer = Answer(
                status=event.status_code,
                headers=[(n.decode(), v.decode("latin-1")) for n, v in event.headers],
                body=b"",
                whole=False,
            )
            outcome.answers.append(answer)
        elif isinstance(event, h11.Data):
            assert answer is not None
            answer.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert answer is not None
            answer.whole = True
            return client.trailing_data[0]
        else:
            return b""


def comparable(outcome: Outcome, *names: str, drop: frozenset[str]) -> dict[str, Any]:
    """An outcome without what names the server or the time.

    Args:
        outcome: of a case.
        names: of server and client, to be left out.
        drop: headers to be left out.
    """

    def plain(text: str) -> str:
        for name in names:
            text = text.replace(name, "NAME")
        return text

    return {
        "informational": outcome.informational,
        "closed": outcome.closed,
        "answers": [
            {
                "status": answer.status,
                "headers": sorted(
                    (name, _sorted(value) if name == "allow" else plain(value))
                    for name, value in answer.headers
                    if name not in drop and not (name == "date" and value != "today")
                ),
                "body": plain(answer.body.decode("latin-1")),
                "whole": answer.whole,
            }
            for answer in outcome.answers
        ],
    }


def _sorted(value: str) -> str:
    """A list whose order is that of a set: another one in each interpreter."""
    return ", ".join(sorted(value.split(", ")))
