"""The comparison table of WebSocket conversations: what each side says, and what must differ."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

from .table import GUARDED
from .talking import (
    BINARY,
    CLOSE,
    CONTINUED,
    PING,
    PONG,
    TEXT,
    Conversation,
    Ended,
    Hear,
    Leave,
    Play,
    Raw,
    Step,
    Transcript,
    Vanish,
    frame,
    told,
)

BRIDGE_BYTES: Final = 256 * 1024
"""What a message to an app may have through a bridge."""


def echoed(name: str, *messages: str | bytes) -> Conversation:
    """Messages that come back."""
    return Conversation(name=name, client=(*messages, Hear(len(messages))))


def left(name: str, *steps: Step) -> Conversation:
    """The client leaves in some way after a first message, and the app is told how."""
    return Conversation(name=name, client=("x", Hear(1), *steps))


def broken(name: str, *frames: bytes) -> Conversation:
    """The client breaks the protocol after a first message."""
    return left(name, Raw(b"".join(frames)), Ended())


def played(name: str, *lines: Sequence[Any]) -> Conversation:
    """The app ends it, and the client only listens."""
    return Conversation(name=name, app=lines, client=(Ended(),))


def shown(name: str, **options: Any) -> Conversation:
    """The client is shown the app's scope."""
    return Conversation(
        name=name, app=[["accept"], ["show"], ["echo"]], client=(Hear(1),), **options
    )


def refused(name: str, target: str = "/talk", **options: Any) -> Conversation:
    """A handshake of which the app's part may never hear."""
    return Conversation(name=name, target=target, **options)


def closing(*data: bytes | str | int) -> bytes:
    """The client's close frame, of whatever it is made."""
    parts = (
        struct.pack(">H", each)
        if isinstance(each, int)
        else each.encode()
        if isinstance(each, str)
        else each
        for each in data
    )
    return frame(CLOSE, b"".join(parts))


SHOWN: Final[Play] = [["accept"], ["show"], ["echo"]]
MANY: Final = [f"number {n}" for n in range(500)]

FRAGMENTS: Final = (
    frame(TEXT, b"x", fin=False) + frame(CONTINUED, b"x", fin=False) * 1100 + frame(CONTINUED, b"")
)

