"""Every error of ftweb: the exceptions, and the codes that cross the wire.

::

    FtwebError                    anything of ours; has a documented ``code``
    ├── Refusal                   raised by a handler: "no", with a code of the app's own
    ├── RequestError              a client's request was answered with an error
    ├── FrameError                a frame broke the protocol (the peer's fault)
    ├── LimitError                a bound of ``ftweb.limits`` was passed
    ├── NotLeaderError            asked a node to propose that does not lead
    ├── StorageError              the replica could not be saved or read
    ├── FileError                 a file, its description or a part of it is not as it should be
    ├── AppLoadError              the app cannot be imported or is not an app
    └── ConnectError              a client could not reach or join a server

Codes are part of the protocol: ``docs/errors.md`` lists them all and a test compares the two.
An app may use codes of its own in :class:`Refusal`; they travel as they are.
"""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    # frames and connections
    "bad_frame": "A frame was not what the protocol allows; the connection is closed (4400).",
    "too_large": "A frame or payload exceeds its size limit; make it smaller.",
    "too_deep": "A payload is nested deeper than allowed, or a key is too long.",
    "rate_limited": "Too many frames a second; the connection is closed (4429), slow down.",
    "too_many_pending": "Too many requests unanswered; wait for replies first.",
    "too_many_connections": "This bridge is full, or too many come from one address (4503).",
    "slow_reader": "The client did not read fast enough and was disconnected (1013).",
    "hello_timeout": "No valid hello came in time (4408).",
    "bad_token": "The join token is missing or wrong; scan the QR code again (4401).",
    "version_mismatch": "Page and bridge speak different protocol versions; reload (4409).",
    "bad_host": "The Host header names none of this bridge's addresses (HTTP 421).",
    "bad_origin": "A page of another origin tried to connect (HTTP 403).",
    "head_too_large": "The request line and headers of an HTTP request are too long (HTTP 431).",
    "other_server": "The other bridge belongs to another server (4409); use another --data.",
    "same_bridge": "That bridge is this one, or has a copy of its data directory (4409).",
    "node_id_in_use": "That node id is taken by another connection.",
    "epoch_over": "Another history has taken the place of this node's; a new node is needed.",
    # HTTP answered by a tab or a page
    "upload_stalled": "The body of an HTTP request did not come in time (HTTP 408).",
    "no_host": "No tab hosts the app, or it died with the request; try again (HTTP 503).",
    "host_failed": "The tab that hosts broke off before it answered (HTTP 502).",
    "host_silent": "The tab that hosts did not answer in time (HTTP 504).",
    "name_taken": "A page publishes a server of that name at this bridge already.",
    "too_many_servers": "Pages publish as many servers at this bridge as it has room for.",
    # requests
    "session_expired": "The session was dropped after long silence; the request was not run again.",
    "serial_acknowledged": "The client had already acknowledged the reply to this serial.",
    "handler_failed": "The app's handler raised; nothing was changed. The handler is named.",
    "handler_timeout": "The app's handler did not finish in time; nothing was changed.",
    "bad_reply": "The handler returned or sent something that is not JSON or is too large.",
    "bad_change": "The handler's change does not apply to the state.",
    "state_too_large": "The change would make the app's state larger than allowed.",
    "no_handler": "The app has no handler for messages.",
    # nodes and storage
    "node_failed": "The tab's replica could not run; the page works, but this tab cannot host.",
    "stale_epoch": "The frame belongs to an epoch that has been replaced.",
    "not_leader": "The node does not lead, so it cannot accept proposals.",
    "storage_failed": "The replica could not be saved; nothing is acknowledged until it can.",
    "storage_untrusted": "A saved replica failed its checks; it was kept aside.",
    # files
    "bad_manifest": "That does not describe a file: part of it is missing or does not fit.",
    "bad_chunk": "What was sent is not the chunk that the manifest names; send it again.",
    "unknown_file": "No holder that was asked knows this file; it may have been removed.",
    "chunk_missing": "This bridge does not have that part of the file yet; ask another, or later.",
    "files_full": "There is no room for the file; remove others, or free space on the disk.",
    "bad_range": "The range asked for is not in the file, or there are too many of them.",
    "file_replaced": "The file was replaced by another one meanwhile; the download begins anew.",
    # starting
    "app_missing": "There is no app at that path.",
    "app_broken": "The app failed to import; file and line are given.",
    "port_in_use": "Another program listens on that port.",
    "cannot_listen": "The address or port given to listen on cannot be used on this machine.",
    "server_not_found": "No server of that name answers on this network.",
    "connect_failed": "The server could not be reached.",
    "closed": "The connection was closed before the reply came.",
}
"""Code → one sentence: what happened, and what to do."""


class FtwebError(Exception):
    """Base of all errors of ftweb.

    Args:
        message: what went wrong, whose fault it is, and the next step, in plain words.
        code: one of :data:`CODES`, or an app's own in a :class:`Refusal`.
    """

    code: str = "bad_frame"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        """The human-readable part."""
        return str(self.args[0]) if self.args else ""


class Refusal(FtwebError):  # noqa: N818 - app authors raise a refusal, not an error
    """Raised by an app's handler to say no: nothing is committed, the sender gets the code.

    Args:
        code: the app's own short code, such as ``"poll_closed"``.
        message: a sentence for the person who asked.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code, code=code)


class RequestError(FtwebError):
    """A request was answered with an error; ``code`` says which."""


class FrameError(FtwebError):
    """The peer sent something that the protocol does not allow."""


class LimitError(FrameError):
    """The peer, or the app, went past a bound of :mod:`ftweb.limits`."""

    code = "too_large"


class NotLeaderError(FtwebError):
    """The node does not lead; ask the one that does."""

    code = "not_leader"


class StorageError(FtwebError):
    """The replica could not be saved or read back."""

    code = "storage_failed"


class FileError(FtwebError):
    """A file, its description or a part of it is not as it should be."""

    code = "bad_manifest"


class AppLoadError(FtwebError):
    """The app cannot be loaded; the message has file and line."""

    code = "app_broken"


class ConnectError(FtwebError):
    """A server could not be found, reached or joined."""

    code = "connect_failed"
