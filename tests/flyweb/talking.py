"""A WebSocket client that does as it is told, right or wrong, and writes down what comes back.

It stands on a plain socket, since every library refuses to break the protocol, and hides what a
server does below the messages: who closed first, how, and what was answered to a ping.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from websockets.utils import accept_key, apply_mask

from .table import Connect, ask, get

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="

CONTINUED: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_KINDS: Final = {CONTINUED: "rest", TEXT: "text", BINARY: "bytes", PING: "ping", PONG: "pong"}


def frame(
    opcode: int, data: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """One frame of a client, which may be wrong."""
    size = len(data)
    short = size if size < 126 else 126 if size < 65_536 else 127
    head = struct.pack(">BB", fin << 7 | reserved << 4 | opcode, masked << 7 | short)
    head += b"" if short < 126 else struct.pack(">H" if short == 126 else ">Q", size)
    mask = b"\x01\x82\x03\x84"
    return head + (mask + apply_mask(data, mask) if masked else data)


@dataclass(frozen=True)
class Hear:
    """Wait for so many frames that are no close."""

    count: int


@dataclass(frozen=True)
class Raw:
    """Send exactly these bytes."""

    data: bytes


@dataclass(frozen=True)
class Leave:
    """Send a close frame, with a code and a reason or without, and wait for the end."""

    code: int | None = 1000
    reason: str = ""


class Vanish:
    """Reset the connection, without a word."""


class Ended:
    """Wait for the server's close frame, answer it, and wait for the end of the connection."""


type Step = str | bytes | Hear | Raw | Leave | Vanish | Ended
"""What a client does; a text or bytes are a whole message."""

type Play = Sequence[Sequence[Any]]
"""What the application does: see ``Part`` in ``reference/odd.py``."""

ECHO: Final[Play] = (("accept",), ("echo",))


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One conversation."""

    name: str
    app: Play = ECHO
    client: Sequence[Step] = ()
    """A conversation that the last step does not end, the client leaves with 1000."""
    target: str | None = None
    """Where it is, if not at the application's ``Part``."""
    offers: Sequence[str] = ()
    """Values of ``Sec-WebSocket-Protocol``, a header each."""
    headers: Sequence[str] = ()
    """More headers."""
    instead: dict[str, str | None] = field(default_factory=dict)
    """Other values for the handshake's own headers; None leaves one out."""
    line: str = "GET %s HTTP/1.1"
    hasty: bool = False
    """The client goes on before the handshake is answered."""
    mixed: bool = False
    """Two sequences of texts come in any mixture; each is in order."""
    heard: int | None = None
    """So many messages come for certain; how many follow is a matter of time."""

    def begins(self, host: str) -> bytes:
        """Its handshake."""
        own = {
            "Host": host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        }
        lines = [
            self.line % self.address,
            *(f"{name}: {value}" for name, value in (own | self.instead).items() if value),
            *(f"Sec-WebSocket-Protocol: {value}" for value in self.offers),
            *self.headers,
        ]
        return "\r\n".join([*lines, "", ""]).replace("%HOST%", host).encode("latin-1")

    @property
    def place(self) -> str:
        """The path of the application's part."""
        return f"/part/{quote(self.name)}"

    @property
    def address(self) -> str:
        """Path and query of the handshake."""
        return self.target or f"{self.place}?{quote(json.dumps(self.app))}"


@dataclass(kw_only=True)
class Transcript:
    """What a conversation brought."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    frames: list[tuple[str, str | int]] = field(default_factory=list)
    """Kind and content of what came, the length too of what is long."""
    close: tuple[int | None, str] | None = None
    """Code and reason of the server's close frame."""
    first: str = "nobody"
    """Who sent the first one."""
    app: Any = None
    """What the application was told."""

    @property
    def essence(self) -> tuple[int, int | None]:
        """Status and close code."""
        return self.status, self.close[0] if self.close else None