CONVERSATIONS: Final[list[Conversation]] = [
    # messages
    echoed("text", "hello"),
    echoed("bytes", b"\x00\xff\x80"),
    echoed("empty text", ""),
    echoed("empty bytes", b""),
    echoed("text and bytes in turns", "", b"", "a", b"a", "", b""),
    echoed("planes of Unicode", "hé \u20ac \U0001f600 \U0010ffff e\u0301 \u202e \uffff"),
    echoed("byte order marks", "\ufeffx\ufeff", "\ufeff"),
    echoed("zero bytes and line ends", "a\x00b\r\n\x7f\u2028"),
    echoed("lengths where headers change", *("x" * n for n in (125, 126, 127, 65_535, 65_536))),
    echoed("64 KiB", "x" * 65_536, b"y" * 65_536),
    echoed("250 KiB", "é" * 125_000, b"y" * 250_000),
    echoed("as long as a bridge takes", b"z" * BRIDGE_BYTES),
    echoed("many large ones", *(bytes([n]) * 200_000 for n in range(12))),
    echoed("500 in order", *MANY),
    Conversation(
        name="fragments",
        client=(
            Raw(
                frame(TEXT, "hé".encode()[:2], fin=False)
                + frame(CONTINUED, b"", fin=False)
                + frame(CONTINUED, "hé".encode()[2:], fin=False)
                + frame(CONTINUED, b"llo")
            ),
            Raw(frame(BINARY, b"", fin=False) + frame(CONTINUED, b"")),
            Raw(frame(BINARY, b"a" * 70_000, fin=False) + frame(CONTINUED, b"b" * 70_000)),
            Hear(3),
        ),
    ),
    Conversation(
        name="a ping within a message",
        client=(
            Raw(frame(TEXT, b"be", fin=False) + frame(PING, b"now") + frame(CONTINUED, b"fore")),
            Hear(2),
        ),
    ),
    Conversation(
        name="pings",
        client=(
            Raw(frame(PING, b"")),
            Raw(frame(PING, b"payload\x00\xff")),
            Raw(frame(PING, b"p" * 125)),
            Hear(3),
        ),
    ),
    Conversation(
        name="pongs that nobody asked for",
        client=(Raw(frame(PONG, b"")), Raw(frame(PONG, b"here")), "x", Hear(1)),
    ),
    Conversation(
        name="a burst",
        app=[["accept"], ["count", 1000], ["echo"]],
        client=(Hear(1000), "still there?", Hear(1)),
    ),
    played("a burst, then the end", ["accept"], ["count", 1000], ["close", 4000, "that was all"]),
    Conversation(
        name="both at once",
        app=[["accept"], ["both", 400], ["close"]],
        client=(*(f"client {n}" for n in range(400)), Hear(800), Ended()),
        mixed=True,
    ),
    Conversation(
        name="three megabytes at once",
        app=[["accept"], ["binary", "\xff", 3_000_000], ["text", "é", 3], ["echo"]],
        client=(Hear(4),),
    ),
    Conversation(
        name="json",
        client=(json.dumps({"a": [1, None, "é\U0001f600"], "b": {}}), Hear(1)),
    ),
    Conversation(
        name="more than a bridge takes from the app",
        app=[["accept"], ["binary", "x", 17 * 2**20], ["echo"]],
        client=(Hear(1),),
    ),
    # the scope
    shown("plain scope"),
    Conversation(
        name="query and path",
        target="/talk/%C3%BC/a%2Fb%20c/%FF//x?q=%C3%BC&q=2&e=+%20&%zz",
        client=("scope", Hear(1)),
    ),
    shown(
        "headers and cookies",
        headers=(
            "Cookie: a=1; b=2",
            "Cookie: c=3",
            "X-Two: 1",
            "x-two: 2",
            "X-Name: Zo\xeb",
            "X-Empty:",
            "Authorization: Bearer abc",
            "User-Agent: tests",
            "Accept-Language: de, en;q=0.5",
        ),
    ),
    shown("sixty headers", headers=tuple(f"X-{n}: {n}" for n in range(60))),
    shown("headers of proxies", headers=("X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")),
    shown("an origin of its own", headers=("Origin: http://%HOST%",)),
    shown("subprotocols that the app ignores", offers=("chat, superchat", "third")),
    # subprotocols and the app's headers
    Conversation(
        name="one chosen", app=[["accept", "b"], *SHOWN[1:]], offers=("a, b",), client=(Hear(1),)
    ),
    Conversation(
        name="chosen from two headers", app=[["accept", "c"], ["echo"]], offers=("a,b", "c")
    ),
    played("chosen though nobody offered", ["accept", "chat"], ["close"]),
    played(
        "headers of the app's",
        [
            "accept",
            None,
            ["X-Room", "1"],
            ["set-cookie", "a=1; HttpOnly"],
            ["set-cookie", "b=2"],
            ["x-name", "Zo\xeb"],
            ["server", "mine"],
        ],
        ["close"],
    ),
    played("line ends in a header", ["accept", None, ["x-bad", "a\r\nx-more: b"]], ["close"]),
    Conversation(
        name="by Starlette", target="/talk?x=1", offers=("chat",), client=("scope", Hear(1))
    ),
    Conversation(name="closed by Starlette", target="/talk", client=("close", Ended())),
    Conversation(name="fails in Starlette", target="/talk", client=("fail", Ended())),
    # the app's no
    played("refused", ["close"], ["receive"]),
    played("refused with a code", ["close", 4003, "not you"], ["receive"]),
    played(
        "denied",
        [
            "deny",
            401,
            [["www-authenticate", "Basic"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
            "who ",
            "",
            "are you?",
        ],
        ["receive"],
    ),
    played("denied with nothing", ["deny", 302, [["location", "/elsewhere"]], ""], ["receive"]),
    played("denied with an odd status", ["deny", 299, [["content-type", "text/odd"]], "odd"]),
    played("denied, then broken off", ["deny", 403, []], ["fail"]),
    played("denied with a part of it", ["deny", 403, [], "no", None], ["fail"]),
    played("denied with no status", ["deny", 999, [], "no"]),
    played("denied, then accepted", ["deny", 403, [], "no"], ["accept"]),
    refused("refused by Starlette", "/no"),
    refused("denied by Starlette", "/deny"),
    refused("unknown path", "/nothing"),
    refused("a route for HTTP", "/sync"),
    # apps that err
    played("raises at once", ["fail"]),
    played("ends at once"),
    played("says something first", ["text", "too early"]),
    played("accepts twice", ["accept"], ["accept"]),
    played("raises later", ["accept"], ["text", "one"], ["fail"]),
    played("ends without a close", ["accept"], ["text", "one"]),
    played("something unknown", ["accept"], ["message", {"type": "websocket.unknown"}]),
    played(
        "says no more than its type", ["accept"], ["message", {"type": "websocket.send"}], ["close"]
    ),
    played("half a character", ["accept"], ["text", "\ud800"]),
    played("says something after its end", ["accept"], ["close"], ["text", "too late"]),
    played("closes twice", ["accept"], ["close"], ["close", 4000]),
    # the app's close
    played("closed", ["accept"], ["close"], ["receive"]),
    played("closed with a code", ["accept"], ["close", 4001, "as you wish"], ["receive"]),
    played("closed with a code only", ["accept"], ["close", 3000], ["receive"]),
    played("closed with 1001", ["accept"], ["close", 1001, "weg\u00fc\U0001f600"]),
    played("closed with the longest reason", ["accept"], ["close", 4000, "r" * 123]),
    played("closed with a reason that is too long", ["accept"], ["close", 4000, "r" * 124]),
    played("closed with 1006", ["accept"], ["close", 1006]),
    played("closed with 99", ["accept"], ["close", 99]),
    Conversation(
        name="closed while the client talks",
        app=[["accept"], ["receive"], ["close", 4000, "enough"]],
        client=(*("x" * 1000 for _ in range(50)), Ended()),
    ),
    # the client's close
    left("leaves", Leave()),
    left("leaves with a reason", Leave(1000, "done")),
    left("leaves with 1001", Leave(1001, "")),
    left("leaves with 3000", Leave(3000, "three")),
    left("leaves with 4999", Leave(4999, "r\u00e9ason \U0001f600")),
    left("leaves without a code", Leave(None)),
    left("leaves with 1011", Leave(1011, "broken")),
    Conversation(name="leaves at once", app=[["accept"], ["echo"]]),
    Conversation(
        name="leaves while the app talks",
        app=[["accept"], ["receive"], ["text", "x" * 8000, 1_000_000]],
        client=("x", Hear(10), Leave(3000, "too much")),
        heard=10,
    ),
    Conversation(
        name="vanishes while the app talks and does not listen",
        app=[["accept"], ["receive"], ["text", "x" * 8000, 1_000_000]],
        client=(*(b"x" * 200_000 for _ in range(8)), Hear(10), Vanish()),
        heard=10,
    ),
    left("vanishes", Vanish()),
    Conversation(
        name="vanishes before the answer",
        app=[["receive"], ["accept"]],
        client=(Vanish(),),
        hasty=True,
    ),
    left("vanishes within a message", Raw(frame(TEXT, b"half", fin=False)), Vanish()),
    left("vanishes within a frame", Raw(frame(TEXT, b"half")[:-2]), Vanish()),
    Conversation(
        name="the app talks on after it has gone",
        app=[["accept"], ["echo"], ["text", "too late"]],
        client=(Leave(),),
    ),
    # clients that err
    broken("no UTF-8", frame(TEXT, b"\xff\xfe")),
    broken("a surrogate in UTF-8", frame(TEXT, b"\xed\xa0\x80")),
    broken("no UTF-8 in fragments", frame(TEXT, b"a\xc3", fin=False), frame(CONTINUED, b"(")),
    broken("a reserved opcode", frame(3, b"x")),
    broken("a reserved control opcode", frame(11, b"")),
    broken("a reserved bit", frame(TEXT, b"x", reserved=4)),
    broken("no mask", frame(TEXT, b"x", masked=False)),
    broken("a rest of nothing", frame(CONTINUED, b"x")),
    broken("a message within a message", frame(TEXT, b"a", fin=False), frame(TEXT, b"b")),
    broken("a ping in fragments", frame(PING, b"a", fin=False)),
    broken("a ping that is too long", frame(PING, b"x" * 126)),
    broken("a length that is negative", b"\x82\xff" + b"\xff" * 8),
    broken("a length of 20 MiB", b"\x82\xff" + struct.pack(">Q", 20 * 2**20)),
    left("more than a bridge takes", b"x" * (BRIDGE_BYTES + 1), Hear(1)),
    left(
        "more than a bridge takes, in fragments",
        Raw(frame(TEXT, b"x" * 200_000, fin=False) + frame(CONTINUED, b"x" * 200_000)),
        Hear(1),
    ),
    left("more fragments than a bridge takes", Raw(FRAGMENTS), Hear(1)),
    broken("a close of one byte", closing(b"\x03")),
    broken("a close with 1005", closing(1005)),
    broken("a close with 999", closing(999, "x")),
    broken("a close with 5000", closing(5000)),
    broken("a close whose reason is no UTF-8", closing(1000, b"\xff")),
    broken("a close in fragments", frame(CLOSE, b"\x03\xe8", fin=False)),
    broken("a message after its close", closing(1000), frame(TEXT, b"late")),
    # handshakes
    refused("no key", instead={"Sec-WebSocket-Key": None}),
    refused("a bad key", instead={"Sec-WebSocket-Key": "x"}),
    refused("no version", instead={"Sec-WebSocket-Version": None}),
    refused("an old version", instead={"Sec-WebSocket-Version": "8"}),
    refused("two versions", headers=("Sec-WebSocket-Version: 13",)),
    refused("a post", line="POST %s HTTP/1.1"),
    refused("version 1.0", line="GET %s HTTP/1.0"),
    refused("no upgrade", instead={"Upgrade": None, "Connection": "close"}),
    refused(
        "upgrade to something else", instead={"Upgrade": "h2c", "Connection": "close, Upgrade"}
    ),
    Conversation(
        name="upgrade as browsers put it",
        instead={"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade"},
    ),
    refused(
        "a get on the route",
        instead={
            "Upgrade": None,
            "Connection": "close",
            "Sec-WebSocket-Key": None,
            "Sec-WebSocket-Version": None,
        },
    ),
    refused("a page of another site", headers=("Origin: http://evil.example",)),
    refused("a page of nowhere", headers=("Origin: null",)),
    refused("two origins", headers=("Origin: http://%HOST%", "Origin: http://%HOST%")),
    refused("a host that is not ours", instead={"Host": "evil.example"}),
    refused("compression", headers=("Sec-WebSocket-Extensions: permessage-deflate",)),
    refused("an unknown extension", headers=("Sec-WebSocket-Extensions: x-unknown; a=1",)),
]

type Essence = tuple[int, int | None]
"""Status and close code."""

CLOSED: Final[Essence] = (101, 1000)
OTHERS: Final = "Pages of other sites may not connect."
BOUNDS: Final = "A bridge's bounds are narrower."

DIFFERENT: Final[dict[str, tuple[Essence, Essence, str]]] = {
    "headers of proxies": (CLOSED, CLOSED, "Nobody may say where a connection comes from."),
    "a length that is negative": ((101, 1009), (101, 1009), BOUNDS),
    "a length of 20 MiB": ((101, 1009), (101, 1009), BOUNDS),
    "more than a bridge takes": (CLOSED, (101, 1009), BOUNDS),
    "more than a bridge takes, in fragments": (CLOSED, (101, 1009), BOUNDS),
    "more fragments than a bridge takes": (CLOSED, (101, 1008), BOUNDS),
    "more than a bridge takes from the app": (CLOSED, (101, 1009), BOUNDS),
    "compression": (CLOSED, CLOSED, "A bridge frames a text once for many clients."),
    "a page of another site": (CLOSED, (403, None), OTHERS),
    "a page of nowhere": (CLOSED, (403, None), OTHERS),
    "a host that is not ours": (CLOSED, (421, None), "A bridge answers to its own names only."),
}
"""Name → what comes under uvicorn and through the tab, and why. They stand in docs/flyweb.md."""


def differences(
    one: Conversation,
    direct: Transcript,
    tab: Transcript,
    names: tuple[Sequence[str], Sequence[str]],
) -> list[str]:
    """What is not the same in two transcripts of one conversation and should be.

    Args:
        one: the conversation.
        direct: what it brought under uvicorn.
        tab: and through the tab.
        names: of server and client there and here, to be left out.
    """
    left, right = told(direct, *names[0]), told(tab, *names[1])
    right["headers"] = [each for each in right["headers"] if each[0] not in GUARDED]
    if one.name in DIFFERENT:
        essences = (direct.essence, tab.essence)
        if left == right or essences != DIFFERENT[one.name][:2]:
            return [f"{one.name}: {essences}, and not {DIFFERENT[one.name]}"]
        if len(tab.frames) > len(direct.frames):  # a bridge never has a word of its own there
            return [f"{one.name}: {tab.frames[-1]} through the tab, and {direct.frames[-1:]}"]
        return []
    return [
        f"{one.name}, {key}:\n   direct {left[key]!r:.700}\n   tab    {right[key]!r:.700}"
        for key in left
        if left[key] != right[key]
    ]
