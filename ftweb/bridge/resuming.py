"""Downloads that go on at the next host, from the next byte.

A response can go on elsewhere if the app said enough to ask for the rest of the very same bytes:

1. It answers a GET with 200, a strong ``ETag``, ``Content-Length``, and ``Accept-Ranges: bytes``;
   or with 206 of one range, with a strong ``ETag`` and ``Content-Range``. It is not encoded.
2. The rest is asked for with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14): a host
   that has the same file answers 206 with the rest; one that has another file, or none, answers
   otherwise, and the download ends there, broken, never mixed.
"""

from __future__ import annotations

import re
from typing import Final

from ftweb.bridge.security import Scope
from ftweb.flyweb import wire

_CONTENT_RANGE: Final = re.compile(rb"bytes (\d+)-(\d+)/(\d+|\*)")


class Progress:
    """How far the response to one request is.

    Args:
        scope: of the request.

    Attributes:
        sent: bytes of the body that were passed on.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._head: wire.Head | None = None
        self._etag = b""
        self._first = 0
        """Where in the file the response began."""
        self._last = -1
        self.sent = 0

    @property
    def begun(self) -> bool:
        """Whether the client has been sent the head."""
        return self._head is not None

    @property
    def resumable(self) -> bool:
        """Whether the rest can be asked for."""
        return bool(self._etag) and self._first + self.sent <= self._last

    def began(self, head: wire.Head) -> None:
        """The response has begun."""
        self._head = head
        if self._scope["method"] != "GET":
            return
        etag = _one(head.headers, b"etag")
        if not etag.startswith(b'"') or _one(head.headers, b"content-encoding"):
            return
        if head.status == 200:
            length = _one(head.headers, b"content-length")
            if length.isdigit() and _one(head.headers, b"accept-ranges").lower() == b"bytes":
                self._etag, self._last = etag, int(length) - 1
        elif head.status == 206:
            found = _CONTENT_RANGE.fullmatch(_one(head.headers, b"content-range"))
            if found:
                self._etag = etag
                self._first, self._last = int(found[1]), int(found[2])

    def headers(self) -> wire.Headers:
        """The request's headers, for the rest."""
        left_out = (b"range", b"if-range", b"if-none-match", b"if-modified-since", b"if-match")
        kept = [(name, value) for name, value in self._scope["headers"] if name not in left_out]
        rest = b"bytes=%d-%d" % (self._first + self.sent, self._last)
        return [*kept, (b"range", rest), (b"if-range", self._etag)]

    def fits(self, head: wire.Head) -> bool:
        """Whether a response is the rest that was asked for."""
        found = _CONTENT_RANGE.fullmatch(_one(head.headers, b"content-range"))
        return (
            head.status == 206
            and found is not None
            and (int(found[1]), int(found[2])) == (self._first + self.sent, self._last)
            and _one(head.headers, b"etag") == self._etag
            and not _one(head.headers, b"content-encoding")
        )


def _one(headers: wire.Headers, name: bytes) -> bytes:
    """The value of a header that is there once; else nothing."""
    values = [value for found, value in headers if found.lower() == name]
    return values[0].strip() if len(values) == 1 else b""