class Talk:
    """One client.

    Args:
        conversation: what it says.
        reader: of its connection.
        writer: of its connection.
    """

    def __init__(
        self,
        conversation: Conversation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.transcript = Transcript()
        self._conversation = conversation
        self._reader = reader
        self._writer = writer
        self._over = False

    async def run(self, host: str) -> None:
        """Say it all, and hear all that comes."""
        try:
            self._writer.write(self._conversation.begins(host))
            if not self._conversation.hasty and not await self._answered():
                return
            for step in (*self._conversation.client, Leave()):
                if self._over:
                    return
                await self._do(step)
        finally:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _answered(self) -> bool:
        """Read the answer to the handshake; whether it was a yes."""
        found = self.transcript
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return False  # it was no answer
        line, *rest = head[:-4].split("\r\n")
        found.status = int(line.split()[1])
        found.headers = [
            (name.lower(), value) for name, _, value in (r.partition(": ") for r in rest)
        ]
        headers = dict(found.headers)
        if found.status == 101:
            assert headers["sec-websocket-accept"] == accept_key(KEY)
            return True
        found.body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            assert await self._reader.read() == b""
        return False

    async def _do(self, step: Step) -> None:
        match step:
            case str():
                self._send(frame(TEXT, step.encode()))
            case bytes():
                self._send(frame(BINARY, step))
            case Raw():
                self._send(step.data)
            case Hear():
                wanted = len(self.transcript.frames) + step.count
                while len(self.transcript.frames) < wanted and not self._over:
                    await self._hear()
            case Leave():
                code = b"" if step.code is None else struct.pack(">H", step.code)
                self._closing("client", code + step.reason.encode())
                await self._to_the_end()
            case Vanish():
                self._writer.transport.abort()
                self._over = True
            case Ended():
                await self._to_the_end()

    def _send(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    def _closing(self, who: str, data: bytes) -> None:
        if self.transcript.first == "nobody":
            self.transcript.first = who
            self._send(frame(CLOSE, data))

    async def _to_the_end(self) -> None:
        while not self._over:
            await self._hear()

    async def _hear(self) -> None:
        """Read one frame, or the end."""
        try:
            first, size = await self._reader.readexactly(2)
            assert size < 128, "a server's frames are not masked"
            if size > 125:
                (size,) = struct.unpack(
                    ">H" if size == 126 else ">Q",
                    await self._reader.readexactly(2 if size == 126 else 8),
                )
            data = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._over = True
            return
        opcode = first & 0x8F
        if opcode == 0x80 | CLOSE:
            assert self.transcript.close is None, "nothing follows a close frame"
            code = struct.unpack(">H", data[:2])[0] if data else None
            self.transcript.close = code, data[2:].decode()
            self._closing("server", data)
            return
        assert opcode & 0x80, "servers send whole messages"
        kind = _KINDS[opcode & 0x0F]
        text = data.decode() if kind == "text" else data.decode("latin-1")
        if len(data) <= 4096:
            self.transcript.frames.append((kind, text))
        else:
            told = f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:16]}"
            self.transcript.frames.append((kind, told))


async def talk(
    host: str,
    port: int,
    conversation: Conversation,
    *,
    seconds: float = 20.0,
    connect: Connect | None = None,
) -> Transcript:
    """Have a conversation, and ask the application how that was.

    Args:
        host: the server's address.
        port: its port.
        conversation: which one.
        seconds: longest time for it.
        connect: opens a connection from elsewhere.

    Raises:
        TimeoutError: it did not come to its end.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await (connect() if connect else asyncio.open_connection(host, port))
            talking = Talk(conversation, reader, writer)
            await talking.run(f"{host}:{port}")
            found = talking.transcript
            if conversation.target is None:
                case = ("log", "GET", get(conversation.place))
                outcome = await ask(host, port, case, connect=connect)
                found.app = json.loads(outcome.answers[0].body)
    except TimeoutError as error:
        raise TimeoutError(f"{conversation.name} at port {port} did not end") from error
    if conversation.mixed:
        found.frames.sort(key=lambda each: str(each[1]).split()[0])
    found.frames = found.frames[: conversation.heard]
    return found


def told(transcript: Transcript, *names: str) -> dict[str, Any]:
    """A transcript without what names the server, the client or the time.

    Args:
        transcript: of a conversation.
        names: to be left out.
    """

    def plain(text: Any) -> Any:
        for name in names:
            text = text.replace(name, "NAME") if isinstance(text, str) else text
        return text

    return {
        "status": transcript.status,
        "headers": sorted((n, plain(v)) for n, v in transcript.headers if n != "date"),
        "body": plain(transcript.body.decode("latin-1")),
        "frames": [(kind, plain(content)) for kind, content in transcript.frames],
        "close": transcript.close,
        "first": transcript.first,
        "app": transcript.app,
    }
